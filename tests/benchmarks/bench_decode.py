"""Decode loop against `generate()`, alternating in one process: median tokens/s of each, and their ratio.

    OMP_NUM_THREADS=1 uv run python tests/benchmarks/bench_decode.py [--rounds 7] [--smollm2 DIR]

Both make the same tokens from the same prompt with no end of sequence. The time of `generate()` is the whole call
less that of a call for a single token, so both sides are decoding alone. Target: a ratio of at least 0.95.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from llm_perf_opt.config.schema import Infer
from llm_perf_opt.workload.clock import clock_for
from llm_perf_opt.workload.loaded import LoadedModel
from llm_perf_opt.workload.loop import Loop
from llm_perf_opt.workload.ranges import Ranges
from tests.real_model import converted_smollm2
from tests.tiny_models import VOCABULARY, write_text_model, write_tokenizer
from tests.unit.workload.models import NoEvents, load, prompt, reference
from tests.walk.small import small

STATEFUL = ("mamba2", "falcon_mamba", "falcon_h1", "bamba", "jamba", "zamba2", "nemotron_h", "qwen3_next", "lfm2")
"""State-space and hybrid models."""
PROMPT = "The capital of France is"


@dataclass
class Figures:
    """Tokens per second of decoding, one a round."""

    ours: list[float]
    theirs: list[float]

    @property
    def ratio(self) -> float:
        return statistics.median(ours / theirs for ours, theirs in zip(self.ours, self.theirs, strict=True))


def measure(loaded: LoadedModel, infer: Infer, rounds: int, options: dict[str, Any]) -> Figures:
    batch = loaded.prepare([prompt(PROMPT)])
    loop = Loop(loaded, infer, clock_for(loaded.device), NoEvents())  # type: ignore[arg-type]
    single = infer.model_copy(update={"max_new_tokens": 1})
    steps = infer.max_new_tokens - 1
    figures = Figures([], [])
    for number in range(rounds + 2):
        start = time.perf_counter()
        expected = reference(loaded, batch, infer, **options)
        whole = time.perf_counter() - start
        start = time.perf_counter()
        reference(loaded, batch, single, **options)
        first = time.perf_counter() - start
        generation = loop.generate(batch, Ranges(()))
        if generation.tokens != expected:
            raise SystemExit(f"different tokens: {generation.tokens} instead of {expected}")
        if number < 2:  # warm-up, compilation included
            continue
        assert generation.decode_ms is not None
        figures.ours.append(steps / generation.decode_ms * 1e3)
        figures.theirs.append(steps / (whole - first))
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--smollm2", type=Path, help="converted model directory (else it is converted first)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        llama = write_text_model(
            base / "llama",
            "llama",
            hidden_size=256,
            intermediate_size=512,
            num_hidden_layers=8,
            num_attention_heads=8,
            num_key_value_heads=4,
        )
        real = arguments.smollm2 or converted_smollm2(base)
        print(f"{'model':12} {'mode':16} {'loop tok/s':>11} {'generate':>11} {'ratio':>6}")
        models = [("llama-8x256", llama, "random", 128, MODES), ("SmolLM2", real, "pretrained", 32, MODES)]
        models += [(name, _small(base / name, name), "random", 128, MODES[:1]) for name in STATEFUL]
        for name, path, weights, tokens, modes in models:
            for mode, changes, options in modes:
                infer = Infer(max_new_tokens=tokens, stop_on_eos=False, **changes)
                loaded = load(path, infer, weights=weights)
                found = measure(loaded, infer, arguments.rounds, options())
                ours, theirs = statistics.median(found.ours), statistics.median(found.theirs)
                print(f"{name:12} {mode:16} {ours:11.1f} {theirs:11.1f} {found.ratio:6.3f}", flush=True)


def _small(folder: Path, model_type: str) -> Path:
    """The type as its class has it, made small: the loop's own time is the larger part of a step's."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    folder.mkdir()
    config = small(CONFIG_MAPPING[model_type]().to_dict(), model_type)
    (folder / "config.json").write_text(
        json.dumps({**config, "model_type": model_type, "vocab_size": VOCABULARY}, default=str)
    )
    write_tokenizer(folder)
    return folder


def _compiled() -> dict[str, Any]:
    from transformers import CompileConfig

    settings = CompileConfig()
    settings._compile_all_devices = True
    return {"cache_implementation": "static", "compile_config": settings}


MODES: list[tuple[str, dict[str, Any], Any]] = [
    ("eager, dynamic", {}, dict),
    ("eager, static", {"cache": "static"}, lambda: {"cache_implementation": "static", "disable_compile": True}),
    ("compile, static", {"execution": "compile", "cache": "static"}, _compiled),
]

if __name__ == "__main__":
    main()
