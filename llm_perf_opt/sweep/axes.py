"""What a sweep goes over: `KEY=V1,V2,…` on the command line to the settings of every point."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from llm_perf_opt.errors import ConfigError

FILES = "config"
"""The axis of several files or models."""
MOST_POINTS = 10_000
_CLOSING = {"[": "]", "{": "}"}


@dataclass(frozen=True)
class Axis:
    """One key and its values, as they were written."""

    key: str
    """A dotted path, or `group@mount` of a preset."""
    values: tuple[str, ...]


@dataclass(frozen=True)
class Choice:
    """What one point is given of an axis."""

    key: str
    value: str

    @property
    def override(self) -> str:
        return f"{self.key}={self.value}"


Settings = tuple[Choice, ...]
"""Of one point, in the order of the axes."""


def read_axis(text: str) -> Axis:
    """`KEY=V1,V2,…`, split at commas outside of brackets and quotes; the values are YAML.

    Raises:
        ConfigError: there is no key, a value is empty, or a bracket or quote is not closed.
    """
    key, equals, values = text.partition("=")
    key = key.strip()
    if not equals or not key:
        raise ConfigError(f"{text!r} is no KEY=V1,V2", "for example infer.batch_size=1,2,4,8")
    found = split_values(values, text)
    if len(found) > 1 and not all(found):
        raise ConfigError(f"{text}: a value between the commas is empty", "write null for no value")
    return Axis(key, tuple(found))


def split_values(text: str, where: str) -> list[str]:
    """The parts between commas that are in no bracket and no quotes, without the blanks around them.

    Raises:
        ConfigError: a bracket or quote is not closed.
    """
    parts, start, at, closing = [], 0, 0, ""
    fresh = True  # a value may begin here: elsewhere a quote or bracket is a letter
    while at < len(text):
        char = text[at]
        if fresh and char in "\"'":
            at = _end_of_quoted(text, at, where)
        elif (fresh or closing) and char in _CLOSING:
            closing += _CLOSING[char]
        elif closing and char == closing[-1]:
            closing = closing[:-1]
        elif char == "," and not closing:
            parts.append(text[start:at].strip())
            start = at + 1
        fresh = char in ",[{:" if closing else char == "," or (fresh and char == " ")
        at += 1
    if closing:
        raise ConfigError(f"{where}: {closing[-1]} is missing", "close every bracket")
    return [*parts, text[start:].strip()]


def _end_of_quoted(text: str, start: int, where: str) -> int:
    """Where the quote that begins at `start` is closed: `''` stands for one, and so does `\\"`."""
    quote, at = text[start], start + 1
    while at < len(text):
        if quote == '"' and text[at] == "\\":
            at += 1
        elif text[at] == quote:
            if quote == '"' or text[at + 1 : at + 2] != quote:
                return at
            at += 1
        at += 1
    raise ConfigError(f"{where}: {quote} is missing", "close every quote")


def read_arguments(words: Sequence[str]) -> tuple[list[Path], list[Axis]]:
    """The files (or models) and axes of a command line: what has no `=` is a file.

    Raises:
        ConfigError: as `read_axis`.
    """
    files = [Path(word) for word in words if "=" not in word]
    return files, [read_axis(word) for word in words if "=" in word]


def choose(files: Sequence[Path], axes: Sequence[Axis], zipped: Sequence[Axis] = ()) -> list[Settings]:
    """The settings of all points: the product of all axes, those of `zipped` advancing together as one.

    The last axis changes fastest. An axis with one value is a setting of every point.

    Args:
        files: several are an axis of their own, the slowest.

    Raises:
        ConfigError: a key is swept twice, axes to zip are not equally long, or there are too many points.
    """
    given = [Axis(FILES, tuple(map(str, files)))] if files else []
    given += axes
    keys = [axis.key for axis in (*given, *zipped)]
    if twice := sorted({key for key in keys if keys.count(key) > 1}):
        raise ConfigError(f"{twice[0]} is given twice", "give all of its values at once: KEY=V1,V2")
    lengths = {len(axis.values) for axis in zipped}
    if len(lengths) > 1:
        said = ", ".join(f"{axis.key} has {len(axis.values)}" for axis in zipped)
        raise ConfigError(f"axes that are zipped have equally many values, but {said}", "add or take away values")
    factors: list[list[Settings]] = [[(Choice(axis.key, value),) for value in axis.values] for axis in given]
    if zipped:
        together = zip(*(axis.values for axis in zipped), strict=True)
        keys_zipped = [axis.key for axis in zipped]
        factors.append([tuple(map(Choice, keys_zipped, values)) for values in together])
    count = 1
    for factor in factors:
        count *= len(factor)
    if count > MOST_POINTS:
        raise ConfigError(f"{count:,} points are more than {MOST_POINTS:,}", "sweep fewer values at once")
    return [tuple(itertools.chain(*parts)) for parts in itertools.product(*factors)]


def varied(points: Sequence[Settings]) -> list[str]:
    """The keys that are not the same in all points, in their order."""
    values: dict[str, set[str]] = {}
    for settings in points:
        for choice in settings:
            values.setdefault(choice.key, set()).add(choice.value)
    return [key for key, found in values.items() if len(found) > 1]
