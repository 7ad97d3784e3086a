"""Peak memory by phase: reset where it can be, and a reason where it cannot."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from llm_perf_opt.workload.memory import CLEAR_REFS, MemoryWatch

CPU = torch.device("cpu")
STATUS = "Name:\tpython\nVmPeak:\t 9999 kB\nVmHWM:\t    2048 kB\nVmRSS:\t 1024 kB\n"


def test_peaks_are_read_from_the_kernel_and_reset_before_each_phase(tmp_path: Path) -> None:
    clear, status = tmp_path / "clear_refs", tmp_path / "status"
    status.write_text(STATUS)
    watch = MemoryWatch(CPU, clear_refs=clear, status=status)
    with watch.phase("load"):
        assert clear.read_text() == "5"
        clear.unlink()
    with watch.phase("timed repeats"):
        assert clear.read_text() == "5"
        status.write_text(STATUS.replace("2048", "4096"))
    found = watch.record()
    assert [(phase.phase, phase.host_bytes) for phase in found.phases] == [
        ("load", 2 << 20),
        ("timed repeats", 4 << 20),
    ]
    assert found.peak_bytes == 4 << 20
    assert found.source == "resident set of the child, timed repeats; libraries and weights included"
    assert found.device_reason == "the model runs on the CPU"
    assert found.host_reason is None


def test_a_kernel_that_does_not_reset(tmp_path: Path) -> None:
    watch = MemoryWatch(CPU, clear_refs=tmp_path / "none" / "clear_refs", status=tmp_path / "status")
    with watch.phase("timed repeats"):
        pass
    found = watch.record()
    assert found.phases[0].host_bytes is None
    assert "cannot be reset here: No such file" in str(found.host_reason)
    assert found.peak_bytes is not None
    assert "since its start" in found.source


def test_a_kernel_that_gives_no_peak(tmp_path: Path) -> None:
    status = tmp_path / "status"
    status.write_text("Name:\tpython\n")
    watch = MemoryWatch(CPU, clear_refs=tmp_path / "clear_refs", status=status)
    with watch.phase("load"):
        pass
    assert "gives no VmHWM" in str(watch.record().host_reason)


@pytest.mark.skipif(not CLEAR_REFS.exists(), reason="Linux only")
def test_a_real_allocation_is_seen_in_its_phase_only() -> None:
    watch = MemoryWatch(CPU)
    size = 256 << 20
    with watch.phase("prefill"):
        block = bytearray(size)
        block[::4096] = b"x" * len(block[::4096])
        del block
    with watch.phase("decode"):
        pass
    found = watch.record()
    if found.host_reason is not None:
        pytest.skip(found.host_reason)
    prefill, decode = (phase.host_bytes for phase in found.phases)
    assert prefill is not None
    assert decode is not None
    assert prefill - decode > size * 0.8
