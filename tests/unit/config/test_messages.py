"""The words of every kind of answer, frozen: `UPDATE_SNAPSHOTS=1` writes them anew."""

from __future__ import annotations

import os
from pathlib import Path

from llm_perf_opt.config.load import load_config
from llm_perf_opt.config.problems import InvalidConfig

SNAPSHOT = Path(__file__).parent / "snapshots" / "messages.txt"

FILES = (
    "infer:\n  max_new_token: 3\n",
    "max_new_tokens: 3\n",
    "pipeline:\n  nsys:\n    enabled: true\n",
    "run:\n  stage1_repeats: 3\n  mode: deep\n  top_n_kernels: 30\n  nonsense: 1\n",
    "analysis:\n  static:\n    enabled: true\n",
    "torch_profiler:\n  enabled: true\n",
    "pipeline:\n  ncu:\n    nvtx_include: decode*\n",
    "hydra:\n  run: {dir: x}\n",
    "outputs:\n  save_preds: true\n",
    "artifacts:\n  runs_dir: ${hydra:runtime.cwd}/tmp\n",
    "infer: {max_new_tokens: inf}\n",
    "infer: {max_new_tokens: 8.0}\n",
    "infer: {max_new_tokens: true}\n",
    "infer: {max_new_tokens: '8'}\n",
    "infer: {top_p: 1.5, batch_size: 0, temperature: .nan}\n",
    "infer: {do_sample: true}\n",
    "infer: {context_len_mode: fixed}\n",
    "experiment: 2026\n",
    "experiment: on\n",
    "experiment: [a]\n",
    "model: {dtype: flaot16}\n",
    "model: {trust_remote_code: 'yes'}\n",
    "model:\n",
    "model: {name: null}\n",
    "device: gpu\n",
    "hardware: {peak_tflops: 1e3}\n",
    "measure: {repeats: 1e3}\n",
    "measure: {repeats: three, ranges: [phase, layer]}\n",
    "pipeline: {torch_profiler: {activities: cpu}}\n",
    "pipeline: {torch_profiler: {activities: []}}\n",
    "pipeline: {torch_profiler: {enable: true, enabled: true}}\n",
    "pipeline: {nsys: {capture_range: nvtx}}\n",
    "pipeline: {nsys: {capture_range_end: repeat-shutdown, nvtx_capture: a@b@c}}\n",
    "pipeline: {ncu: {ncu_cli: {nvtx: {include: 3}, sections: SpeedOfLight}}}\n",
    "pipeline: {workload: {module: a, command: [b]}}\n",
    "pipeline: 3\n",
    "a: 1\na: 2\n",
    "base: &base {seed: 1}\ninfer:\n  <<: *base\n",
    "a: !!python/object/apply:os.system [ls]\n",
    "infer:\n\tseed: 1\n",
    "infer: [\n",
    "infer:\n  seed: 1\n seed: 2\n",
    "kernel: *gemm\n",
    "1: x\n",
    "a: 1:30\nb: 010\n",
    "- a\n",
    "defaults:\n  - profiling/ncu@pipeline.ncu: ncu.hihg\n",
    "defaults:\n  - profiling/ncu: ncu.high\n",
    "defaults:\n  - profilng/ncu@pipeline.ncu: ncu.high\n",
    "defaults:\n  - dataset: '*'\n",
    "defaults: demo\n",
    "defaults:\n  - /profiling/torch@pipeline.torch_profiler: torch-profiler.min\n",
    "defaults:\n  - override /profiling/ncu@pipeline.ncu: ncu.high\n  - optional dataset: demo_pages\n  - config\n",
    "defaults:\n  - profiling/ncu@/pipeline.ncu: ncu.high\n",
    "pipeline.nsys.enable: true\n",
    "infer: {seeed.x: 3}\n",
    "run.repeats: 3\n",
    "infer: {decoder_prompt: read}\n",
    "nsys: {gating_nvtx: true, nonsense: 1}\nncu: {ncu_cli: {set: full}, nvtx_include: a}\n",
    "stage1_runner: {device: cpu, disable_static: true}\nhydra: {run: {dir: x}, job: {chdir: true}}\n",
)
OVERRIDES = (
    "infer.max_new_token=3",
    "+infer.seed=3",
    "~infer.seed",
    "~infer.top_p",
    "~pipeline.nsys",
    "++infer.seed=3",
    "+run.top_n_kernels=30",
    "+run.mode=deep",
    "+infer.seeed=3",
    "+profiling/ncu@pipeline.ncu=ncu.high",
    "hydra.run.dir=out/run1",
    "infer.decoder_prompt=read",
    "/profiling/ncu@pipeline.ncu=ncu.high",
    "infer.seed",
    "infer..seed=3",
    "infer.seed=[1",
    "infer.seed=*x",
    "experiment=2026",
    "dataset=omnidocbensh",
    "profiling/ncu=ncu.high",
)
VARIABLES = {
    "LLMPERF_CONFIGDIR": "x",
    "LLMPERF_RUN__DEVICE": "cpu",
    "LLMPERF_PIPELINE__NSIS__ENABLE": "true",
    "LLMPERF_INFR__SEEED": "3",
    "LLMPERF_INFR__SEED": "3",
    "LLMPERF_INFER__SEEED": "3",
    "LLMPERF_INFER__SEED": "three",
}


def _answer(file: Path | None, *overrides: str, environ: dict[str, str] | None = None) -> str:
    try:
        load_config(file, overrides, environ=environ or {})
    except InvalidConfig as error:
        text = str(error)
        return text.replace(f"{file.parent}/", "") if file is not None else text
    return "valid"


def test_messages_are_those_of_the_snapshot(tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    answers = []
    for text in FILES:
        file.write_text(text, encoding="utf-8")
        answers.append(_answer(file))
    answers += [_answer(None, override) for override in OVERRIDES]
    answers += [_answer(None, environ={name: value}) for name, value in VARIABLES.items()]
    assert "valid" not in answers
    found = "\n\n".join(answers) + "\n"
    if "UPDATE_SNAPSHOTS" in os.environ:
        SNAPSHOT.write_text(found, encoding="utf-8")
    assert found == SNAPSHOT.read_text(encoding="utf-8")
