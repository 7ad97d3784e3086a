"""Find and read a model's config.json, with limits on what is taken for one."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llm_perf_opt.analysis.static.quantization import quantization_of
from llm_perf_opt.errors import ConfigError, MissingError
from llm_perf_opt.opening import read_stream, without_halves

MAX_BYTES = 16 * 1024 * 1024
"""The largest published config.json files are well under a megabyte."""
MAX_DEPTH = 64


def _too_deep(value: object) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            item
            for holder in level
            if isinstance(holder, dict | list)
            for item in (holder.values() if isinstance(holder, dict) else holder)
        ]
        if not level:
            return False
    return True


_NO_NUMBERS = {"Infinity": math.inf, "-Infinity": -math.inf, "NaN": math.nan}


def _float_of_transformers(holder: dict[str, Any]) -> object:
    """What transformers writes for a float that JSON has no number for: `{"__float__": "Infinity"}`."""
    if holder.keys() != {"__float__"}:
        return holder
    return _NO_NUMBERS.get(str(holder["__float__"]), holder)


def parse_config(text: str, where: str) -> dict[str, Any]:
    """The mapping in the text of a config.json.

    Raises:
        ConfigError: no JSON, no object, or nested beyond reason.
    """
    try:
        value = without_halves(json.loads(text, object_hook=_float_of_transformers))
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"{where}:{error.lineno}:{error.colno}: broken JSON: {error.msg}",
            "restore the file from the model's source",
        ) from error
    except RecursionError as error:
        raise ConfigError(
            f"{where}: nested too deeply for a config", "check that this is the model's own file"
        ) from error
    if not isinstance(value, dict):
        raise ConfigError(
            f"{where}: holds a JSON {type(value).__name__}, not an object",
            "give the model's config.json or its directory",
        )
    if _too_deep(value):
        raise ConfigError(f"{where}: nested deeper than {MAX_DEPTH} levels", "check that this is the model's own file")
    return value


def read_config(path: Path) -> tuple[Mapping[str, Any], Path]:
    """The config of a model, and the file it came from.

    Args:
        path: a `config.json`, or a directory that holds one.

    Raises:
        MissingError: no such file, or a directory without config.json.
        ConfigError: the file is no usable config.
    """
    file = path / "config.json" if path.is_dir() else path
    try:
        data = read_stream(file, MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise ConfigError(
                f"{file}: above the {MAX_BYTES:,} bytes accepted for a config", "give the model's config.json"
            )
        text = data.decode("utf-8-sig")
    except FileNotFoundError as error:
        what = f"{path} has no config.json" if path.is_dir() else f"{path} does not exist"
        what = f"{file} is a symbolic link whose target is gone" if file.is_symlink() else what
        raise MissingError(what, "give a config.json, or the directory of a Hugging Face model") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: not UTF-8 text", "give the model's config.json") from error
    except OSError as error:
        raise MissingError(f"{file}: cannot be read: {error.strerror}", "check the path and its permissions") from error
    return _with_modelopt(parse_config(text, str(file)), file), file


def _with_modelopt(config: dict[str, Any], file: Path) -> dict[str, Any]:
    """The config with the quantization that ModelOpt writes into a file of its own beside it."""
    beside = file.parent / "hf_quant_config.json"
    if quantization_of(config) is not None or not beside.is_file() or beside.stat().st_size > MAX_BYTES:
        return config
    written = parse_config(beside.read_text(encoding="utf-8-sig", errors="replace"), str(beside)).get("quantization")
    if not isinstance(written, dict):
        return config
    return {**config, "quantization_config": {"quant_method": "modelopt", **written}}
