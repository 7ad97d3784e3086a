"""Waits inside a model's forward are counted and named, ours are not."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from llm_perf_opt.config.schema import Infer, Measure
from llm_perf_opt.reports.document import Document
from llm_perf_opt.reports.html import to_html
from llm_perf_opt.reports.markdown import to_markdown
from llm_perf_opt.reports.sections import work
from llm_perf_opt.reports.write import summary
from llm_perf_opt.workload import clock
from llm_perf_opt.workload.syncs import watching_syncs
from tests import records
from tests.unit.workload.models import PROMPTS, measuring

WAITS = "called a synchronizing CUDA operation (Triggered internally at CUDAFunctions.cpp:62.)"


@pytest.fixture
def modes(monkeypatch: pytest.MonkeyPatch) -> list[str | int]:
    """What the debug mode was set to."""
    found: list[str | int] = []
    monkeypatch.setattr(torch.cuda, "get_sync_debug_mode", lambda: 0)
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", found.append)
    return found


def test_waits_of_others_are_counted_by_place(modes: list[str | int]) -> None:
    with watching_syncs(torch.device("cuda:0")) as found:
        for _ in range(3):
            warnings.warn_explicit(WAITS, UserWarning, "/env/site-packages/transformers/masking_utils.py", 303)
        warnings.warn_explicit(WAITS, UserWarning, clock.__file__, 60)
    assert found == {"transformers/masking_utils.py:303": 3}
    assert modes == ["warn", 0]


def test_other_warnings_pass(modes: list[str | int]) -> None:
    with pytest.warns(UserWarning, match="something else"), watching_syncs(torch.device("cuda:0")) as found:
        warnings.warn("something else", stacklevel=1)
    assert not found


def test_the_mode_is_put_back_after_an_error(modes: list[str | int]) -> None:
    with pytest.raises(RuntimeError, match="broken"), watching_syncs(torch.device("cuda:0")):
        raise RuntimeError("broken")
    assert modes == ["warn", 0]


@pytest.mark.filterwarnings("ignore:seen")
def test_nothing_is_watched_on_a_cpu(modes: list[str | int]) -> None:
    with watching_syncs(torch.device("cpu")) as found:
        warnings.warn("seen", stacklevel=1)
    assert not found
    assert modes == []


def test_from_a_wait_to_the_words_of_the_report(
    modes: list[str | int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that waits once in prefill and twice in each of three steps; loading what waits at first is left out."""
    infer = Infer(max_new_tokens=4, stop_on_eos=False)
    found = measuring(tmp_path, infer, PROMPTS[:1], Measure(warmup=2, repeats=1))
    monkeypatch.setattr(
        "llm_perf_opt.workload.measure.watching_syncs", lambda _device: watching_syncs(torch.device("cuda:0"))
    )
    seen = 0

    def waits(line: int) -> None:
        warnings.warn_explicit(WAITS, UserWarning, "/env/site-packages/transformers/modeling_some.py", line)

    def forward(_module: Any, _args: Any, kwargs: Any, _output: Any) -> None:
        nonlocal seen
        seen += 1
        if seen == 1:
            waits(1)
        for line in (20, 20) if kwargs["input_ids"].shape[1] == 1 else (10,):
            waits(line)
        warnings.warn_explicit(WAITS, UserWarning, clock.__file__, 60)

    found.loaded.model.register_forward_hook(forward, with_kwargs=True)
    found.warm_up(2)
    assert modes == ["warn", 0, "warn", 0]
    monkeypatch.undo()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found.measure()
    record = records.workload(notes=tuple(found.notes))
    facts = records.facts(records.measured(record))
    section = work.section(facts)
    assert section is not None
    places = "transformers/modeling_some.py:20 (6), transformers/modeling_some.py:10 (1)"
    words = f"code outside llmperf makes the host wait for the device, in the last warm-up run at {places}"
    assert found.notes == [words]
    document = Document("t", (section,))
    assert words in to_markdown(document).replace("\\_", "_")
    assert words in to_html(document)
    assert words in str(summary(facts))
