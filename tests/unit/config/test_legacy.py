"""The window for `outputs.*` and root `output.*`. Goes together with `llm_perf_opt/config/legacy.py`."""

from __future__ import annotations

from pathlib import Path

import pytest

from llm_perf_opt.config.load import Loaded, load_config
from llm_perf_opt.config.problems import InvalidConfig


def load(tmp_path: Path, text: str, *overrides: str) -> Loaded:
    file = tmp_path / "my.yaml"
    file.write_text(text, encoding="utf-8")
    return load_config(file, overrides, environ={}, cwd=tmp_path)


@pytest.mark.parametrize("root", ["outputs", "output"])
def test_old_output_keys_are_read(root: str, tmp_path: Path) -> None:
    text = (
        f"{root}:\n  save_predictions: true\n  predictions: {{strip_special_tokens: true}}\n"
        "  visualization: {enable: false, max_images: 4, thumbnail_width: 99}\n"
    )
    loaded = load(tmp_path, text)
    output = loaded.config.pipeline.torch_profiler.output
    assert (output.prediction.enable, output.visualization.enable) == (True, False)
    family = output.extra.deepseek_ocr
    assert family.prediction.strip_special_tokens is True
    assert (family.visualization.max_images, family.visualization.thumbnail_width) == (4, 99)
    (note,) = loaded.notes
    assert note.startswith("INFO: ")
    assert f"{root}.save_predictions → pipeline.torch_profiler.output.prediction.enable" in note
    assert loaded.origins["pipeline.torch_profiler.output.prediction.enable"].line == 2
    assert loaded.config.pipeline.direct_inference.output.prediction.enable is False


def test_the_new_key_wins(tmp_path: Path) -> None:
    text = "outputs: {save_predictions: true}\npipeline: {torch_profiler: {output: {prediction: {enable: false}}}}\n"
    assert load(tmp_path, text).config.pipeline.torch_profiler.output.prediction.enable is False
    new = "pipeline.torch_profiler.output.prediction.enable=false"
    assert load(tmp_path, "outputs: {save_predictions: true}\n", new).config == load(tmp_path, "").config


def test_old_keys_in_overrides(tmp_path: Path) -> None:
    loaded = load(tmp_path, "", "outputs.save_predictions=true")
    assert loaded.config.pipeline.torch_profiler.output.prediction.enable is True
    assert len(loaded.notes) == 1


def test_what_was_never_an_output_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig) as caught:
        load(tmp_path, "outputs:\n  save_predictions: true\n  save_preds: true\noutput: 3\n")
    first, second = caught.value.problems
    assert (first.line, first.path) == (3, "outputs.save_preds")
    assert "outputs.save_predictions" in first.remedy
    assert second.path == "output"


def test_no_old_keys_no_note(tmp_path: Path) -> None:
    assert load(tmp_path, "experiment: x\n").notes == ()
