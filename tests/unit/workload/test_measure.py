"""Warm-up, timed repeats, and samples that fail alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from llm_perf_opt.artifacts.layout import TABLES
from llm_perf_opt.config.schema import Infer, Measure
from llm_perf_opt.errors import StageError
from llm_perf_opt.records.tables import ProfileTables
from llm_perf_opt.stages.torch_profiler.child import profile_sample
from llm_perf_opt.stages.torch_profiler.settings import TorchProfiler
from llm_perf_opt.workload.loaded import Batch
from tests.unit.workload.models import PROMPTS, measuring

FEW = Infer(max_new_tokens=4, stop_on_eos=False)


def test_every_batch_and_repeat_is_kept_raw(tmp_path: Path) -> None:
    found = measuring(tmp_path, FEW.model_copy(update={"batch_size": 2}), PROMPTS)
    assert found.warm_up(2) == 2
    measured = found.measure()
    assert [batch.samples for batch in measured.batches] == [(0, 1), (2,)]
    assert [batch.prompt_tokens for batch in measured.batches] == [(24, 37), (5,)]
    for batch in measured.batches:
        assert len(batch.repeats) == 2
        for repeat in batch.repeats:
            assert len(repeat.step_ms) == 3
            assert repeat.new_tokens == (4,) * len(batch.samples)
            assert repeat.preprocess_ms + repeat.prefill_ms <= repeat.ttft_ms <= repeat.e2e_ms
            assert repeat.decode_ms == pytest.approx(sum(repeat.step_ms))
    assert found.notes == []


def test_a_bad_sample_fails_alone(tmp_path: Path) -> None:
    found = measuring(tmp_path, FEW.model_copy(update={"batch_size": 3}), ["good", "x" * 600, "fine"])
    found.warm_up(1)
    measured = found.measure()
    assert [batch.samples for batch in measured.batches] == [(0, 2)]
    assert [(error.sample, "window of 512 tokens" in error.error) for error in measured.errors] == [(1, True)]


def test_out_of_memory_fails_the_samples_of_its_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = measuring(tmp_path, FEW, ["short", "too long", "short"])
    found.warm_up(1)
    prefill = found.loaded.prefill

    def limited(batch: Batch, cache: Any) -> torch.Tensor:
        if batch.padded_tokens > 5:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 MiB.")
        return prefill(batch, cache)

    monkeypatch.setattr(found.loaded, "prefill", limited)
    measured = found.measure()
    assert [batch.samples for batch in measured.batches] == [(0,), (2,)]
    (error,) = measured.errors
    assert error.error == "out of memory in prefill (1 rows × 8 prompt tokens): 2,097,152 bytes more were asked for"


def test_out_of_memory_in_warm_up_fails_the_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = measuring(tmp_path, FEW, ["short"])

    def refuses(_batch: Batch, _cache: Any) -> torch.Tensor:
        raise MemoryError

    monkeypatch.setattr(found.loaded, "prefill", refuses)
    with pytest.raises(StageError, match="out of memory in prefill"):
        found.warm_up(1)


def test_no_hooks_in_timed_repeats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever ranges are asked for, a timed forward runs on modules as they were loaded."""
    measure = Measure(warmup=0, repeats=1, ranges=("phase", "module", "sample", "step"))
    found = measuring(tmp_path, FEW, PROMPTS[:1], measure)
    seen = []
    decode = found.loaded.decode

    def watched(*args: Any) -> torch.Tensor:
        seen.append(hooks(found.loaded.model))
        return decode(*args)

    monkeypatch.setattr(found.loaded, "decode", watched)
    before = hooks(found.loaded.model)
    found.measure()
    assert seen == [before] * 3
    assert before == 0


def hooks(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"do_sample": True, "temperature": 0.5}, "TopKLogitsWarper(top_k=50"),
        ({"max_new_tokens": 600}, "generation ends at the model's window of 512 tokens"),
    ],
    ids=["processors", "window"],
)
def test_what_was_not_asked_for_is_told(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    found = measuring(tmp_path, FEW.model_copy(update=changes), PROMPTS[:1], Measure(warmup=0, repeats=1))
    found.measure()
    assert any(note.startswith(said) for note in found.notes), found.notes


@pytest.mark.parametrize(("steps", "profiled", "whole"), [(2, 2, False), (5, 5, True), (9, 5, True), (None, 5, True)])
def test_the_profile_covers_the_first_steps(steps: int | None, profiled: int, whole: bool, tmp_path: Path) -> None:
    session = measuring(tmp_path, Infer(max_new_tokens=6, stop_on_eos=False), PROMPTS[:1])
    settings = TorchProfiler(activities=("cpu",), warmup_rounds=1, steps=steps)
    profile = profile_sample(session, settings, 0, tmp_path)
    assert (profile.decode_steps, profile.whole) == (profiled, whole)
    rows = ProfileTables.read(tmp_path / TABLES).operators
    embedded = {row.phase: row.calls for row in rows if row.name == "aten::embedding"}
    assert embedded == {"prefill": 1, "decode": profiled}
    # The timed repeats are as long as they were asked to be.
    assert len(session.run_once((0,)).repeat.step_ms) == 5
