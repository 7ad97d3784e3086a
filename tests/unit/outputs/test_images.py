"""Images that may be anything: each gives RGB pixels, upright, or an error that names the file and what is wrong."""

from __future__ import annotations

import random
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from llm_perf_opt.workload.images import read_image
from llm_perf_opt.workload.inputs import BadSampleError

WHITE, RED = (255, 255, 255), (255, 0, 0)


def corner_page(width: int = 40, height: int = 20) -> Image.Image:
    """White with a red top left quarter."""
    image = Image.new("RGB", (width, height), "white")
    ImageDraw.Draw(image).rectangle((0, 0, width // 2 - 1, height // 2 - 1), fill="red")
    return image


def save(image: Image.Image, path: Path, **options: object) -> Path:
    image.save(path, **options)  # type: ignore[arg-type]
    return path


def test_zero_bytes(tmp_path: Path) -> None:
    path = tmp_path / "empty.png"
    path.touch()
    with pytest.raises(BadSampleError, match=r"empty\.png is empty"):
        read_image(path)


def test_gone_directory_and_no_image(tmp_path: Path) -> None:
    with pytest.raises(BadSampleError, match="is gone"):
        read_image(tmp_path / "none.png")
    with pytest.raises(BadSampleError, match="is a directory"):
        read_image(tmp_path)
    path = tmp_path / "text.png"
    path.write_text("hello")
    with pytest.raises(BadSampleError, match=r"text\.png cannot be read as an image: .*unknown format"):
        read_image(path)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "gif", "tiff", "bmp"])
def test_truncated(tmp_path: Path, suffix: str) -> None:
    path = save(Image.effect_noise((200, 200), 90).convert("RGB"), tmp_path / f"page.{suffix}")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(BadSampleError, match="cannot be read as an image"):
        read_image(path)


def test_too_many_pixels_are_refused_before_they_are_read(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b""))
    body = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(body))
    with pytest.raises(BadSampleError, match=r"more than 178,956,970 pixels"):
        read_image(path)


@pytest.mark.parametrize("size", [(20_000, 100), (100, 20_000), (20_000, 5_000)])
def test_long_sides_are_no_obstacle(tmp_path: Path, size: tuple[int, int]) -> None:
    path = save(Image.new("1", size, 1), tmp_path / "wide.png")
    assert read_image(path).size == size


def test_a_strip_that_no_model_reads_is_refused(tmp_path: Path) -> None:
    path = save(Image.new("1", (20_000, 99), 1), tmp_path / "strip.png")
    with pytest.raises(BadSampleError, match=r"strip\.png is 20,000 × 99 pixels; models read images up to 200:1"):
        read_image(path)


def test_cmyk(tmp_path: Path) -> None:
    path = save(corner_page().convert("CMYK"), tmp_path / "page.jpg", quality=95)
    image = read_image(path)
    assert image.mode == "RGB"
    assert image.getpixel((30, 15)) == WHITE
    red, green, blue = _pixel(image, 5, 5)
    assert red > 240
    assert max(green, blue) < 20


def test_16_bit_grey_keeps_its_contrast(tmp_path: Path) -> None:
    deep = Image.new("I;16", (4, 1))
    for x, value in enumerate((0, 200, 32768, 65535)):
        deep.putpixel((x, 0), value)
    image = read_image(save(deep, tmp_path / "scan.png"))
    assert [_pixel(image, x, 0) for x in range(4)] == [(0,) * 3, (0,) * 3, (127,) * 3, (255,) * 3]
    assert read_image(save(deep, tmp_path / "scan.tiff")).tobytes() == image.tobytes()


@pytest.mark.parametrize(("mode", "values"), [("I", (0, 128, 255)), ("I", (0, 32896, 65535)), ("F", (0.0, 0.5, 1.0))])
def test_32_bit_samples_are_scaled(tmp_path: Path, mode: str, values: tuple[float, ...]) -> None:
    deep = Image.new(mode, (3, 1))
    for x, value in enumerate(values):
        deep.putpixel((x, 0), value)
    image = read_image(save(deep, tmp_path / "scan.tiff"))
    assert [_pixel(image, x, 0)[0] for x in range(3)] == pytest.approx([0, 128, 255], abs=1)


def test_samples_that_are_no_numbers(tmp_path: Path) -> None:
    deep = Image.new("F", (2, 1), float("inf"))
    with pytest.raises(BadSampleError, match="not finite"):
        read_image(save(deep, tmp_path / "scan.tiff"))


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_animated_gives_its_first_frame(tmp_path: Path, suffix: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "green")]
    path = tmp_path / f"move.{suffix}"
    options: dict[str, object] = {"lossless": True} if suffix == "webp" else {}
    save(frames[0], path, save_all=True, append_images=frames[1:], **options)
    assert _pixel(read_image(path), 4, 4) == RED


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied(tmp_path: Path, orientation: int) -> None:
    upright = corner_page()
    stored = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    image = upright if stored is None else upright.transpose(stored)
    exif = Image.Exif()
    exif[0x0112] = orientation
    read = read_image(save(image, tmp_path / "photo.png", exif=exif))
    assert read.tobytes() == upright.tobytes()
    assert read.size == upright.size


def test_broken_exif_is_passed_over(tmp_path: Path) -> None:
    path = save(corner_page(), tmp_path / "photo.jpg", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff", quality=95)
    assert read_image(path).size == (40, 20)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_parts_are_paper(tmp_path: Path, mode: str) -> None:
    image = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    image.putpixel((0, 0), (0, 0, 0, 255))
    read = read_image(save(image.convert(mode), tmp_path / "page.png"))
    assert _pixel(read, 0, 0) == (0, 0, 0)
    assert _pixel(read, 3, 3) == WHITE


def test_mutated_files_are_read_or_refused(tmp_path: Path) -> None:
    generator = random.Random(7)
    exif = Image.Exif()
    exif[0x0112] = 6
    seeds = [
        save(corner_page(), tmp_path / "seed.jpg", exif=exif),
        save(corner_page().convert("P"), tmp_path / "seed.png", exif=exif),
        save(corner_page(), tmp_path / "seed.tiff", compression="tiff_lzw"),
        save(corner_page(), tmp_path / "seed.gif"),
        save(corner_page(), tmp_path / "seed.webp"),
        save(corner_page(), tmp_path / "seed.bmp"),
    ]
    refused = 0
    for number in range(1500):
        seed = seeds[number % len(seeds)]
        data = bytearray(seed.read_bytes())
        for _ in range(generator.randint(1, 6)):
            data[generator.randrange(len(data))] = generator.randrange(256)
        path = tmp_path / f"mutant{seed.suffix}"
        path.write_bytes(bytes(data))
        try:
            assert read_image(path).mode == "RGB"
        except BadSampleError as error:
            assert str(path) in str(error)
            refused += 1
    assert 0 < refused < 1500


def _pixel(image: Image.Image, x: int, y: int) -> tuple[int, ...]:
    found = image.getpixel((x, y))
    assert isinstance(found, tuple)
    return tuple(int(value) for value in found)
