"""The `defaults:` list of the earlier system, entry by entry, as it is written now. Read by `migrate.py` alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from llm_perf_opt.config.compose import parse_entry
from llm_perf_opt.config.presets import Presets
from llm_perf_opt.config.problems import Problem
from llm_perf_opt.config.remedies import OUTPUT_ROOTS, UNDER_PIPELINE
from llm_perf_opt.config.tree import Node

_WORDS = ("optional ", "override ")
_UNDER_PIPELINE = (*UNDER_PIPELINE, "torch_profiler")
_RUNNERS = ("runner", "runners")
_NO_STATIC = "no-static"


class Translated(NamedTuple):
    """What an entry became: entries that are written now, or the reason why there are none."""

    entries: tuple[tuple[str, str], ...] = ()
    """`group@mount` and option of each."""
    reason: str | None = None
    """Why it is not carried over; None where it is."""
    switches_static_off: bool = False
    empty: bool = False
    """It chose nothing (`group: null`)."""


def options_of(entry: Node) -> Iterator[tuple[str, Node]]:
    """An entry's group and each option it chooses: Hydra takes a list of them too."""
    if isinstance(entry.value, dict):
        for left, option in entry.value.items():
            if isinstance(option.value, list) and option.value:
                yield from ((left, one) for one in option.value)
            else:
                yield left, option


def translate(left: str, option: Node, presets: Presets) -> Translated:
    """One `group@mount: option`."""
    group, _, mounted = _plain(left).partition("@")
    if option.value is None:
        return Translated(empty=True)
    if group in _RUNNERS and _NO_STATIC in str(option.value):
        return Translated(switches_static_off=True)
    if group in _RUNNERS:
        return Translated(reason="there are no runners: the stages that are enabled say what runs")
    whole = _whole_model(str(option.value), presets) if (group, mounted) == ("model", "") else ()
    return Translated(whole) if whole else _one_preset(group, mounted, option, presets)


def _one_preset(group: str, mounted: str, option: Node, presets: Presets) -> Translated:
    new = f"{group}@{_mount_now(mounted)}" if mounted else group
    entry = parse_entry(new, option.value, option)
    if isinstance(entry, Problem):
        return Translated(reason=entry.message)
    if presets.find(entry.group, entry.option) is None:
        return Translated(reason="there is no such preset; --config-dir names a directory of your own")
    return Translated(((new, str(option.value)),))


def _plain(left: str) -> str:
    left = left.strip()
    for word in _WORDS:
        left = left.removeprefix(word).lstrip()
    return left.lstrip("/")


def _mount_now(mounted: str) -> str:
    first, dot, rest = mounted.partition(".")
    if first in _UNDER_PIPELINE:
        return f"pipeline.{mounted}"
    if first in OUTPUT_ROOTS:
        return f"pipeline.torch_profiler.output{dot}{rest}"
    return mounted


def _whole_model(name: str, presets: Presets) -> tuple[tuple[str, str], ...]:
    """The first configurations chose a model whole; it is an architecture and how to generate with it now."""
    parts = {"arch": "model", "infer": "infer"}
    if any(presets.find(f"model/{name}/{part}", f"{name}.default") is None for part in parts):
        return ()
    return tuple((f"model/{name}/{part}@{mount}", f"{name}.default") for part, mount in parts.items())
