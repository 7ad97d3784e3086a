"""Tracing a model's image path: towers of one fixed image size, and towers on grids of patches."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from torch import nn

from llm_perf_opt.analysis.traced.model import Built
from llm_perf_opt.analysis.traced.processors import default_image_processor, one_side
from llm_perf_opt.errors import MissingError, StageError

Grid = tuple[int, int]


def _grid_arguments(vision: Any, grids: Sequence[Grid]) -> dict[str, Any]:
    """Index tensors of a patch tower, computed on the CPU: on the meta device they have no values to index with."""
    from transformers import vision_utils

    grid = torch.tensor([[1, rows, columns] for columns, rows in grids])
    merge = vision.spatial_merge_size
    made: dict[str, Any] = {
        "position_ids": vision_utils.get_vision_position_ids(grid, merge).to("meta"),
        "cu_seqlens": vision_utils.get_vision_cu_seqlens(grid),
    }
    window = getattr(vision, "window_size", None)
    if isinstance(window, int) and hasattr(vision, "fullatt_block_indexes"):
        index, lengths = vision_utils.get_vision_window_index(grid, merge, window, vision.patch_size)
        made |= {"window_index": index, "cu_window_seqlens": lengths}
    positions = getattr(vision, "num_position_embeddings", None)
    if isinstance(positions, int):
        indices, weights = vision_utils.get_vision_interpolation_indices_and_weights(
            grid, int(positions**0.5), align_corners=True, spatial_merge_size=merge
        )
        made |= {"interp_indices": indices.to("meta"), "interp_weights": weights.to("meta")}
    return {"image_grid_thw": grid, **made}


def image_inputs(
    built: Built, images: Sequence[tuple[int, int]], *, views: bool = False, pixel_limits: tuple[int, int] | None = None
) -> dict[str, Any]:
    """Arguments of `get_image_features` for images of these pixel sizes.

    Args:
        views: the sizes are of what goes through the tower, cut and resized already.
        pixel_limits: fewest and most pixels of an image whose shape is kept; None is as the type's processor has it.

    Raises:
        ValueError: the kind of tower is not known here.
    """
    vision = getattr(built.config, "vision_config", None)
    features = image_path(built.model)
    if vision is None or features is None:
        raise ValueError("the model has no vision_config or no get_image_features")
    takes = inspect.signature(features).parameters
    made = {} if views else _processed(built, images, pixel_limits)
    given = {name: _placed(value) for name, value in made.items() if name in takes}
    if "image_grid_thw" in given and hasattr(vision, "spatial_merge_size"):
        grids = [(int(columns), int(rows)) for _, rows, columns in given["image_grid_thw"].tolist()]
        return given | _grid_arguments(vision, grids)
    if "pixel_values" in given:
        return given
    if "image_grid_thw" in takes:
        return _in_patches(vision, images)
    side = one_side(vision)
    if side is None:
        raise ValueError("the tower has no single image size")
    channels = getattr(vision, "num_channels", 3) or 3
    return {"pixel_values": torch.empty(len(images), channels, side, side, device="meta")}


def _processed(built: Built, images: Sequence[tuple[int, int]], pixel_limits: tuple[int, int] | None) -> dict[str, Any]:
    """What the model type's own image processor makes of images of these sizes; nothing where it has none."""
    try:
        processor = default_image_processor(built.config, built.where, pixel_limits)
    except StageError:
        return {}
    except MissingError as error:
        raise ValueError(error.message) from error
    return dict(processor([Image.new("RGB", size) for size in images], return_tensors="pt"))


def _placed(value: Any) -> Any:
    """An input as the model takes it: of pixels the shape alone, of sizes and grids the values."""
    pixels = isinstance(value, torch.Tensor) and value.is_floating_point()
    return torch.empty(value.shape, device="meta") if pixels else value


def _in_patches(vision: Any, views: Sequence[tuple[int, int]]) -> dict[str, Any]:
    patch = vision.patch_size
    unit = patch * vision.spatial_merge_size
    grids = [(width // unit * unit // patch, height // unit * unit // patch) for width, height in views]
    patches = sum(columns * rows for columns, rows in grids)
    channels = getattr(vision, "in_channels", 3) or 3
    pixels = torch.empty(patches, channels * vision.temporal_patch_size * patch * patch, device="meta")
    return {"pixel_values": pixels, **_grid_arguments(vision, grids)}


def image_path(model: nn.Module) -> Any:
    """The method that makes a prompt's image tokens, of the model or of what it wraps; None where it has none."""
    wrapped = getattr(model, "model", None)
    return getattr(model, "get_image_features", None) or getattr(wrapped, "get_image_features", None)


def run_vision(model: nn.Module, inputs: dict[str, Any]) -> int:
    """One pass through the image path; the tokens it yields."""
    features: Any = image_path(model)
    found = features(**inputs)
    pooled = getattr(found, "pooler_output", found)
    if pooled is None:
        # Some leave the projector to the forward pass of the whole model.
        projector: Any = model.get_submodule(
            "model.multi_modal_projector" if hasattr(model, "model") else "multi_modal_projector"
        )
        pooled = projector(found.last_hidden_state)
    rows = [pooled] if isinstance(pooled, torch.Tensor) else list(pooled)
    return sum(row.shape[:-1].numel() for row in rows)
