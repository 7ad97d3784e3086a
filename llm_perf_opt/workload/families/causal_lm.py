"""Loading and feeding decoder-only language models on text prompts."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from llm_perf_opt.config.schema import Config
from llm_perf_opt.opening import read_file
from llm_perf_opt.records.inputs import Sample, SampleSizes
from llm_perf_opt.workload.building import (
    TOKENIZER_FILES,
    Built,
    check_text_files,
    checkpoint_source,
    explaining_load,
    load_checkpoint,
)
from llm_perf_opt.workload.families.made_up import drawn_ids
from llm_perf_opt.workload.inputs import BadSampleError
from llm_perf_opt.workload.loaded import Batch, LoadedModel, padded_positions
from llm_perf_opt.workload.weights import model_path

SYNTHETIC_TOKENS = 16


class CausalLm(LoadedModel):
    """A decoder-only model with its tokenizer, if it has one."""

    def __init__(self, built: Built, tokenizer: Any) -> None:
        super().__init__(built, tokenizer)
        if tokenizer is not None:
            tokenizer.padding_side = "left"

    def prepare(self, samples: Sequence[Sample]) -> Batch:
        rows = [self._ids(sample) for sample in samples]
        longest = max(len(row) for row in rows)
        ids = torch.full((len(rows), longest), self.pad_token_id)
        mask = torch.zeros((len(rows), longest), dtype=torch.long)
        for index, row in enumerate(rows):
            ids[index, longest - len(row) :] = torch.tensor(row)
            mask[index, longest - len(row) :] = 1
        padded = any(len(row) < longest for row in rows)
        return Batch(
            input_ids=ids.to(self.device),
            attention_mask=mask.to(self.device) if padded else None,
            positions=padded_positions(mask).to(self.device) if padded else None,
            prompt_tokens=tuple(len(row) for row in rows),
            image_tokens=(0,) * len(rows),
        )

    def synthetic(self) -> Batch:
        ids = torch.arange(SYNTHETIC_TOKENS, device=self.device)[None] % self.model.config.vocab_size
        return Batch(input_ids=ids, attention_mask=None, prompt_tokens=(SYNTHETIC_TOKENS,), image_tokens=(0,))

    def modules(self) -> Mapping[str, torch.nn.Module]:
        return {}

    def _ids(self, sample: Sample) -> list[int]:
        made = sample.made_up
        if made is None or made.prompt_tokens is None:
            ids = encode(self.tokenizer, _text(sample), sample.source)
        else:
            self.check_window(made.prompt_tokens, sample.source)
            return drawn_ids(self.model.config, made.prompt_tokens, made.seed)
        self.check_window(len(ids), sample.source)
        self.check_tokens(max(ids), sample.source)
        return ids


def encode(tokenizer: Any, text: str, source: str) -> list[int]:
    """The ids of a prompt, in the chat format of the tokenizer where it has one.

    Raises:
        BadSampleError: there are none.
    """
    if tokenizer.chat_template is not None:
        messages = [{"role": "user", "content": text}]
        encoded = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)
        ids = list(encoded["input_ids"])
    else:
        ids = list(tokenizer(text)["input_ids"])
    if not ids:
        raise BadSampleError(f"{source} holds no text")
    return ids


def prompt_sizes(tokenizer: Any, sample: Sample) -> SampleSizes:
    """The tokens of a prompt.

    Raises:
        BadSampleError: it cannot be read.
    """
    return SampleSizes(prompt_tokens=len(encode(tokenizer, _text(sample), sample.source)))


def _text(sample: Sample) -> str:
    if sample.text is not None:
        return sample.text
    path = Path(str(sample.path))
    try:
        return read_file(path).decode()
    except FileNotFoundError as error:
        raise BadSampleError(f"{path} is gone") from error
    except UnicodeDecodeError as error:
        raise BadSampleError(f"{path} is not UTF-8 text: {error}") from error


def load_causal_lm(config: Config, device: torch.device) -> CausalLm:
    """The model and tokenizer at `model.path`.

    Raises:
        MissingError, ConfigError, StageError: as `load_checkpoint` says.
    """
    has_tokenizer = check_text_files(config, TOKENIZER_FILES)
    path = model_path(config.model)
    with _gguf_read_once() if path.suffix == ".gguf" else contextlib.nullcontext():
        built = load_checkpoint(AutoModelForCausalLM, config, device)
        if not has_tokenizer:
            return CausalLm(built, None)
        with explaining_load(path):
            tokenizer = AutoTokenizer.from_pretrained(**checkpoint_source(config))
    return CausalLm(built, tokenizer)


def _gguf_read_once() -> contextlib.AbstractContextManager[None]:
    from llm_perf_opt.workload.gguf_file import read_once

    return read_once()
