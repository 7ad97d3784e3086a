"""The gallery: files, boxes where they belong, crops, limits, and nothing a model writes gets out of its place."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from llm_perf_opt.records.inputs import Sample
from llm_perf_opt.records.predictions import ImageInfo, Prediction
from llm_perf_opt.workload import drawing
from llm_perf_opt.workload.drawing import colour_of, draw_regions, save_jpeg
from llm_perf_opt.workload.events import EventWriter
from llm_perf_opt.workload.markup import parse_markup
from llm_perf_opt.workload.visualization import MAX_CROPS, Shown, draw_sample, folder_name, write_gallery

TEXT = (
    "<|ref|>title<|/ref|><|det|>[[0, 0, 499, 99]]<|/det|>\n# Heading\n"
    "<|ref|>image<|/ref|><|det|>[[500, 500, 999, 999], [0, 500, 100, 600]]<|/det|>\nafter"
)


def page(width: int = 400, height: int = 200) -> Image.Image:
    return Image.new("RGB", (width, height), "white")


@pytest.fixture
def events(tmp_path: Path) -> EventWriter:
    return EventWriter(tmp_path / "events.jsonl")


def shown(path: Path | None, text: str | None, error: str | None = None) -> Shown:
    kind: Any = "prompt" if path is None else "image"
    sample = Sample(kind=kind, path=None if path is None else str(path), size_bytes=1, sha256="0" * 64)
    tokens = None if text is None else 5
    prediction = Prediction(source=sample.source, text=text, prompt_tokens=tokens, new_tokens=tokens, error=error)
    return Shown(sample, prediction, text)


def image_samples(folder: Path, count: int, text: str = "hello") -> list[Shown]:
    paths = [folder / f"page_{number}.png" for number in range(count)]
    for path in paths:
        page().save(path)
    return [shown(path, text) for path in paths]


def write(
    directory: Path, samples: Sequence[Shown], events: EventWriter, max_images: int | None = 16, width: int = 480
) -> str:
    write_gallery(directory, "gallery", samples, events, max_images=max_images, thumbnail_width=width)
    return (directory / "predictions.md").read_text()


def test_files_of_one_image(tmp_path: Path) -> None:
    folder = tmp_path / "sample"
    draw_sample(folder, "/pages/a.png", page(), TEXT)
    names = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*"))
    assert names == ["images", "images/0.jpg", "images/1.jpg", "info.json", "result.mmd", "result_with_boxes.jpg"]
    assert (folder / "result.mmd").read_text() == "# Heading\n![](images/0.jpg)\n![](images/1.jpg)\n\nafter\n"
    info = ImageInfo.model_validate_json((folder / "info.json").read_bytes())
    assert (info.width_px, info.height_px) == (400, 200)
    assert info.regions[0].boxes_px == ((0, 0, 200, 20),)
    assert info.regions[1].crops == ("images/0.jpg", "images/1.jpg")
    with Image.open(folder / "images/0.jpg") as crop:
        assert crop.size == (200, 100)
    with Image.open(folder / "result_with_boxes.jpg") as drawn:
        assert drawn.size == (400, 200)


def test_boxes_are_framed_and_tinted_where_they_are() -> None:
    drawn = draw_regions(page(), parse_markup("<|ref|>text<|/ref|><|det|>[[250, 500, 750, 999]]<|/det|>").regions)
    assert drawn.getpixel((100, 150)) == colour_of("text")
    assert drawn.getpixel((200, 199)) == colour_of("text")
    inside = drawn.getpixel((200, 150))
    assert inside not in ((255, 255, 255), colour_of("text"))
    assert drawn.getpixel((320, 150)) == (255, 255, 255)
    assert drawn.getpixel((200, 50)) == (255, 255, 255)


def test_the_page_itself_is_not_drawn_on() -> None:
    image = page()
    draw_regions(image, parse_markup(TEXT).regions)
    assert image.tobytes() == page().tobytes()


@pytest.mark.parametrize("size", [(1, 1), (3, 2000), (2000, 3), (50, 50)])
def test_names_and_boxes_fit_any_image(tmp_path: Path, size: tuple[int, int]) -> None:
    boxes = "[[0, 0, 0, 0], [999, 999, 999, 999], [0, 0, 999, 999]]"
    info = draw_sample(tmp_path, "x", page(*size), f"<|ref|>語 two\nlines<|/ref|><|det|>{boxes}<|/det|>")
    assert len(info.regions[0].boxes_px) == 3


def test_colours_are_the_same_on_every_page() -> None:
    assert colour_of("text") != colour_of("title")
    assert colour_of("something else") == colour_of("something else")


def test_crops_are_limited(tmp_path: Path) -> None:
    boxes = ", ".join(["[0, 0, 9, 9]"] * (MAX_CROPS + 5))
    info = draw_sample(tmp_path, "x", page(), f"<|ref|>image<|/ref|><|det|>[{boxes}]<|/det|>")
    assert len(list((tmp_path / "images").iterdir())) == MAX_CROPS
    assert info.problems == (f"{MAX_CROPS + 5} boxes are labelled image; the first {MAX_CROPS} were cut out",)


def test_an_image_too_wide_for_a_jpeg_is_scaled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "JPEG_SIDE", 100)
    save_jpeg(page(), tmp_path / "wide.jpg")
    with Image.open(tmp_path / "wide.jpg") as saved:
        assert saved.size == (100, 50)
    assert [file.name for file in tmp_path.iterdir()] == ["wide.jpg"]


def test_gallery_has_a_folder_for_every_image(tmp_path: Path, events: EventWriter) -> None:
    samples = image_samples(tmp_path, 2, TEXT)
    text = write(tmp_path / "viz", samples, events)
    for sample in samples:
        folder = folder_name(str(sample.sample.path))
        assert f'<img src="{folder}/result_with_boxes.jpg" width="400"' in text  # no wider than it is
        assert json.loads((tmp_path / "viz" / folder / "info.json").read_bytes())["source"] == sample.sample.path
    assert "Regions: image 1, title 1." in text


def test_folder_is_the_md5_of_the_absolute_path() -> None:
    assert (
        folder_name("/data/page.png") == "6ecb84c51a65d77ed2d9b47f0fdaf8e1" or len(folder_name("/data/page.png")) == 32
    )


@pytest.mark.parametrize(("limit", "folders"), [(None, 3), (2, 2), (0, 0), (16, 3)])
def test_max_images(tmp_path: Path, events: EventWriter, limit: int | None, folders: int) -> None:
    failed = shown(tmp_path / "bad.png", None, "is empty")
    text = write(tmp_path / "viz", [*image_samples(tmp_path, 3), failed], events, limit)
    assert len([entry for entry in (tmp_path / "viz").iterdir() if entry.is_dir()]) == folders
    assert "Failed: is empty" in text
    assert ("not shown" in text) == (folders < 3)


def test_thumbnail_width(tmp_path: Path, events: EventWriter) -> None:
    assert 'width="120"' in write(tmp_path / "viz", image_samples(tmp_path, 1), events, width=120)


def test_text_models_get_text_only(tmp_path: Path, events: EventWriter) -> None:
    text = write(tmp_path / "viz", [shown(None, "Paris.")] * 20, events)
    assert [file.name for file in (tmp_path / "viz").iterdir()] == ["predictions.md"]
    assert "<img" not in text
    assert text.count("```text\nParis.\n```") == 20


def test_an_image_that_vanished_is_named(tmp_path: Path, events: EventWriter) -> None:
    samples = image_samples(tmp_path, 1)
    Path(str(samples[0].sample.path)).unlink()
    assert "No picture: " in write(tmp_path / "viz", samples, events)


def test_model_output_stays_text(tmp_path: Path, events: EventWriter) -> None:
    evil = "```\n<script>alert(1)</script>\n![x](http://evil/y.png)\n````\n<img src=x onerror=y>\x1b[31m\u202egnp"
    page().save(tmp_path / "[x](y) <b>.png")
    label = "<|ref|><script>alert(2)</script><|/ref|><|det|>[[0,0,9,9]]<|/det|>"
    text = write(tmp_path / "viz", [shown(tmp_path / "[x](y) <b>.png", evil + label)], events)
    outside, inside = [], False
    for line in text.splitlines():
        if line.startswith("`````"):
            inside = not inside
        elif not inside:
            outside.append(line)
    assert not inside
    unescaped = "\n".join(outside).replace("\\<", "").replace("\\[", "")
    assert "<script" not in unescaped
    assert "<b>" not in unescaped
    assert "[x]" not in unescaped
    assert "evil" not in unescaped
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_names_lead_nowhere_else(tmp_path: Path, events: EventWriter) -> None:
    (tmp_path / "in").mkdir()
    sample = image_samples(tmp_path, 1)[0]
    odd = Path(f"{tmp_path}/in/../page_0.png")
    write(tmp_path / "viz", [shown(odd, sample.marked_text)], events)
    folders = [entry.name for entry in (tmp_path / "viz").iterdir() if entry.is_dir()]
    assert len(folders) == 1
    assert set(folders[0]) <= set("0123456789abcdef")
