"""Where a model's files are, and what identifies its weights."""

from __future__ import annotations

import hashlib
from pathlib import Path

from llm_perf_opt.config.schema import Model
from llm_perf_opt.errors import ConfigError, MissingError
from llm_perf_opt.opening import open_file

WEIGHT_PATTERNS = ("*.safetensors", "*.gguf", "pytorch_model*.bin")
EDGE_BYTES = 1 << 20


def model_path(model: Model) -> Path:
    """`model.path`, checked to exist.

    Raises:
        ConfigError: it is not set.
        MissingError: nothing is there.
    """
    if model.path is None:
        raise ConfigError(f"model.path is not set and model {model.name!r} has no weights of its own", "set model.path")
    path = Path(model.path)
    if not path.exists():
        raise MissingError(f"model.path {path} does not exist", "correct model.path (nothing is downloaded)")
    for file in path.iterdir() if path.is_dir() else [path]:
        # transformers and its libraries open them, and would wait for ever.
        if file.exists() and not file.is_file() and not file.is_dir():
            raise MissingError(f"{file} is a device, a pipe or a socket, not a file of a model", "correct model.path")
    return path


def weight_files(path: Path) -> list[Path]:
    """The files that hold the weights of the model at `path`."""
    if path.suffix == ".gguf":
        return [path]
    folder = path if path.is_dir() else path.parent
    return sorted(file for pattern in WEIGHT_PATTERNS for file in folder.glob(pattern))


def has_weights(path: Path) -> bool:
    """Whether there is a checkpoint at `path`; of one whose index alone is there, the files are missing."""
    folder = path if path.is_dir() else path.parent
    return bool(weight_files(path)) or any(folder.glob("*.index.json"))


def weights_id(path: Path) -> str:
    """sha256 over names, sizes and the first and last MiB of the weight files; cheap for any size of model."""
    files = weight_files(path)
    digest = hashlib.sha256()
    for file in files:
        size = file.stat().st_size
        digest.update(f"{file.name}\0{size}\0".encode())
        with open_file(file) as stream:
            digest.update(stream.read(EDGE_BYTES))
            stream.seek(max(size - EDGE_BYTES, 0))
            digest.update(stream.read(EDGE_BYTES))
    return digest.hexdigest()
