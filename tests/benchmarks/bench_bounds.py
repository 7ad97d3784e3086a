"""What a profile of many decode steps is predicted to take against what it takes, on small works of every kind.

    uv run python -m tests.benchmarks.bench_bounds [WORK]... [--write]

With `--write` the table of `docs/commands/torch.md` is made anew.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm_perf_opt.artifacts.layout import PROFILE, headline_dir, stage_dir
from llm_perf_opt.records.workload import Profile, ProfileSize
from tests.cli_process import LLMPERF, environment
from tests.tiny_models import write_image_text_model, write_text_model, write_tokenizer

PAGE = Path(__file__).parents[2] / "docs" / "commands" / "torch.md"
START, END = "<!-- made by tests/benchmarks/bench_bounds -->\n", "<!-- end -->"
WITHIN = 0.25
"""How far a prediction may be off."""
NEW = 201
"""Tokens: decode steps and one."""
COMMON = (
    "device=cpu",
    "model.weights=random",
    "infer.stop_on_eos=false",
    "hardware.peaks=catalogue",
    "measure.warmup=0",
    "measure.repeats=1",
    "pipeline.torch_profiler.steps=null",
    "pipeline.torch_profiler.warmup_rounds=1",
)
MAMBA: dict[str, Any] = {
    "model_type": "mamba",
    "architectures": ["MambaForCausalLM"],
    "vocab_size": 300,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "state_size": 8,
}
BAMBA: dict[str, Any] = {
    "model_type": "bamba",
    "architectures": ["BambaForCausalLM"],
    "vocab_size": 300,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "attn_layer_indices": [1],
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "mamba_n_heads": 8,
    "mamba_d_state": 16,
    "mamba_d_head": 16,
    "mamba_chunk_size": 16,
}

Make = Callable[[Path], Path]


@dataclass(frozen=True)
class Work:
    """A model and what is asked of it."""

    model: Make | None
    arguments: tuple[str, ...] = ()


def llama(folder: Path, **changes: Any) -> Path:
    return write_text_model(folder, "llama", max_position_embeddings=4096, **changes)


def made(config: Mapping[str, Any]) -> Make:
    def make(folder: Path) -> Path:
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps(config))
        write_tokenizer(folder)
        return folder

    return make


SHORT = ("--prompt-tokens", "32")
WORKS: dict[str, Work] = {
    "demo": Work(None),
    "Llama": Work(llama, SHORT),
    "Llama of 12 layers": Work(lambda folder: llama(folder, num_hidden_layers=12), SHORT),
    "Llama, prompt of 3,000": Work(llama, ("--prompt-tokens", "3000")),
    "Llama, batch of 8": Work(llama, (*SHORT, "--batch", "8")),
    "Llama, static cache": Work(llama, (*SHORT, "infer.cache=static")),
    "Llama, compiled": Work(llama, (*SHORT, "infer.cache=static", "infer.execution=compile")),
    "Llama, with shapes, memory and stacks": Work(
        llama,
        (
            *SHORT,
            "pipeline.torch_profiler.record_shapes=true",
            "pipeline.torch_profiler.profile_memory=true",
            "pipeline.torch_profiler.with_stack=true",
        ),
    ),
    "Llama on 2 ranks": Work(llama, (*SHORT, "parallel.tensor=2")),
    "Mamba": Work(made(MAMBA), SHORT),
    "Bamba (hybrid)": Work(made(BAMBA), SHORT),
    "Qwen3, mixture of experts": Work(lambda folder: write_text_model(folder, "qwen3_moe"), SHORT),
    "Qwen2.5-VL, an image": Work(lambda folder: write_image_text_model(folder, "qwen2_5_vl"), ("--image", "64x64")),
}


@dataclass(frozen=True)
class Found:
    """One work: what was predicted, and what it took."""

    name: str
    predicted: ProfileSize
    taken: ProfileSize

    def ratios(self) -> tuple[float, ...]:
        """Predicted against taken: events, bytes of the trace, bytes of host memory."""
        pairs = [
            (self.predicted.events, self.taken.events),
            (self.predicted.trace_bytes, self.taken.trace_bytes),
            (self.predicted.host_bytes, self.taken.host_bytes),
        ]
        return tuple(said / found for said, found in pairs if said is not None and found)

    @property
    def within(self) -> bool:
        return all(abs(ratio - 1) <= WITHIN for ratio in self.ratios())


def measured(name: str, folder: Path) -> Found:
    """Profile one work in whole.

    Raises:
        RuntimeError: it failed.
    """
    work = WORKS[name]
    model = [] if work.model is None else [str(work.model(folder / "model"))]
    given = [argument for argument in COMMON if work.model is not None or not argument.startswith("model.")]
    run = folder / "run"
    arguments = ["torch", *model, *work.arguments, "--max-new-tokens", str(NEW), *given, "--output", str(run)]
    finished = subprocess.run(
        [LLMPERF, *arguments], cwd=folder, env=environment(), capture_output=True, text=True, check=False
    )
    if finished.returncode:
        raise RuntimeError(f"{name}: {finished.stderr}")
    profile = Profile.read(headline_dir(stage_dir(run, "torch_profiler")) / PROFILE)
    if profile.predicted is None or profile.taken is None:
        raise RuntimeError(f"{name}: nothing was predicted")
    return Found(name, profile.predicted, profile.taken)


def table(rows: Sequence[Found]) -> str:
    """Markdown: each ratio is predicted / taken."""
    lines = ["| work | steps | events | trace | host memory | it took |", "|---|---:|---:|---:|---:|---|"]
    for row in rows:
        ratios = [f"{ratio:.2f}" for ratio in row.ratios()]
        ratios += ["—"] * (3 - len(ratios))
        host = "" if row.taken.host_bytes is None else f", {row.taken.host_bytes / 1e6:,.0f} MB of host memory"
        took = f"{row.taken.events:,} events, {row.taken.trace_bytes / 1e6:.1f} MB{host}"
        lines.append(f"| {row.name} | {row.taken.steps:,} | {' | '.join(ratios)} | {took} |")
    return "\n".join(lines) + "\n"


def written(page: str, text: str) -> str:
    """The page with the table in its place."""
    before, rest = page.split(START)
    return before + START + text + END + rest.split(END, 1)[1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("works", nargs="*", metavar="WORK", help=f"of {', '.join(WORKS)}")
    parser.add_argument("--write", action="store_true", help=f"refresh {PAGE.name}")
    arguments = parser.parse_args()
    found = []
    for name in arguments.works or WORKS:
        with tempfile.TemporaryDirectory() as folder:
            found.append(measured(name, Path(folder)))
        print(table(found[-1:]).splitlines()[-1], flush=True)
    if arguments.write:
        PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), table(found)), encoding="utf-8")
    off = [row.name for row in found if not row.within]
    print(f"{len(found) - len(off)} of {len(found)} within {WITHIN:.0%}" + (f"; not {', '.join(off)}" if off else ""))
    return int(bool(off))


if __name__ == "__main__":
    sys.exit(main())
