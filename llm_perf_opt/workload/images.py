"""Reading images from files that may be anything."""

from __future__ import annotations

import math
import struct
import warnings
import zlib
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from llm_perf_opt.opening import open_file
from llm_perf_opt.workload.inputs import BadSampleError

MAX_PIXELS = 178_956_970
"""Where Pillow refuses a file as a decompression bomb: half a GiB of RGB."""

MAX_ASPECT = 200
"""Long side over short side. Processors scale one side to a fixed length: beyond this the other becomes nothing, or
gigabytes. Qwen2-VL's (`smart_resize`) refuses the same:
https://github.com/huggingface/transformers/blob/main/src/transformers/models/qwen2_vl/image_processing_qwen2_vl.py"""

# What Pillow's decoders raise on broken files, beside its own errors (which are OSErrors).
BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    ArithmeticError,
    LookupError,
    EOFError,
    TypeError,
    AttributeError,
    NotImplementedError,
    struct.error,
    zlib.error,
)


def read_image(path: Path) -> Image.Image:
    """The image at `path` in RGB, upright (EXIF rotation applied), the first frame of an animation.

    Samples wider than 8 bits are scaled to 8; transparent parts are white, as paper is.

    Raises:
        BadSampleError: it is empty, truncated, no image, too large or too narrow.
    """
    try:
        with warnings.catch_warnings():
            # Pillow warns from half of MAX_PIXELS on, and of broken EXIF data, which does no harm here.
            warnings.simplefilter("ignore")
            with open_file(path) as file, Image.open(file) as image:
                _check_aspect(path, image)
                image.load()
                return _to_rgb(_upright(image))
    except BadSampleError:
        raise
    except FileNotFoundError as error:
        raise BadSampleError(f"{path} is gone") from error
    except IsADirectoryError as error:
        raise BadSampleError(f"{path} is a directory, not an image") from error
    except PermissionError as error:
        raise BadSampleError(f"{path} may not be read: no permission") from error
    except Image.DecompressionBombError as error:
        raise BadSampleError(f"{path} has more than {MAX_PIXELS:,} pixels; scale it down") from error
    except BROKEN as error:
        what = "is empty" if _is_empty(path) else f"cannot be read as an image: {_reason(error)}"
        raise BadSampleError(f"{path} {what}") from error


def _check_aspect(path: Path, image: Image.Image) -> None:
    if max(image.size) > MAX_ASPECT * min(image.size):
        raise BadSampleError(
            f"{path} is {image.width:,} × {image.height:,} pixels; models read images up to {MAX_ASPECT}:1: cut it up"
        )


def _is_empty(path: Path) -> bool:
    return path.is_file() and path.stat().st_size == 0


def _reason(error: Exception) -> str:
    text = str(error).strip()
    # Pillow's own words for it name the open file, not the path.
    if not text or isinstance(error, UnidentifiedImageError):
        return "it is broken or of an unknown format"
    return text


def _upright(image: Image.Image) -> Image.Image:
    """The pixels as the camera was held; an orientation that cannot be read is none."""
    try:
        turned = ImageOps.exif_transpose(image)
    except BROKEN:
        return image
    return turned


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        # Pillow clips wider samples to 8 bits instead of scaling them: a 16-bit scan would turn white.
        scale = 255.0 / _full_scale(image)
        image = image.convert("F").point(lambda value: value * scale).convert("L")
        image.info.pop("transparency", None)  # a sample value of the wider type
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        flat = Image.new("RGBA", image.size, "white")
        flat.alpha_composite(image.convert("RGBA"))
        image = flat
    return image.convert("RGB")


def _full_scale(image: Image.Image) -> float:
    """The sample that stands for white: of 16-bit files always the type's; of 32-bit ones the least usual that fits."""
    if image.mode.startswith("I;16"):
        return 65535.0
    extrema = image.getextrema()
    largest = float(extrema[1])  # type: ignore[arg-type]
    if not math.isfinite(largest):
        raise ValueError("its samples are not finite numbers")
    usual = (1.0, 255.0, 65535.0) if image.mode == "F" else (255.0, 65535.0)
    return next((white for white in usual if largest <= white), largest)
