"""`workload.json`: what the child that ran the model measured, raw.

Times are of single timed repeats, never averaged here; statistics are made in `llm_perf_opt.analysis`.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from llm_perf_opt.records.base import Record
from llm_perf_opt.records.launches import Place


class ModelFacts(Record):
    """The model that was loaded."""

    adapter: str
    model_type: str
    parameters: int
    """Tied weights counted once."""
    weight_bytes: int
    dtype: str
    weights: Literal["pretrained", "random"]
    weights_id: str
    """sha256 over the names, sizes and contents of the weight files, or `random:<seed>`."""
    attention: str
    """Attention implementation that ran."""
    attention_note: str | None = None
    """Why it is not the one that was asked for."""
    config: dict[str, Any]
    """The model's own configuration, as transformers writes it."""


class DeviceFacts(Record):
    """The device the model ran on."""

    device: str
    """cpu or cuda:N."""
    name: str
    """CPU model or the name the GPU driver reports."""
    threads: int
    """Host threads of the compute library."""
    torch_version: str
    transformers_version: str
    cuda_version: str | None = None
    """CUDA that torch was built with; null for a build without."""


class RankFacts(Record):
    """One rank of a sharded model."""

    rank: int
    world_size: int
    host: str
    backend: str
    """What carries the collectives."""
    weight_bytes: int
    """What this rank holds of the weights."""


class Repeat(Record):
    """One timed run of one batch."""

    preprocess_ms: float
    """Reading and preparing the inputs, up to their being on the device."""
    ttft_ms: float
    """From the start of preprocessing to the first token id on the host."""
    prefill_ms: float
    """The forward pass over the prompt and the choice of the first token."""
    decode_ms: float | None
    """From the first token to the last; null when only one token was made."""
    step_ms: tuple[float, ...]
    """Each decode step, from the end of the one before to its own."""
    host_sync_ms: float
    """Host time of the end-of-sequence check and of logits processors within decode."""
    e2e_ms: float
    """From the start of preprocessing to the last token id on the host."""
    new_tokens: tuple[int, ...]
    """Tokens of each row up to and with its end-of-sequence token."""


class BatchResult(Record):
    """One batch of samples and its timed repeats."""

    epoch: int
    samples: tuple[int, ...]
    """Indices into the samples of the inputs."""
    prompt_tokens: tuple[int, ...]
    """Useful prompt tokens of each row, image tokens included."""
    padded_tokens: int
    """Length of the padded prompt; the model computed rows × this."""
    image_tokens: tuple[int, ...]
    """Image tokens of each row."""
    image_sizes: tuple[tuple[int, int], ...] = ()
    """(width, height) of each row's image file, pixels."""
    views: tuple[tuple[tuple[int, int], ...], ...] = ()
    """For each row, (width, height) of every view that went through the vision tower, pixels."""
    repeats: tuple[Repeat, ...]


class SampleError(Record):
    """A sample that could not be run; the others went on."""

    epoch: int
    sample: int
    source: str
    error: str


MemoryPhase = Literal["load", "warm-up", "timed repeats", "prefill", "decode"]


class PhaseMemory(Record):
    """Peak memory of one phase; `prefill` and `decode` are those of the instrumented run."""

    phase: MemoryPhase
    host_bytes: int | None
    """Resident set of the child: libraries, and on a CPU the weights, included."""
    device_bytes: int | None
    """Allocated by torch on the GPU."""


class Memory(Record):
    """Peak memory of the child while the model ran."""

    peak_bytes: int | None
    """Of the timed repeats, on the device the model ran on."""
    source: str
    """What was read: the CUDA allocator's peak, or the process's peak resident set."""
    reason: str | None = None
    phases: tuple[PhaseMemory, ...] = ()
    host_reason: str | None = None
    """Why `host_bytes` are null."""
    device_reason: str | None = None
    """Why `device_bytes` are null."""


class ModuleTime(Record):
    """Modules of one name in one phase of the instrumented run, summed over their calls."""

    name: str
    """`sam`, `clip`, `projector`, … of the family; `decoder.layers`, `decoder.attention`, `decoder.mlp`,
    `decoder.moe`, `lm_head`."""
    phase: Literal["prefill", "decode"]
    within: str | None
    """The entry that contains this one; null for a direct part of the phase. Never add the two."""
    modules: int
    """How many modules have this name."""
    calls: int
    total_ms: float
    """Entry to exit: host time on a CPU, time on the stream, gaps included, on a GPU."""


class Instrumented(Record):
    """`modules.json`: one run more, with hooks on modules: slower than the timed repeats, and kept apart from them."""

    samples: tuple[int, ...] = ()
    prefill_ms: float | None = None
    """Of this run."""
    decode_ms: float | None = None
    """Of this run."""
    modules: tuple[ModuleTime, ...] = ()
    missing: dict[str, str] = Field(default_factory=dict)
    """Name → why it has no time."""
    reason: str | None = None
    """Why no module was timed."""
    memory: tuple[PhaseMemory, ...] = ()
    """Peaks of this run's `prefill` and `decode`."""


class RangesSent(Record):
    """The NVTX ranges that a child sent."""

    sender: Literal["nvtx", "nvtx-direct", "torch"] | None
    """What sent them: the nvtx package; the same without its question whether the tool wants any; `torch.cuda.nvtx`,
    as plain strings. Null when none were sent."""
    reason: str | None = None
    """Why it is not the nvtx package as it is."""
    sent: dict[str, int] | None = None
    """Name → how often it was pushed, warm-up included; null where no tool listened, or the child did not get to its
    end."""


class GraphBreak(Record):
    """Code that torch.compile could not take into the graph it was making."""

    reason: str
    count: int
    """Over all compilations."""


class Recompiled(Record):
    """One compilation during the timed repeats."""

    function: str
    reason: str | None
    """Which guard did not hold; null for something that had not been compiled before."""
    seconds: float


class Compilation(Record):
    """What torch.compile did, where it was asked for."""

    graphs: int
    """Made in all."""
    compile_s: float
    """Of all compilations that torch has kept."""
    breaks: tuple[GraphBreak, ...]
    """The most frequent first."""
    cuda_graphs_skipped: int
    """How often it ran without the CUDA graph that it would have made."""
    cuda_graph_skip_reasons: tuple[str, ...] = ()
    late_graphs: int
    """Of `graphs`, those made in the timed repeats."""
    late: tuple[Recompiled, ...]
    """Compilations in the timed repeats, in order."""


class Workload(Record):
    """Everything one child measured."""

    schema_version: Literal[1] = 1
    stage: str
    launch: Place | None = None
    """Null in records of llmperf 0.2 and before."""
    timings_only: bool
    """Whether the child did nothing but time: of two stages that timed the model, the one to quote."""
    work_fingerprint: str | None
    """Null when no sample could be run."""
    model: ModelFacts
    device: DeviceFacts
    execution: str
    cache: str
    load_s: float
    """Building the model and reading its weights."""
    warmup_runs: int
    batches: tuple[BatchResult, ...]
    errors: tuple[SampleError, ...] = ()
    memory: Memory
    ranges: RangesSent | None = None
    compilation: Compilation | None = None
    """Null where nothing was to be compiled, or this torch does not tell."""
    rank: RankFacts | None = None
    """Null for a model in one process. Figures of the model and its work are those of all ranks; times and memory are
    this one's."""
    notes: tuple[str, ...] = ()
    """What was changed or dropped against the configuration, in words."""


class ProfileSize(Record):
    """What a profile takes, predicted or measured."""

    steps: int
    """Decode steps after prefill."""
    events: int
    trace_bytes: int
    """Of the trace on disk, packed."""
    host_bytes: int | None
    """The most that the child holds beyond what it held before; null where the system does not say."""


class Profile(Record):
    """`profile.json`: the profiled sample; its tables are in `profile.sqlite`."""

    schema_version: Literal[1] = 1
    sample: int | None
    """None for an imported trace: what ran is not known; nor is what else is None here."""
    decode_steps: int | None = None
    """Profiled after prefill."""
    whole: bool | None = None
    """Whether they are all that the sample takes, not the first of them."""
    activities: tuple[str, ...]
    events: int
    """Operators, calls and kernels that the profiler recorded."""
    wall_ms: float | None
    """Profiled run of the sample, host clock; slower than an unprofiled one."""
    phase_ms: dict[str, float]
    """Host time of the ranges in the profiled run."""
    warmup_runs: int | None
    predicted: ProfileSize | None = None
    """From a profile of a few steps before it; null where there was none."""
    taken: ProfileSize | None = None
    """Measured; null for an imported trace."""
    notes: tuple[str, ...] = ()
    """What could not be read or linked, in words."""
