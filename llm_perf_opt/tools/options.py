"""Which options the tools document, by release, and whether a command line keeps to them.

The lists are `documented/*.yaml`. Our own builders must pass `check` without a word; what a user adds with
`extra_args` goes to the tool as it is, and what `check` says about it is shown as a note.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

ToolName = Literal["nsys", "ncu"]
Version = tuple[int, ...]
_DOCUMENTED = Path(__file__).with_name("documented")


@dataclass(frozen=True, slots=True)
class Option:
    """One documented option.

    Attributes:
        name: long name without dashes.
        short: its letter, or None.
        flag: takes no value.
        accepts: regular expression of every accepted value; None accepts any.
        accepts_earlier: the same before the later guide.
        since: first guide that lists it; None is the earlier one.
        until: last guide that lists it; None is the later one.
    """

    name: str
    short: str | None
    flag: bool
    accepts: str | None
    accepts_earlier: str | None
    since: Version | None
    until: Version | None

    def problem(self, value: str | None, version: Version | None) -> str | None:
        """What is wrong with this use of the option, for a tool of this version (None: the latest known)."""
        if version is not None and self.since is not None and version < self.since:
            return f"--{self.name} is documented from {dotted(self.since)} on; this is {dotted(version)}"
        if self.until is not None and (version is None or version[: len(self.until)] > self.until):
            return f"--{self.name} is documented only up to {dotted(self.until)}"
        if self.flag:
            return f"--{self.name} takes no value" if value is not None else None
        if value is None:
            return f"--{self.name} needs a value"
        accepts = self.accepts
        if self.accepts_earlier is not None and version is not None and version[:1] < (2026,):
            accepts = self.accepts_earlier
        if accepts is not None and not re.fullmatch(accepts, value):
            return f"--{self.name} does not document the value {value!r}"
        return None


@dataclass(frozen=True, slots=True)
class Used:
    """One option as it stands on a command line; `option` is None where none of that name is documented."""

    text: str
    option: Option | None
    value: str | None


def dotted(version: Version) -> str:
    return ".".join(str(part) for part in version)


def parse_version(text: str) -> Version:
    """`2025.3.2` → (2025, 3, 2); what follows the leading numbers is left out."""
    found = re.match(r"\d+(\.\d+)*", text)
    return tuple(int(part) for part in found[0].split(".")) if found else ()


@functools.cache
def documented(tool: ToolName, command: str) -> dict[str, Option]:
    """Documented options of a command (`profile`, `export` of nsys; `""` of ncu) by long name."""
    data = _load(tool)
    guides = {name: parse_version(text) for name, text in data["guides"].items()}
    options: dict[str, Option] = {}
    for name, facts in data["commands"][command]["options"].items():
        values = facts.get("values")
        options[name] = Option(
            name=name,
            short=facts.get("short"),
            flag=facts.get("flag", False),
            accepts="|".join(re.escape(value) for value in values) if values else facts.get("pattern"),
            accepts_earlier=facts.get("earlier-pattern"),
            since=guides[facts["since"]] if "since" in facts else None,
            until=guides[facts["until"]] if "until" in facts else None,
        )
    return options


def refused(replay_mode: str, arguments: Sequence[str]) -> list[str]:
    """Those of these ncu arguments that it refuses in this replay mode, as they would be written (`--kernel-name`)."""
    names = _refused_in(replay_mode)
    found = []
    for used in used_options("ncu", "", arguments):
        name = used.option.name if used.option is not None else ""
        if name in names:
            found.append(f"--{name}")
        elif f"{name}={used.value}" in names:
            found.append(f"--{name} {used.value}")
    return found


@functools.cache
def _refused_in(replay_mode: str) -> frozenset[str]:
    return frozenset(_load("ncu")["commands"][""].get(f"not-in-{replay_mode}-replay", ()))


def used_options(tool: ToolName, command: str, arguments: Sequence[str]) -> Iterator[Used]:
    """The options among `arguments`, up to the first word that is neither an option nor the value of one.

    nsys writes long options as `--name=value` and short ones as `-n value`; ncu takes both with a space as well.
    """
    known = documented(tool, command)
    shorts = {option.short: option for option in known.values() if option.short}
    words = iter(arguments)
    for word in words:
        if not word.startswith("-") or word in ("-", "--"):
            return
        name, equals, attached = word.lstrip("-").partition("=")
        option = known.get(name) if word.startswith("--") else shorts.get(name)
        value = attached if equals else None
        if value is None and option is not None and not option.flag:
            value = next(words, None)
        yield Used(word, option, value)


def check(tool: ToolName, command: str, arguments: Sequence[str], version: Version | None = None) -> list[str]:
    """What of these arguments the tool does not document; empty when nothing.

    Args:
        arguments: options only, without the program and what it runs.
        version: the installed tool's; None checks against the latest known guide.
    """
    problems: list[str] = []
    for used in used_options(tool, command, arguments):
        if used.option is None:
            problems.append(f"{used.text.partition('=')[0]} is not an option that {tool} documents")
        elif (problem := used.option.problem(used.value, version)) is not None:
            problems.append(problem)
    return problems


@functools.cache
def _load(tool: ToolName) -> dict[str, Any]:
    from llm_perf_opt.records.yaml_file import plain_yaml

    data: dict[str, Any] = plain_yaml((_DOCUMENTED / f"{tool}.yaml").read_bytes())
    return data
