"""Out of memory, told in the user's terms: in which phase, of what, how many bytes."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

import torch

from llm_perf_opt.errors import StageError
from llm_perf_opt.workload.loaded import Batch

# torch's own words: CUDA "Tried to allocate 20.00 GiB", CPU "you tried to allocate 1125899906842624 bytes".
_ASKED = re.compile(r"[Tt]ried to allocate ([\d.]+) (bytes|[KMGT]iB)")
_UNITS = {"bytes": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


class OutOfMemoryInPhase(StageError):
    """The memory of the device, or of the host, was not enough."""


@contextlib.contextmanager
def naming_phase(phase: str, batch: Batch | None = None) -> Iterator[None]:
    """Turn an out-of-memory error inside the block into one that names `phase`, the batch and the bytes.

    Raises:
        OutOfMemoryInPhase: instead of torch's or Python's error.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not _is_out_of_memory(error):
            raise
        what = f" ({batch.rows} rows × {batch.padded_tokens:,} prompt tokens)" if batch is not None else ""
        raise OutOfMemoryInPhase(
            f"out of memory in {phase}{what}: {_asked(str(error))}",
            "lower infer.batch_size, infer.max_new_tokens or the size of the inputs, or take a smaller model.dtype",
        ) from error


def _is_out_of_memory(error: BaseException) -> bool:
    text = str(error)
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "DefaultCPUAllocator" in text


def _asked(text: str) -> str:
    """What torch says it wanted, in bytes, and the rest of its sentence where it tells what there was."""
    found = _ASKED.search(text)
    if found is None:
        return text.strip().split("\n", 1)[0] or "the system refused an allocation"
    asked = int(float(found[1]) * _UNITS[found[2]])
    there = re.search(r"GPU \d+ has a total capacity of .*? is free", text)
    return f"{asked:,} bytes more were asked for" + (f" ({there[0]})" if there else "")
