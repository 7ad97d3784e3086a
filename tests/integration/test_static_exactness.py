"""Closed form, deduplicated trace and full trace agree to the integer on small models of every family."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import pytest

from llm_perf_opt.analysis.static.analyze import analyze
from llm_perf_opt.analysis.static.description import Description
from llm_perf_opt.analysis.static.families import find_family
from llm_perf_opt.errors import ConfigError
from llm_perf_opt.records.static import StaticRecord, StaticRequest
from tests.integration.static_table import DECODERS, DEEPSEEK_OCR2, VISION
from tests.stock_counter import stock_counter, stock_encoder, stock_encoder_decoder, totals

pytestmark = pytest.mark.integration
PROMPT, CONTEXT = 20, 13
FULL = StaticRequest(prompt_tokens=PROMPT, context=CONTEXT, attention_flops="full", logits="all")
CAUSAL = StaticRequest(prompt_tokens=PROMPT, batch=3)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    import torch
    from transformers.utils import logging

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    yield
    torch.set_num_threads(before)


@functools.cache
def described(config: str, sizes: tuple[tuple[int, int], ...], views: bool = False) -> Description:
    """What tracing finds of a model, once for all that is asked of it."""
    from llm_perf_opt.analysis.traced.trace import trace_description

    return trace_description(json.loads(config), sizes, "here", views=views)


def traced(config: dict[str, Any], request: StaticRequest) -> StaticRecord:
    return analyze(
        config, request, description=described(json.dumps(config), request.views or request.images, bool(request.views))
    )


def figures(record: StaticRecord) -> dict[str, object]:
    chosen: dict[str, object] = {"model": record.model}
    phases = record.phases
    for name, phase in (("prefill", phases.prefill), ("decode", phases.decode), ("generation", phases.generation)):
        assert phase is not None
        chosen |= {
            f"{name}.flops": phase.flops,
            f"{name}.weight_bytes": phase.weight_bytes,
            f"{name}.routing": phase.weight_bytes_routing,
            f"{name}.kv_bytes": phase.kv_bytes,
            f"{name}.state_bytes": phase.state_bytes,
        }
    return chosen


@pytest.mark.parametrize(("model_type", "config"), [case[1:] for case in DECODERS], ids=[case[0] for case in DECODERS])
def test_three_counts_of_a_decoder_agree(model_type: str, config: dict[str, Any]) -> None:
    whole = {"model_type": model_type, **config}
    closed = totals(analyze(whole, FULL))
    assert closed == stock_counter(whole, PROMPT, CONTEXT)
    assert closed == totals(traced(whole, FULL))


def varied(name: str, model_type: str, config: dict[str, Any]) -> dict[str, Any]:
    """The same model with other sizes, drawn anew for each name but the same in each run."""
    random = Random(name)
    family = find_family(model_type)
    assert family is not None
    heads = random.choice((4, 6, 8))
    hidden = 16 * heads
    latent = "kv_lora_rank" in family.defaults
    drawn = {
        "hidden_size": hidden,
        "n_embd": hidden,
        "num_attention_heads": heads,
        "n_head": heads,
        "num_key_value_heads": heads if latent else random.choice([n for n in (1, 2, heads) if heads % n == 0]),
        "num_kv_heads": random.choice((1, 2)) if config.get("new_decoder_architecture") else heads,
        "vocab_size": random.randrange(50, 200),
        "intermediate_size": 4 * random.randrange(3, 22),
        "moe_intermediate_size": 4 * random.randrange(1, 9),
        "tie_word_embeddings": random.random() < 0.5,
        "attention_bias": random.random() < 0.5,
        "mlp_bias": random.random() < 0.5,
        "sliding_window": random.choice((3, 16, 50)),
        "n_shared_experts": random.choice((1, 3)),
        "first_k_dense_replace": random.choice((0, 2)),
        "use_sliding_window": random.random() < 0.5,
    }
    fitting = {key: value for key, value in drawn.items() if key in family.defaults}
    if {"mamba_n_heads", "num_heads"} & config.keys():
        # The heads of their state space make up a multiple of the hidden size.
        for key in ("hidden_size", "num_attention_heads", "num_key_value_heads"):
            fitting.pop(key, None)
    if "head_dim" in config:
        # Helium and its like multiply by a square output projection.
        fitting["head_dim"] = 16
    return {**config, **fitting}


@pytest.mark.parametrize(("name", "model_type", "config"), DECODERS, ids=[case[0] for case in DECODERS])
def test_other_sizes_agree_too(name: str, model_type: str, config: dict[str, Any]) -> None:
    whole = {"model_type": model_type, **varied(name, model_type, config)}
    request = StaticRequest(prompt_tokens=33, context=5, attention_flops="full", logits="all")
    assert totals(analyze(whole, request)) == stock_counter(whole, 33, 5), whole


# Transformers caches keys and values for every query head of Falcon's newer form.
_WIDE_CACHE = {"falcon-40b"}


@pytest.mark.parametrize(("name", "model_type", "config"), DECODERS, ids=[case[0] for case in DECODERS])
def test_causal_figures_agree_with_the_trace(name: str, model_type: str, config: dict[str, Any]) -> None:
    whole = {"model_type": model_type, **config}
    closed, other = figures(analyze(whole, CAUSAL)), figures(traced(whole, CAUSAL))
    differ = {key for key in closed if closed[key] != other[key]}
    allowed: set[str] = set()
    if name in _WIDE_CACHE:
        allowed |= {"model", "prefill.kv_bytes", "decode.kv_bytes", "generation.kv_bytes"}
    assert differ <= allowed, {key: (closed[key], other[key]) for key in differ}


@pytest.mark.parametrize(
    ("model_type", "config", "views"), [case[1:] for case in VISION], ids=[case[0] for case in VISION]
)
def test_vision_agrees_with_a_real_pass(
    model_type: str, config: dict[str, Any], views: tuple[tuple[int, int], ...]
) -> None:
    import torch
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import AutoModelForImageTextToText
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    whole = {"model_type": model_type, **config}
    made = CONFIG_MAPPING[model_type].from_dict(dict(whole))
    model = AutoModelForImageTextToText.from_config(made, attn_implementation="eager").eval()
    vision = made.vision_config
    if hasattr(vision, "spatial_merge_size"):
        grid = torch.tensor([[1, height // vision.patch_size, width // vision.patch_size] for width, height in views])
        pixels = torch.zeros(int(grid.prod(-1).sum()), 3 * 2 * vision.patch_size**2)
        inputs = {"pixel_values": pixels, "image_grid_thw": grid}
    else:
        size = vision.image_size
        side = size if isinstance(size, int) else size[0]
        inputs = {"pixel_values": torch.zeros(len(views), 3, side, side)}
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        found = model.get_image_features(**inputs)
        features = found.pooler_output
        if features is None:
            # Its projector runs in the model's own forward pass.
            features = model.multi_modal_projector(found.last_hidden_state)

    request = FULL.model_copy(update={"views": views})
    closed = analyze(whole, request)
    assert closed.phases.vision is not None
    assert closed.model.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert closed.phases.vision.flops == counter.get_total_flops()
    rows = [feature if feature.dim() > 1 else feature[None] for feature in features]
    assert closed.phases.vision.tokens == sum(row.shape[:-1].numel() for row in rows)
    other = traced(whole, request)
    assert other.phases.vision is not None, other.reasons
    assert other.phases.vision.flops == closed.phases.vision.flops
    assert other.phases.vision.tokens == closed.phases.vision.tokens


@pytest.mark.parametrize("case", VISION, ids=[case[0] for case in VISION])
def test_the_decoder_of_a_vision_model_agrees(case: tuple[str, str, dict[str, Any], object]) -> None:
    whole = {"model_type": case[1], **case[2]}
    assert totals(analyze(whole, FULL)) == stock_counter(whole, PROMPT, CONTEXT)


def test_deepseek_ocr2_agrees_on_one_page_with_two_tiles() -> None:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from llm_perf_opt.analysis.traced.model import build

    views = ((768, 768), (768, 768), (1024, 1024))
    closed = analyze(DEEPSEEK_OCR2, FULL.model_copy(update={"views": views}))
    model: Any = build(DEEPSEEK_OCR2, "here").model
    with torch.no_grad(), torch.device("meta"), FlopCounterMode(display=False) as counter:
        model.get_image_features(torch.empty(1, 3, 1024, 1024), torch.empty(2, 3, 768, 768), [2])
    assert closed.phases.vision is not None
    assert closed.phases.vision.flops == counter.get_total_flops()
    assert totals(analyze(DEEPSEEK_OCR2, FULL)) == stock_counter(DEEPSEEK_OCR2, PROMPT, CONTEXT)


_TINY_TEXT = {
    "vocab_size": 512,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
}
_TINY_TOWER = {"hidden_size": 32, "intermediate_size": 44, "num_hidden_layers": 2, "num_attention_heads": 2}
_POOLED = {**_TINY_TOWER, "num_key_value_heads": 2, "head_dim": 16, "patch_size": 7, "position_embedding_size": 30}
_CROSSING = {
    "hidden_size": 32,
    "intermediate_size": 44,
    "num_hidden_layers": 3,
    "num_global_layers": 1,
    "attention_heads": 2,
    "image_size": 28,
    "patch_size": 7,
    "intermediate_layers_indices": [1],
    "vision_output_dim": 64,
}
_LATENT_TEXT = {
    **_TINY_TEXT,
    "model_type": "deepseek_v3",
    "num_key_value_heads": 4,
    "q_lora_rank": 20,
    "kv_lora_rank": 16,
    "qk_nope_head_dim": 10,
    "qk_rope_head_dim": 4,
    "v_head_dim": 12,
    "n_routed_experts": 6,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 28,
    "n_group": 1,
    "topk_group": 1,
}


def pooled_patches(model: Any) -> None:
    """Gemma 4: one image of 6 x 9 patches, with its own positions."""
    import torch

    positions = torch.tensor([[[x, y] for y in range(6) for x in range(9)]])
    model.get_image_features(torch.zeros(1, 54, 3 * 49), image_position_ids=positions)


def merged_patches(model: Any) -> None:
    """Kimi K2.5: two images, of 6 x 4 and 2 x 2 patches."""
    import torch

    grids = torch.tensor([[1, 4, 6], [1, 2, 2]])
    model.get_image_features(torch.zeros(28, 3, 7, 7), image_grid_thw=grids)


def four_tiles(model: Any) -> None:
    """Mllama: one image that fills all tiles."""
    import torch

    ids, mask = torch.ones(1, 1, dtype=torch.long), torch.ones(1, 1, 4, dtype=torch.long)
    seen = model.model.vision_model(torch.zeros(1, 1, 4, 3, 28, 28), ids, mask).last_hidden_state
    model.model.multi_modal_projector(seen)


@pytest.mark.parametrize(
    ("config", "views", "look"),
    [
        (
            {
                "model_type": "gemma4",
                "text_config": {**_TINY_TEXT, "head_dim": 16, "hidden_size_per_layer_input": 0},
                "vision_config": _POOLED,
            },
            ((63, 42),),
            pooled_patches,
        ),
        (
            {
                "model_type": "kimi_k25",
                "text_config": _LATENT_TEXT,
                "vision_config": {**_TINY_TOWER, "patch_size": 7, "pos_emb_height": 8, "pos_emb_width": 8},
                "projection_hidden_size": 32,
            },
            ((42, 28), (14, 14)),
            merged_patches,
        ),
        (
            {
                "model_type": "mllama",
                "text_config": {**_TINY_TEXT, "cross_attention_layers": [1]},
                "vision_config": _CROSSING,
            },
            ((56, 56),),
            four_tiles,
        ),
    ],
    ids=["gemma4", "kimi_k25", "mllama"],
)
def test_towers_that_are_not_traced_agree_with_a_real_pass(
    config: dict[str, Any], views: tuple[tuple[int, int], ...], look: Callable[[Any], None]
) -> None:
    import torch
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import AutoModelForImageTextToText
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    made = CONFIG_MAPPING[config["model_type"]].from_dict(dict(config))
    model = AutoModelForImageTextToText.from_config(made, attn_implementation="eager").eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        look(model)
    closed = analyze(config, FULL.model_copy(update={"views": views}))
    assert closed.phases.vision is not None
    # Mllama makes its mask as a product of what is there with itself: four tiles of 24 positions.
    mask = 2 * 96 * 96 if config["model_type"] == "mllama" else 0
    assert closed.phases.vision.flops + mask == counter.get_total_flops()
    assert closed.model.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert totals(analyze(config, FULL)) == stock_counter(config, PROMPT, CONTEXT)


_TWO_STACKS: dict[str, dict[str, Any]] = {
    "bart": {
        "d_model": 32,
        "encoder_attention_heads": 4,
        "decoder_attention_heads": 2,
        "encoder_ffn_dim": 48,
        "decoder_ffn_dim": 80,
        "encoder_layers": 2,
        "decoder_layers": 3,
        "vocab_size": 96,
        "max_position_embeddings": 256,
    },
    "t5": {
        "d_model": 32,
        "d_kv": 8,
        "num_heads": 3,
        "d_ff": 48,
        "num_layers": 3,
        "num_decoder_layers": 2,
        "vocab_size": 96,
        "feed_forward_proj": "gated-gelu",
    },
    "whisper": {
        "d_model": 32,
        "encoder_attention_heads": 4,
        "decoder_attention_heads": 2,
        "encoder_ffn_dim": 48,
        "decoder_ffn_dim": 80,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "vocab_size": 96,
        "num_mel_bins": 20,
        "max_source_positions": 60,
        "max_target_positions": 256,
        "pad_token_id": 0,
    },
    # Its layers see a window of their own stack, and all of the encoder.
    "t5gemma": {
        stack: {
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 8,
            "intermediate_size": 48,
            "vocab_size": 96,
            "sliding_window": 8,
            "layer_types": ["sliding_attention", "full_attention"],
        }
        for stack in ("encoder", "decoder")
    },
}


@pytest.mark.parametrize("model_type", _TWO_STACKS)
def test_an_encoder_runs_once_and_its_decoder_sees_all_of_it(model_type: str) -> None:
    whole = {"model_type": model_type, "is_encoder_decoder": True, **_TWO_STACKS[model_type]}
    record = traced(whole, FULL)
    sound = model_type == "whisper"
    source, tokens = (60, PROMPT) if sound else (PROMPT, 1)
    assert totals(record) == stock_encoder_decoder(whole, source, tokens, CONTEXT)
    assert record.phases.prefill is not None
    assert record.phases.prefill.tokens == source + tokens
    three = traced(whole, CAUSAL)
    assert three.phases.decode is not None
    layers, heads = {"bart": (3, 32), "t5": (2, 24), "whisper": (2, 32), "t5gemma": (2, 16)}[model_type]
    # Keys and values in bfloat16 of what is cached, written and seen of the encoder.
    context = PROMPT if sound else 1
    assert three.phases.decode.kv_bytes == 3 * 2 * 2 * layers * heads * (context + 1 + source)


def test_an_encoder_has_no_more_positions_than_its_table() -> None:
    whole = {"model_type": "bart", "is_encoder_decoder": True, **_TWO_STACKS["bart"]}
    with pytest.raises(ConfigError, match="encoder of this bart has 256 positions, and the prompt 257 tokens"):
        traced(whole, StaticRequest(prompt_tokens=257))


@pytest.mark.parametrize(
    ("model_type", "changes", "limit"),
    [
        ("gpt2", {"n_positions": 64, "n_embd": 32, "n_head": 4, "n_layer": 2}, 64),
        ("opt", {"max_position_embeddings": 64}, 64),
        (
            "gpt_neo",
            {"max_position_embeddings": 64, "num_layers": 2, "attention_types": [[["global", "local"], 1]]},
            64,
        ),
        ("biogpt", {"max_position_embeddings": 64, "num_hidden_layers": 2}, 64),
        ("whisper", {**_TWO_STACKS["whisper"], "max_target_positions": 64}, 64),
    ],
)
def test_a_decoder_has_no_more_positions_than_its_table(model_type: str, changes: dict[str, Any], limit: int) -> None:
    whole = {"model_type": model_type, **({"is_encoder_decoder": True} if model_type == "whisper" else {}), **changes}
    for count in (traced, *((analyze,) if find_family(model_type) else ())):
        assert count(whole, StaticRequest(new_tokens=5)).request.prompt_tokens == limit - 4
        most = count(whole, StaticRequest(prompt_tokens=60, new_tokens=5, context=limit - 1))
        assert most.phases.decode is not None
        for prompt, new, context in ((65, 1, None), (61, 5, None), (8, 1, limit)):
            with pytest.raises(ConfigError, match=f"this {model_type} has a table of {limit} positions"):
                count(whole, StaticRequest(prompt_tokens=prompt, new_tokens=new, context=context))


_SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "vocab_size": 96,
    "max_position_embeddings": 64,
}
_ENCODERS: dict[str, dict[str, Any]] = {
    "BertForMaskedLM": {"model_type": "bert", **_SMALL},
    "BertForSequenceClassification": {"model_type": "bert", **_SMALL},
    "RobertaModel": {"model_type": "roberta", **_SMALL},
    "XLMRobertaForMaskedLM": {"model_type": "xlm-roberta", **_SMALL},
    "DistilBertModel": {"model_type": "distilbert", "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48},
    "ElectraForTokenClassification": {"model_type": "electra", "embedding_size": 16, **_SMALL},
    "ModernBertForMaskedLM": {"model_type": "modernbert", "local_attention": 8, "pad_token_id": 0, **_SMALL},
    "DebertaV2ForMaskedLM": {
        "model_type": "deberta-v2",
        "relative_attention": True,
        "position_buckets": 8,
        "pos_att_type": ["p2c", "c2p"],
        **_SMALL,
    },
    "AlbertForQuestionAnswering": {"model_type": "albert", "embedding_size": 16, **_SMALL},
}


@pytest.mark.parametrize("name", _ENCODERS)
def test_an_encoder_alone_runs_once_and_decodes_nothing(name: str) -> None:
    whole = {**_ENCODERS[name], "architectures": [name], "dtype": "float32"}
    asked = FULL.model_copy(update={"context": None})
    record = traced(whole, asked)
    assert totals(record) == stock_encoder(whole, PROMPT)
    assert record.phases.decode is record.phases.generation is None
    assert record.reasons["phases.decode"].startswith(name)
    one, three = record.phases.prefill, traced(whole, asked.model_copy(update={"batch": 3})).phases.prefill
    assert one is not None
    assert three is not None
    # Relative positions are projected once for all sequences.
    assert three.flops <= 3 * one.flops
    assert three.flops == 3 * one.flops or "deberta" in whole["model_type"]
    assert record.model.weight_bytes == 4 * (record.model.parameters or 0)


def test_what_an_encoder_has_no_positions_or_steps_for_is_refused() -> None:
    roberta = {**_ENCODERS["RobertaModel"], "architectures": ["RobertaModel"], "pad_token_id": 1}
    for request, message in (
        (StaticRequest(prompt_tokens=63), "this roberta has 62 positions, and the prompt 63 tokens"),
        (StaticRequest(context=5), "--context is about decoding, and this model is RobertaModel"),
        (StaticRequest(prefill_chunk=5), "--prefill-chunk is about decoding, and this model is RobertaModel"),
    ):
        with pytest.raises(ConfigError, match=message):
            traced(roberta, request)
    with pytest.raises(ConfigError, match="MyBertModel, which is no class of transformers' own for a bert"):
        traced({**_ENCODERS["BertForMaskedLM"], "architectures": ["MyBertModel"]}, FULL)
