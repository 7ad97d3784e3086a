"""What static analysis was asked and what it found: FLOPs, parameters and bytes, per phase and operator.

Figures are exact counts or least amounts under the assumptions listed with them. A part that is not
covered is null, with its reason under `reasons`.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal

from pydantic import ConfigDict, Field

from llm_perf_opt.records.base import Record
from llm_perf_opt.records.memory_fit import MemoryFit
from llm_perf_opt.records.sharding import Sharding

SCHEMA: Final = "llmperf.static/1"

Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
MlaForm = Literal["reexpanded", "cached", "absorbed"]
Method = Literal["analytic", "traced", "estimated", "not_covered"]


class _Record(Record):
    model_config = ConfigDict(populate_by_name=True)


class StaticRequest(_Record):
    """Sizes and conventions that figures are wanted for."""

    prompt_tokens: Count = 2048
    """Text tokens of one prompt; the tokens of its images come on top."""
    context: Natural | None = None
    """Cached tokens before the decode step; null is the whole prompt, image tokens included."""
    new_tokens: Count = 128
    """Tokens generated, the first of which prefill yields."""
    batch: Count = 1
    """Equally long sequences per forward pass."""
    images: tuple[tuple[Count, Count], ...] = ()
    """Width and height in pixels of the images of each prompt."""
    views: tuple[tuple[Count, Count], ...] | None = None
    """Instead of `images`: sizes of the views that go through the encoder, as a run has prepared them."""
    image_tokens: Natural | None = None
    """With `views`: tokens that they become in each prompt; null is one for each feature of the encoder."""
    pixel_limits: tuple[Count, Count] | None = None
    """Fewest and most pixels that the model's own files resize an image to; null is its family's usual ones."""
    dtype: str | None = None
    """Type of weights and activations; null is the checkpoint's."""
    kv_dtype: str | None = None
    """Type of the cache; null is that of the activations."""
    attention_flops: Literal["causal", "full"] = "causal"
    """Count the pairs a causal kernel computes, or the whole square."""
    logits: Literal["last", "all"] = "last"
    """Positions of the prompt that go through the output head."""
    mla_form: MlaForm = "reexpanded"
    """How latent attention is computed: cache re-expanded each step, expanded cache, or absorbed projections."""
    prefill_chunk: Count | None = None
    """Prefill in pieces of this many tokens; null is in one."""


class Routing(_Record):
    """Bytes that depend on which experts tokens are routed to."""

    least: int
    """All tokens go to the same experts."""
    expected: int
    """Tokens choose experts uniformly and independently."""
    most: int
    """Tokens spread over as many experts as they can."""


class ModuleFigures(_Record):
    """One operator of the model, over all layers of its block."""

    operator: str
    repeat: int
    """Layers it runs in."""
    flops: int
    parameters: int
    weight_bytes: int
    kv_bytes: int
    activation_bytes: int | None
    state_bytes: int = 0


class OperatorFigures(_Record):
    """All operators of one kind."""

    flops: int
    weight_bytes: int
    kv_bytes: int
    activation_bytes: int | None
    state_bytes: int = 0


class Phase(_Record):
    """One phase, for the whole batch."""

    tokens: int
    """Tokens that go through the model (for vision: image tokens handed to the decoder)."""
    flops: int
    bytes: int
    """Least bytes moved: weights, cache and state, each once; activations stay on chip."""
    weight_bytes: int
    """Weights read, under the routing that reads the fewest experts."""
    weight_bytes_routing: Routing
    kv_bytes: int
    """Cache read and written."""
    state_bytes: int = 0
    """Recurrent and convolution state read and written."""
    implemented_flops: int | None = None
    """FLOPs of transformers' own code where it multiplies what the router did not choose; null where it does not."""
    activation_bytes: int | None
    """Inputs read and outputs written by every operator when nothing is fused; not in `bytes`."""
    arithmetic_intensity: float | None
    """FLOPs per byte of `bytes`; null where no bytes move."""
    by_module: dict[str, ModuleFigures]
    by_operator: dict[str, OperatorFigures]


class Phases(_Record):
    """Null where not covered or not asked for; `StaticRecord.reasons` says why."""

    vision: Phase | None
    """Encoders and projectors; nested in prefill."""
    prefill: Phase | None
    """The prompt, images included."""
    decode: Phase | None
    """One step with `context` cached tokens."""
    generation: Phase | None
    """Prefill and the `new_tokens` - 1 decode steps after it, each at its own context."""


class StateFigures(_Record):
    """State of one kind, of one sequence and all layers: of a fixed size, whatever the context."""

    dtype: str
    resident_bytes: int
    moved_bytes: int
    """Read and written by one decode step."""
    flops: int
    """Arithmetic of one decode step."""
    context_tokens: int | None
    """Tokens it depends on: the kernel of a convolution; null for all there were."""


class State(_Record):
    """What a model keeps of a sequence beside or instead of a KV cache; null where it has no such state."""

    recurrent: StateFigures | None
    convolution: StateFigures | None


class ModelFacts(_Record):
    """The model itself."""

    model_type: str
    parameters: int | None
    """Learned elements, shared ones once."""
    active_parameters: int | None
    """Without the experts that a token is not routed to."""
    weight_bytes: int | None
    """All weights as stored."""
    dtype: str
    quantization: str | None
    kv_bytes_per_token: int | None
    """Cache that one more token adds while no window is full."""
    state: State | None = None
    """State of a fixed size a sequence; null for a model that keeps keys and values alone."""


class Bound(_Record):
    """How fast a phase can be at best on one GPU; a bound, not a prediction."""

    compute_ms: float | None
    """FLOPs over the dense peak of each operator's type; null where a peak is unknown."""
    memory_ms: float
    """Least bytes over the memory bandwidth."""
    memory_bound_valid: bool | None
    """False where the weights fit in L2, so that they need not come from memory; null for an unknown L2."""
    bound_ms: float | None
    """The larger of both."""
    limited_by: Literal["compute", "memory"] | None
    unfused_ms: float | None
    """Sum over operators of the larger of both, activations moved too: an estimate of unfused execution."""
    tokens_per_s: float | None
    """Tokens of the phase over `bound_ms`."""


class GpuPhases(_Record):
    """Bounds of the phases; null where the phase is."""

    vision: Bound | None
    prefill: Bound | None
    decode: Bound | None
    generation: Bound | None


class GpuFigures(_Record):
    """The model on one GPU."""

    name: str
    """Catalogue id."""
    title: str
    peak_flops: dict[str, float | None]
    """Dense peak of every type that the model's products run in, FLOP/s."""
    memory_bandwidth_bytes_per_s: float
    l2_bytes: int | None
    ridge: float | None
    """FLOPs per byte at which memory and compute take equally long, in the type of the activations."""
    phases: GpuPhases
    memory: MemoryFit | None
    reasons: dict[str, str]
    sources: tuple[str, ...]


class MeasuredFigures(_Record):
    """The model on a device whose peaks were measured; never mixed with a data sheet's."""

    device: str
    """cpu or cuda:N."""
    label: str
    """What was measured, when, and whether the machine was quiet."""
    peak_flops: dict[str, float]
    """Of matrix products, by type, FLOP/s."""
    read_bytes_per_s: float
    last_level_cache_bytes: int | None
    phases: GpuPhases


class StaticRecord(_Record):
    """The result of one static analysis."""

    SUMMARY: ClassVar[str] = "static"

    schema_id: Literal["llmperf.static/1"] = Field(default=SCHEMA, alias="schema")
    method: Method
    assumptions: tuple[str, ...]
    request: StaticRequest
    model: ModelFacts
    phases: Phases
    gpus: tuple[GpuFigures, ...] = ()
    measured: tuple[MeasuredFigures, ...] = ()
    """Devices of this machine whose peaks were measured by an earlier run."""
    sharding: Sharding | None = None
    """The model over ranks; null where it was not asked for."""
    reasons: dict[str, str]
    """Dotted path of a null -> why it is null."""

    def to_json(self, *, indent: int | None = 2) -> str:
        """The record as it is written to `static_compute.json`."""
        return self.model_dump_json(by_alias=True, indent=indent)
