"""Settings of the stages.

The fields of `Pipeline`, down to `ncu`, are the built-in stages in the order they run;
`llm_perf_opt.stages.registry` holds the executor of each.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from llm_perf_opt.artifacts.layout import PRED_DIR, VIZ_DIR
from llm_perf_opt.config.base import Count, NonNegative, Positive, Settings, Strings, inconsistent

CAPTURE_RANGE_END = re.compile(
    r"none|stop|stop-shutdown|repeat(:[1-9]\d*)?(:(defer|sync|async))?|repeat-shutdown:[1-9]\d*(:(defer|sync|async))?"
)


class StaticAnalysis(Settings):
    """FLOPs, parameters, bytes and roofline bounds, computed without running the model."""

    enable: bool = True
    """Run this stage."""
    write_reports: bool = True
    """Write `static_compute.json` and `.md`."""
    use_analytic_fallback: bool = True
    """Where tracing fails, let a marked estimate stand in."""
    use_synthetic_inputs: bool = True
    """Take sizes from the configuration; false takes them from the first sample."""
    attention_flops: Literal["causal", "full"] = "causal"
    """Count what a causal kernel computes, or the whole square."""
    logits: Literal["last", "all"] = "last"
    """Count the output projection of prefill for the last token, or for all."""


class Prediction(Settings):
    """Generated text, one JSON object per sample."""

    enable: bool = False
    """Write `predictions.jsonl`."""
    save_dir: str | None = PRED_DIR
    """Folder: relative to the stage's own, or absolute; `.` is the stage's own, null is `pred`."""


class Visualization(Settings):
    """Predictions drawn on their images."""

    enable: bool = True
    """Write the gallery."""
    save_dir: str | None = VIZ_DIR
    """Folder: relative to the stage's own, or absolute; `.` is the stage's own, null is `viz`."""


class DeepseekOcrPrediction(Settings):
    """Text of the DeepSeek-OCR family."""

    strip_special_tokens: bool = False
    """Remove `<|ref|>…<|det|>` markup from the cleaned text."""


class DeepseekOcrVisualization(Settings):
    """Gallery of the DeepSeek-OCR family."""

    max_images: NonNegative | None = 16
    """Most images in the gallery; null is all."""
    thumbnail_width: Count = 480
    """Width of a gallery picture, pixels."""


class DeepseekOcrOutput(Settings):
    """Output settings of the DeepSeek-OCR family (deepseek_ocr, deepseek_ocr2, demo)."""

    prediction: DeepseekOcrPrediction = Field(default_factory=DeepseekOcrPrediction)
    """Text of the family."""
    visualization: DeepseekOcrVisualization = Field(default_factory=DeepseekOcrVisualization)
    """Gallery of the family."""


class OutputExtra(Settings):
    """Settings owned by model families; each is accepted whether or not that family runs."""

    deepseek_ocr: DeepseekOcrOutput = Field(default_factory=DeepseekOcrOutput)
    """The DeepSeek-OCR family: deepseek_ocr, deepseek_ocr2 and demo."""


class Output(Settings):
    """What a stage that generates text leaves behind."""

    prediction: Prediction = Field(default_factory=Prediction)
    """Generated text, one JSON object per sample."""
    visualization: Visualization = Field(default_factory=Visualization)
    """Predictions drawn on their images."""
    extra: OutputExtra = Field(default_factory=OutputExtra)
    """Settings owned by model families."""


class TorchProfiler(Settings):
    """Timed repeats without a profiler, then one profiled sample: operators, kernels, trace."""

    enable: bool = True
    """Run this stage."""
    activities: Annotated[tuple[Literal["cpu", "cuda"], ...], Field(strict=False, min_length=1)] = (
        "cpu",
        "cuda",
    )
    """What to record; cuda is dropped with a note where there is none."""
    record_shapes: bool = False
    """Record operator input shapes."""
    profile_memory: bool = False
    """Record allocations."""
    with_stack: bool = False
    """Record Python stacks."""
    group_by_input_shape: bool = False
    """Tell operators apart by input shape; needs record_shapes."""
    warmup_rounds: NonNegative = 2
    """Untimed runs before the profiled sample."""
    warmup_synthetic: bool = True
    """Warm up on a synthetic sample instead of the first real one."""
    output: Output = Field(default_factory=Output)
    """What the stage leaves behind beside its tables."""

    @model_validator(mode="after")
    def _consistent(self) -> TorchProfiler:
        if self.group_by_input_shape and not self.record_shapes:
            raise inconsistent("group_by_input_shape", "true needs record_shapes: true", "set record_shapes: true too")
        return self


class DirectInference(Settings):
    """The timed repeats and the outputs alone."""

    enable: bool = False
    """Run this stage."""
    output: Output = Field(default_factory=Output)
    """What the stage leaves behind."""


class Nsys(Settings):
    """Nsight Systems: a timeline of the same workload."""

    enable: bool = False
    """Run this stage."""
    gating_nvtx: bool = True
    """Send the NVTX capture flags; false drops those only."""
    trace: str = "cuda,nvtx,osrt"
    """APIs to trace (`--trace`)."""
    sample: Literal["none", "process-tree", "system-wide"] = "none"
    """CPU sampling (`--sample`)."""
    capture_range: Literal["none", "nvtx", "cudaProfilerApi", "hotkey"] = "none"
    """What opens the capture (`--capture-range`)."""
    capture_range_end: str | None = None
    """What its end does: none, stop, stop-shutdown, repeat[:N], repeat-shutdown:N; null leaves the flag out."""
    nvtx_capture: str | None = None
    """The range that opens the capture: `range`, `range@domain` or `range@*`."""
    cuda_graph_trace: Literal["graph", "node"] | None = None
    """Trace CUDA graphs whole or node by node."""
    timeout_s: Positive | None = None
    """Stop the capture after this many seconds."""
    extra_args: Strings = ()
    """Further options, passed last as they are."""

    @field_validator("capture_range_end", "nvtx_capture", mode="after")
    @classmethod
    def _blank_is_null(cls, value: str | None) -> str | None:
        return value.strip() or None if value is not None else None

    @field_validator("capture_range_end", mode="after")
    @classmethod
    def _known_end(cls, value: str | None) -> str | None:
        if value is not None and not CAPTURE_RANGE_END.fullmatch(value):
            raise ValueError(
                "must be none, stop, stop-shutdown, repeat[:N][:defer|sync|async] "
                "or repeat-shutdown:N[:defer|sync|async]"
            )
        return value

    @field_validator("nvtx_capture", mode="after")
    @classmethod
    def _one_expression(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[^@]+(@[^@]+)?", value):
            raise ValueError("must be one expression: range, range@domain or range@*")
        return value

    @model_validator(mode="after")
    def _capture_has_a_trigger(self) -> Nsys:
        if self.capture_range == "nvtx" and self.gating_nvtx and self.nvtx_capture is None:
            raise inconsistent(
                "capture_range",
                "nvtx needs nvtx_capture, the range that opens the capture: without it nsys would capture nothing",
                "set pipeline.nsys.nvtx_capture, for example to decode",
            )
        return self


class NcuNvtx(Settings):
    """Which NVTX ranges ncu profiles kernels in."""

    include: str | Strings | None = None
    """Range expression, or several (a list, or `;` between them); each becomes one `--nvtx-include`."""


class NcuExport(Settings):
    """What is exported from the ncu report."""

    csv: bool = True
    """Write `raw.csv` with every metric of every kernel."""


class NcuCli(Settings):
    """Options of the ncu command line."""

    target_processes: Literal["all", "application-only"] = "all"
    """Profile child processes too (`--target-processes`)."""
    replay_mode: Literal["auto", "kernel", "application", "range", "app-range"] = "auto"
    """What is run again to collect all metrics (`--replay-mode`); auto: app-range for ranges of the model, else
    kernel."""
    nvtx: NcuNvtx = Field(default_factory=NcuNvtx)
    """Which NVTX ranges to profile kernels in."""
    set: str | None = "roofline"
    """Section set (`--set`)."""
    sections: Strings | None = None
    """Sections (`--section`, one each)."""
    metrics: Strings | None = None
    """Metrics (`--metrics`, joined by commas)."""
    kernel_name: str | None = None
    """Kernels to profile: an exact name or `regex:…` (`--kernel-name`)."""
    kernel_name_base: Literal["demangled", "function", "mangled"] = "demangled"
    """Which form of the name is matched (`--kernel-name-base`)."""
    launch_skip: NonNegative | None = None
    """Matching launches to pass over first (`--launch-skip`)."""
    launch_count: Count | None = None
    """Most launches to profile (`--launch-count`)."""
    export: NcuExport = Field(default_factory=NcuExport)
    """What is exported from the report."""
    force_overwrite: bool = True
    """Replace an existing report file (`--force-overwrite`)."""
    extra_args: Strings = ()
    """Further options, passed last as they are."""


class Ncu(Settings):
    """Nsight Compute: counters of single kernels or ranges."""

    enable: bool = False
    """Run this stage."""
    gating_nvtx: bool = True
    """Send the NVTX filters; false drops those only."""
    timeout_s: Positive | None = None
    """Stop ncu after this many seconds."""
    ncu_cli: NcuCli = Field(default_factory=NcuCli)
    """Options of the ncu command line."""


class WorkloadCommand(Settings):
    """What nsys and ncu launch instead of llmperf's own workload."""

    module: str | None = None
    """Python module, run as `python -m MODULE`."""
    command: Strings | None = None
    """Command and its arguments."""

    @model_validator(mode="after")
    def _one_of(self) -> WorkloadCommand:
        if self.module is not None and self.command is not None:
            raise inconsistent("command", "module and command are both set", "keep one of them")
        return self


class Pipeline(Settings):
    """The stages."""

    static_analysis: StaticAnalysis = Field(default_factory=StaticAnalysis)
    """FLOPs, parameters, bytes and roofline bounds, computed without running the model."""
    torch_profiler: TorchProfiler = Field(default_factory=TorchProfiler)
    """Timed repeats without a profiler, then one profiled sample: operators, kernels, trace."""
    direct_inference: DirectInference = Field(default_factory=DirectInference)
    """The timed repeats and the outputs alone."""
    nsys: Nsys = Field(default_factory=Nsys)
    """Nsight Systems: a timeline of the same workload."""
    ncu: Ncu = Field(default_factory=Ncu)
    """Nsight Compute: counters of single kernels or ranges."""
    workload: WorkloadCommand = Field(default_factory=WorkloadCommand)
    """What nsys and ncu launch instead of llmperf's own workload."""
    plugins: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Third-party stages and their settings, loaded only when named here."""
