"""Observers in the child: each watches the timed repeats, and nothing of it runs before or after them."""

from __future__ import annotations

import contextlib
import functools
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Literal, NamedTuple, Protocol, TypeVar

import torch

from llm_perf_opt.config.base import StageSettings
from llm_perf_opt.config.schema import Config
from llm_perf_opt.registry import load

S_co = TypeVar("S_co", bound=StageSettings, covariant=True)


class PhaseSpan(NamedTuple):
    """One phase of one timed repeat, host clock (`time.perf_counter`)."""

    phase: Literal["preprocess", "prefill", "decode"]
    start_s: float
    end_s: float


@dataclass(frozen=True)
class WatchContext(Generic[S_co]):
    """What an observer is given."""

    settings: S_co
    """Its own section."""
    device: torch.device
    output_dir: Path
    """Of the stage that is watched: where the observer leaves its records."""
    in_the_middle: Callable[[Callable[[], None]], None] = lambda _: None
    """Registers what is called once, between two timed repeats when half of them are made; never where there is one."""


class Watch(Protocol):
    """One observer at work."""

    def start(self) -> None:
        """The timed repeats are about to begin."""

    def stop(self, spans: Sequence[PhaseSpan]) -> None:
        """They have ended; `spans` are their phases in order. Records are written now."""


@contextlib.contextmanager
def watching(
    references: Mapping[str, str],
    config: Config,
    device: torch.device,
    output_dir: Path,
    spans: list[PhaseSpan],
    *,
    in_the_middle: Callable[[Callable[[], None]], None] = lambda _: None,
) -> Iterator[list[str]]:
    """Let observers watch what runs inside.

    Args:
        references: name of each → `module:function` that makes a `Watch` of a `WatchContext`.
        spans: filled by what runs inside.
        in_the_middle: is given what is to be called when half of it is done.

    Yields:
        A list that holds at the end, in words, which of them failed; one that fails costs its own records alone.
    """
    problems: list[str] = []
    started: dict[str, Watch] = {}
    for name, reference in references.items():
        with _guarded(name, problems):
            register = functools.partial(_register, in_the_middle, name, problems)
            watch: Watch = load(reference)(WatchContext(config.pipeline.section(name), device, output_dir, register))
            watch.start()
            started[name] = watch
    try:
        yield problems
    finally:
        for name, watch in started.items():
            with _guarded(name, problems):
                watch.stop(spans)


def _register(
    register: Callable[[Callable[[], None]], None], name: str, problems: list[str], function: Callable[[], None]
) -> None:
    def guarded() -> None:
        with _guarded(name, problems):
            function()

    register(guarded)


@contextlib.contextmanager
def _guarded(name: str, problems: list[str]) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - the observer's boundary: what it raises must not cost the timings
        traceback.print_exc()
        problems.append(f"observer {name} failed: {type(error).__name__}: {error}")
