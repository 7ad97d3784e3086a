"""Everything that the walk asks of one architecture, on a small model of it with random, untied weights.

A test of its own is each question: what holds is a `yes`, and nothing else becomes one. What does not is either a
fault of ours, `no` with what differs, or has a reason from a closed list, found by asking transformers alone: it
cannot build the model, or its own `generate()` raises.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
import transformers

from llm_perf_opt.analysis.static.analyze import analyze
from llm_perf_opt.analysis.static.auto_classes import is_encoder
from llm_perf_opt.analysis.static.families import find_family
from llm_perf_opt.analysis.static.source import parse_config, read_config
from llm_perf_opt.analysis.traced.trace import trace_description
from llm_perf_opt.config.schema import Config, Dataset, Infer, Model, Synthetic
from llm_perf_opt.errors import ConfigError, LlmperfError
from llm_perf_opt.records.inputs import MadeUp, Sample
from llm_perf_opt.records.static import StaticRequest
from llm_perf_opt.workload.adapter import find_adapter
from llm_perf_opt.workload.families.image_text import ImageTextModel
from llm_perf_opt.workload.kinds import adapter_for
from llm_perf_opt.workload.loaded import Batch, LoadedModel
from llm_perf_opt.workload.ranges import Ranges
from tests.stock_counter import stock_counter, stock_encoder, stock_encoder_decoder, totals
from tests.unit.workload.models import reference, session
from tests.walk.images import images
from tests.walk.record import NONE, YES, Architecture, blame, line, outcome, refusal
from tests.walk.small import small

TIMEOUT_S = 20
LENGTHS = (11, 5, 8)
"""Prompts of the batch of three; the first alone is the batch of one."""
NEW = 8
PROMPT, CONTEXT = 7, 5
_FULL = StaticRequest(prompt_tokens=PROMPT, context=CONTEXT, attention_flops="full", logits="all")


_ADAPTERS = {"deepseek_ocr2": "image_text"}
"""Where the usual one takes nothing but pages."""


class TooSlow(BaseException):
    """The time of one architecture is spent."""


def model_types() -> list[str]:
    """All that transformers has a class for that makes text from text, from images and text, or after an encoder, and
    encoders of text."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
        MODEL_FOR_MASKED_LM_MAPPING_NAMES,
        MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
    )

    # What reads sound beside its text is in the last list too.
    two_stacks = {
        name
        for name in MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES
        if getattr(CONFIG_MAPPING[name], "is_encoder_decoder", False)
    }
    one_stack = {*MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, *MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES}
    return sorted({*one_stack, *MODEL_FOR_MASKED_LM_MAPPING_NAMES, *two_stacks})


def examine(model_type: str, folder: Path, known: Architecture | None = None) -> Architecture:
    """The record of a model type.

    Args:
        folder: for its `config.json`.
        known: what was found before, whose answers on tokens stand; None makes them too.
    """
    try:
        with _at_most(TIMEOUT_S):
            try:
                written, upstream = _upstream(model_type)
            except Exception as error:
                return _all(blame(error))
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "config.json").write_text(written, encoding="utf-8")
            config = dict(read_config(folder)[0])
            tokens = _decoded(config, upstream, folder) if known is None else known.tokens
            answers = {**_static(config), **tokens}
            if outcome(answers["run"]) == "no generation" and not is_encoder(config):
                answers = {
                    question: answer.replace("refused: ", "no generation: ") for question, answer in answers.items()
                }
    except TooSlow as error:
        return _all(f"refused: {error}")
    return Architecture(transformers=transformers.__version__, images=_seen(config), **answers)


def _seen(config: dict[str, Any]) -> str:
    try:
        with _at_most(TIMEOUT_S):
            return images(config)
    except TooSlow as error:
        return f"refused: {error}"


def _all(answer: str) -> Architecture:
    names = (field.name for field in fields(Architecture) if field.name != "transformers")
    return Architecture(transformers=transformers.__version__, **dict.fromkeys(names, answer))


def _upstream(model_type: str) -> tuple[str, Any]:
    """The small configuration as a file has it, and transformers' own model of it on the meta device."""
    from transformers import (
        AutoModelForCausalLM,
        AutoModelForImageTextToText,
        AutoModelForMaskedLM,
        AutoModelForSeq2SeqLM,
    )
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    kind = CONFIG_MAPPING[model_type]
    made = kind.from_dict(small(parse_config(kind().to_json_string(use_diff=False), model_type), model_type))
    kinds = (AutoModelForImageTextToText, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoModelForMaskedLM)
    factory = next(factory for factory in kinds if type(made) in factory._model_mapping)
    with torch.device("meta"):
        return made.to_json_string(use_diff=False), factory.from_config(made)


# Figures


def _static(config: dict[str, Any]) -> dict[str, str]:
    truth = _truth(config)
    known = find_family(config["model_type"]) is not None
    closed = _figures(lambda: analyze(config, _FULL), truth) if known else NONE
    traced = _figures(lambda: analyze(config, _asked(config), description=trace_description(config, (), "here")), truth)
    return {"closed_form": closed, "traced": traced, "exact": YES if YES in (closed, traced) else traced}


def _asked(config: dict[str, Any]) -> StaticRequest:
    """Sizes of the figures; an encoder has no step to give a context of."""
    return _FULL.model_copy(update={"context": None}) if is_encoder(config) else _FULL


def _truth(config: dict[str, Any]) -> tuple[int, int, int] | str | None:
    """What torch counts; the reason why it cannot; None where llmperf does not know how to run the model."""
    try:
        return _counted(config)
    except LlmperfError:
        return None
    except Exception as error:
        return blame(error)


def _counted(config: dict[str, Any]) -> tuple[int, int, int]:
    if is_encoder(config):
        return stock_encoder(config, PROMPT)
    if config.get("is_encoder_decoder"):
        sound = "num_mel_bins" in config and config["max_source_positions"]
        return stock_encoder_decoder(config, sound or PROMPT, PROMPT if sound else 1, CONTEXT)
    return stock_counter(config, PROMPT, CONTEXT)


def _figures(count: Callable[[], Any], truth: tuple[int, int, int] | str | None) -> str:
    """Whether the figures are those that torch counts; where torch cannot count, transformers' reason."""
    try:
        found = totals(count())
    except Exception as error:
        return refusal(error) if not isinstance(truth, str) else truth
    if isinstance(truth, str):
        return truth
    if truth is None:
        return "refused: there is nothing to compare its figures with"
    pairs = zip(("parameters", "FLOPs of prefill", "FLOPs of a step"), found, truth, strict=True)
    differ = [f"{name} {ours} ≠ {right}" for name, ours, right in pairs if ours != right]
    return f"differs: {'; '.join(differ)}" if differ else YES


# Tokens


def _decoded(config: Mapping[str, Any], upstream: Any, folder: Path) -> dict[str, str]:
    infer = Infer(max_new_tokens=NEW, stop_on_eos=False)
    try:
        adapter = _ADAPTERS.get(config["model_type"]) or adapter_for(config, "config.json")
        loaded = _loaded(folder, adapter, infer)
    except Exception as error:
        return dict.fromkeys(("run", "infer", "static_cache"), _why_not(error, upstream))
    _draw(loaded.model)
    try:
        _batch(loaded, LENGTHS)
    except Exception as error:
        return dict.fromkeys(("run", "infer", "static_cache"), _why_not(error, upstream))
    return {
        "run": _tokens(loaded, infer, (1,), remembers=True),
        "infer": _tokens(loaded, infer, (3,)),
        "static_cache": _tokens(loaded, infer.model_copy(update={"cache": "static"}), (1, 3)),
    }


def _why_not(error: Exception, upstream: Any) -> str:
    """The reason of a model that llmperf does not load: that it makes no text, that transformers' own `generate()` does
    not run it either, or none."""
    if isinstance(error, ConfigError):
        return f"no generation: {line(error)}"
    if not upstream.can_generate():
        return f"no generation: {type(upstream).__name__} has no generate()"
    try:
        model = upstream.to_empty(device="cpu")
        _draw(model)
        model.generate(torch.arange(5, 5 + LENGTHS[0])[None], max_new_tokens=2, do_sample=False)
    except Exception as raised:
        return blame(raised)
    return refusal(error)


def _loaded(folder: Path, adapter: str, infer: Infer) -> LoadedModel:
    dataset = Dataset(synthetic=Synthetic(prompt_tokens=LENGTHS[0]))
    model = Model(name=adapter, path=str(folder), weights="random", dtype="float32")
    return find_adapter(adapter).load(
        Config(device="cpu", model=model, infer=infer, dataset=dataset), torch.device("cpu")
    )


def _draw(model: Any) -> None:
    """Weights that make tokens depend on what was read: of one spread whatever the class initialises with."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1 and parameter.is_floating_point():
                parameter.normal_(0, parameter.shape[-1] ** -0.5, generator=generator)


def _batch(loaded: LoadedModel, lengths: tuple[int, ...]) -> Batch:
    samples = [
        Sample(kind="made_up", path=None, made_up=MadeUp(prompt_tokens=n, images=(), seed=n), size_bytes=0, sha256="")
        for n in lengths
    ]
    if not isinstance(loaded, ImageTextModel):
        return loaded.prepare(samples)
    rows = [loaded.prepare([sample]).input_ids[0] for sample in samples]
    ids = torch.zeros(len(rows), max(lengths), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for index, row in enumerate(rows):
        ids[index, -len(row) :] = row
        mask[index, -len(row) :] = 1
    return loaded._placed_batch(ids, mask, {}, [[] for _ in rows])


def _tokens(loaded: LoadedModel, infer: Infer, sizes: tuple[int, ...], *, remembers: bool = False) -> str:
    """Whether tokens are those of `generate()`, and, where asked, others than without what was read."""
    options = {"cache_implementation": "static"} if infer.cache == "static" else {}
    for rows in sizes:
        batch = _batch(loaded, LENGTHS[:rows])
        try:
            found = session(loaded, infer).generate(batch, Ranges(())).tokens
        except Exception as error:
            ours = refusal(error)
            try:
                reference(loaded, batch, infer, **options)
            except Exception as raised:
                return blame(raised)
            return ours
        try:
            wanted = reference(loaded, batch, infer, **options)
        except Exception as error:
            return blame(error)
        if found != wanted:
            return f"differs: batch of {rows}: {found[-1]} ≠ {wanted[-1]}"
        if remembers and not _remembers(loaded, found[0]):
            return "differs: the tokens are the same without what was read before"
    return YES


@torch.inference_mode()
def _remembers(loaded: LoadedModel, tokens: list[int]) -> bool:
    """Whether a step without its past would make another token, so that the comparison can fail."""
    alone = [int(loaded.model(input_ids=torch.tensor([[token]])).logits[0, -1].argmax()) for token in tokens[:-1]]
    return alone != tokens[1:]


@contextlib.contextmanager
def _at_most(seconds: int) -> Iterator[None]:
    def ring(*_: object) -> None:
        raise TooSlow(f"more than {seconds} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
