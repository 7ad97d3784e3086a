"""What the memory peak is made of: two tallies that agree to the byte, parts that add up, on every kind of model."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_perf_opt.config.schema import Config, Infer, Measure, Model
from llm_perf_opt.records.inputs import Inputs
from llm_perf_opt.records.memory import MemoryPeak
from llm_perf_opt.stages.memory import MemoryStage
from llm_perf_opt.stages.memory.child import find_peak
from llm_perf_opt.stages.memory.child_tally import StorageTally, tallied_bytes
from llm_perf_opt.workload.events import EventWriter
from llm_perf_opt.workload.measure import Measured, Session
from llm_perf_opt.workload.order import WorkOrder
from llm_perf_opt.workload.part import PartContext
from tests.unit.workload.adapter_cases import CASES, Case
from tests.unit.workload.models import measuring

CPU = torch.device("cpu")
INFER = Infer(max_new_tokens=4, stop_on_eos=False)


def peak_of(session: Session, folder: Path) -> MemoryPeak:
    find_peak(PartContext(session, MemoryStage(enable=True), Measured(), folder))
    return MemoryPeak.read(folder / "memory.json")


def session_of(case: Case, folder: Path) -> Session:
    loaded = case.load(folder, INFER)
    samples = tuple(case.samples(folder, 2))
    order = WorkOrder(
        stage="memory",
        config=Config(device="cpu", model=Model(name=case.adapter), infer=INFER, measure=Measure(warmup=0)),
        inputs=Inputs(samples=samples, epochs=((0, 1),)),
        scratch_dir=folder,
        output_dir=folder,
    )
    return Session(order, loaded, EventWriter(folder / "events.jsonl"))


@pytest.fixture(autouse=True)
def only_what_the_test_makes() -> Iterator[None]:
    """What other tests left behind does not die in the middle, and a tally need not walk over all of it."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


# One for each way in which models hold their state; the others differ in sizes.
KINDS = [case for case in CASES if case.id in ("causal_lm-llama", "causal_lm-deepseek_v3", "demo-deepseek_ocr2")]


@pytest.mark.parametrize("case", KINDS, ids=lambda case: case.id)
def test_both_tallies_agree_to_the_byte_and_the_parts_add_up(case: Case, tmp_path: Path) -> None:
    found = peak_of(session_of(case, tmp_path), tmp_path)
    assert found.notes == ()
    assert found.peak_bytes == found.tallied_bytes
    assert found.peak_bytes == sum(part.bytes for part in found.parts)
    assert found.peak_bytes == max(found.by_phase_bytes.values())
    assert found.phase in ("prefill", "decode")
    assert found.allocator_peak_bytes is None and found.unexplained_bytes is None
    assert found.resident_bytes is None or found.resident_bytes > found.peak_bytes


def test_weights_and_cache_are_what_the_model_says(tmp_path: Path) -> None:
    """Long enough that the cache is there at the peak: rows × layers × 2 × heads × length × head size."""
    session = measuring(tmp_path, Infer(max_new_tokens=200, stop_on_eos=False), ["hello"])
    found = peak_of(session, tmp_path)
    parts = {part.name: part.bytes for part in found.parts}
    model = session.loaded.model
    storages = {tensor.untyped_storage()._cdata: tensor.untyped_storage() for tensor in model.parameters()}
    assert parts["weights"] == sum(storage.nbytes() for storage in storages.values())
    config = model.config
    key_bytes = config.num_key_value_heads * config.head_dim * 4
    positions, rest = divmod(parts["cache"], 2 * config.num_hidden_layers * key_bytes)
    assert rest == 0 or found.phase == "decode", "whole layers, but for the one that grows at the peak"
    assert 0 < positions <= 5 + 200


def test_the_peak_is_of_the_batch_that_needs_most(tmp_path: Path) -> None:
    infer = Infer(max_new_tokens=2, stop_on_eos=False)
    session = measuring(tmp_path, infer, ["a", "a long prompt " * 30, "b"])
    assert peak_of(session, tmp_path).samples == (1,)


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.sampled_from(["make", "view", "free", "grow", "linear"]), st.integers(1, 64)), max_size=25)
)
def test_the_tally_follows_any_sequence_of_operators(steps: Sequence[tuple[str, int]]) -> None:
    held: list[torch.Tensor] = []
    largest = 0
    with StorageTally(CPU) as tally:
        start = tally.bytes
        for kind, size in steps:
            _step(held, kind, size)
            own = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in held}
            assert tally.bytes - start == sum(own.values())
            largest = max(largest, sum(own.values()))
        assert tally.peak.bytes - start >= largest or not steps
        assert tally.bytes == tallied_bytes(CPU)
        held.clear()
        assert tally.bytes == start


def _step(held: list[torch.Tensor], kind: str, size: int) -> None:
    if kind == "free" and held:
        held.pop(size % len(held))
    elif kind == "view" and held:
        held.append(held[size % len(held)].view(-1)[:1])
    elif kind == "grow" and held:
        held[size % len(held)] = torch.cat([held[size % len(held)].reshape(-1), torch.zeros(size)])
    elif kind == "linear":
        held.append(torch.nn.functional.linear(torch.ones(size, 3), torch.ones(2, 3), torch.ones(2)))
    else:
        held.append(torch.empty(size))


def test_a_second_pass_that_differs_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = measuring(tmp_path, Infer(max_new_tokens=4, stop_on_eos=False), ["hello"])
    once = session.run_once
    kept: list[Any] = []

    def grown(*arguments: Any) -> Any:
        kept.append(torch.empty(1 << 16))
        return once(*arguments)

    monkeypatch.setattr(session, "run_once", grown)
    found = peak_of(session, tmp_path)
    assert "the second pass held" in found.notes[0]
    assert found.peak_bytes == found.tallied_bytes
