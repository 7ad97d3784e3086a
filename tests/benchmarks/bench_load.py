"""Loading at real size: seconds and peak host memory of random weights from a config.json alone, and of a checkpoint.

    python tests/benchmarks/bench_load.py [--dtype bfloat16] [--checkpoint DIR] [--device cpu]

Without --checkpoint: the sizes of Qwen3-0.6B. Seconds are of the CPU of this process and of the wall.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

QWEN3_06B = {
    "model_type": "qwen3",
    "vocab_size": 151936,
    "hidden_size": 1024,
    "intermediate_size": 3072,
    "num_hidden_layers": 28,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "tie_word_embeddings": True,
    "max_position_embeddings": 40960,
}


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()

    import torch
    import transformers.models.qwen3.modeling_qwen3

    from llm_perf_opt.config.load import load_config
    from llm_perf_opt.workload.adapter import find_adapter
    from llm_perf_opt.workload.choice import with_model_chosen

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        path = arguments.checkpoint or Path(folder)
        if arguments.checkpoint is None:
            (path / "config.json").write_text(json.dumps(QWEN3_06B))
        wanted = [f"model.dtype={arguments.dtype}", "dataset.synthetic.prompt_tokens=8"]
        config = with_model_chosen(load_config(path, wanted, environ={}).config)
        adapter = find_adapter(config.model.name)
        before, wall, cpu = peak_bytes(), time.perf_counter(), time.process_time()
        loaded = adapter.load(config, torch.device(arguments.device))
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    size = sum(parameter.numel() * parameter.element_size() for parameter in loaded.model.parameters())
    print(f"{config.model.weights}, {arguments.dtype}, {size:,} bytes on {arguments.device}")
    print(f"{cpu:.2f} CPU s, {wall:.2f} s, host peak {(peak_bytes() - before) / size:.2f} x the model's bytes")


if __name__ == "__main__":
    main()
