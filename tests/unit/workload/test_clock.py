"""The loop on a simulated device: a queue that runs behind the host, whose times are known exactly.

Its tensors know the queue they come out of: reading one waits for it, whoever reads it and however.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from llm_perf_opt.config.schema import Infer
from llm_perf_opt.workload import loop as loop_module
from llm_perf_opt.workload.execution import Decoding
from llm_perf_opt.workload.loaded import Batch
from llm_perf_opt.workload.loop import Generation, Loop
from llm_perf_opt.workload.ranges import Ranges
from llm_perf_opt.workload.selection import Choice
from tests.unit.workload.models import NoEvents

PREFILL_MS, STEP_MS = 50.0, 4.0
LAUNCH_MS = 1.0
"""Host time of queueing a forward pass, while the device works on earlier ones."""
EOS, TOKEN, PAD = 1, 2, 0


class SimulatedDevice:
    """A device with one queue, and the host's clock beside it; a clock for the loop. Times in milliseconds."""

    def __init__(self) -> None:
        self.host_ms = 0.0
        self.device_ms = 0.0
        self.waits = 0

    def launch(self, work_ms: float) -> None:
        """Queue `work_ms` of work: it starts when the device is free, and not before it is launched."""
        self.host_ms += LAUNCH_MS
        self.device_ms = max(self.device_ms, self.host_ms) + work_ms

    def now(self) -> float:
        return self.host_ms / 1e3

    def mark(self) -> float:
        return max(self.device_ms, self.host_ms)

    def synchronize(self) -> None:
        self.waits += 1
        self.host_ms = max(self.host_ms, self.device_ms)

    def read(self, values: torch.Tensor) -> list[int]:
        return list(values.tolist())

    def elapsed_ms(self, start: float, end: float) -> float:
        return end - start


READS = {
    getattr(torch.Tensor, name)
    for name in ("item", "tolist", "cpu", "numpy", "nonzero", "__bool__", "__int__", "__float__", "__index__")
}


class Queued(torch.Tensor):
    """A tensor that is computed in the device's queue, as is all that is made of it."""

    device_of_all: SimulatedDevice

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in READS:
            cls.device_of_all.synchronize()
        return super().__torch_function__(func, types, args, kwargs)  # type: ignore[no-untyped-call]


class _Decoding:
    def __init__(self, device: SimulatedDevice, end_after: int | None) -> None:
        self.device = device
        self.end_after = end_after
        self.made = 0

    def prefill(self) -> torch.Tensor:
        self.device.launch(PREFILL_MS)
        return self._logits()

    def step(self, token: torch.Tensor) -> torch.Tensor:
        self.device.launch(STEP_MS)
        return self._logits()

    def _logits(self) -> torch.Tensor:
        self.made += 1
        token = torch.tensor([EOS if self.made == self.end_after else TOKEN])
        return torch.nn.functional.one_hot(token, 4).float().as_subclass(Queued)


class _Execution:
    def __init__(self, decoding: Decoding) -> None:
        self.decoding = decoding

    def begin(self, _batch: Batch) -> Decoding:
        return self.decoding


class _Selector:
    def __init__(self, *, processors: Any = None) -> None:
        self.processors = processors

    def for_batch(self, _batch: Batch) -> Choice:
        return Choice(self.processors or [], sample=False)


class _Loaded:
    """As much of a loaded model as the loop asks for."""

    eos_token_ids = (EOS,)
    pad_token_id = PAD
    device = torch.device("cpu")

    def most_new(self, _batch: Batch, wanted: int) -> int:
        return wanted

    def decoding(self) -> Ranges:
        return Ranges(()).phase("decode")  # type: ignore[return-value]


def generate(
    device: SimulatedDevice, *, new_tokens: int, stop_on_eos: bool, end_after: int | None = None
) -> Generation:
    Queued.device_of_all = device
    loop = Loop.__new__(Loop)
    loop.loaded = _Loaded()  # type: ignore[assignment]
    loop.infer = Infer(max_new_tokens=new_tokens, stop_on_eos=stop_on_eos)
    loop.clock = device
    loop.events = NoEvents()  # type: ignore[assignment]
    loop.selector = _Selector()  # type: ignore[assignment]
    loop.execution = _Execution(_Decoding(device, end_after))  # type: ignore[assignment]
    batch = Batch(torch.tensor([[TOKEN] * 5]), None, prompt_tokens=(5,), image_tokens=(0,))
    return loop.generate(batch, Ranges(()))


def check_fixed_length(new_tokens: int) -> None:
    """Launches hide behind the device's work: a step is STEP_MS, but the first, whose launch follows a wait."""
    generation = generate(SimulatedDevice(), new_tokens=new_tokens, stop_on_eos=False)
    assert generation.prefill_ms == PREFILL_MS + LAUNCH_MS
    assert generation.step_ms == (STEP_MS + LAUNCH_MS, *[STEP_MS] * (new_tokens - 2))
    assert generation.decode_ms == sum(generation.step_ms)
    assert generation.host_sync_ms == 0.0


@pytest.mark.parametrize("new_tokens", [2, 17, 101])
def test_fixed_length_steps_take_exactly_what_the_device_takes(new_tokens: int) -> None:
    check_fixed_length(new_tokens)


@pytest.mark.parametrize("new_tokens", [2, 101])
def test_fixed_length_waits_at_the_edges_of_phases_only(new_tokens: int) -> None:
    device = SimulatedDevice()
    generate(device, new_tokens=new_tokens, stop_on_eos=False)
    # Before prefill, for the first token, after decode.
    assert device.waits == 3


WAITS: dict[str, Callable[[torch.Tensor], Any]] = {
    "synchronize": lambda token: Queued.device_of_all.synchronize(),
    "item": lambda token: token.item(),
    "tolist": lambda token: token.tolist(),
    "cpu": lambda token: token.cpu(),
    "if": lambda token: 1 if token == EOS else 0,
    "int": int,
}


@pytest.mark.parametrize("where", ["append", "fill"])
@pytest.mark.parametrize("name", WAITS)
def test_the_known_time_per_token_catches_a_wait_in_every_step(
    name: str, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Waiting in every step uncovers every launch: the known TPOT is missed by LAUNCH_MS."""
    owner = {"append": loop_module.History, "fill": loop_module._Finish}[where]
    right = getattr(owner, where)

    def waits(self: Any, token: torch.Tensor) -> Any:
        WAITS[name](token)
        return right(self, token)

    check_fixed_length(17)
    monkeypatch.setattr(owner, where, waits)
    with pytest.raises(AssertionError):
        check_fixed_length(17)
    generation = generate(SimulatedDevice(), new_tokens=17, stop_on_eos=False)
    assert generation.step_ms == (STEP_MS + LAUNCH_MS,) * 16


def test_host_times_of_first_and_last_token() -> None:
    device = SimulatedDevice()
    generation = generate(device, new_tokens=17, stop_on_eos=False)
    assert generation.first_token_at * 1e3 == pytest.approx(LAUNCH_MS + PREFILL_MS)
    tpot_ms = (generation.last_token_at - generation.first_token_at) / 16 * 1e3
    assert tpot_ms == pytest.approx((LAUNCH_MS + 16 * STEP_MS) / 16)


def test_looking_for_the_end_waits_in_every_step_and_says_so() -> None:
    device = SimulatedDevice()
    generation = generate(device, new_tokens=32, stop_on_eos=True, end_after=9)
    assert generation.tokens == [[TOKEN] * 8 + [EOS]]
    assert generation.step_ms == (STEP_MS + LAUNCH_MS,) * 8
    assert generation.host_sync_ms == pytest.approx(8 * STEP_MS)
    assert device.waits == 3 + 8
