"""The measured part of a child's work: warm-up, timed repeats, and what they yield."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from llm_perf_opt.records.workload import BatchResult, Repeat, SampleError
from llm_perf_opt.workload.clock import clock_for
from llm_perf_opt.workload.events import EventWriter
from llm_perf_opt.workload.inputs import BadSampleError
from llm_perf_opt.workload.loaded import Batch, LoadedModel
from llm_perf_opt.workload.loop import Generation, Loop
from llm_perf_opt.workload.order import WorkOrder
from llm_perf_opt.workload.ranges import WARMUP, Ranges


@dataclass(frozen=True)
class BatchWork:
    """Input and output ids of one batch of the first epoch, and where they came from."""

    samples: tuple[int, ...]
    batch: Batch
    generation: Generation
    repeat: Repeat


@dataclass
class Measured:
    """What the timed repeats gave."""

    batches: list[BatchResult] = field(default_factory=list)
    work: list[BatchWork] = field(default_factory=list)
    """One entry a batch: predictions and the fingerprint come from the last repeat."""
    errors: list[SampleError] = field(default_factory=list)


class Session:
    """A loaded model and the order it works on."""

    def __init__(self, order: WorkOrder, loaded: LoadedModel, events: EventWriter) -> None:
        self.order = order
        self.loaded = loaded
        self.events = events
        self.clock = clock_for(loaded.device)
        self.infer = order.config.infer
        self.loop = Loop(loaded, self.infer, self.clock, events)

    def warm_up(self, rounds: int) -> int:
        """Run the first readable sample `rounds` times untimed; how many were run."""
        ranges = Ranges(self.order.config.measure.ranges)
        self.events.phase("warmup", 0, rounds)
        batch = self.first_readable() if rounds else None
        if batch is None:
            return 0
        for done in range(rounds):
            self.events.phase("warmup", done, rounds)
            with ranges.phase(WARMUP):
                self.loop.generate(batch, Ranges(()))
                self.clock.synchronize()
        return rounds

    def measure(self) -> Measured:
        """Every epoch, every batch, every timed repeat; a sample that cannot be read is noted and passed over."""
        measured = Measured()
        chunks = list(self._chunks())
        repeats = self.order.config.measure.repeats
        total = len(chunks) * repeats
        for number, (epoch, samples) in enumerate(chunks):
            self.events.phase("measure", number * repeats, total)
            try:
                readable, runs = samples, [self.run_once(samples)]
            except BadSampleError:
                readable = self._readable(epoch, samples, measured)
                if not readable:
                    continue
                runs = [self.run_once(readable)]
            for repeat in range(1, repeats):
                self.events.phase("measure", number * repeats + repeat, total)
                runs.append(self.run_once(readable))
            last = runs[-1]
            measured.batches.append(
                BatchResult(
                    epoch=epoch,
                    samples=readable,
                    prompt_tokens=last.batch.prompt_tokens,
                    padded_tokens=last.batch.padded_tokens,
                    image_tokens=last.batch.image_tokens,
                    image_sizes=last.batch.image_sizes,
                    views=last.batch.views,
                    repeats=tuple(run.repeat for run in runs),
                )
            )
            measured.work.append(last)
        self.events.phase("measure", total, total)
        return measured

    def run_once(self, samples: tuple[int, ...], ranges: Ranges | None = None) -> BatchWork:
        """Preprocess and generate once, timed from the start of preprocessing."""
        ranges = ranges or Ranges(self.order.config.measure.ranges)
        inputs = self.order.inputs.samples
        start = time.perf_counter()
        with ranges.sample(samples[0]):
            batch = self.loaded.prepare([inputs[index] for index in samples])
            self.clock.synchronize()
            prepared = time.perf_counter()
            generation = self.loop.generate(batch, ranges)
        repeat = Repeat(
            preprocess_ms=(prepared - start) * 1e3,
            ttft_ms=(generation.first_token_at - start) * 1e3,
            prefill_ms=generation.prefill_ms,
            decode_ms=generation.decode_ms,
            step_ms=generation.step_ms,
            host_sync_ms=generation.host_sync_ms,
            e2e_ms=(generation.last_token_at - start) * 1e3,
            new_tokens=tuple(len(row) for row in generation.tokens),
        )
        return BatchWork(samples, batch, generation, repeat)

    def _chunks(self) -> Iterator[tuple[int, tuple[int, ...]]]:
        size = self.infer.batch_size
        for epoch, order in enumerate(self.order.inputs.epochs):
            for start in range(0, len(order), size):
                yield epoch, order[start : start + size]

    def first_readable(self) -> Batch | None:
        """The first sample that can be read, as a batch of its own; None when there is none."""
        for index in dict.fromkeys(index for epoch in self.order.inputs.epochs for index in epoch):
            with contextlib.suppress(BadSampleError):
                return self.loaded.prepare([self.order.inputs.samples[index]])
        return None

    def _readable(self, epoch: int, samples: tuple[int, ...], measured: Measured) -> tuple[int, ...]:
        """Those of `samples` that can be prepared; the others become errors."""
        good = []
        for index in samples:
            sample = self.order.inputs.samples[index]
            try:
                self.loaded.prepare([sample])
            except BadSampleError as error:
                measured.errors.append(SampleError(epoch=epoch, sample=index, source=sample.source, error=str(error)))
            else:
                good.append(index)
        return tuple(good)
