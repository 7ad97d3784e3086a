"""Room for reports: captures are large, and a full disk loses them."""

from __future__ import annotations

from pathlib import Path

from llm_perf_opt.hardware.doctor.finding import Finding, Surroundings

# A one-minute nsys capture with its SQLite export is about one to three GB.
LITTLE_BYTES = 5 * 10**9


def check_disk(surroundings: Surroundings) -> tuple[Finding, ...]:
    """The working directory, where runs go by default, and the temporary directory, where nsys writes first."""
    return (
        _room(surroundings, "disk", surroundings.working_directory, "choose another place with --output"),
        _room(surroundings, "temporary", surroundings.temporary_directory, "set TMPDIR to a larger place"),
    )


def _room(surroundings: Surroundings, name: str, path: Path, remedy: str) -> Finding:
    try:
        free = surroundings.free_bytes(path)
    except OSError as error:
        return Finding(name, "unknown", f"{path}: {error.strerror or error}", remedy)
    detail = f"{free / 1e9:.1f} GB free in {path}"
    if free < LITTLE_BYTES:
        return Finding(name, "warn", f"{detail}; captures may need {LITTLE_BYTES / 1e9:.0f} GB", remedy)
    return Finding(name, "ok", detail)
