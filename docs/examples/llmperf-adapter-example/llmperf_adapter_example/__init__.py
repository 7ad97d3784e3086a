"""A model adapter for llmperf: a tiny Llama with random weights, a byte-level tokenizer and a window of 256 tokens.

llmperf imports this module in its parent process, which never imports torch: heavy imports belong inside `load`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llm_perf_opt.config.schema import Config
from llm_perf_opt.records.inputs import Sample, SampleSizes
from llm_perf_opt.workload.adapter import Adapter

if TYPE_CHECKING:
    import torch

    from llm_perf_opt.workload.loaded import LoadedModel

EOS = 256


def model_config(config: Config) -> Mapping[str, Any]:
    """The architecture, as a `config.json` would say it; static analysis and the parent's checks read this."""
    return {
        "model_type": "llama",
        "vocab_size": EOS + 1,
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
        "bos_token_id": None,
        "eos_token_id": EOS,
    }


def load(config: Config, device: torch.device) -> LoadedModel:
    """Build the model; runs in the child process."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from llm_perf_opt.workload.building import build
    from llm_perf_opt.workload.families.causal_lm import CausalLm

    hf_config = LlamaConfig(**model_config(config))
    dtype = torch.float32 if config.model.dtype == "auto" else getattr(torch, config.model.dtype)
    built = build(
        lambda attention: LlamaForCausalLM._from_config(hf_config, attn_implementation=attention),
        config,
        dtype,
        device,
    )
    return CausalLm(built, _tokenizer())


def sizes(config: Config, sample: Sample) -> SampleSizes:
    """What a prompt becomes, for static analysis of the first sample; runs in a child process too."""
    from llm_perf_opt.workload.families.causal_lm import prompt_sizes

    return prompt_sizes(_tokenizer(), sample)


def _tokenizer() -> Any:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = {symbol: index for index, symbol in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(vocab=alphabet, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken("<eos>", special=True)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>")


ADAPTER = Adapter(modality="text", model_config=model_config, load=load, sizes=sizes)
