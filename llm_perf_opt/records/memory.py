"""`memory/memory.json`: what the peak of tensor memory is made of."""

from __future__ import annotations

from typing import ClassVar, Literal

from llm_perf_opt.records.base import Record

PartName = Literal["weights", "buffers", "cache", "inputs", "rest"]


class MemoryPart(Record):
    """Storages of one kind that were alive at the peak; a storage counts once, in the first part that holds it."""

    name: PartName
    """`rest`: activations, temporaries and whatever else is in none of the other parts."""
    bytes: int
    storages: int


class LiveStorage(Record):
    """One storage of `rest`."""

    bytes: int
    shape: tuple[int, ...]
    """Of the tensor it was made for."""
    dtype: str
    operator: str | None
    """What made it; null where it was there before the pass began."""
    phase: str | None
    """In which phase."""


class MemoryPeak(Record):
    """The moment of the pass at which the most bytes of tensors were alive, on the device that the model runs on."""

    SUMMARY: ClassVar[str] = "memory"

    schema_version: Literal[1] = 1
    work_fingerprint: str | None
    device: str
    peak_bytes: int
    """Sum of the parts: bytes of live storages, whole, after the operator at the peak."""
    parts: tuple[MemoryPart, ...]
    largest: tuple[LiveStorage, ...]
    """Of `rest`, largest first."""
    phase: str | None
    """Of the peak."""
    operator: str | None
    """After which the peak was reached."""
    samples: tuple[int, ...]
    """Of the batch in which it was reached."""
    by_phase_bytes: dict[str, int]
    """Peak of each phase of the pass."""
    tallied_bytes: int
    """The same moment counted a second way: every live tensor, by storage pointer."""
    resident_bytes: int | None
    """Resident set of the process at that moment: libraries too, so never added to tensor bytes; null off Linux."""
    allocator_peak_bytes: int | None
    """What torch's CUDA allocator gives as its peak in the pass; null on a CPU."""
    unexplained_bytes: int | None
    """Of it, in no part: rounding of blocks, and memory that an operator takes and returns within itself."""
    snapshot: str | None = None
    """File with the allocator's own snapshot at the peak, beside this one; null where torch offers none."""
    notes: tuple[str, ...] = ()
