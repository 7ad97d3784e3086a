"""Where a model's files are, and what identifies its weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llm_perf_opt.config.schema import Model
from llm_perf_opt.errors import ConfigError, MissingError

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
    return path


def read_model_config(path: Path) -> Mapping[str, Any]:
    """The `config.json` at or in `path`.

    Raises:
        MissingError: there is none.
        ConfigError: it is not a JSON object; the message gives line and column.
    """
    file = path / "config.json" if path.is_dir() else path
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MissingError(f"{path} holds no config.json", "name a model directory or a .gguf file") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file} is not UTF-8 text", "repair or re-download the model directory") from error
    except json.JSONDecodeError as error:
        place = f"{file}:{error.lineno}:{error.colno}"
        raise ConfigError(f"{place}: broken JSON: {error.msg}", "repair or re-download the model directory") from error
    except RecursionError as error:
        raise ConfigError(f"{file} is nested too deeply to be a model configuration") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{file} holds no JSON object", "name a model directory or a .gguf file")
    return found


def weights_id(path: Path) -> str:
    """sha256 over names, sizes and the first and last MiB of the weight files; cheap for any size of model."""
    files = [path] if path.is_file() else sorted(file for pattern in WEIGHT_PATTERNS for file in path.glob(pattern))
    digest = hashlib.sha256()
    for file in files:
        size = file.stat().st_size
        digest.update(f"{file.name}\0{size}\0".encode())
        with file.open("rb") as stream:
            digest.update(stream.read(EDGE_BYTES))
            stream.seek(max(size - EDGE_BYTES, 0))
            digest.update(stream.read(EDGE_BYTES))
    return digest.hexdigest()
