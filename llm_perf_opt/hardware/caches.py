"""How large the caches of this machine's CPUs are, as Linux tells."""

from __future__ import annotations

import os
from pathlib import Path

NOT_TOLD = "this system does not tell the size of its last-level cache"


def last_level_cache_bytes(root: Path = Path("/"), cpus: frozenset[int] | None = None) -> int | None:
    """Bytes of all last-level caches that serve any of `cpus`; None where the system does not tell.

    Args:
        root: where `sys` is; tests point it at made-up files.
        cpus: None takes those that this process may run on.
    """
    allowed = _allowed() if cpus is None else cpus
    caches: dict[tuple[int, str], int] = {}
    for folder in sorted((root / "sys/devices/system/cpu").glob("cpu[0-9]*/cache/index[0-9]*")):
        cpu = int(folder.parents[1].name.removeprefix("cpu"))
        if allowed and cpu not in allowed:
            continue
        try:
            level, kind, size, shared = (
                (folder / name).read_text(encoding="utf-8").strip()
                for name in ("level", "type", "size", "shared_cpu_list")
            )
            if kind != "Instruction":
                caches[int(level), shared] = _bytes(size)
        except (OSError, ValueError):
            continue
    last = max((level for level, _ in caches), default=0)
    return sum(size for (level, _), size in caches.items() if level == last) or None


def _bytes(size: str) -> int:
    """`32768K`: https://docs.kernel.org/admin-guide/abi-stable.html has it in kilobytes, some kernels in others."""
    units = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
    return int(size[:-1]) * units[size[-1]] if size[-1:] in units else int(size)


def _allowed() -> frozenset[int]:
    # macOS has no affinity, and no /sys either.
    return frozenset(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else frozenset()
