"""Waits inside a model's forward are counted and named, ours are not."""

from __future__ import annotations

import warnings

import pytest
import torch

from llm_perf_opt.workload import clock
from llm_perf_opt.workload.syncs import watching_syncs

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
