"""The measured part of a child's work: warm-up, timed repeats, and what they yield."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from llm_perf_opt.records.workload import BatchResult, Compilation, GraphBreak, Recompiled, Repeat, SampleError
from llm_perf_opt.workload.clock import clock_for
from llm_perf_opt.workload.events import EventWriter
from llm_perf_opt.workload.inputs import BadSampleError
from llm_perf_opt.workload.joining import is_sharded, wait_for_ranks
from llm_perf_opt.workload.loaded import Batch, LoadedModel
from llm_perf_opt.workload.loop import Generation, Loop
from llm_perf_opt.workload.order import WorkOrder
from llm_perf_opt.workload.out_of_memory import OutOfMemoryInPhase
from llm_perf_opt.workload.ranges import WARMUP, Ranges
from llm_perf_opt.workload.ranks import Ranks
from llm_perf_opt.workload.syncs import watching_syncs
from llm_perf_opt.workload.torch_private import CompileHistory, compile_history
from llm_perf_opt.workload.transformers_private import missing
from llm_perf_opt.workload.watching import PhaseSpan


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

    def __init__(self, order: WorkOrder, loaded: LoadedModel, events: EventWriter, ranks: Ranks | None = None) -> None:
        self.order = order
        self.ranks = ranks
        self.loaded = loaded
        self.events = events
        self.clock = clock_for(loaded.device, wait_for_ranks if is_sharded() else None)
        self.infer = order.config.infer
        self.loop = Loop(loaded, self.infer, self.clock, events)
        self.make_ranges: Callable[[], Ranges] = lambda: Ranges(order.config.measure.ranges)
        """The ranges of one timed repeat."""
        self.notes: list[str] = [*loaded.built.notes]
        """What a reader of the figures must know, in words."""
        self.spans: list[PhaseSpan] = []
        """Phases of the runs so far, for those who watch the timed repeats."""
        self.middle: list[Callable[[], None]] = []
        """Called once, before the repeat with which the second half of all begins."""
        self._compiled: CompileHistory | None = None
        """When the timed repeats begin."""
        self.compilation: Compilation | None = None
        """What was compiled, known when they have ended."""
        self._waits: Counter[str] = Counter()

    def warm_up(self, rounds: int) -> int:
        """Run untimed `rounds` times, so that nothing happens for the first time in a timed repeat; how many were run.

        A compiled or captured step, and a fixed cache, are made here: every shape of batch is run, at least once
        whatever `rounds` says.
        """
        execution = self.loop.execution
        rounds = max(rounds, 1) if execution.needs_preparation else rounds
        ranges = Ranges(self.order.config.measure.ranges)
        self.events.phase("warmup", 0, rounds)
        batches = self._warm_up_batches() if rounds else []
        for done in range(rounds if batches else 0):
            self.events.phase("warmup", done, rounds)
            for batch in batches:
                # Watched while nothing is timed, and again in each round: what waits only at first is left behind.
                with ranges.phase(WARMUP), watching_syncs(self.loaded.device) as waits:
                    self.loop.generate(batch, Ranges(()))
                    self.clock.synchronize()
                self._waits = waits
        self._compiled = compile_history() if execution.compiles else None
        return rounds if batches else 0

    def _warm_up_batches(self) -> list[Batch]:
        """The first batch; where shapes matter, the first of every shape, with room made for the longest of all."""
        execution = self.loop.execution
        found: dict[tuple[int, bool], Batch] = {}
        for samples in dict.fromkeys(samples for _, samples in self._chunks()):
            batch = self._prepared(samples)
            if batch is None:
                continue
            found.setdefault((batch.rows, batch.attention_mask is None), batch)
            if not execution.needs_preparation:
                break
            execution.reserve(batch)
        return list(found.values())

    def _prepared(self, samples: tuple[int, ...]) -> Batch | None:
        """A batch of those of `samples` that can be read."""
        inputs = self.order.inputs.samples
        try:
            return self.loaded.prepare([inputs[index] for index in samples])
        except BadSampleError:
            readable = self._sorted_out(samples)[0]
            return self.loaded.prepare([inputs[index] for index in readable]) if readable else None

    def measure(self) -> Measured:
        """Every epoch, every batch, every timed repeat; a sample that cannot be run is noted and passed over."""
        measured = Measured()
        chunks = list(self._chunks())
        repeats = self.order.config.measure.repeats
        total = len(chunks) * repeats
        for number, (epoch, samples) in enumerate(chunks):
            self._measure_batch(measured, epoch, samples, done=number * repeats, total=total)
        self.events.phase("measure", total, total)
        self._note(measured)
        return measured

    def _note(self, measured: Measured) -> None:
        """Say what happened beside what was asked for."""
        if self.loop.execution.compiles:
            self._note_graphs()
        self.notes += missing()
        if self._waits:
            places = ", ".join(f"{place} ({count})" for place, count in self._waits.most_common())
            self.notes.append(
                f"code outside llmperf makes the host wait for the device, in the last warm-up run at {places}"
            )
        wanted = self.infer.max_new_tokens
        if any(self.loaded.most_new(work.batch, wanted) < wanted for work in measured.work):
            self.notes.append(f"generation ends at the model's window of {self.loaded.window:,} tokens")
        for processor in self.loop.selector.unasked(measured.work[0].batch) if measured.work else ():
            self.notes.append(f"{processor} is applied: generation_config.json or transformers' default asks for it")

    def _note_graphs(self) -> None:
        now = compile_history()
        if now is None or self._compiled is None:
            self.notes.append(
                "whether graphs were compiled in timed repeats is unknown: this torch does not count them"
            )
            return
        self.compilation = compilation_of(self._compiled, now)
        if late := self.compilation.late_graphs:
            self.notes.append(f"{late} graphs were compiled in timed repeats: their times are of compiling too")

    def _measure_batch(
        self, measured: Measured, epoch: int, samples: tuple[int, ...], *, done: int, total: int
    ) -> None:
        runs: list[BatchWork] = []
        readable = samples
        try:
            for repeat in range(self.order.config.measure.repeats):
                self.events.phase("measure", done + repeat, total)
                if self.middle and 2 * (done + repeat) >= total:
                    self._pass_the_middle()
                try:
                    runs.append(self.run_once(readable))
                except BadSampleError:
                    readable, errors = self._sorted_out(samples)
                    measured.errors += [self._error(epoch, index, text) for index, text in errors.items()]
                    if not readable:
                        return
                    runs.clear()
                    runs.append(self.run_once(readable))
        except OutOfMemoryInPhase as error:
            if is_sharded():
                raise  # the other ranks are in the middle of this batch
            measured.errors += [self._error(epoch, index, error.message) for index in readable]
            return
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

    def _pass_the_middle(self) -> None:
        for function in self.middle:
            function()
        self.middle.clear()

    def _error(self, epoch: int, sample: int, text: str) -> SampleError:
        return SampleError(epoch=epoch, sample=sample, source=self.order.inputs.samples[sample].source, error=text)

    def run_once(
        self, samples: tuple[int, ...], ranges: Ranges | None = None, *, most_steps: int | None = None
    ) -> BatchWork:
        """Preprocess and generate once, timed from the start of preprocessing; at most `most_steps` decode steps."""
        ranges = ranges or self.make_ranges()
        inputs = self.order.inputs.samples
        start = self.clock.now()
        with ranges.sample(samples[0]):
            batch = self.loaded.prepare([inputs[index] for index in samples])
            self.clock.synchronize()
            prepared = self.clock.now()
            generation = self.loop.generate(batch, ranges, most_steps=most_steps)
        self.spans += [
            PhaseSpan("preprocess", start, prepared),
            PhaseSpan("prefill", prepared, generation.first_token_at),
            PhaseSpan("decode", generation.first_token_at, generation.last_token_at),
        ]
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

    def readable_batches(self) -> Iterator[tuple[int, ...]]:
        """The samples of each batch of the first epoch that can be read."""
        for epoch, samples in self._chunks():
            if epoch == 0 and (readable := self._sorted_out(samples)[0]):
                yield readable

    def first_readable(self) -> Batch | None:
        """The first sample that can be read, as a batch of its own; None when there is none."""
        for index in dict.fromkeys(index for epoch in self.order.inputs.epochs for index in epoch):
            with contextlib.suppress(BadSampleError):
                return self.loaded.prepare([self.order.inputs.samples[index]])
        return None

    def _sorted_out(self, samples: tuple[int, ...]) -> tuple[tuple[int, ...], dict[int, str]]:
        """Those of `samples` that can be prepared, and what is wrong with each of the others."""
        good, errors = [], {}
        for index in samples:
            try:
                self.loaded.prepare([self.order.inputs.samples[index]])
            except BadSampleError as error:
                errors[index] = str(error)
            else:
                good.append(index)
        return tuple(good), errors


def compilation_of(before: CompileHistory, now: CompileHistory) -> Compilation:
    """What was compiled in all, and since `before`."""
    known = {item.key for item in before.compilations}
    breaks = sorted(now.breaks.items(), key=lambda item: -item[1])
    skips = (item.skipped_cuda_graph for item in now.compilations)
    return Compilation(
        graphs=now.graphs,
        compile_s=sum(item.seconds for item in now.compilations),
        breaks=tuple(GraphBreak(reason=reason, count=count) for reason, count in breaks),
        cuda_graphs_skipped=now.cuda_graphs_skipped,
        cuda_graph_skip_reasons=tuple(dict.fromkeys(why for why in skips if why is not None)),
        late_graphs=now.graphs - before.graphs,
        late=tuple(
            Recompiled(function=item.function, reason=item.reason, seconds=item.seconds)
            for item in now.compilations
            if item.key not in known
        ),
    )
