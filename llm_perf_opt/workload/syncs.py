"""Where a model makes the host wait for the device, as torch itself reports it on CUDA.

Our own waits are known and timed; those inside a model's forward are not ours to remove, so they are counted and named.
"""

from __future__ import annotations

import contextlib
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import torch

import llm_perf_opt

# https://docs.pytorch.org/docs/stable/generated/torch.cuda.set_sync_debug_mode.html
_MESSAGE = "called a synchronizing CUDA operation"
_OURS = str(Path(llm_perf_opt.__file__).parent)


@contextlib.contextmanager
def watching_syncs(device: torch.device) -> Iterator[Counter[str]]:
    """Counts, by file and line, of waits outside our own code inside the block; filled when it ends.

    Nothing is counted on a CPU, where there is nothing to wait for.
    """
    found: Counter[str] = Counter()
    if device.type != "cuda":
        yield found
        return
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield found
        finally:
            torch.cuda.set_sync_debug_mode(before)
    for warning in caught:
        if _MESSAGE not in str(warning.message):
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
        elif not warning.filename.startswith(_OURS):
            found[f"{_short(warning.filename)}:{warning.lineno}"] += 1


def _short(filename: str) -> str:
    """The path below the folder that packages are installed in."""
    return filename.rpartition("/site-packages/")[2]
