"""The base of every settings model, and the settings that several stages share.

A stage's settings file imports this module and nothing else of llmperf.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError


class Settings(BaseModel):
    """Frozen; unknown keys are errors; no value is coerced to another type (an int may stand for a float).

    The string below a field is its description: `llm_perf_opt.config.describe` reads it from the source.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        defer_build=True,
        allow_inf_nan=False,
        protected_namespaces=(),
    )


# YAML has lists; frozen settings hold tuples.
Strings = Annotated[tuple[str, ...], Field(strict=False)]
NonEmpty = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=1)]
NonNegative = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]


def _folder(value: str) -> str:
    if not value.strip() or "\0" in value:
        raise ValueError("must name a folder; null takes the usual one, `.` is the stage's own")
    return value


Folder = Annotated[str, AfterValidator(_folder)]


def inconsistent(key: str, message: str, remedy: str) -> PydanticCustomError:
    """The error of settings that contradict each other, shown at `key` of the section that raises it."""
    return PydanticCustomError("inconsistent", "{message}", {"key": key, "message": message, "remedy": remedy})


class StageSettings(Settings):
    """The base of every section of a stage or an observer."""

    ALIASES: ClassVar[dict[str, str]] = {}
    """Other spellings: key → the key it stands for; rewritten before layers are merged."""

    enable: bool | Literal["auto"] = True
    """Run it."""


class Prediction(Settings):
    """Generated text, one JSON object per sample."""

    enable: bool = False
    """Write `predictions.jsonl`."""
    save_dir: Folder | None = "pred"
    """Folder: in the stage's own, or absolute (`~` is your home); `.` is the stage's own, null is `pred`."""


class Visualization(Settings):
    """Predictions drawn on their images."""

    enable: bool = True
    """Write the gallery."""
    save_dir: Folder | None = "viz"
    """Folder: in the stage's own, or absolute (`~` is your home); `.` is the stage's own, null is `viz`."""


class DeepseekOcrPrediction(Settings):
    """Text of the DeepSeek-OCR family."""

    strip_special_tokens: bool = False
    """Remove `<|ref|>…<|det|>` markup from the cleaned text."""


class DeepseekOcrVisualization(Settings):
    """Gallery of the DeepSeek-OCR family."""

    max_images: NonNegative | None = 16
    """Most images in the gallery; null is all."""
    thumbnail_width: Count = 480
    """Width of a gallery picture, pixels."""


class DeepseekOcrOutput(Settings):
    """Output settings of the DeepSeek-OCR family (deepseek_ocr, deepseek_ocr2, demo)."""

    prediction: DeepseekOcrPrediction = Field(default_factory=DeepseekOcrPrediction)
    """Text of the family."""
    visualization: DeepseekOcrVisualization = Field(default_factory=DeepseekOcrVisualization)
    """Gallery of the family."""


class OutputExtra(Settings):
    """Settings owned by model families; each is accepted whether or not that family runs."""

    deepseek_ocr: DeepseekOcrOutput = Field(default_factory=DeepseekOcrOutput)
    """The DeepSeek-OCR family: deepseek_ocr, deepseek_ocr2 and demo."""


class Output(Settings):
    """What a stage that generates text leaves behind."""

    prediction: Prediction = Field(default_factory=Prediction)
    """Generated text, one JSON object per sample."""
    visualization: Visualization = Field(default_factory=Visualization)
    """Predictions drawn on their images."""
    extra: OutputExtra = Field(default_factory=OutputExtra)
    """Settings owned by model families."""


class TimedSettings(StageSettings):
    """The base of the sections of stages that make the timed repeats and generate text; each declares `output`."""

    if TYPE_CHECKING:
        output: Output
