"""Measured peaks that are kept between runs: one file for each machine, device, number of threads and torch."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import secrets
from collections.abc import Mapping
from pathlib import Path

from llm_perf_opt.hardware.caches import last_level_cache_bytes
from llm_perf_opt.hardware.host import available_cores, cpu_model, memory_total_bytes
from llm_perf_opt.records.peaks import MeasuredPeaks

NOTHING_KEPT = "no peaks of this machine have been measured: `llmperf infer` does it, in seconds, and keeps them"


def cache_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """`$XDG_CACHE_HOME/llmperf`, in `~/.cache` where that is not set."""
    # By the specification a relative path is ignored; a user without a home keeps nothing.
    named = Path(environment.get("XDG_CACHE_HOME", ""))
    if named.is_absolute():
        return named / "llmperf"
    try:
        return Path.home() / ".cache" / "llmperf"
    except RuntimeError:
        return Path(os.devnull) / "llmperf"


def machine_id() -> str:
    """What the figures of one machine are kept under: a home directory may be shared by several."""
    facts = (platform.machine(), cpu_model(), available_cores(), memory_total_bytes(), last_level_cache_bytes())
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


def cache_file(device: str, name: str, threads: int, torch_version: str, folder: Path | None = None) -> Path:
    """Where the peaks of a device are kept."""
    key = hashlib.sha256(repr((device, name, threads, torch_version)).encode()).hexdigest()[:16]
    return (folder or cache_folder()) / f"peaks-{machine_id()}-{key}.json"


def read_kept(file: Path) -> MeasuredPeaks | None:
    """What the file holds; None where there is none, or it cannot be read."""
    try:
        return MeasuredPeaks.read(file)
    except (OSError, ValueError):
        return None


def keep(record: MeasuredPeaks, file: Path) -> MeasuredPeaks:
    """Write the record for later runs; what it then says of where it is kept."""
    kept = record.model_copy(update={"cache": str(file)})
    temporary = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(kept.model_dump_json(indent=2) + "\n", encoding="utf-8")
        temporary.replace(file)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        return record
    return kept


def kept_here(folder: Path | None = None) -> list[MeasuredPeaks]:
    """The newest of each device of this machine."""
    files = (folder or cache_folder()).glob(f"peaks-{machine_id()}-*.json")
    found = [record for file in files if (record := read_kept(file)) is not None]
    newest = {(record.device, record.name): record for record in sorted(found, key=lambda record: record.measured)}
    return list(newest.values())
