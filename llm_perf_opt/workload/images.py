"""Reading images from files that may be anything."""

from __future__ import annotations

import warnings
from pathlib import Path

from PIL import Image, ImageOps

from llm_perf_opt.workload.inputs import BadSampleError

MAX_PIXELS = 178_956_970
"""Pillow's own limit against decompression bombs (a third of 0.5 GiB of RGB)."""


def read_image(path: Path) -> Image.Image:
    """The image at `path` in RGB, upright (EXIF rotation applied), the first frame of an animation.

    Raises:
        BadSampleError: it is empty, truncated, no image, or too large.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                upright = ImageOps.exif_transpose(image)
                return _to_rgb(upright)
    except FileNotFoundError as error:
        raise BadSampleError(f"{path} is gone") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BadSampleError(f"{path} has more than {MAX_PIXELS:,} pixels; scale it down") from error
    except (OSError, SyntaxError, ValueError) as error:
        size = path.stat().st_size
        what = "is empty" if size == 0 else f"cannot be read as an image ({error})"
        raise BadSampleError(f"{path} {what}") from error


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I;16", "I", "F")):
        # Pillow clips wider samples to 8 bits instead of scaling them: a 16-bit scan would turn white.
        low, high = image.getextrema()
        span = max(float(high) - float(low), 1.0)  # type: ignore[arg-type]
        scale = 255.0 / 65535.0 if image.mode.startswith("I") and float(high) > 255 else 255.0 / span  # type: ignore[arg-type]
        image = image.convert("F").point(lambda value: value * scale).convert("L")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        # Transparent parts are paper.
        flat = Image.new("RGBA", image.size, "white")
        flat.alpha_composite(image.convert("RGBA"))
        image = flat
    return image.convert("RGB")
