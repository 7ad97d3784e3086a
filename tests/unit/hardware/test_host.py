"""Host facts from recorded files of /proc and /etc."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from llm_perf_opt.hardware.host import (
    cpu_model,
    environment_record,
    library_versions,
    memory_total_bytes,
    operating_system,
    relevant_environment,
)
from llm_perf_opt.records.environment import EnvironmentRecord
from llm_perf_opt.records.hardware import GpuInventory


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    (tmp_path / "etc").mkdir()
    (tmp_path / "proc").mkdir()
    (tmp_path / "etc/os-release").write_text('NAME="Ubuntu"\nPRETTY_NAME="Ubuntu 24.04.2 LTS"\n')
    (tmp_path / "proc/cpuinfo").write_text(
        "processor\t: 0\nmodel name\t: AMD EPYC 9575F 64-Core Processor\nflags\t: a\n"
    )
    (tmp_path / "proc/meminfo").write_text("MemTotal:       263899552 kB\nMemFree:        1 kB\n")
    return tmp_path


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS has neither /etc/os-release nor /proc")
def test_linux_files_are_read(recorded: Path) -> None:
    assert operating_system(recorded) == "Ubuntu 24.04.2 LTS"
    assert cpu_model(recorded) == "AMD EPYC 9575F 64-Core Processor"
    assert memory_total_bytes(recorded) == 263899552 * 1024


def test_missing_files_are_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.processor", lambda: "")  # the first caller of the real one starts `uname`
    assert operating_system(tmp_path)
    assert memory_total_bytes(tmp_path)
    assert cpu_model(tmp_path) is None


def test_versions_come_from_metadata_alone() -> None:
    versions = library_versions()
    assert versions["torch"] and versions["pydantic"] and versions["nvidia-ml-py"]
    assert versions["flash-attn"] is None or versions["flash-attn"]


def test_only_variables_that_matter_are_kept_and_secrets_hidden() -> None:
    kept = relevant_environment(
        {
            "HF_TOKEN": "hf_abcdef0123456789",
            "HF_HOME": "/cache",
            "CUDA_VISIBLE_DEVICES": "1",
            "LLMPERF_DEBUG": "1",
            "AWS_SECRET_ACCESS_KEY": "x",
            "HOME": "/home/someone",
            "SSH_AUTH_SOCK": "/run/x",
        }
    )
    assert kept == {"CUDA_VISIBLE_DEVICES": "1", "HF_HOME": "/cache", "HF_TOKEN": "***", "LLMPERF_DEBUG": "1"}


def test_the_record_is_complete_and_reads_back(recorded: Path) -> None:
    record = environment_record({"OMP_NUM_THREADS": "1"}, root=recorded, gpus=lambda: GpuInventory(none_because="test"))
    assert record.schema_version == 1
    assert record.environment == {"OMP_NUM_THREADS": "1"}
    assert EnvironmentRecord.model_validate_json(record.model_dump_json()) == record
