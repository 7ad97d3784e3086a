"""The demo: a tiny model of the DeepSeek-OCR-2 family with seeded random weights, built offline in a second.

It has every part of the real one (SAM tower, encoder, projector, mixture-of-experts decoder), so that every stage has
something true to measure; what it reads off a page is noise.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llm_perf_opt.analysis.static.pages import TiledPages
from llm_perf_opt.config.schema import Config
from llm_perf_opt.errors import ConfigError
from llm_perf_opt.records.inputs import Sample, SampleSizes
from llm_perf_opt.workload.adapter import Adapter
from llm_perf_opt.workload.preprocess import tiled_pages_of

if TYPE_CHECKING:
    import torch

    from llm_perf_opt.workload.loaded import LoadedModel

BOS, EOS, PAD, IMAGE = "<|bos|>", "<|eos|>", "<|pad|>", "<image>"
SPECIAL_TOKENS = (BOS, EOS, PAD, IMAGE, "<|ref|>", "<|/ref|>", "<|det|>", "<|/det|>", "<|grounding|>")
VOCABULARY = 256 + len(SPECIAL_TOKENS)
# Tiles beside the global view; six, as the family has by default, would triple the time of the demo.
MAX_TILES = 2

_ROPE = {"rope_type": "default", "rope_theta": 10000.0}


def model_config(config: Config) -> Mapping[str, Any]:
    """The demo's architecture, as its `config.json` would say it."""
    return {
        "model_type": "deepseek_ocr2",
        "image_token_id": 256 + SPECIAL_TOKENS.index(IMAGE),
        "tie_word_embeddings": False,
        "vision_config": {
            "model_type": "deepseek_ocr2_vision",
            "sam_config": {
                "model_type": "deepseek_ocr2_sam_vision_model",
                "hidden_size": 32,
                "output_channels": 32,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "global_attn_indexes": [1],
                "downsample_channels": [48, 64],
                "initializer_range": 0.02,
            },
            "encoder_config": {
                "model_type": "deepseek_ocr2_encoder",
                "vocab_size": 1,
                "hidden_size": 64,
                "intermediate_size": 128,
                "num_hidden_layers": 2,
                "num_attention_heads": 4,
                "num_key_value_heads": 2,
                "max_position_embeddings": 2048,
                "rope_parameters": _ROPE,
            },
        },
        "text_config": {
            "model_type": "deepseek_ocr2_text",
            "vocab_size": VOCABULARY,
            "hidden_size": 96,
            "intermediate_size": 192,
            "num_hidden_layers": 3,
            "num_attention_heads": 6,
            "num_key_value_heads": 6,
            "n_routed_experts": 8,
            "num_experts_per_tok": 2,
            "n_shared_experts": 1,
            "moe_intermediate_size": 64,
            "mlp_layer_types": ["dense", "sparse", "sparse"],
            "max_position_embeddings": 4096,
            "bos_token_id": 256 + SPECIAL_TOKENS.index(BOS),
            "eos_token_id": 256 + SPECIAL_TOKENS.index(EOS),
            "pad_token_id": 256 + SPECIAL_TOKENS.index(PAD),
            "rope_parameters": _ROPE,
        },
    }


def pages(config: Config) -> TiledPages:
    """As `model.preprocess` says, with few tiles."""
    return tiled_pages_of(config, TiledPages(most=MAX_TILES))


def sizes(config: Config, sample: Sample) -> SampleSizes:
    from llm_perf_opt.workload.families.deepseek_ocr import sample_sizes

    return sample_sizes(processor(), config, pages(config), sample)


def load(config: Config, device: torch.device) -> LoadedModel:
    import torch
    from transformers import AutoModelForImageTextToText, DeepseekOcr2Config

    from llm_perf_opt.workload.building import build
    from llm_perf_opt.workload.families.deepseek_ocr import DeepseekOcrModel

    if config.model.weights == "pretrained":
        raise ConfigError("the demo has no pretrained weights", "set model.weights: random, or name another model")
    if device.type == "cpu":
        # Its operators are too small to share: on few cores a second thread only spins.
        torch.set_num_threads(1)
    hf_config = DeepseekOcr2Config(**model_config(config))
    dtype = torch.float32 if config.model.dtype == "auto" else getattr(torch, config.model.dtype)
    built = build(
        lambda attention: AutoModelForImageTextToText.from_config(hf_config, attn_implementation=attention),
        config,
        dtype,
        device,
    )
    return DeepseekOcrModel(built, processor(), config, pages(config))


def processor() -> Any:
    """The family's own processor on a byte-level tokenizer without merges, made on the spot."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast
    from transformers.models.deepseek_ocr2.image_processing_pil_deepseek_ocr2 import DeepseekOcr2ImageProcessorPil
    from transformers.models.deepseek_ocr2.processing_deepseek_ocr2 import DeepseekOcr2Processor

    alphabet = {symbol: index for index, symbol in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(vocab=alphabet, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL_TOKENS])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        padding_side="left",
        extra_special_tokens={"image_token": IMAGE},
    )
    return DeepseekOcr2Processor(image_processor=DeepseekOcr2ImageProcessorPil(), tokenizer=fast)


ADAPTER = Adapter(
    modality="image",
    model_config=model_config,
    load=load,
    pages=pages,
    sizes=sizes,
    has_checkpoint=False,
    output_family="deepseek_ocr",
    modules=("sam", "clip", "projector"),
)
