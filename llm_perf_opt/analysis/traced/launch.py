"""The parent's side of tracing: starts the child, and keeps its descriptions by config and library versions."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from llm_perf_opt.analysis.static.description import Description, ImageSize
from llm_perf_opt.analysis.static.estimate import UnknownType
from llm_perf_opt.analysis.static.reader import Reader
from llm_perf_opt.analysis.traced.wire import description_from_wire
from llm_perf_opt.errors import ConfigError, MissingError, StageError
from llm_perf_opt.hardware.measured import cache_folder
from llm_perf_opt.opening import read_file

TIMEOUT_S = 300.0
_FORMAT = 5
"""Of what the child answers; kept answers of another format are traced again."""


def cache_directory() -> Path:
    """Where traced descriptions are kept: `$XDG_CACHE_HOME/llmperf/static`, or `~/.cache/llmperf/static`."""
    return cache_folder() / "static"


def _versions() -> dict[str, str]:
    found = {}
    for package in ("transformers", "torch"):
        try:
            found[package] = version(package)
        except PackageNotFoundError as error:
            raise MissingError(f"{package} is not installed, so nothing can be traced", f"install {package}") from error
    return found


def cache_key(
    config: Mapping[str, Any],
    images: Sequence[ImageSize],
    *,
    views: bool = False,
    pixel_limits: tuple[int, int] | None = None,
) -> str:
    """What decides a traced description: the config, the images, the versions that trace."""
    parts = {
        "config": config,
        "images": images,
        "views": views,
        "pixel_limits": pixel_limits,
        "versions": _versions(),
        "format": _FORMAT,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def _refuse_unknown(config: Mapping[str, Any], where: str) -> None:
    """Refuse a model type that stands nowhere in transformers' own lists, without the seconds that importing it takes.

    Raises:
        UnknownType: it does not.
    """
    package = find_spec("transformers")
    named, home = config.get("model_type"), package and package.submodule_search_locations
    if not home or not isinstance(named, str):
        return
    lists = [Path(home[0], "models", "auto", name) for name in ("auto_mappings.py", "configuration_auto.py")]
    texts = [file.read_text(encoding="utf-8") for file in lists if file.is_file()]
    if texts and not any(f'"{named}"' in text for text in texts):
        raise UnknownType(
            f"{where}: the installed transformers {_versions()['transformers']} knows no model_type {named!r}",
            "install a transformers that has it, if one does; code beside the weights is never run for static analysis",
        )


_WIDTHS = ("hidden_size", "d_model", "n_embd", "vocab_size")
_DEPTHS = ("num_hidden_layers", "num_layers", "num_decoder_layers", "encoder_layers", "decoder_layers", "n_layer")


def _refuse_absurd(config: Mapping[str, Any], where: str) -> None:
    """Refuse sizes that no model has, which transformers builds or divides by.

    Raises:
        ConfigError: one is no whole number, below 1 or beyond reason.
    """
    reader = Reader(config, config, where=where)
    for key in (*_WIDTHS, *_DEPTHS):
        if key in config:
            reader.optional_size(key)


def _read(file: Path) -> Description | None:
    try:
        return description_from_wire(json.loads(read_file(file)))
    except (OSError, ValueError, KeyError, TypeError):
        # Absent, or written by something else: traced again.
        return None


def _write(file: Path, answer: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w", dir=file.parent, suffix=".tmp", delete=False, encoding="utf-8"
        ) as partial:
            partial.write(answer)
        Path(partial.name).replace(file)
    except OSError:
        # The cache is a convenience: a read-only home must not fail the analysis.
        return


def traced(
    config: Mapping[str, Any],
    images: Sequence[ImageSize] = (),
    *,
    views: bool = False,
    pixel_limits: tuple[int, int] | None = None,
    where: str = "config.json",
    cache: Path | None = None,
    timeout_s: float = TIMEOUT_S,
) -> Description:
    """A model's description by tracing it in a child process; from the cache where it was traced before.

    Args:
        images: sizes of the images of a prompt, pixels.
        views: these are sizes of what goes through the tower, cut and resized already.
        pixel_limits: fewest and most pixels of an image whose shape is kept; None is as the type's processor has it.
        cache: directory of kept descriptions; None is `cache_directory()`.

    Raises:
        ConfigError: transformers cannot build or trace the model.
        MissingError: torch or transformers is not installed.
        StageError: the child died or took too long.
    """
    _refuse_unknown(config, where)
    _refuse_absurd(config, where)
    file = (cache or cache_directory()) / f"{cache_key(config, images, views=views, pixel_limits=pixel_limits)}.json"
    kept = _read(file)
    if kept is not None:
        return kept
    order = json.dumps(
        {"config": config, "images": images, "views": views, "pixel_limits": pixel_limits, "where": where}, default=list
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    try:
        child = subprocess.run(
            [sys.executable, "-m", "llm_perf_opt.analysis.traced"],
            input=order,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise StageError(f"{where}: tracing took more than {timeout_s:g} s", "use --method analytic") from error
    if child.returncode == 2:
        answer = json.loads(child.stdout)
        raise ConfigError(answer["message"], answer["remedy"])
    if child.returncode != 0:
        tail = child.stderr.strip().splitlines()[-1:] or ["no message"]
        raise StageError(
            f"{where}: the tracing child ended with {child.returncode}: {tail[0]}", "use --method analytic"
        )
    _write(file, child.stdout)
    return description_from_wire(json.loads(child.stdout))
