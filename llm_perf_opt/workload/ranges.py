"""NVTX ranges, and the same names as profiler labels.

Ranges go to the default domain, so that `--nvtx-capture decode` matches as typed; `senders` decides through what.
A range that nobody listens to costs a dictionary look-up and two calls.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

from llm_perf_opt.workload.senders import Sender, sender

WARMUP, PREFILL, DECODE = "warmup", "prefill", "decode"


class Range:
    """A named range that can be entered again and again; prebuilt so that entering it allocates nothing."""

    __slots__ = ("_attributes", "_pop", "_push", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        chosen = sender()
        self._attributes = chosen.message(name)
        self._push = chosen.push if chosen.sent is None else _counted(name, chosen, chosen.sent)
        self._pop = chosen.pop

    def __enter__(self) -> None:
        self._push(self._attributes)

    def __exit__(self, *_: object) -> None:
        self._pop()


def _counted(name: str, chosen: Sender, sent: Counter[str]) -> Callable[[Any], object]:
    """The sender's push, counted; only under a tool, where a push costs more than that anyway."""
    push = chosen.push

    def counted(attributes: Any) -> None:
        sent[name] += 1
        push(attributes)

    return counted


class Silent:
    """Stands in for a range that was not asked for."""

    __slots__ = ()

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None


class Labelled:
    """A range that is a `record_function` label too; used only while the profiler records (7–14 µs each)."""

    def __init__(self, name: str) -> None:
        self._range = Range(name)
        self._name = name

    def __enter__(self) -> None:
        self._range.__enter__()
        self._label = torch.profiler.record_function(self._name)
        self._label.__enter__()  # type: ignore[no-untyped-call]

    def __exit__(self, *exc: Any) -> None:
        self._label.__exit__(*exc)
        self._range.__exit__()


AnyRange = Range | Silent | Labelled


class Ranges:
    """The ranges of one run: which kinds are pushed, and whether they are labels too."""

    def __init__(self, kinds: tuple[str, ...], *, labelled: bool = False) -> None:
        self._kinds = frozenset(kinds)
        self._make: type[Range | Labelled] = Labelled if labelled else Range
        self._made: dict[str, AnyRange] = {}
        self.wants_modules = "module" in self._kinds

    def phase(self, name: str) -> AnyRange:
        return self._get(name, "phase")

    def sample(self, index: int) -> AnyRange:
        return self._get(f"sample[{index}]", "sample")

    def steps(self, count: int) -> list[AnyRange]:
        """One range a decode step, made before decoding starts."""
        return [self._get(f"step[{index}]", "step") for index in range(count)]

    def module(self, name: str) -> AnyRange:
        return self._get(name, "module")

    def _get(self, name: str, kind: str) -> AnyRange:
        if kind not in self._kinds:
            return _SILENT
        if name not in self._made:
            self._made[name] = self._make(name)
        return self._made[name]


_SILENT = Silent()


@contextlib.contextmanager
def module_ranges(modules: Mapping[str, torch.nn.Module], ranges: Ranges) -> Iterator[None]:
    """Push a range around the forward pass of each module; hooks are gone when the block ends."""
    handles = []
    for name, module in modules.items():
        entered = ranges.module(name)

        def before(_module: torch.nn.Module, _args: Any, entered: AnyRange = entered) -> None:
            entered.__enter__()

        def after(_module: torch.nn.Module, _args: Any, _result: Any, entered: AnyRange = entered) -> None:
            entered.__exit__(None, None, None)

        handles += [module.register_forward_pre_hook(before), module.register_forward_hook(after, always_call=True)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
