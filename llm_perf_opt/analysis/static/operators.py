"""The operators a model is described with: what each multiplies, holds and moves.

Matrix products, convolutions and attention products count 2·m·n·k; element-wise work counts nothing, as
in `torch.utils.flop_counter`. Counts are per pass and exact integers; a block multiplies by its layers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

from llm_perf_opt.analysis.static.passes import Pass
from llm_perf_opt.analysis.static.rows import Rows, Some, rows_of, steps_with


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


class Weightless:
    """What holds no weights and reads none: products of activations."""

    __slots__ = ()
    quantizable: ClassVar[bool] = False

    def parameters(self) -> int:
        return 0

    def active_parameters(self) -> int:
        return 0

    def weights_read(self, step: Pass) -> tuple[float, float, float]:
        return 0, 0, 0


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
        return 2 * rows_of(self.rows, step) * self.inputs * self.outputs

    def weights_read(self, step: Pass) -> tuple[float, float, float]:
        size = self.inputs * self.outputs + (self.outputs if self.bias else 0)
        read = size * steps_with(rows_of(self.rows, step), step)
        return read, read, read

    def activations(self, step: Pass) -> int:
        return rows_of(self.rows, step) * (self.inputs + self.outputs)


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
        return 2 * rows_of(self.rows, step) * self.top_k * sum(i * o for i, o in self.projections)

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
        least, expected, most = self.experts_read(rows_of(self.rows, step) // step.steps)
        return least * expert, expected * expert, most * expert

    def activations(self, step: Pass) -> int:
        return rows_of(self.rows, step) * self.top_k * sum(i + o for i, o in self.projections)


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
        return rows_of(self.rows, step) * self.count

    def weights_read(self, step: Pass) -> tuple[float, float, float]:
        read = self.weights * steps_with(self.count, step)
        return read, read, read

    def activations(self, step: Pass) -> int:
        return self._products(step) * (self.m * self.k + self.n * self.k + self.m * self.n)


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
        read = self.parameters() * steps_with(self.positions, step)
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
        return step.tokens if self.gathered is None else rows_of(self.gathered, step)


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
