"""The image processor of a model type, for a model that came without its files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from transformers import PROCESSOR_MAPPING
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING, IMAGE_PROCESSOR_MAPPING_NAMES
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES

from llm_perf_opt.errors import MissingError, StageError


def one_side(vision: Any) -> int | None:
    """The one image size of a tower, pixels."""
    size = getattr(vision, "image_size", None)
    if isinstance(size, list | tuple):
        return int(size[0]) if len(set(size)) == 1 else None
    return size if isinstance(size, int) else None


def _with_its_processor(hf_config: Any) -> type[Any]:
    """The config class that a type's image processor is registered for: its own, or one with the same processor."""
    own = hf_config.model_type
    if own in IMAGE_PROCESSOR_MAPPING_NAMES or own not in PROCESSOR_MAPPING_NAMES:
        return type(hf_config)
    alike = (name for name, processor in PROCESSOR_MAPPING_NAMES.items() if processor == PROCESSOR_MAPPING_NAMES[own])
    found = next((name for name in alike if name in IMAGE_PROCESSOR_MAPPING_NAMES), None)
    return type(hf_config) if found is None else CONFIG_MAPPING[found]


def default_image_processor(hf_config: Any, where: str, pixel_limits: Sequence[int] | None = None) -> Any:
    """The image processor of a model type, set to the sizes of its configuration; for a model that came without one.

    Args:
        pixel_limits: fewest and most pixels, for types that keep the shape of an image; None is as the class has it.

    Raises:
        StageError: transformers has none for the type.
        MissingError: it needs torchvision, which is not installed.
    """
    known = IMAGE_PROCESSOR_MAPPING.get(_with_its_processor(hf_config), None)
    backends: Mapping[str, Any] = known if isinstance(known, Mapping) else {}
    chosen = backends.get("pil") or (known if known is not None and not backends else None)
    vision = getattr(hf_config, "vision_config", None)
    if chosen is None and "torchvision" in backends:
        chosen = backends["torchvision"]
        if find_spec("torchvision") is None:
            raise MissingError(
                f"the image processor of a {hf_config.model_type} needs torchvision, which is not installed",
                "uv pip install torchvision",
            )
    if chosen is None or vision is None:
        raise StageError(
            f"{where} came without its image processor, and transformers has no default for a {hf_config.model_type}",
            "put the checkpoint's preprocessor_config.json beside its config.json",
        )
    sizes = {
        "patch_size": getattr(vision, "patch_size", None),
        "temporal_patch_size": getattr(vision, "temporal_patch_size", None),
        "merge_size": getattr(vision, "spatial_merge_size", None),
    }
    options = {name: value for name, value in sizes.items() if value is not None and hasattr(chosen, name)}
    # What the processor of text and images asks of that of images by default.
    asked = getattr(PROCESSOR_MAPPING.get(type(hf_config), None), "images_kwargs", {})
    options |= {name: value for name, value in asked.items() if hasattr(chosen, name)}
    if hasattr(hf_config, "image_grid_pinpoints") and hasattr(chosen, "image_grid_pinpoints"):
        options["image_grid_pinpoints"] = hf_config.image_grid_pinpoints
    if pixel_limits is not None and "merge_size" in options:
        options["size"] = {"shortest_edge": pixel_limits[0], "longest_edge": pixel_limits[1]}
    side = one_side(vision)
    if side is not None and isinstance(getattr(chosen, "max_image_size", None), Mapping):
        # Cut into tiles as large as the tower takes, of at most four to a side.
        options |= {"max_image_size": {"longest_edge": side}, "size": {"longest_edge": 4 * side}}
    elif side is not None and "merge_size" not in options:
        options |= {"size": {"height": side, "width": side}}
        if hasattr(chosen, "crop_size"):
            options["crop_size"] = {"height": side, "width": side}
    return chosen(**options)
