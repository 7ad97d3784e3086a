"""Every adapter with every tiny architecture that it loads, and inputs for it with and without padding."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from llm_perf_opt.config.schema import Config, Infer, Preprocess
from llm_perf_opt.records.inputs import Sample
from llm_perf_opt.workload.adapters import demo
from llm_perf_opt.workload.loaded import LoadedModel
from tests.remote_model import write_remote_model
from tests.tiny_models import IMAGE_TEXT, TEXT, write_image_text_model, write_text_model
from tests.unit.workload.models import image, load, prompt

EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "llmperf-adapter-example"
# Of one length, then of another.
TEXTS = ("The capital of France is", "1 2 3")
# Of a size that is cut into tiles, then of one that is not, and that has fewer places for Qwen.
SIZES = ((800, 400), (40, 40))


@dataclass(frozen=True)
class Case:
    """One adapter on one architecture."""

    adapter: str
    architecture: str
    write: Callable[[Path], Path | None]
    """Makes what `model.path` points to, in a folder."""
    texts: bool
    pads: bool
    """Whether samples of different sizes make a padded batch; otherwise all have one length."""
    model: tuple[tuple[str, Any], ...] = ()

    @property
    def id(self) -> str:
        return f"{self.adapter}-{self.architecture}"

    def load(self, folder: Path, infer: Infer) -> LoadedModel:
        return load(self.write(folder / "model"), infer, name=self.adapter, **dict(self.model))

    def samples(self, folder: Path, rows: int) -> Sequence[Sample]:
        """One sample, or two of different sizes."""
        if self.texts:
            return [prompt(text) for text in TEXTS[:rows]]
        paths = [folder / f"{number}.png" for number in range(rows)]
        for path, size in zip(paths, SIZES, strict=False):
            Image.linear_gradient("L").resize(size).convert("RGB").save(path)
        return [image(path) for path in paths]


def _nothing(_folder: Path) -> None:
    return None


def _write_text(name: str, folder: Path) -> Path:
    return write_text_model(folder, name)


def _write_image_text(name: str, folder: Path) -> Path:
    return write_image_text_model(folder, name)


def _write_native_deepseek_ocr2(folder: Path) -> Path:
    """The demo as a checkpoint's directory."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(demo.ADAPTER.model_config(Config())))
    demo.processor().save_pretrained(folder)
    return folder


def _write_remote(folder: Path) -> Path:
    return write_remote_model(folder, trace=folder / "ran")


# Views as small as the tiny model takes them.
_REMOTE = (("trust_remote_code", True), ("preprocess", Preprocess(enable=True, base_size=128, image_size=64)))

CASES = (
    *(Case("causal_lm", name, partial(_write_text, name), texts=True, pads=True) for name in TEXT),
    *(
        Case("image_text", name, partial(_write_image_text, name), texts=False, pads=name == "qwen2_5_vl")
        for name in IMAGE_TEXT
    ),
    Case("demo", "deepseek_ocr2", _nothing, texts=False, pads=True),
    Case("deepseek_ocr2", "deepseek_ocr2", _write_native_deepseek_ocr2, texts=False, pads=True),
    Case("deepseek_ocr", "remote", _write_remote, texts=False, pads=True, model=_REMOTE),
    Case("dummy_shallow_resnet", "resnet", _nothing, texts=False, pads=False),
    Case("tiny_llama", "entry_point", _nothing, texts=True, pads=True),
)


def install_example(folder: Path) -> Sequence[str]:
    """What an installation of the example adapter leaves behind; the folders to put on the path."""
    information = folder / "llmperf_adapter_example-1.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: llmperf-adapter-example\nVersion: 1\n")
    (information / "entry_points.txt").write_text("[llmperf.adapters]\ntiny_llama = llmperf_adapter_example:ADAPTER\n")
    return [str(folder), str(EXAMPLE)]
