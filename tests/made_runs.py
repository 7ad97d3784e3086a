"""Whole run directories of made records: of any size, with any names, without running anything."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import yaml

from llm_perf_opt.artifacts.layout import (
    CONFIG,
    ENVIRONMENT,
    HARDWARE,
    HARDWARE_SERIES,
    INPUTS,
    MANIFEST,
    MODULES,
    PREDICTIONS,
    PROFILE,
    WORKLOAD,
)
from llm_perf_opt.captures.timeline import analyse
from llm_perf_opt.captures.trace import write_profile_tables
from llm_perf_opt.config.dump import to_yaml
from llm_perf_opt.config.schema import Config
from llm_perf_opt.records.columns import ANNOTATION, NONE, OPERATOR, Calls, Device, DeviceWork, Events, Process, Ranges
from llm_perf_opt.records.columns import Thread as HostThread
from llm_perf_opt.records.hardware import HardwareSeries
from llm_perf_opt.records.inputs import Inputs, Sample
from llm_perf_opt.records.manifest import Manifest, StageEntry
from llm_perf_opt.records.predictions import Prediction
from llm_perf_opt.records.workload import Profile, Repeat
from tests import records

STAGE = "torch_profiler"
LAUNCHES, STEPS, REPEATS = 2, 32, 3
LLAMA = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 256,
    "max_position_embeddings": 2048,
    "tie_word_embeddings": False,
}
Name = Callable[[int], str]


def kernel_name(number: int) -> str:
    """As long and as alike as real ones."""
    functor = f"at::native::CUDAFunctor_{number}<c10::BFloat16>"
    return (
        f"void at::native::vectorized_elementwise_kernel<{number % 16}, {functor}, std::array<char*, {number % 7}>>"
        f"(int, {functor}, std::array<char*, 3ul>)"
    )


def hostile_name(number: int) -> str:
    """What a file may call a kernel."""
    names = (
        "</script><script>document.title='owned'</script>",
        "<img src=x onerror=\"document.title='owned'\">",
        "\u202egnp.exe\u202c \u200f\u061c right to left \u2066x\u2069",
        "long " + "n" * 10_000,
        "'\"`&lt;!--",
        '=HYPERLINK("http://x")',
        "${document.title}",
        "\x1b[31m\x00\ud800",
    )
    return f"{names[number % len(names)]}{number}"


def write_made_run(folder: Path, *, kernels: int, samples: int, name: Name = kernel_name) -> Path:
    """A run of a GPU: so many distinct kernels, so many samples of `REPEATS` repeats with `STEPS` steps each."""
    stage = folder / STAGE
    stage.mkdir(parents=True)
    predictions = stage / "pred"
    predictions.mkdir()
    settings = {
        "pipeline": {STAGE: {"output": {"prediction": {"enable": True}}}},
        "hardware": {"peak_tflops": 1.0, "memory_bandwidth_gbs": 100.0},
    }
    config = Config.model_validate(settings, strict=False)
    paths = [f"/pages/{at}-{name(at)[:200].replace('/', '_')}.png" for at in range(samples)]
    listed = tuple(Sample(kind="image", path=path, size_bytes=1, sha256="ab" * 32) for path in map(_plain, paths))
    inputs = Inputs(samples=listed, epochs=(tuple(range(samples)),))
    batches = [
        records.batch(
            *(_repeat(at * REPEATS + number) for number in range(REPEATS)),
            samples=(at,),
            prompt_tokens=(500 + at % 50,),
            padded_tokens=500 + at % 50,
        )
        for at in range(samples)
    ]
    manifest = Manifest(
        llmperf_version="0",
        argv=("llmperf", "run", _plain(name(0))[:300]),
        status="completed",
        exit_code=0,
        created="2026-01-01T00:00:00Z",
        ended="2026-01-01T00:01:00Z",
        stages={STAGE: StageEntry(status="completed", work_fingerprint="cd" * 32)},
    )
    write_profile_tables(analyse(events(kernels, name), "trace.json.gz"), stage)
    profile = Profile(
        sample=0,
        decode_steps=1,
        whole=False,
        activities=("cpu", "cuda"),
        events=9,
        wall_ms=1.0,
        phase_ms={},
        warmup_runs=1,
    )
    texts = [
        Prediction(source=sample.path or "", text=_plain(name(at)), prompt_tokens=1, new_tokens=1)
        for at, sample in enumerate(listed)
    ]
    HardwareSeries(
        {
            "at_s": [at / 10 for at in range(500)],
            "sm_clock_mhz": [1500 + at % 50 for at in range(500)],
            "memory_clock_mhz": [None] * 500,
            "power_w": [300.0 - at % 7 for at in range(500)],
            "temperature_c": [60 + at // 50 for at in range(500)],
            "memory_used_bytes": [1 << 32] * 500,
            "clock_events": [0] * 500,
            "energy_mj": [at * 30 for at in range(500)],
        }
    ).write(stage / HARDWARE_SERIES)
    for file, text in {
        folder / CONFIG: to_yaml(config, hide=True),
        folder / INPUTS: yaml.safe_dump(inputs.model_dump(mode="json"), allow_unicode=True),
        folder / ENVIRONMENT: records.environment().model_dump_json(),
        folder / MANIFEST: manifest.model_dump_json(),
        stage / WORKLOAD: records.workload(*batches, model=records.model(config=LLAMA)).model_dump_json(),
        stage / HARDWARE: records.hardware().model_dump_json(),
        stage / MODULES: records.instrumented().model_dump_json(),
        stage / PROFILE: profile.model_dump_json(),
        predictions / PREDICTIONS: "".join(text.model_dump_json() + "\n" for text in texts),
    }.items():
        file.write_text(text, encoding="utf-8")
    return folder


def _plain(text: str) -> str:
    """What UTF-8 can hold."""
    return text.replace("\ud800", "")


def _repeat(seed: int) -> Repeat:
    slow = [10.0 if (seed + at) % 97 == 0 else 0.0 for at in range(STEPS)]
    steps = tuple(5.0 + (seed * 31 + at * 17) % 100 / 50 + slow[at] for at in range(STEPS))
    prefill = 39.0 + seed % 13 / 5
    decode = sum(steps)
    return records.repeat(
        step_ms=steps,
        decode_ms=decode,
        prefill_ms=prefill,
        ttft_ms=10.0 + prefill,
        e2e_ms=10.0 + prefill + decode,
        new_tokens=(STEPS + 1,),
    )


def events(kernels: int, name: Name) -> Events:
    """Prefill, decode, eight modules, and an operator around every launch."""
    launches = kernels * LAUNCHES
    names = ["prefill", "decode", *(f"layer.{at}" for at in range(8)), "cudaLaunchKernel", "aten::mm"]
    first = len(names)
    names += [_plain(name(at)) for at in range(kernels)]
    rows = np.arange(launches, dtype=np.int64)
    start = rows * 10_000 + 2_000
    per = max(launches // 10, 1)
    half = launches // 2
    modules = [(2 + at % 8, at * per, min((at + 1) * per, launches)) for at in range(10)]
    spans = [(0, 0, half), (1, half, launches), *modules]
    outer = np.array([(low * 10_000 + at, high * 10_000 - at, number) for at, (number, low, high) in enumerate(spans)])
    ranges = len(outer) + launches
    nothing, zero = np.full(ranges, NONE, np.int64), np.zeros(launches, np.int32)
    none = np.full(launches, NONE, np.int64)
    return Events(
        work=DeviceWork(
            start_ns=start + 3_000,
            end_ns=start + 3_000 + 1_000 + rows % kernels * 7 % 4_000,
            kind=np.zeros(launches, np.int8),
            device=zero,
            stream=np.full(launches, 7, np.int64),
            process=zero,
            name=(first + rows // LAUNCHES).astype(np.int32),
            correlation=rows + 1,
            external=none,
            graph=none,
            node=none,
            bytes=none,
            copy_kind=np.zeros(launches, np.int8),
            source=np.zeros(launches, np.int8),
            target=np.zeros(launches, np.int8),
            annotation=np.full(launches, NONE, np.int32),
        ),
        calls=Calls(
            start,
            start + 500,
            zero,
            np.full(launches, first - 2, np.int32),
            rows + 1,
            np.full(launches, NONE, np.int32),
            none,
        ),
        ranges=Ranges(
            np.concatenate([outer[:, 0], start - 500]),
            np.concatenate([outer[:, 1], start + 1_000]),
            np.concatenate([np.full(len(outer), ANNOTATION), np.full(launches, OPERATOR)]).astype(np.int8),
            np.zeros(ranges, np.int32),
            np.concatenate([outer[:, 2], np.full(launches, first - 1)]).astype(np.int32),
            nothing.astype(np.int32),
            nothing,
            nothing.astype(np.int32),
            np.zeros(ranges, np.int8),
        ),
        names=names,
        processes=[Process(1)],
        threads=[HostThread(0, 1)],
        devices=[Device(0, 0, None, "A GPU")],
    )
