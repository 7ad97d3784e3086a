"""The pass of the memory stage, in the child: where the peak is, then once more to see what it is made of."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from llm_perf_opt.artifacts.files import write_text
from llm_perf_opt.artifacts.layout import MEMORY, MEMORY_SNAPSHOT
from llm_perf_opt.errors import StageError
from llm_perf_opt.records.memory import LiveStorage, MemoryPart, MemoryPeak, PartName
from llm_perf_opt.stages.memory import MemoryStage
from llm_perf_opt.stages.memory.child_tally import Made, Peak, StorageTally, has_storage, tallied_bytes, tensors_in
from llm_perf_opt.workload.job import fingerprint_of
from llm_perf_opt.workload.measure import Session
from llm_perf_opt.workload.memory import resident_bytes
from llm_perf_opt.workload.part import PartContext
from llm_perf_opt.workload.ranges import Ranges, Silent
from llm_perf_opt.workload.torch_private import dump_allocator_snapshot, storage_address

MOST_LARGEST = 20
REST: PartName = "rest"


@dataclass
class Seen:
    """What was alive at the peak."""

    live: dict[int, Made] = field(default_factory=dict)
    parts: dict[int, PartName] = field(default_factory=dict)
    """Storage → the part it is in; those of `rest` are left out."""
    tallied_bytes: int = 0
    resident_bytes: int | None = None
    snapshot: str | None = None


def find_peak(context: PartContext[MemoryStage]) -> None:
    """Run every batch of the first epoch once under the tally, then the one with the peak again, up to the peak."""
    session = context.session
    device = session.loaded.device
    batches = list(session.readable_batches())
    if not batches:
        raise StageError("none of the samples could be read", "check the dataset")
    work: list[tuple[list[list[int]], list[list[int]]]] = []
    peaks: dict[tuple[int, ...], Peak] = {}
    by_phase: dict[str, int] = {}
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    for number, samples in enumerate(batches):
        session.events.phase("memory", number, len(batches) + 1)
        gc.collect()
        with StorageTally(device) as tally:
            done = session.run_once(samples, _Phases(tally))
            work.append((done.batch.input_ids.tolist(), done.generation.tokens))
            del done
        peaks[samples] = tally.peak
        for phase, size in tally.by_phase.items():
            by_phase[phase] = max(by_phase.get(phase, 0), size)
    allocator_peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
    samples = max(peaks, key=lambda found: peaks[found].bytes)
    session.events.phase("memory", len(batches), len(batches) + 1)
    seen = _look_again(session, samples, peaks[samples], context.output_dir)
    record = _record(seen, peaks[samples], allocator_peak).model_copy(
        update={
            "work_fingerprint": fingerprint_of(session, work),
            "device": str(device),
            "samples": samples,
            "by_phase_bytes": by_phase,
        }
    )
    write_text(context.output_dir / MEMORY, record.model_dump_json(indent=2) + "\n")


def _look_again(session: Session, samples: tuple[int, ...], peak: Peak, output_dir: Path) -> Seen:
    """What is alive when as many operators have run as had at the peak."""
    seen = Seen()
    held = _Held()

    def look(tally: StorageTally) -> None:
        seen.live = dict(tally.live)
        seen.parts = _parts(session, held)
        seen.tallied_bytes = tallied_bytes(tally.device)
        seen.resident_bytes = resident_bytes()
        seen.snapshot = _snapshot(tally.device, output_dir)

    gc.collect()
    with held.watching(session), StorageTally(session.loaded.device, stop_at=peak.operators, look=look) as tally:
        session.run_once(samples, _Phases(tally))
    if not seen.live:
        raise StageError(
            "the second pass ran fewer operators than the first, so what the peak is made of was not seen",
            "decode greedily: infer.do_sample: false",
        )
    return seen


class _Held:
    """The batch and the cache that a generation works on."""

    def __init__(self) -> None:
        self.batch: Any = None
        self.cache: Any = None

    @contextmanager
    def watching(self, session: Session) -> Iterator[None]:
        loaded = session.loaded
        prefill = loaded.prefill

        def noted(batch: Any, cache: Any) -> torch.Tensor:
            self.batch, self.cache = batch, cache
            return prefill(batch, cache)

        loaded.prefill = noted  # type: ignore[method-assign]
        try:
            yield
        finally:
            del loaded.prefill
            self.batch = self.cache = None


def _parts(session: Session, held: _Held) -> dict[int, PartName]:
    model = session.loaded.model
    groups: tuple[tuple[PartName, Iterable[torch.Tensor]], ...] = (
        ("weights", model.parameters()),
        ("buffers", model.buffers()),
        ("cache", tensors_in(held.cache)),
        ("inputs", tensors_in(held.batch)),
    )
    found: dict[int, PartName] = {}
    for name, tensors in groups:
        for tensor in tensors:
            if has_storage(tensor):
                found.setdefault(storage_address(tensor.untyped_storage()), name)
    return found


def _record(seen: Seen, peak: Peak, allocator_peak: int | None) -> MemoryPeak:
    """The record, but for what the pass was of."""
    names: tuple[PartName, ...] = ("weights", "buffers", "cache", "inputs", REST)
    grouped: dict[PartName, list[Made]] = {name: [] for name in names}
    for key, made in seen.live.items():
        grouped[seen.parts.get(key, REST)].append(made)
    parts = tuple(
        MemoryPart(name=name, bytes=sum(made.bytes for made in found), storages=len(found))
        for name, found in grouped.items()
    )
    total = sum(part.bytes for part in parts)
    largest = sorted(grouped[REST], key=lambda made: -made.bytes)[:MOST_LARGEST]
    notes = []
    if total != peak.bytes:
        notes.append(f"the second pass held {total:,} bytes where the first had its peak of {peak.bytes:,}")
    return MemoryPeak(
        work_fingerprint=None,
        device="",
        peak_bytes=total,
        parts=parts,
        largest=tuple(LiveStorage(**vars(made)) for made in largest),
        phase=peak.phase,
        operator=peak.operator,
        samples=(),
        by_phase_bytes={},
        tallied_bytes=seen.tallied_bytes,
        resident_bytes=seen.resident_bytes,
        allocator_peak_bytes=allocator_peak,
        unexplained_bytes=None if allocator_peak is None else allocator_peak - total,
        snapshot=seen.snapshot,
        notes=tuple(notes),
    )


def _snapshot(device: torch.device, output_dir: Path) -> str | None:
    """The CUDA allocator's own account of the moment, for torch's memory viewer."""
    written = device.type == "cuda" and dump_allocator_snapshot(output_dir / MEMORY_SNAPSHOT)
    return MEMORY_SNAPSHOT if written else None


class _Phases(Ranges):
    """Tells the tally which phase it is in; pushes nothing."""

    def __init__(self, tally: StorageTally) -> None:
        super().__init__(())
        self._tally = tally

    def phase(self, name: str) -> Silent:
        return _Phase(name, self._tally)


class _Phase(Silent):
    __slots__ = ("_name", "_tally")

    def __init__(self, name: str, tally: StorageTally) -> None:
        self._name = name
        self._tally = tally

    def __enter__(self) -> None:
        self._tally.phase = self._name

    def __exit__(self, *_: object) -> None:
        self._tally.phase = None
