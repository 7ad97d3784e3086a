"""Explicit prefill, then decoding token by token on the KV cache; one loop for every model and execution mode.

The device is waited for at the edges of the phases only. Step times are marks in the device's queue, read after
decoding. Where the loop must look at a token on the host in every step (end of sequence, n-gram check), the time that
takes is kept apart as `host_sync`.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from llm_perf_opt.config.schema import Infer
from llm_perf_opt.workload.clock import Clock
from llm_perf_opt.workload.events import EventWriter
from llm_perf_opt.workload.execution import Decoding, Execution
from llm_perf_opt.workload.loaded import Batch, LoadedModel
from llm_perf_opt.workload.out_of_memory import naming_phase
from llm_perf_opt.workload.ranges import DECODE, PREFILL, AnyRange, Ranges
from llm_perf_opt.workload.selection import Choice, Selector


@dataclass(frozen=True)
class Generation:
    """Tokens of one batch and the times of making them."""

    tokens: list[list[int]]
    """For each row, up to and with its end-of-sequence token."""
    first_token_at: float
    """Host clock (`time.perf_counter`), seconds, when the first token ids were on the host."""
    last_token_at: float
    prefill_ms: float
    decode_ms: float | None
    step_ms: tuple[float, ...]
    host_sync_ms: float


class History:
    """All ids so far, in one buffer that is written in place: (rows, prompt + new tokens)."""

    def __init__(self, prompt: torch.Tensor, most_new: int) -> None:
        rows, length = prompt.shape
        self._buffer = prompt.new_zeros((rows, length + most_new))
        self._buffer[:, :length] = prompt
        self._length = length

    def append(self, token: torch.Tensor) -> None:
        self._buffer[:, self._length] = token
        self._length += 1

    @property
    def ids(self) -> torch.Tensor:
        return self._buffer[:, : self._length]


class Loop:
    """The loop over one loaded model."""

    def __init__(self, loaded: LoadedModel, infer: Infer, clock: Clock[Any], events: EventWriter) -> None:
        self.loaded = loaded
        self.infer = infer
        self.clock = clock
        self.events = events
        self.selector = Selector(loaded.model, infer)
        self.execution = Execution(loaded, infer)

    @torch.inference_mode()
    def generate(self, batch: Batch, ranges: Ranges, *, most_steps: int | None = None) -> Generation:
        """Generate up to `infer.max_new_tokens` for every row of `batch`, or up to the model's window.

        Args:
            most_steps: end after so many decode steps; None has no such limit.

        Raises:
            OutOfMemoryInPhase: naming the phase and the bytes.
        """
        loaded, clock = self.loaded, self.clock
        most_new = loaded.most_new(batch, self.infer.max_new_tokens)
        if most_steps is not None:
            most_new = min(most_new, most_steps + 1)
        torch.manual_seed(self.infer.seed)
        select = self.selector.for_batch(batch)
        history = History(batch.input_ids, most_new)
        finish = _Finish(loaded, self.infer, batch.rows)
        with naming_phase("allocation of the cache", batch):
            decoding = self.execution.begin(batch)
        clock.synchronize()
        with ranges.phase(PREFILL), naming_phase(PREFILL, batch):
            start = clock.mark()
            token = select(history.ids, decoding.prefill())
            prefilled = clock.mark()
            finish.look(token, clock.read(token))
            first_token_at = clock.now()
        prefill_ms = clock.elapsed_ms(start, prefilled)
        history.append(token)
        if most_new == 1 or finish.all_rows:
            return Generation(finish.rows(history, batch), first_token_at, first_token_at, prefill_ms, None, (), 0.0)

        marks = [prefilled]
        step_ranges = ranges.steps(most_new - 1)
        with loaded.decoding(), ranges.phase(DECODE), naming_phase(DECODE, batch):
            host_sync_s = self._decode(
                decoding, token, select=select, history=history, finish=finish, marks=marks, step_ranges=step_ranges
            )
            clock.synchronize()
            tokens = finish.rows(history, batch)
            last_token_at = clock.now()
        steps = tuple(clock.elapsed_ms(before, after) for before, after in itertools.pairwise(marks))
        decode_ms = clock.elapsed_ms(marks[0], marks[-1])
        return Generation(tokens, first_token_at, last_token_at, prefill_ms, decode_ms, steps, host_sync_s * 1e3)

    def _decode(
        self,
        decoding: Decoding,
        token: torch.Tensor,
        *,
        select: Choice,
        history: History,
        finish: _Finish,
        marks: list[Any],
        step_ranges: Sequence[AnyRange],
    ) -> float:
        """Decode until every row has ended or there is a range for no further step; the seconds of host syncs.

        With `stop_on_eos` off and without logits processors nothing in here waits for the device.
        """
        clock, events, stop_on_eos = self.clock, self.events, self.infer.stop_on_eos
        processes = bool(select.processors)
        host_sync_s = 0.0
        for step_range in step_ranges:
            with step_range:
                logits = decoding.step(token)
                host = clock.now() if processes else 0.0
                token = finish.fill(select(history.ids, logits))
                if processes:
                    host_sync_s += clock.now() - host
                history.append(token)
                marks.append(clock.mark())
                events.count += 1
                if stop_on_eos:
                    host = clock.now()
                    stop = finish.look(token, clock.read(token))
                    host_sync_s += clock.now() - host
                    if stop:
                        break
        return host_sync_s


class _Finish:
    """Which rows have made their end-of-sequence token; nothing is looked at when `stop_on_eos` is off."""

    def __init__(self, loaded: LoadedModel, infer: Infer, rows: int) -> None:
        self._eos = frozenset(loaded.eos_token_ids) if infer.stop_on_eos else frozenset()
        self._eos_on_device = torch.tensor(sorted(self._eos), device=loaded.device)
        self._pad = loaded.pad_token_id
        self._done = [False] * rows
        self._ended: torch.Tensor | None = None

    @property
    def all_rows(self) -> bool:
        return all(self._done)

    def look(self, token: torch.Tensor, values: list[int]) -> bool:
        """Note the rows that `token` (rows,), whose content is `values`, ends; True when all have ended."""
        ends = [value in self._eos and not done for value, done in zip(values, self._done, strict=True)]
        if any(ends):
            self._done = [done or end for done, end in zip(self._done, ends, strict=True)]
            # Worked out on the device too: a copy of the list would wait there.
            ended = (token[:, None] == self._eos_on_device).any(-1)
            self._ended = ended if self._ended is None else self._ended | ended
        return self.all_rows

    def fill(self, token: torch.Tensor) -> torch.Tensor:
        """`token` with the padding id in rows that have ended."""
        return token if self._ended is None else token.masked_fill(self._ended, self._pad)

    def rows(self, history: History, batch: Batch) -> list[list[int]]:
        """New tokens of each row, up to and with its end-of-sequence token."""
        found = []
        for row in history.ids[:, batch.padded_tokens :].tolist():
            end = next((index for index, token in enumerate(row) if token in self._eos), len(row) - 1)
            found.append(row[: end + 1])
        return found
