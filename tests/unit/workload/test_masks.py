"""The masks of decode steps make the tokens that `generate()` makes, whatever kinds of layers a model has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llm_perf_opt.config.schema import Infer
from tests.tiny_models import write_text_model
from tests.unit.workload.models import PROMPTS, load, prompt, reference, run

WINDOW = {"sliding_window": 16}
MIXED = {**WINDOW, "layer_types": ["sliding_attention", "full_attention"]}
MODELS: dict[str, dict[str, Any]] = {
    "mistral": WINDOW,
    "qwen2": {**MIXED, "use_sliding_window": True},
    "qwen3": {**MIXED, "use_sliding_window": True, "head_dim": 16},
    "gemma2": {**MIXED, "head_dim": 16, "query_pre_attn_scalar": 16},
    "gemma3_text": {**MIXED, "head_dim": 16, "query_pre_attn_scalar": 16},
    "cohere2": MIXED,
    "olmo3": MIXED,
    "exaone4": {**MIXED, "head_dim": 16},
    "ministral": {**MIXED, "head_dim": 16},
    # Without SDPA: eager attention, which takes the mask in two dimensions.
    "gpt_oss": {**MIXED, "head_dim": 16, "num_local_experts": 4, "num_experts_per_tok": 2},
    # Layers that look at chunks, whose mask is none of these.
    "llama4_text": {
        "head_dim": 16,
        "attention_chunk_size": 16,
        "layer_types": ["chunked_attention", "full_attention"],
        "num_local_experts": 2,
        "moe_layers": [],
        "intermediate_size_mlp": 64,
    },
}


@pytest.mark.parametrize("name", MODELS)
def test_padded_batches_equal_generate(name: str, tmp_path: Path) -> None:
    """Prompts of 5 to 37 tokens and 20 new ones: the window of 16 is left behind in all rows."""
    infer = Infer(max_new_tokens=20, batch_size=3, stop_on_eos=False)
    loaded = load(write_text_model(tmp_path / name, "llama", model_type=name, **MODELS[name]), infer)
    batch, generation = run(loaded, [prompt(text) for text in PROMPTS], infer)
    assert batch.attention_mask is not None
    assert generation.tokens == reference(loaded, batch, infer)
