"""Loading and feeding decoder-only language models on text prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from llm_perf_opt.config.schema import Config
from llm_perf_opt.errors import ConfigError, MissingError, StageError
from llm_perf_opt.records.inputs import Sample
from llm_perf_opt.workload.building import Built, build, with_attention
from llm_perf_opt.workload.inputs import BadSampleError
from llm_perf_opt.workload.loaded import Batch, LoadedModel
from llm_perf_opt.workload.weights import model_path, weights_id

SYNTHETIC_TOKENS = 16


class CausalLm(LoadedModel):
    """A decoder-only model with its tokenizer."""

    def __init__(self, built: Built, tokenizer: Any) -> None:
        super().__init__(built, tokenizer)
        self.tokenizer.padding_side = "left"
        self.window = getattr(self.model.config, "max_position_embeddings", None)

    def prepare(self, samples: Sequence[Sample]) -> Batch:
        rows = [self._encode(_text(sample), sample.source) for sample in samples]
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
            prompt_tokens=tuple(len(row) for row in rows),
            image_tokens=(0,) * len(rows),
        )

    def synthetic(self) -> Batch:
        ids = torch.arange(SYNTHETIC_TOKENS, device=self.device)[None] % self.model.config.vocab_size
        return Batch(input_ids=ids, attention_mask=None, prompt_tokens=(SYNTHETIC_TOKENS,), image_tokens=(0,))

    def modules(self) -> Mapping[str, torch.nn.Module]:
        return {}

    def _encode(self, text: str, source: str) -> list[int]:
        if self.tokenizer.chat_template is not None:
            messages = [{"role": "user", "content": text}]
            encoded = self.tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)
            ids = list(encoded["input_ids"])
        else:
            ids = list(self.tokenizer(text)["input_ids"])
        if not ids:
            raise BadSampleError(f"{source} holds no text")
        return ids


def _text(sample: Sample) -> str:
    if sample.text is not None:
        return sample.text
    path = Path(str(sample.path))
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise BadSampleError(f"{path} is gone") from error
    except UnicodeDecodeError as error:
        raise BadSampleError(f"{path} is not UTF-8 text: {error}") from error


def load_causal_lm(config: Config, device: torch.device) -> CausalLm:
    """The model and tokenizer at `model.path`.

    Raises:
        MissingError: files are missing.
        ConfigError: the model needs remote code and may not run it.
        StageError: transformers refuses the files.
    """
    path = model_path(config.model)
    source = {"pretrained_model_name_or_path": str(path if path.is_dir() else path.parent)}
    options: dict[str, Any] = {"trust_remote_code": config.model.trust_remote_code, "local_files_only": True}
    if path.suffix == ".gguf":
        options["gguf_file"] = path.name
    try:
        hf_config = AutoConfig.from_pretrained(**source, **options)
        tokenizer = AutoTokenizer.from_pretrained(**source, **options)
        dtype = _dtype(config, hf_config)
        if config.model.weights == "random":
            built = build(
                lambda attention: AutoModelForCausalLM.from_config(hf_config, attn_implementation=attention),
                config,
                dtype,
                device,
            )
        else:
            model, attention, note = with_attention(
                lambda attention: AutoModelForCausalLM.from_pretrained(
                    **source, **options, dtype=dtype, attn_implementation=attention
                ).to(device),
                config.use_flash_attn,
                dtype,
                device,
            )
            built = Built(model, device, weights_id(path), attention, note)
    except ImportError as error:
        raise MissingError(f"transformers cannot load {path}: {_first_line(error)}", "install what it names") from error
    except OSError as error:
        raise MissingError(f"{path} is not a complete model: {_first_line(error)}", "check model.path") from error
    except ValueError as error:
        if "trust_remote_code" in str(error):
            raise ConfigError(
                f"{path} needs its own Python code to run", "set model.trust_remote_code: true if you trust it"
            ) from error
        raise StageError(f"transformers cannot load {path}: {_first_line(error)}") from error
    return CausalLm(built, tokenizer)


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]


def _dtype(config: Config, hf_config: Any) -> torch.dtype:
    """The configured type; auto is the checkpoint's, float32 where it names none (GGUF files are dequantized)."""
    name = config.model.dtype
    if name != "auto":
        found: torch.dtype = getattr(torch, name)
        return found
    declared = getattr(hf_config, "dtype", None)
    return declared if isinstance(declared, torch.dtype) else torch.float32
