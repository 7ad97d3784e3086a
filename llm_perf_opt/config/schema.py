"""The whole configuration: what a run is of, on what, measured how, by which stages."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from llm_perf_opt.config.base import Count, NonEmpty, NonNegative, Positive, Settings, Strings, inconsistent
from llm_perf_opt.config.pipeline import Pipeline

ImageSizes = Annotated[tuple[Annotated[str, Field(pattern=r"^[1-9]\d*x[1-9]\d*$")], ...], Field(strict=False)]


class Preprocess(Settings):
    """Image preparation of the DeepSeek-OCR families; null leaves the model's own value."""

    enable: bool = False
    """Apply the values below instead of those of the model's own processor."""
    base_size: Count | None = None
    """Side of the global view, pixels."""
    image_size: Count | None = None
    """Side of one local tile, pixels."""
    crop_mode: bool | None = None
    """Cut the page into local tiles beside the global view."""
    patch_size: Count | None = None
    """Side of one vision patch, pixels."""
    downsample_ratio: Count | None = None
    """How many patches along one side become one image token."""


class Model(Settings):
    """Which model, from where, in which type."""

    name: NonEmpty = "auto"
    """Model adapter: demo, causal_lm, image_text, deepseek_ocr, deepseek_ocr2, … or one of a plug-in; auto takes the
    one for the model at `path`, without a path demo."""
    path: NonEmpty | None = None
    """Model directory, `config.json` or `.gguf` file; relative to the directory llmperf was started in."""
    revision: str | None = None
    """Revision label recorded with the run (nothing is downloaded)."""
    trust_remote_code: bool = False
    """Allow Python code inside the model directory to run."""
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    """Type of weights and activations; auto takes the checkpoint's."""
    weights: Literal["auto", "pretrained", "random"] = "auto"
    """Read the checkpoint, or fill the architecture with random weights; auto reads it where there is one."""
    seed: NonNegative = 0
    """Seed of random weights."""
    preprocess: Preprocess = Field(default_factory=Preprocess)
    """Image preparation of the DeepSeek-OCR families."""


class Infer(Settings):
    """How tokens are generated."""

    max_new_tokens: Count = 64
    """Most tokens to generate per sample, the first one included."""
    temperature: Annotated[float, Field(ge=0)] = 0.0
    """Softmax temperature; used only when sampling."""
    do_sample: bool = False
    """Sample from the distribution instead of taking the likeliest token."""
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    """Nucleus sampling: keep the likeliest tokens that sum to this probability; null takes the checkpoint's own."""
    no_repeat_ngram_size: Count | None = None
    """Never generate an n-gram of this size twice."""
    batch_size: Count = 1
    """Samples per forward pass."""
    seed: NonNegative = 0
    """Seed of sampling."""
    stop_on_eos: bool = True
    """Stop at the end-of-sequence token; false decodes max_new_tokens with no host check in a step."""
    execution: Literal["eager", "compile", "cuda_graph"] = "eager"
    """How the model's forward pass is run."""
    cache: Literal["dynamic", "static"] = "dynamic"
    """KV cache: growing, or allocated once at full length."""
    context_len_mode: Literal["auto", "fixed", "max"] = "auto"
    """Context that decode FLOPs are counted at: each step's own, a fixed one, or the longest (for old reports)."""
    context_len_fixed: Count | None = None
    """The context of `context_len_mode: fixed`, tokens."""

    @model_validator(mode="after")
    def _consistent(self) -> Infer:
        if self.do_sample and self.temperature == 0.0:
            raise inconsistent(
                "do_sample", "true needs a temperature above 0", "set infer.temperature above 0, or do_sample: false"
            )
        if self.context_len_mode == "fixed" and self.context_len_fixed is None:
            raise inconsistent(
                "context_len_mode", "fixed needs infer.context_len_fixed", "set infer.context_len_fixed, in tokens"
            )
        return self


class Sampling(Settings):
    """How many samples, in which order."""

    num_epochs: Count = 1
    """Passes over the samples."""
    num_samples_per_epoch: Count | None = None
    """Samples of each pass; null takes all."""
    randomize: bool = False
    """Shuffle each pass, the same way for the same seed."""
    seed: NonNegative | None = None
    """Seed of the shuffle; null is 0."""


class Synthetic(Settings):
    """Seeded samples of exactly these sizes: they need no files, not even the model's tokenizer or processor."""

    prompt_tokens: Count | None = None
    """Text tokens of the prompt, as `llmperf static --prompt-tokens` counts them; those of images come on top."""
    images: ImageSizes = ()
    """Images of each prompt, WIDTHxHEIGHT in pixels."""

    @property
    def wanted(self) -> bool:
        """Whether such samples are asked for."""
        return self.prompt_tokens is not None or bool(self.images)


class Dataset(Settings):
    """The images or prompts to run on."""

    name: str | None = None
    """Label; `demo_pages` without a root names the pages shipped with llmperf."""
    root: NonEmpty | None = None
    """Folder of images, or of prompts (one `.txt` or `.md` file each); relative to where llmperf was started."""
    subset_filelist: NonEmpty | None = None
    """Text file that lists the samples, one path a line, relative to root or absolute."""
    fallback_patterns: Strings = ("**/*",)
    """Glob patterns under root, used without a file list; of what matches, files the model can read count."""
    prompt: str | None = None
    """Instruction that goes with every image; for a text model without a dataset, the one prompt."""
    synthetic: Synthetic = Field(default_factory=Synthetic)
    """Samples made up in exactly these sizes, in place of files."""
    sampling: Sampling = Field(default_factory=Sampling)
    """How many samples, in which order."""


class Measure(Settings):
    """What is timed, how often."""

    warmup: NonNegative = 1
    """Untimed runs before the timed ones."""
    repeats: Count = 3
    """Timed runs of every sample in each launch."""
    launches: Count = 1
    """Fresh processes that torch_profiler and direct_inference time the model in, each with its own warm-up and
    repeats; profile and outputs are made in the first. Five are the least to plan for where two runs are compared."""
    ranges: Annotated[tuple[Literal["phase", "module", "sample", "step"], ...], Field(strict=False)] = (
        "phase",
        "module",
    )
    """NVTX ranges to push: phase (warmup, prefill, decode), module, sample, step."""


class Parallel(Settings):
    """Ranks that share one model: each is a process of its own with a part of the weights."""

    tensor: Count = 1
    """Ranks over which transformers' plan for the model shards it; 1 is one process as ever."""
    nodes: Count = 1
    """Machines the ranks are spread over; more than one needs llmperf started on each by srun or torchrun."""
    backend: Literal["nccl", "gloo"] | None = None
    """What carries the collectives; null takes nccl on CUDA and gloo on the CPU."""
    rendezvous: Annotated[str, Field(pattern=r"^[^:/\\s]+:[1-9]\d{0,4}$")] | None = None
    """HOST:PORT where the ranks find one another; null takes a free port of this machine."""

    @model_validator(mode="after")
    def _consistent(self) -> Parallel:
        if self.tensor % self.nodes:
            raise inconsistent(
                "nodes",
                f"{self.tensor} ranks cannot be spread evenly over {self.nodes} machines",
                "set parallel.tensor to a multiple of parallel.nodes",
            )
        return self


class Hardware(Settings):
    """The hardware that numbers are held against."""

    gpu: NonEmpty = "auto"
    """GPU of the catalogue to compare with; auto takes the one found."""
    peaks: Literal["auto", "catalogue", "measured"] = "auto"
    """Where peaks are from that are not set here: the catalogue, or a benchmark of a few seconds on the device, whose
    result is kept; auto measures what the catalogue lacks, such as every CPU."""
    peak_tflops: Positive | None = None
    """Dense peak to use instead of the catalogue's, in TFLOP/s."""
    memory_bandwidth_gbs: Positive | None = None
    """Memory bandwidth to use instead of the catalogue's, in GB/s (10⁹ bytes)."""


class Artifacts(Settings):
    """Where results go."""

    runs_dir: NonEmpty = "tmp/profile-output"
    """Folder that new run directories are made in; relative to the directory llmperf was started in."""
    run_id: str | None = None
    """Name of the run directory; null takes the time, YYYYmmdd-HHMMSS."""
    max_bytes: Count = 2147483648
    """Most that the profile of a stage may leave on disk; it is shortened, or refused, to stay below."""

    @field_validator("run_id", mode="after")
    @classmethod
    def _plain_name(cls, value: str | None) -> str | None:
        if value is not None and (value in ("", ".", "..") or "/" in value or "\0" in value):
            raise ValueError("must be the name of one directory, without slashes")
        return value


class Config(Settings):
    """One run."""

    experiment: str = "default"
    """Free label, copied into reports."""
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda|cuda:\d+)$")] = "auto"
    """auto, cpu, cuda or cuda:N; auto is cuda:0 where usable, else cpu."""
    use_flash_attn: bool = True
    """FlashAttention where usable, else SDPA or eager; the report says which ran."""
    model: Model = Field(default_factory=Model)
    """Which model, from where, in which type."""
    infer: Infer = Field(default_factory=Infer)
    """How tokens are generated."""
    dataset: Dataset = Field(default_factory=Dataset)
    """The images or prompts to run on."""
    measure: Measure = Field(default_factory=Measure)
    """What is timed, how often."""
    parallel: Parallel = Field(default_factory=Parallel)
    """Ranks that share one model."""
    hardware: Hardware = Field(default_factory=Hardware)
    """The hardware that numbers are held against."""
    pipeline: Pipeline = Field(default_factory=Pipeline)
    """The stages and their settings."""
    artifacts: Artifacts = Field(default_factory=Artifacts)
    """Where results go."""

    @model_validator(mode="after")
    def _ranks_run_eager(self) -> Config:
        if self.parallel.tensor == 1:
            return self
        if self.infer.execution != "eager":
            raise inconsistent(
                "infer.execution",
                f"{self.infer.execution} runs on one rank alone, and parallel.tensor is {self.parallel.tensor}",
                "set infer.execution: eager, or parallel.tensor: 1",
            )
        if self.device.startswith("cuda:"):
            raise inconsistent(
                "device",
                f"{self.device} is one device, and parallel.tensor is {self.parallel.tensor}: each rank has its own",
                "set device: cuda or auto",
            )
        return self
