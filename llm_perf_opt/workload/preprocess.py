"""`model.preprocess`, read and refused before anything loads. Free of torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from llm_perf_opt.analysis.static.pages import DOWNSAMPLE, PATCH, GundamPages, TiledPages, tiled_pages
from llm_perf_opt.config.schema import Config, Preprocess
from llm_perf_opt.errors import ConfigError
from llm_perf_opt.opening import parse_json, read_file

T = TypeVar("T")

# Where transformers keeps an image processor: in the processor's file, in its own, or in that of old.
PROCESSOR_FILES = ("processor_config.json", "preprocessor_config.json")


def given(preprocess: Preprocess) -> dict[str, Any]:
    """The keys that are set and apply."""
    if not preprocess.enable:
        return {}
    values = preprocess.model_dump(exclude={"enable"})
    return {key: value for key, value in values.items() if value is not None}


def refuse_keys(config: Config) -> None:
    """For models whose own processor prepares what they read.

    Raises:
        ConfigError: naming the keys that are set.
    """
    keys = given(config.model.preprocess)
    if keys:
        named = ", ".join(f"model.preprocess.{key}" for key in keys)
        raise ConfigError(
            f"{named}: {config.model.name} cannot honour {'it' if len(keys) == 1 else 'them'}, its inputs are prepared "
            "as its own files say",
            "set model.preprocess.enable: false, or use a model of the DeepSeek-OCR family",
        )


def gundam_pages(config: Config) -> GundamPages:
    """How pages are cut up for the first DeepSeek-OCR.

    Raises:
        ConfigError: a key has a value that its weights were not made for.
    """
    keys = given(config.model.preprocess)
    _fixed(keys, config.model.name)
    for key in ("base_size", "image_size"):
        if keys.get(key, PATCH) < PATCH:
            raise ConfigError(
                f"model.preprocess.{key}: {keys[key]} is less than one patch of {PATCH} pixels",
                "set it to 512, 640, 1024 or 1280, the sizes of the model card",
            )
    usual = GundamPages()
    return GundamPages(
        base=keys.get("base_size", usual.base),
        tile=keys.get("image_size", usual.tile),
        crop=keys.get("crop_mode", usual.crop),
    )


def tiled_pages_of(config: Config, usual: TiledPages) -> TiledPages:
    """How pages are cut up for DeepSeek-OCR-2; what is not set is as `usual`.

    Raises:
        ConfigError: a key has a value that its weights were not made for.
    """
    keys = given(config.model.preprocess)
    _fixed(keys, config.model.name)
    for key in ("base_size", "image_size"):
        if key in keys and keys[key] not in TiledPages.SIDES:
            raise ConfigError(
                f"model.preprocess.{key}: {keys[key]} is no size {config.model.name} has queries for",
                f"set it to {' or '.join(map(str, TiledPages.SIDES))}",
            )
    return TiledPages(
        base=keys.get("base_size", usual.base),
        tile=keys.get("image_size", usual.tile),
        crop=keys.get("crop_mode", usual.crop),
        fewest=usual.fewest,
        most=usual.most,
    )


def _fixed(keys: Mapping[str, Any], name: str) -> None:
    """Refuse another patch or stride than the weights have: it would change the count of image tokens alone."""
    for key, value in (("patch_size", PATCH), ("downsample_ratio", DOWNSAMPLE)):
        if keys.get(key, value) != value:
            raise ConfigError(
                f"model.preprocess.{key}: {name} cannot honour {keys[key]}, its weights were made for {value}",
                f"set it to {value}, or leave it out",
            )


def processor_pages(path: Path) -> TiledPages:
    """How the files of the model at `path` say that pages are cut up; as transformers does where there are none.

    Raises:
        ConfigError: a file is broken.
    """
    return _of_processor(path, tiled_pages) or TiledPages()


def pixel_limits(path: Path) -> tuple[int, int] | None:
    """Fewest and most pixels that the files of the model at `path` let an image have; None where they do not say.

    Raises:
        ConfigError: a file is broken.
    """
    return _of_processor(path, _pixel_limits)


def _pixel_limits(processor: Mapping[str, Any]) -> tuple[int, int] | None:
    """As transformers reads them: the old names win over `size`."""
    size = processor.get("size") or {}
    least = processor.get("min_pixels") or size.get("shortest_edge")
    most = processor.get("max_pixels") or size.get("longest_edge")
    if least is None or most is None:
        return None
    least, most = int(least), int(most)
    if not 0 < least <= most:
        raise ValueError(f"an image of {least} to {most} pixels")
    return least, most


def _of_processor(path: Path, read: Callable[[dict[str, Any]], T]) -> T | None:
    """What the files of the model at `path` say of its image processor; None where there are none."""
    directory = path if path.is_dir() else path.parent
    for name in PROCESSOR_FILES:
        file = directory / name
        if not file.is_file():
            continue
        try:
            found = parse_json(read_file(file))
            return read(found.get("image_processor", found))
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise ConfigError(f"{file}: no usable image processor: {error}", "restore the model's own file") from error
    return None
