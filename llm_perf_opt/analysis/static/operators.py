"""The operators a model is described with: what each multiplies, holds and moves.

Matrix products, convolutions and attention products count 2·m·n·k; element-wise work counts nothing, as
in `torch.utils.flop_counter`. Counts are per pass and exact integers; a block multiplies by its layers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import ClassVar, Literal, Protocol

from llm_perf_opt.analysis.static.passes import Pass

StateType = Literal["float32", "scan", "activations"]
"""Type a state is kept in: float32 always, the type of state-space scans of this model, that of the activations."""


class Rows(Enum):
    """Which rows of a pass go through a linear layer."""

    TOKENS = "tokens"
    """Each new token."""
    LOGITS = "logits"
    """The positions whose logits are wanted."""
    KEYS = "keys"
    """Each position in sight, cached ones too (latent attention expanding its cache)."""
    SOURCE = "source"
    """Each position that an encoder reads, in the first pass over a sequence."""
    POSITIONS = "positions"
    """Each position in sight, once for all sequences of a pass."""
    KEYS_IN_PREFILL = "keys in prefill"
    """Each position in sight in a pass of many queries, the new token alone in a decode step."""


@dataclass(frozen=True, slots=True)
class Once:
    """Rows that only the first pass over a sequence has: what a later step finds in its cache."""

    rows: int


@dataclass(frozen=True, slots=True)
class KeysInWindow:
    """Rows that are the positions which a sliding layer has in sight, cached ones too."""

    window: int


@dataclass(frozen=True, slots=True)
class Together:
    """Rows that a pass has once, however many sequences and tokens it has."""

    rows: int


Some = Rows | Once | Together | KeysInWindow | int
"""Which rows go through a product; a number is per sequence and step."""


class Operator(Protocol):
    """What the walker asks of every operator."""

    kind: ClassVar[str]

    @property
    def name(self) -> str:
        """Path inside its block, as transformers names the module."""

    @property
    def quantizable(self) -> bool:
        """Whether a checkpoint's quantization may apply to its weights."""

    def parameters(self) -> int:
        """Weights held, shared ones not counted again."""

    def active_parameters(self) -> int:
        """Weights one token goes through."""

    def flops(self, step: Pass) -> int:
        """Floating point operations of a pass."""

    def weights_read(self, step: Pass) -> tuple[float, float, float]:
        """Weights read in a pass: least, expected under uniform routing, most."""

    def activations(self, step: Pass) -> int:
        """Elements read as input and written as output, nothing fused."""


def _in_window(window: int, step: Pass) -> int:
    return step.pairs(window) if step.steps > 1 else step.batch * (min(step.past, window - 1) + step.queries)


def _rows(rows: Some, step: Pass) -> int:
    if isinstance(rows, int):
        return rows * step.batch * step.steps
    if isinstance(rows, KeysInWindow):
        return _in_window(rows.window, step)
    if isinstance(rows, Together):
        return rows.rows * step.steps
    return _once(rows, step) if isinstance(rows, Once) else _growing(rows, step)


def _once(rows: Once, step: Pass) -> int:
    return 0 if step.past else rows.rows * step.batch


def _growing(rows: Rows, step: Pass) -> int:
    if rows is Rows.TOKENS:
        return step.tokens
    if rows is Rows.LOGITS:
        return step.batch * step.logits
    if rows is Rows.SOURCE:
        return 0 if step.past else step.batch * step.source
    if rows is Rows.POSITIONS:
        return step.keys() // step.batch
    if rows is Rows.KEYS_IN_PREFILL and step.decoding:
        return step.tokens
    return step.keys()


def _steps_with(rows: int, step: Pass) -> int:
    """Readings of the weights: one a step, none where no row needs them."""
    return step.steps if rows else 0


@dataclass(frozen=True, slots=True)
class Linear:
    """`outputs` = `inputs` x weight (+ bias)."""

    name: str
    inputs: int
    outputs: int
    bias: bool = False
    rows: Some = Rows.TOKENS
    shared: bool = False
    """The weight belongs to another module (tied embeddings): read here, counted there."""
    quantizable: bool = True

    kind: ClassVar[str] = "linear"

    def parameters(self) -> int:
        held = 0 if self.shared else self.inputs * self.outputs
        return held + (self.outputs if self.bias else 0)

    def active_parameters(self) -> int:
        return self.parameters()

    def flops(self, step: Pass) -> int:
        return 2 * _rows(self.rows, step) * self.inputs * self.outputs

    def weights_read(self, step: Pass) -> tuple[float, float, float]:
        size = self.inputs * self.outputs + (self.outputs if self.bias else 0)
        read = size * _steps_with(_rows(self.rows, step), step)
        return read, read, read

    def activations(self, step: Pass) -> int:
        return _rows(self.rows, step) * (self.inputs + self.outputs)


@dataclass(frozen=True, slots=True)
class Experts:
    """`count` routed experts of the same `projections` (inputs, outputs); each token visits `top_k` of them.

    Which experts a pass touches depends on routing: at least top_k, at most tokens x top_k, and under
    uniform independent routing count x (1 - (1 - top_k / count) ** tokens) on average.
    """

    name: str
    count: int
    top_k: int
    projections: tuple[tuple[int, int], ...]
    bias: bool = False
    quantizable: bool = True
    dense: bool = False
    """transformers multiplies every token by every expert and leaves out what the router did not choose."""
    rows: Rows = Rows.TOKENS

    kind: ClassVar[str] = "grouped_linear"

    def _expert(self) -> int:
        return sum(i * o + (o if self.bias else 0) for i, o in self.projections)

    def parameters(self) -> int:
        return self.count * self._expert()

    def active_parameters(self) -> int:
        return self.top_k * self._expert()

    def flops(self, step: Pass) -> int:
        return 2 * _rows(self.rows, step) * self.top_k * sum(i * o for i, o in self.projections)

    def implemented_flops(self, step: Pass) -> int:
        """What transformers multiplies, chosen by the router or not."""
        return self.flops(step) * self.count // self.top_k if self.dense else self.flops(step)

    def experts_read(self, tokens: int) -> tuple[float, float, float]:
        """Experts touched by `tokens` tokens at once: least, expected, most."""
        if tokens == 0:
            return 0, 0, 0
        expected = self.count * (1 - (1 - self.top_k / self.count) ** tokens)
        return self.top_k, max(expected, self.top_k), min(self.count, tokens * self.top_k)

    def weights_read(self, step: Pass) -> tuple[float, float, float]:
        expert = self._expert() * step.steps
        least, expected, most = self.experts_read(_rows(self.rows, step) // step.steps)
        return least * expert, expected * expert, most * expert

    def activations(self, step: Pass) -> int:
        return _rows(self.rows, step) * self.top_k * sum(i + o for i, o in self.projections)


@dataclass(frozen=True, slots=True)
class Attention:
    """Scores and weighted values over the cache: 2·pairs·heads·(qk_dim + v_dim)."""

    name: str
    heads: int
    qk_dim: int
    v_dim: int
    cache_elements: int
    """Elements one cached position of one layer holds; the keys and values of all its heads, or a latent."""
    window: int | None = None
    chunked: bool = False
    """The window does not slide: it cuts the positions into chunks, none of which sees another."""
    selected: int | None = None
    """Keys that an indexer lets each query see at most; all of them stay cached."""
    block: int | None = None
    """Positions that are selected together; those of the last, unfinished block are seen beside the selected."""
    from_start: bool = False
    """Nothing is kept: every step runs all positions again, and multiplies all of them."""
    owns_cache: bool = True
    """False where the layer reads the keys and values that another layer has cached."""
    decode_dims: tuple[int, int] | None = None
    """Query-key and value widths of a decode step where they differ (absorbed latent attention)."""
    bidirectional_prompt: bool = False
    """The positions of a prompt see each other whatever their order (prefix language models)."""
    last_only: bool = False
    """Only the positions whose logits are wanted ask; the keys are those of another layer."""

    kind: ClassVar[str] = "attention"
    quantizable: ClassVar[bool] = False

    def parameters(self) -> int:
        return 0

    def active_parameters(self) -> int:
        return 0

    def _chosen(self, seen: Pass, selected: int) -> int:
        if self.block is None:
            return seen.pairs(selected)
        left_out = seen.entries(self.block) - seen.entries(self.block, selected // self.block)
        return seen.pairs() - self.block * left_out

    def _width(self, step: Pass) -> int:
        if self.decode_dims is not None and step.decoding:
            return sum(self.decode_dims)
        return self.qk_dim + self.v_dim

    def flops(self, step: Pass) -> int:
        seen = replace(step, full=True) if self.bidirectional_prompt and not step.decoding else step
        if self.last_only:
            seen = replace(seen, past=step.past + step.queries - step.logits, queries=step.logits)
        if self.from_start and step.past:
            return 2 * seen.pairs_from_start() * self.heads * self._width(step)
        if self.selected is not None and not seen.full:
            return 2 * self._chosen(seen, self.selected) * self.heads * self._width(step)
        return 2 * seen.pairs(self.window, chunked=self.chunked) * self.heads * self._width(step)

    def weights_read(self, step: Pass) -> tuple[float, float, float]:
        return 0, 0, 0

    def activations(self, step: Pass) -> int:
        # Queries in, contexts out; keys and values are the cache's traffic. Scores stay on chip in a fused kernel.
        return step.tokens * self.heads * self._width(step)

    def cache_read(self, step: Pass) -> int:
        """Cache elements read; where two layers use the same keys and values, by the one that owns them."""
        if not self.owns_cache:
            return 0
        # Where a decode step runs on the cache as it is, only what the indexer selects is read.
        window = self.selected if self.decode_dims is not None and step.decoding else self.window
        return step.cached_read(window or self.window, chunked=self.chunked) * self.cache_elements

    def cache_written(self, step: Pass) -> int:
        """Cache elements written."""
        return step.cached_written(self.window) * self.cache_elements if self.owns_cache else 0

    def cache_held(self, tokens: int) -> int:
        """Elements one sequence keeps in this layer's cache after `tokens` tokens."""
        if not self.owns_cache:
            return 0
        kept = tokens if self.window is None else min(tokens, max(1, self.window - 1))
        return kept * self.cache_elements


@dataclass(frozen=True, slots=True)
class CrossAttention:
    """Attention of every token to `keys` positions that do not grow (of an image), cached by the first pass."""

    name: str
    heads: int
    head_dim: int
    keys: int
    cache_elements: int

    kind: ClassVar[str] = "attention"
    quantizable: ClassVar[bool] = False

    def parameters(self) -> int:
        return 0

    def active_parameters(self) -> int:
        return 0

    def flops(self, step: Pass) -> int:
        return 4 * step.tokens * self.keys * self.heads * self.head_dim

    def weights_read(self, step: Pass) -> tuple[float, float, float]:
        return 0, 0, 0

    def activations(self, step: Pass) -> int:
        return 2 * step.tokens * self.heads * self.head_dim

    def cache_read(self, step: Pass) -> int:
        """Cache elements read: all of them at every step but the first."""
        return step.batch * (step.steps if step.past else step.steps - 1) * self.keys * self.cache_elements

    def cache_written(self, step: Pass) -> int:
        """Cache elements written."""
        return 0 if step.past else step.batch * self.keys * self.cache_elements

    def cache_held(self, tokens: int) -> int:
        """Elements one sequence keeps, however many tokens it has."""
        return self.keys * self.cache_elements


@dataclass(frozen=True, slots=True)
class _State:
    """What one layer remembers of a sequence in a fixed size, read and written at every step."""

    name: str

    quantizable: ClassVar[bool] = False

    def state_elements(self) -> int:
        """Elements one sequence keeps."""
        raise NotImplementedError

    def state_read(self, step: Pass) -> int:
        """State elements read; the first pass over a sequence has none to read."""
        readings = step.steps if step.past else step.steps - 1
        return step.batch * readings * self.state_elements()

    def state_written(self, step: Pass) -> int:
        """State elements written."""
        return step.batch * step.steps * self.state_elements()


@dataclass(frozen=True, slots=True)
class Recurrence(_State):
    """A recurrent state of `elements` that every token updates and reads: linear attention, state spaces.

    Counted as the recurrence itself, `products` multiply-adds an element and token, whether the library writes them
    as matrix products, as multiply and sum, or multiplies more in chunks.
    """

    elements: int
    products: int
    """2 for a scan (update with an outer product, read-out); 3 where the update first reads what it corrects."""
    width: int
    """Elements a token brings in and takes out."""
    state_type: StateType = "scan"

    kind: ClassVar[str] = "recurrence"

    def state_elements(self) -> int:
        return self.elements

    def parameters(self) -> int:
        return 0

    def active_parameters(self) -> int:
        return 0

    def flops(self, step: Pass) -> int:
        return 2 * self.products * step.tokens * self.elements

    def weights_read(self, step: Pass) -> tuple[float, float, float]:
        return 0, 0, 0

    def activations(self, step: Pass) -> int:
        return step.tokens * self.width


@dataclass(frozen=True, slots=True)
class CausalConvolution(_State):
    """A depth-wise convolution along the sequence, whose last inputs are kept for the next step."""

    channels: int
    kernel: int
    bias: bool = False

    kind: ClassVar[str] = "convolution"
    state_type: ClassVar[StateType] = "activations"

    def state_elements(self) -> int:
        return self.channels * self.kernel

    def parameters(self) -> int:
        return self.channels * (self.kernel + (1 if self.bias else 0))

    def active_parameters(self) -> int:
        return self.parameters()

    def flops(self, step: Pass) -> int:
        return 2 * step.tokens * self.channels * self.kernel

    def weights_read(self, step: Pass) -> tuple[float, float, float]:
        read = self.parameters() * step.steps
        return read, read, read

    def activations(self, step: Pass) -> int:
        return step.tokens * 2 * self.channels


@dataclass(frozen=True, slots=True)
class Product:
    """Products of two activations outside the cache: `count` of (m x k)·(k x n) for each of `rows`."""

    name: str
    count: int
    m: int
    n: int
    k: int
    weights: int = 0
    """Learned elements that enter the product (relative position tables)."""
    rows: Some = 1
    """What one count belongs to."""

    kind: ClassVar[str] = "product"
    quantizable: ClassVar[bool] = False

    def parameters(self) -> int:
        return self.weights

    def active_parameters(self) -> int:
        return self.weights

    def flops(self, step: Pass) -> int:
        return 2 * self._products(step) * self.m * self.n * self.k

    def _products(self, step: Pass) -> int:
        return _rows(self.rows, step) * self.count

    def weights_read(self, step: Pass) -> tuple[float, float, float]:
        read = self.weights * _steps_with(self.count, step)
        return read, read, read

    def activations(self, step: Pass) -> int:
        return self._products(step) * (self.m * self.k + self.n * self.k + self.m * self.n)


@dataclass(frozen=True, slots=True)
class EncoderAttention:
    """An encoder's attention: `groups` of positions that see each other (how many groups, positions of each).

    With `causal_tail` the last positions of each group see only what is before them, their own included; the
    others see each other alone. Where nothing is masked, all pairs count under either convention.
    """

    name: str
    heads: int
    head_dim: int
    groups: tuple[tuple[int, int], ...]
    causal_tail: int = 0

    kind: ClassVar[str] = "attention"
    quantizable: ClassVar[bool] = False

    def parameters(self) -> int:
        return 0

    def active_parameters(self) -> int:
        return 0

    def _pairs(self, size: int, full: bool) -> int:
        if full or not self.causal_tail:
            return size * size
        tail, seen = self.causal_tail, size - self.causal_tail
        return seen * seen + tail * seen + tail * (tail + 1) // 2

    def flops(self, step: Pass) -> int:
        pairs = sum(count * self._pairs(size, step.full) for count, size in self.groups)
        return 4 * step.batch * pairs * self.heads * self.head_dim

    def weights_read(self, step: Pass) -> tuple[float, float, float]:
        return 0, 0, 0

    def activations(self, step: Pass) -> int:
        positions = sum(count * size for count, size in self.groups)
        return 4 * step.batch * positions * self.heads * self.head_dim


@dataclass(frozen=True, slots=True)
class Convolution:
    """A convolution that yields `positions` outputs per sequence; `kernel` is its area (volume)."""

    name: str
    inputs: int
    outputs: int
    kernel: int
    positions: int
    bias: bool = False
    quantizable: ClassVar[bool] = False

    kind: ClassVar[str] = "convolution"

    def parameters(self) -> int:
        return self.inputs * self.outputs * self.kernel + (self.outputs if self.bias else 0)

    def active_parameters(self) -> int:
        return self.parameters()

    def flops(self, step: Pass) -> int:
        return 2 * step.batch * self.positions * self.inputs * self.outputs * self.kernel

    def weights_read(self, step: Pass) -> tuple[float, float, float]:
        read = self.parameters() * _steps_with(self.positions, step)
        return read, read, read

    def activations(self, step: Pass) -> int:
        # A strided input is at most kernel/stride larger than the output; patch embeddings read each pixel once.
        return step.batch * self.positions * (self.inputs * self.kernel + self.outputs)


@dataclass(frozen=True, slots=True)
class Table:
    """An embedding: rows are gathered, not multiplied. `gathered` are which; None is one a token."""

    name: str
    rows: int
    width: int
    gathered: Some | None = None

    kind: ClassVar[str] = "embedding"
    quantizable: ClassVar[bool] = False

    def parameters(self) -> int:
        return self.rows * self.width

    def active_parameters(self) -> int:
        return self.parameters()

    def flops(self, step: Pass) -> int:
        return 0

    def weights_read(self, step: Pass) -> tuple[float, float, float]:
        wanted = self._wanted(step)
        read = min(self.rows, wanted) * self.width
        return read, read, read

    def activations(self, step: Pass) -> int:
        return self._wanted(step) * self.width

    def _wanted(self, step: Pass) -> int:
        return step.tokens if self.gathered is None else _rows(self.gathered, step)


@dataclass(frozen=True, slots=True)
class Vector:
    """Learned elements used element-wise: norms, separators, scales."""

    name: str
    size: int
    skipped: bool = False
    """Part of a layer that does not run."""
    once: bool = False
    """Part of an encoder: the first pass over a sequence alone."""

    kind: ClassVar[str] = "elementwise"
    quantizable: ClassVar[bool] = False

    def parameters(self) -> int:
        return self.size

    def active_parameters(self) -> int:
        return self.size

    def flops(self, step: Pass) -> int:
        return 0

    def weights_read(self, step: Pass) -> tuple[float, float, float]:
        idle = self.skipped or (self.once and step.past > 0)
        read = 0 if idle else self.size * step.steps
        return read, read, read

    def activations(self, step: Pass) -> int:
        return 0
