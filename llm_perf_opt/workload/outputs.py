"""What the model said: predictions, one JSON object per sample, and the gallery."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from llm_perf_opt.artifacts.files import write_text
from llm_perf_opt.artifacts.layout import PREDICTIONS
from llm_perf_opt.config.base import DeepseekOcrOutput, Output
from llm_perf_opt.config.label import model_label
from llm_perf_opt.records.inputs import Inputs
from llm_perf_opt.records.predictions import Prediction, PredictionTimes
from llm_perf_opt.workload.events import EventWriter
from llm_perf_opt.workload.loaded import LoadedModel
from llm_perf_opt.workload.markup import parse_markup
from llm_perf_opt.workload.measure import BatchWork, Measured
from llm_perf_opt.workload.order import WorkOrder
from llm_perf_opt.workload.visualization import Shown, write_gallery

NOISE = "The weights are random: the texts are noise, only their times mean something."


@dataclass(frozen=True)
class OutputSettings:
    """What the model's family sets; the defaults are for families without settings of their own."""

    strip_markup: bool = False
    """Take layout markup out of the cleaned text."""
    max_images: int | None = 16
    thumbnail_width: int = 480


def settings_of(output: Output, family: str | None) -> OutputSettings:
    """The settings under `output.extra.<family>`; a family without settings there has the defaults."""
    if family is None or family not in type(output.extra).model_fields:
        return OutputSettings()
    extra: DeepseekOcrOutput = getattr(output.extra, family)
    return OutputSettings(
        strip_markup=extra.prediction.strip_special_tokens,
        max_images=extra.visualization.max_images,
        thumbnail_width=extra.visualization.thumbnail_width,
    )


def write_outputs(
    order: WorkOrder, settings: OutputSettings, loaded: LoadedModel, measured: Measured, events: EventWriter
) -> None:
    """Write the predictions and the gallery that `order` asks for."""
    shown = outputs_of(order.inputs, loaded, measured, strip_markup=settings.strip_markup)
    if order.prediction_dir is not None:
        write_predictions(order.prediction_dir, [item.prediction for item in shown])
    if order.visualization_dir is not None:
        write_gallery(
            order.visualization_dir,
            f"{order.stage}: predictions of {model_label(order.config)}",
            shown,
            events,
            max_images=settings.max_images,
            thumbnail_width=settings.thumbnail_width,
            note=NOISE if loaded.built.is_random else None,
        )


def write_predictions(directory: Path, predictions: list[Prediction]) -> None:
    """Write `predictions.jsonl`."""
    write_text(directory / PREDICTIONS, "".join(prediction.model_dump_json() + "\n" for prediction in predictions))


def outputs_of(inputs: Inputs, loaded: LoadedModel, measured: Measured, *, strip_markup: bool) -> list[Shown]:
    """What was said of every sample that was asked for, in the order of the inputs; of several epochs, in the last."""
    found: dict[int, Shown] = {}
    for error in measured.errors:
        sample = inputs.samples[error.sample]
        found[error.sample] = Shown(sample, Prediction(source=error.source, error=error.error), None)
    for work in measured.work:
        for row, index in enumerate(work.samples):
            marked = loaded.clean_text(work.generation.tokens[row])
            sample = inputs.samples[index]
            text = parse_markup(marked).plain() if strip_markup else marked
            found[index] = Shown(sample, _prediction(sample.source, text, loaded, work, row), marked)
    return [found[index] for index in sorted(found)]


def _prediction(source: str, text: str, loaded: LoadedModel, work: BatchWork, row: int) -> Prediction:
    ids = work.generation.tokens[row]
    repeat = work.repeat
    return Prediction(
        source=source,
        text=text,
        text_raw=loaded.raw_text(ids),
        prompt_tokens=work.batch.prompt_tokens[row],
        new_tokens=len(ids),
        metrics=PredictionTimes(
            ttft_ms=repeat.ttft_ms,
            prefill_ms=repeat.prefill_ms,
            decode_ms=repeat.decode_ms,
            e2e_ms=repeat.e2e_ms,
            batch_rows=len(work.samples),
        ),
    )
