"""How a decode step is run: operator by operator, compiled, or replayed as one CUDA graph; on a growing or fixed cache.

The loop knows none of this: it asks for a `Decoding` of a batch and calls `prefill` once and `step` again and again.
Prefill is eager in every mode, as in transformers' `generate()`. What is compiled or captured is made in warm-up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from transformers import CompileConfig, StaticCache

from llm_perf_opt.config.schema import Infer
from llm_perf_opt.errors import ConfigError, MissingError, StageError
from llm_perf_opt.workload.graph_modules import captured_graph
from llm_perf_opt.workload.loaded import Batch, LoadedModel
from llm_perf_opt.workload.masks import step_masks
from llm_perf_opt.workload.own_way import OwnWay

# Runs before capture, as https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs asks for: lazy
# initialisations must not fall into the captured region.
RUNS_BEFORE_CAPTURE = 3

Replay = Callable[[], torch.Tensor]
Capture = Callable[[Replay], Replay]
"""Given a function, its replay: the same work on the same memory. Raises RuntimeError where that cannot be."""


class Decoding(Protocol):
    """One generation under way: its cache, mask and positions."""

    def prefill(self) -> torch.Tensor:
        """Logits (rows, vocabulary) of the last position of the prompt."""

    def step(self, token: torch.Tensor) -> torch.Tensor:
        """Logits (rows, vocabulary) after `token` (rows,)."""


class Execution:
    """The execution mode and cache of the configuration, for one model.

    Raises:
        MissingError: CUDA graphs were asked for and the model is not on a CUDA device.
        ConfigError: CUDA graphs were asked for on a growing cache.
    """

    def __init__(self, loaded: LoadedModel, infer: Infer, capture: Capture | None = None) -> None:
        self._loaded = loaded
        self._wanted = infer.max_new_tokens
        self._fixed = infer.cache == "static"
        if self._fixed and not loaded.past.made_here:
            # What the model makes itself does not grow, or is no cache.
            self._fixed = False
        self._capture = capture
        self.compiles = infer.execution == "compile"
        if infer.execution == "cuda_graph":
            self._capture = capture or _cuda_capture(loaded.device, loaded.model)
            if infer.cache == "static" and (loaded.past.is_own or not self._fixed):
                raise ConfigError(
                    f"infer.execution: cuda_graph replays fixed addresses, and a {type(loaded.model).__name__} makes "
                    "its past anew in every step",
                    "use infer.execution: eager or compile",
                )
            if not self._fixed:
                raise ConfigError(
                    "infer.execution: cuda_graph replays fixed addresses, and a dynamic cache moves",
                    "set infer.cache: static",
                )
        self._call = _compiled(loaded, fixed=self._fixed) if self.compiles else loaded.model
        self._capacity = 0
        self._slots: dict[tuple[int, bool], _Slot] = {}

    @property
    def needs_preparation(self) -> bool:
        """Whether every shape of batch must be run once before anything is timed."""
        return self._fixed or self.compiles

    def reserve(self, batch: Batch) -> None:
        """Make room for `batch` in the fixed cache; all batches share one length, so that nothing compiles twice."""
        self._capacity = max(self._capacity, self._needed(batch))

    def begin(self, batch: Batch) -> Decoding:
        """A fresh generation for `batch`."""
        past = self._loaded.past
        if past.is_own:
            cache = self._fixed_cache(self._needed(batch)) if self._fixed else past.fresh()
            return OwnWay(self._loaded, batch, self._call, cache)
        if not self._fixed:
            return _Growing(self._loaded, batch, self._wanted, self._call)
        if self._needed(batch) > self._capacity:
            self.reserve(batch)
            self._slots.clear()
        key = (batch.rows, batch.attention_mask is None)
        if key not in self._slots:
            cache = self._fixed_cache(self._capacity)
            self._slots[key] = _Slot(self._loaded, self._call, cache, self._capacity, self._capture)
        slot = self._slots[key]
        slot.restart(batch)
        return slot

    def _fixed_cache(self, positions: int) -> StaticCache:
        return StaticCache(config=self._loaded.model.config, max_cache_len=positions)

    def _needed(self, batch: Batch) -> int:
        # The last token is never read.
        return batch.padded_tokens + self._loaded.most_new(batch, self._wanted) - 1


class _Growing:
    """A cache that grows with every step."""

    def __init__(self, loaded: LoadedModel, batch: Batch, most_new: int, call: Any) -> None:
        self._loaded = loaded
        self._batch = batch
        self._call = call
        self._cache = loaded.past.fresh()
        recurrent = loaded.past.is_recurrent
        self._positions = None if recurrent else loaded.first_decoded(batch)
        self._mask_at = None if recurrent else step_masks(loaded, batch, most_new, self._cache)
        self._length = batch.padded_tokens
        self._made = 0

    def prefill(self) -> torch.Tensor:
        return self._loaded.prefill(self._batch, self._cache)

    def step(self, token: torch.Tensor) -> torch.Tensor:
        made = self._made
        self._made = made + 1
        mask = None if self._mask_at is None else self._mask_at(self._length + made + 1)
        positions = self._positions
        if positions is not None and made:
            positions = positions + made
        return self._loaded.decode(token, self._cache, mask, positions, self._call)


class _Slot:
    """A cache allocated once at full length, and the step's inputs at fixed addresses beside it."""

    def __init__(
        self, loaded: LoadedModel, call: Any, cache: StaticCache, capacity: int, capture: Capture | None
    ) -> None:
        self._loaded = loaded
        self._call = call
        self._cache = cache
        self._capacity = capacity
        self._capture = capture
        self._replay: Replay | None = None
        self._used = False
        self._batch: Batch
        self._token: torch.Tensor | None = None
        self._mask: torch.Tensor | None = None
        self._positions: torch.Tensor | None = None

    def restart(self, batch: Batch) -> None:
        self._batch = batch
        if self._used:
            self._cache.reset()
        self._used = True
        self._positions = _into(self._positions, self._loaded.first_decoded(batch))
        self._mask = _into(self._mask, _full_mask(batch, self._capacity))

    def prefill(self) -> torch.Tensor:
        return self._loaded.prefill_fixed(self._batch, self._cache)

    def step(self, token: torch.Tensor) -> torch.Tensor:
        self._token = _into(self._token, token)
        if self._capture is not None and self._replay is None:
            self._replay = self._captured(self._capture)
        logits = self._run() if self._replay is None else self._replay()
        if self._positions is not None:
            self._positions.add_(1)
        return logits

    def _run(self) -> torch.Tensor:
        assert self._token is not None
        return self._loaded.decode_fixed(self._token, self._cache, self._mask, self._positions, self._call)

    def _captured(self, capture: Capture) -> Replay:
        """The step as a replay; the cache is put back to the end of the prompt afterwards."""
        if any(self._cache.is_sliding):
            raise StageError(
                "infer.execution: cuda_graph cannot run this model: the length of its sliding-window cache is a number "
                "of the host, which a graph would freeze",
                "use infer.execution: eager or compile",
            )
        try:
            replay = capture(self._run)
        except RuntimeError as error:
            reason = str(error).strip().split("\n", 1)[0]
            raise StageError(
                f"infer.execution: cuda_graph: the decode step of this model cannot be captured: {reason}",
                "use infer.execution: eager or compile",
            ) from error
        self._cache.reset()
        self._loaded.prefill_fixed(self._batch, self._cache)
        return replay


def _into(buffer: torch.Tensor | None, value: torch.Tensor | None) -> torch.Tensor | None:
    """`value` at the address of `buffer`; a new buffer where there is none yet."""
    if value is None:
        return None
    if buffer is None or buffer.shape != value.shape:
        return value.clone()
    return buffer.copy_(value)


def _full_mask(batch: Batch, capacity: int) -> torch.Tensor | None:
    """The padding mask (rows, capacity): what lies beyond the present step is hidden by the causal mask."""
    if batch.attention_mask is None:
        return None
    ones = batch.attention_mask.new_ones((batch.rows, capacity - batch.padded_tokens))
    return torch.cat([batch.attention_mask, ones], dim=1)


def _compiled(loaded: LoadedModel, *, fixed: bool) -> Any:
    """The model's compiled forward pass: on a fixed cache with the options that `generate()` takes, on a growing one
    with dynamic shapes, as every step has another length."""
    options: dict[str, Any] = CompileConfig().to_dict() if fixed else {"dynamic": True}
    return torch.compile(loaded.model.__call__, **options)


def _cuda_capture(device: torch.device, model: torch.nn.Module) -> Capture:
    if device.type != "cuda":
        raise MissingError(
            f"infer.execution: cuda_graph needs a CUDA device, and the model runs on {device}",
            "set infer.execution: eager or compile, or device: cuda where there is one",
        )

    def capture(run: Replay) -> Replay:
        stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            for _ in range(RUNS_BEFORE_CAPTURE):
                run()
        torch.cuda.current_stream(device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with captured_graph(graph, model):
            logits = run()

        def replay() -> torch.Tensor:
            graph.replay()
            return logits

        return replay

    return capture
