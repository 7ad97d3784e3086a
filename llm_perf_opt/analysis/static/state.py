"""What a layer remembers in a fixed size: recurrent states, and the last inputs of a convolution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from llm_perf_opt.analysis.static.operators import Weightless
from llm_perf_opt.analysis.static.passes import Pass

StateType = Literal["float32", "scan", "activations"]
"""Type a state is kept in: float32 always, the type of state-space scans of this model, that of the activations."""


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
class Recurrence(_State, Weightless):
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

    def flops(self, step: Pass) -> int:
        return 2 * self.products * step.tokens * self.elements

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
