"""Loading tiny models and running the loop on them, next to transformers' own `generate()`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from llm_perf_opt.config.schema import Config, Dataset, Infer, Measure, Model
from llm_perf_opt.records.inputs import Inputs, Sample
from llm_perf_opt.workload.adapter import find_adapter
from llm_perf_opt.workload.clock import clock_for
from llm_perf_opt.workload.events import EventWriter
from llm_perf_opt.workload.loaded import Batch, LoadedModel
from llm_perf_opt.workload.loop import Generation, Loop
from llm_perf_opt.workload.measure import Session
from llm_perf_opt.workload.order import WorkOrder
from llm_perf_opt.workload.ranges import Ranges
from tests.tiny_models import write_text_model

PROMPTS = ("The capital of France is", "Once upon a time, in a land far away,", "1 2 3")


class NoEvents:
    """Stands in for the event writer of a child."""

    count = 0


def load(path: Path | None, infer: Infer, *, name: str = "causal_lm", **model: Any) -> LoadedModel:
    """The model at `path` with random weights on the CPU."""
    model = {"weights": "random", **model}
    config = Config(
        device="cpu",
        model=Model(name=name, path=None if path is None else str(path), **model),
        infer=infer,
        dataset=Dataset(),
    )
    return find_adapter(name).load(config, torch.device("cpu"))


def prompt(text: str) -> Sample:
    return Sample(kind="prompt", path=None, text=text, size_bytes=len(text), sha256="")


def image(path: Path) -> Sample:
    return Sample(kind="image", path=str(path), size_bytes=path.stat().st_size, sha256="")


def session(loaded: LoadedModel, infer: Infer) -> Loop:
    return Loop(loaded, infer, clock_for(loaded.device), NoEvents())  # type: ignore[arg-type]


def run(loaded: LoadedModel, samples: Sequence[Sample], infer: Infer) -> tuple[Batch, Generation]:
    batch = loaded.prepare(samples)
    return batch, session(loaded, infer).generate(batch, Ranges(()))


def reference(loaded: LoadedModel, batch: Batch, infer: Infer, **options: Any) -> list[list[int]]:
    """Tokens of `generate()` for the same inputs and settings, cut like the loop's."""
    settings: dict[str, Any] = {"max_new_tokens": infer.max_new_tokens, "do_sample": infer.do_sample, **options}
    if infer.do_sample:
        settings["temperature"] = infer.temperature
    if infer.top_p is not None:
        settings["top_p"] = infer.top_p
    if infer.no_repeat_ngram_size is not None:
        settings["no_repeat_ngram_size"] = infer.no_repeat_ngram_size
    eos = set(loaded.eos_token_ids)
    if not infer.stop_on_eos:
        settings["eos_token_id"] = None
        eos = set()
    mask = batch.attention_mask if batch.attention_mask is not None else torch.ones_like(batch.input_ids)
    torch.manual_seed(infer.seed)
    ids = loaded.model.generate(
        input_ids=batch.input_ids, attention_mask=mask, pad_token_id=loaded.pad_token_id, **batch.extra, **settings
    )
    rows = []
    for row in ids[:, batch.padded_tokens :].tolist():
        end = next((index for index, token in enumerate(row) if token in eos), len(row) - 1)
        rows.append(row[: end + 1])
    return rows


def measuring(
    folder: Path, infer: Infer, texts: Sequence[str], measure: Measure | None = None, **changes: Any
) -> Session:
    """A session on a tiny Llama and these prompts."""
    path = write_text_model(folder / "model", "llama", chat_template=None, **changes)
    samples = tuple(prompt(text) for text in texts)
    order = WorkOrder(
        stage="direct_inference",
        config=Config(
            device="cpu",
            model=Model(name="causal_lm", path=str(path), weights="random"),
            infer=infer,
            measure=measure or Measure(warmup=1, repeats=2),
        ),
        inputs=Inputs(samples=samples, epochs=(tuple(range(len(samples))),)),
        scratch_dir=folder,
        output_dir=folder,
    )
    return Session(order, load(path, infer), EventWriter(folder / "events.jsonl"))
