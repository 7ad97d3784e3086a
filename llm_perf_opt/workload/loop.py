"""Explicit prefill, then decoding token by token on the KV cache; one loop for every model and execution mode.

The device is waited for at the edges of the phases only. Step times are marks in the device's queue, read after
decoding. Where the loop must look at a token on the host in every step (end of sequence, n-gram check), the time that
takes is kept apart as `host_sync`.
"""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass
from typing import Any

import torch

from llm_perf_opt.config.schema import Infer
from llm_perf_opt.workload.clock import Clock
from llm_perf_opt.workload.events import EventWriter
from llm_perf_opt.workload.loaded import Batch, LoadedModel
from llm_perf_opt.workload.ranges import DECODE, PREFILL, Ranges
from llm_perf_opt.workload.selection import Selector


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


@dataclass(frozen=True)
class Loop:
    """The loop over one loaded model."""

    loaded: LoadedModel
    infer: Infer
    clock: Clock[Any]
    events: EventWriter

    @torch.inference_mode()
    def generate(self, batch: Batch, ranges: Ranges) -> Generation:
        """Generate up to `infer.max_new_tokens` for every row of `batch`."""
        loaded, infer, clock = self.loaded, self.infer, self.clock
        torch.manual_seed(infer.seed)
        select = Selector(infer)
        history = History(batch.input_ids, infer.max_new_tokens)
        cache = loaded.new_cache()
        clock.synchronize()
        with ranges.phase(PREFILL):
            start = clock.mark()
            token = select(history.ids, loaded.prefill(batch, cache))
            prefilled = clock.mark()
            finish = _Finish(loaded, infer, token.tolist())
            first_token_at = time.perf_counter()
        prefill_ms = clock.elapsed_ms(start, prefilled)
        history.append(token)
        if infer.max_new_tokens == 1 or finish.all_rows:
            return Generation(finish.rows(history, batch), first_token_at, first_token_at, prefill_ms, None, (), 0.0)

        marks, host_sync_s = [prefilled], 0.0
        mask, positions = _decode_inputs(batch, infer.max_new_tokens)
        step_ranges = ranges.steps(infer.max_new_tokens - 1)
        length = batch.padded_tokens
        with ranges.phase(DECODE):
            for step in range(infer.max_new_tokens - 1):
                with step_ranges[step]:
                    logits = loaded.decode(
                        token,
                        cache,
                        None if mask is None else mask[:, : length + step + 1],
                        None if positions is None else positions + step,
                    )
                    host = time.perf_counter() if select.syncs_host else 0.0
                    token = finish.fill(select(history.ids, logits))
                    if select.syncs_host:
                        host_sync_s += time.perf_counter() - host
                    history.append(token)
                    marks.append(clock.mark())
                    self.events.count += 1
                    if infer.stop_on_eos:
                        host = time.perf_counter()
                        stop = finish.look(token)
                        host_sync_s += time.perf_counter() - host
                        if stop:
                            break
            clock.synchronize()
            tokens = finish.rows(history, batch)
            last_token_at = time.perf_counter()
        steps = tuple(clock.elapsed_ms(before, after) for before, after in itertools.pairwise(marks))
        decode_ms = clock.elapsed_ms(marks[0], marks[-1])
        return Generation(tokens, first_token_at, last_token_at, prefill_ms, decode_ms, steps, host_sync_s * 1e3)


def _decode_inputs(batch: Batch, most_new: int) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """Full-length mask (rows, padded + new) and the positions (rows, 1) of the first decoded token.

    Both None without padding: the model then counts positions from its cache.
    """
    if batch.attention_mask is None:
        return None, None
    ones = batch.attention_mask.new_ones((batch.rows, most_new))
    return torch.cat([batch.attention_mask, ones], dim=1), batch.attention_mask.sum(-1, keepdim=True)


class _Finish:
    """Which rows have made their end-of-sequence token; nothing is looked at when `stop_on_eos` is off."""

    def __init__(self, loaded: LoadedModel, infer: Infer, first: list[int]) -> None:
        self._eos = frozenset(loaded.eos_token_ids) if infer.stop_on_eos else frozenset()
        self._pad = loaded.pad_token_id
        self._done = [token in self._eos for token in first]
        self._device = loaded.device

    @property
    def all_rows(self) -> bool:
        return all(self._done)

    def look(self, token: torch.Tensor) -> bool:
        """Note the rows that `token` ends (this waits for the device); True when all have ended."""
        for row, value in enumerate(token.tolist()):
            self._done[row] = self._done[row] or value in self._eos
        return self.all_rows

    def fill(self, token: torch.Tensor) -> torch.Tensor:
        """`token` with the padding id in rows that have ended."""
        if not any(self._done):
            return token
        ended = torch.tensor(self._done, device=self._device)
        return token.masked_fill(ended, self._pad)

    def rows(self, history: History, batch: Batch) -> list[list[int]]:
        """New tokens of each row, up to and with its end-of-sequence token."""
        found = []
        for row in history.ids[:, batch.padded_tokens :].tolist():
            end = next((index for index, token in enumerate(row) if token in self._eos), len(row) - 1)
            found.append(row[: end + 1])
        return found
