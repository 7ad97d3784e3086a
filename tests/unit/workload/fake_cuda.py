"""Running a model on a CUDA device that is not there.

Under the `Ledger`, a kind of torch's FakeTensorMode, a tensor on the device has a shape, a type and a device, but no
content, while tensors on the host are real. So host code runs as it does next to a GPU, an operator that mixes the two
raises, and whatever makes the host wait for the device has nothing to read: the ledger keeps every such wait with the
line that asked for it.
"""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Iterator, MutableMapping, Sequence
from dataclasses import replace
from types import FrameType
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils import _pytree as pytree
from torch.utils.weak import WeakTensorKeyDictionary

from llm_perf_opt.config.schema import Infer
from llm_perf_opt.records.inputs import Sample
from llm_perf_opt.workload.clock import CudaClock
from llm_perf_opt.workload.loaded import Batch, LoadedModel
from llm_perf_opt.workload.loop import Generation, Loop
from llm_perf_opt.workload.ranges import Ranges
from tests.unit.workload.models import NoEvents

DEVICE = torch.device("cuda:0")
PREFILL, STEP, OUTSIDE = "prefill", "decode step", "outside both"
# Operators whose result comes to the host, or whose shape is only known from content.
WAITING = (torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape)
INDEXING = ("index", "index_put", "index_put_", "_unsafe_index")
# Larger than that are pixels and weights, whose content nobody asks for.
MOST_KNOWN = 1 << 17
COPIES = ("_to_copy", "copy_")
Waits = dict[tuple[str, str], int]
"""(operator, file:function that asked for it) → times."""


class Ledger(FakeTensorMode):
    """A fake mode that keeps every wait of the host for the device, by phase.

    What follows from the batch alone, such as its sizes and its padding, is known beside the device, so that a question
    about it gets its true answer; one about what the model computed gets a made-up one.
    """

    def __init__(self) -> None:
        super().__init__(allow_non_fake_inputs=True)
        self.phase = OUTSIDE
        self.count = 0
        self._waits: dict[str, Counter[tuple[str, str]]] = {}
        self._known: MutableMapping[torch.Tensor, torch.Tensor] = WeakTensorKeyDictionary()

    def waits(self, phase: str) -> Waits:
        return dict(self._waits.get(phase, {}))

    def clear(self) -> None:
        self._waits.clear()
        self.count = 0

    def note(self, operator: str) -> None:
        self._waits.setdefault(self.phase, Counter())[operator, _asker()] += 1
        self.count += 1

    def content(self, tensor: torch.Tensor) -> torch.Tensor:
        """What is in `tensor`, or ones where that is not known; on the host."""
        known = self._known.get(tensor)
        return torch.ones(tensor.shape, dtype=tensor.dtype, device="cpu") if known is None else known

    def dispatch(self, func: Any, types: Sequence[Any], args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func._schema.name.removeprefix("aten::")
        tensors = [leaf for leaf in pytree.arg_tree_leaves(*args, **kwargs) if isinstance(leaf, torch.Tensor)]
        if not any(isinstance(tensor, FakeTensor) for tensor in tensors) and _on_host(func, args, kwargs):
            return func(*args, **kwargs)
        if func.namespace == "aten" and func._can_decompose():  # inference mode gives such operators as they are
            with self:
                return func.decompose(*args, **kwargs)
        on_device = any(tensor.device.type == "cuda" for tensor in tensors)
        if on_device and name in INDEXING:
            indices = [found for index in args[1] for found in self._index(name, index)]
            result = super().dispatch(func, types, (args[0], indices, *args[2:]), kwargs)  # type: ignore[no-untyped-call]
        elif on_device and _waits(func, args, kwargs):
            self.note(name)
            return self._answer(func, args, kwargs)
        else:
            result = super().dispatch(func, types, args, kwargs)
        if name in COPIES and isinstance(result, torch.Tensor):
            self._note_copy(args[1] if name == "copy_" else args[0], result, func, args, kwargs)
        self._remember(name, func, args, kwargs, result)
        return result

    def _answer(self, func: Any, args: Any, kwargs: Any) -> Any:
        """The result of an operator that waits, computed on the host."""
        found = func(*pytree.tree_map_only(FakeTensor, self.content, args), **kwargs)
        return pytree.tree_map_only(torch.Tensor, self._placed, found)

    def _placed(self, value: torch.Tensor) -> torch.Tensor:
        """A tensor on the device whose content is known."""
        with self:
            placed = torch.empty(value.shape, dtype=value.dtype, device=DEVICE)
        self._known[placed] = value
        return placed

    def _index(self, name: str, index: torch.Tensor | None) -> Sequence[Any]:
        """The index as the operator uses it: one from the host is copied to the device, a mask is looked into."""
        if index is None:
            return [None]
        if index.device.type == "cpu" and index.ndim:
            self.note(f"{name} by a host tensor")
        if index.dtype is not torch.bool:
            return [index]
        self.note(f"{name} by a mask")
        return (self.content(index) if isinstance(index, FakeTensor) else index).nonzero().unbind(1)

    def _note_copy(self, source: Any, result: torch.Tensor, func: Any, args: Any, kwargs: Any) -> None:
        """A copy between host and device waits unless it is told not to."""
        ends = source.device.type, result.device.type
        if result.numel() and set(ends) == {"cpu", "cuda"} and not _argument(func, "non_blocking", args, kwargs):
            self.note(f"copy to {ends[1]}")

    def _remember(self, name: str, func: Any, args: Any, kwargs: Any, result: Any) -> None:
        """Keep the content of what is made of known tensors, or of numbers alone."""
        results = pytree.tree_leaves(result)
        small = all(isinstance(leaf, torch.Tensor) and leaf.numel() <= MOST_KNOWN for leaf in results)
        if not small or func.namespace != "aten" or name.startswith(("empty", "new_empty")):
            return
        leaves = pytree.arg_tree_leaves(*args, **kwargs)
        if any(isinstance(leaf, FakeTensor) and leaf not in self._known for leaf in leaves):
            for leaf in results:
                self._known.pop(leaf, None)
            return
        args, kwargs = pytree.tree_map_only(FakeTensor, self._known.__getitem__, (args, kwargs))
        real = func(*args, **{**kwargs, **({"device": "cpu"} if "device" in kwargs else {})})
        self._known.update(zip(results, pytree.tree_leaves(real), strict=True))


def _waits(func: Any, args: Any, kwargs: Any) -> bool:
    """Whether the result comes to the host, or has a shape that nobody has told (`repeat_interleave` can be told)."""
    return any(tag in func.tags for tag in WAITING) and _argument(func, "output_size", args, kwargs) is None


def _on_host(func: Any, args: Any, kwargs: Any) -> bool:
    device = _argument(func, "device", args, kwargs)
    return device is None or torch.device(device).type == "cpu"


def _argument(func: Any, name: str, args: Any, kwargs: Any) -> Any:
    for position, argument in enumerate(func._schema.arguments):
        if argument.name == name:
            return args[position] if position < len(args) else kwargs.get(name)
    return None


def _asker() -> str:
    """`file:function` of the innermost frame outside torch and this file."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        comprehension = frame.f_code.co_name.startswith("<")  # a frame of its own before Python 3.12
        if "/site-packages/torch/" not in name and name != __file__ and "<" not in name and not comprehension:
            return f"{_short(name)}:{frame.f_code.co_name}"
        frame = frame.f_back
    raise AssertionError("nobody asked")


def _short(name: str) -> str:
    for package in ("llm_perf_opt/", "transformers/"):
        if f"/{package}" in name:
            return package + name.rpartition(f"/{package}")[2]
    return name.rpartition("/")[2]


@contextlib.contextmanager
def fake_cuda() -> Iterator[Ledger]:
    """A ledger, with torch and transformers led to believe that they run on a GPU and not in a tracer."""
    ledger = Ledger()

    def tolist(tensor: FakeTensor) -> Any:
        if tensor.device.type == "cuda":
            ledger.note("tolist")
        return ledger.content(tensor).tolist()

    def numpy(tensor: FakeTensor, **_options: Any) -> None:
        ledger.note("numpy")
        raise TypeError("can't convert a tensor of the device to numpy")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "_lazy_init", lambda: None)
        patch.setattr(torch.cuda, "get_device_capability", lambda _device=None: (9, 0))
        patch.setattr("transformers.masking_utils.is_tracing", lambda _tensor=None: False)
        patch.setattr(FakeTensor, "tolist", tolist)
        patch.setattr(FakeTensor, "numpy", numpy, raising=False)
        yield ledger


class LedgerClock(CudaClock):
    """The clock of a GPU: its reads are the real ones, its marks tell the ledger where prefill begins and ends.

    A wait takes a second, so that `host_sync_ms` is a thousand times the waits that the loop has timed.
    """

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(DEVICE)
        self._ledger = ledger

    def now(self) -> float:
        return float(self._ledger.count)

    def mark(self) -> Any:
        after = {OUTSIDE: PREFILL, PREFILL: OUTSIDE, STEP: STEP}
        self._ledger.phase = after[self._ledger.phase]

    def synchronize(self) -> None:
        assert self._ledger.phase == OUTSIDE, "the loop waits for the device in a phase"

    def elapsed_ms(self, start: Any, end: Any) -> float:
        return 0.0


class LedgerRanges(Ranges):
    """Ranges that tell the ledger where a decode step begins and ends."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(())
        self._ledger = ledger

    def steps(self, count: int) -> list[Any]:
        return [self._step() for _ in range(count)]

    @contextlib.contextmanager
    def _step(self) -> Iterator[None]:
        self._ledger.phase = STEP
        yield
        self._ledger.phase = OUTSIDE


def onto_fake_cuda(loaded: LoadedModel, ledger: Ledger) -> None:
    """Put the model's parameters and buffers, without content, on the device that is not there."""

    def fake(value: torch.Tensor) -> torch.Tensor:
        with ledger:
            return torch.empty(value.shape, dtype=value.dtype, device=DEVICE)

    for module in loaded.model.modules():
        for name, parameter in list(module._parameters.items()):
            if parameter is not None:
                module._parameters[name] = torch.nn.Parameter(fake(parameter), requires_grad=False)
        for name, buffer in list(module._buffers.items()):
            if buffer is not None:
                module._buffers[name] = fake(buffer)
    loaded.device = DEVICE
    loaded.built = replace(loaded.built, device=DEVICE)


def generate_on_fake_cuda(
    loaded: LoadedModel, samples: Sequence[Sample], infer: Infer, clock_type: type[LedgerClock] = LedgerClock
) -> tuple[Ledger, Generation, Batch]:
    """Preprocess and generate as a timed repeat does, what is made once having been made in a warm-up."""
    with fake_cuda() as ledger:
        onto_fake_cuda(loaded, ledger)
        with ledger:
            batch = loaded.prepare(samples)
            loop = Loop(loaded, infer, LedgerClock(ledger), NoEvents())  # type: ignore[arg-type]
            if loop.execution.needs_preparation:
                loop.execution.reserve(batch)
                loop.generate(batch, LedgerRanges(ledger))
            ledger.clear()
            loop.clock = clock_type(ledger)
            generation = loop.generate(batch, LedgerRanges(ledger))
    return ledger, generation, batch
