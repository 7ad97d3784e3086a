"""Static figures of ranks, held against arithmetic on the published sizes of three models."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_perf_opt.analysis.sharding.figures import sharding
from llm_perf_opt.analysis.sharding.layout import LayoutName
from llm_perf_opt.analysis.sharding.local_experts import LocalExperts
from llm_perf_opt.analysis.sharding.shares import Routing, Split, share
from llm_perf_opt.analysis.static.passes import decode_step, prefill
from llm_perf_opt.errors import ConfigError
from llm_perf_opt.hardware.catalogue import gpu_named
from llm_perf_opt.records.sharding import Sharding
from llm_perf_opt.records.static import StaticRequest
from tests.unit.static.configs import DEEPSEEK_V3, LLAMA_31_8B, QWEN3_30B_A3B

B16 = 2


def found(config: dict[str, Any], tensor: int, layout: LayoutName = "plan", expert: int = 1, **sizes: Any) -> Sharding:
    request = StaticRequest(**{"prompt_tokens": 100, "new_tokens": 10, **sizes})
    gpu = gpu_named("h200-sxm")
    return sharding(config, request, Split(tensor, expert), layout, [gpu])


def test_llama_by_plan() -> None:
    c, ranks, prompt = LLAMA_31_8B, 4, 100
    h, inner, layers, v = c["hidden_size"], c["intermediate_size"], c["num_hidden_layers"], c["vocab_size"]
    d, heads, kv = h // c["num_attention_heads"], c["num_attention_heads"], c["num_key_value_heads"]
    got = found(c, ranks)
    linear = layers * (h * heads * d + 2 * h * kv * d + heads * d * h + 3 * h * inner) // ranks
    norms = layers * 2 * h + h
    pairs = prompt * (prompt + 1) // 2
    for rank in got.ranks:
        assert rank.parameters == linear + 2 * v * h // ranks + norms
        assert rank.weight_bytes == rank.parameters * B16
        assert rank.kv_bytes == layers * (prompt + 10) * 2 * (kv // ranks) * d * B16
        scores = 2 * pairs * (heads // ranks) * 2 * d * layers
        assert rank.prefill.flops == 2 * prompt * linear + scores + 2 * v * h // ranks
        # A sum after the embedding, o_proj and down_proj of every layer, and the logits gathered.
        assert rank.prefill.collective_calls == 1 + 2 * layers + 1
        assert rank.prefill.payload_bytes == (1 + 2 * layers) * prompt * h * B16 + v // ranks * B16
        assert rank.decode.payload_bytes == (1 + 2 * layers) * h * B16 + v // ranks * B16
        sums, gathered = (1 + 2 * layers) * h * B16, v // ranks * B16
        assert rank.decode.sent_bytes == pytest.approx(2 * 3 * sums / 4 + 3 * gathered)
    # Nothing is done twice.
    assert got.prefill.flops == got.prefill.whole_flops
    layer = next(layer for layer in got.layers if layer.block == "layers")
    assert layer.kv_bytes_per_token == 2 * (kv // ranks) * d * B16
    assert layer.decode_payload_bytes == 2 * h * B16


def test_a_mixture_by_engine_copies_the_keys_it_cannot_cut() -> None:
    c, ranks, prompt = QWEN3_30B_A3B, 8, 100
    h, inner, layers, v, d = c["hidden_size"], c["moe_intermediate_size"], c["num_hidden_layers"], c["vocab_size"], 128
    heads, experts, top = c["num_attention_heads"], c["num_experts"], c["num_experts_per_tok"]
    got = found(c, ranks, "engine")
    attention = h * (heads // ranks) * d + 2 * h * 1 * d + (heads // ranks) * d * h
    router, expert = h * experts, 3 * h * inner // ranks
    norms = layers * (2 * h + 2 * d) + h
    for rank in got.ranks:
        held = layers * (attention + router + experts * expert)
        assert rank.parameters == held + 2 * v * h // ranks + norms
        assert rank.kv_bytes == layers * (prompt + 10) * 2 * 1 * d * B16
        per_token = layers * 2 * (attention + router + top * expert)
        scores = 2 * (prompt * (prompt + 1) // 2) * (heads // ranks) * 2 * d * layers
        assert rank.prefill.flops == prompt * per_token + scores + 2 * h * v // ranks
        assert rank.prefill.collective_calls == 1 + 2 * layers + 1
    with pytest.raises(ConfigError, match="heads of keys and values: 4 cannot be cut into 8"):
        found(c, ranks, "plan")


def test_deepseek_v3_by_plan_cuts_mlps_and_experts_alone() -> None:
    c, ranks, prompt = DEEPSEEK_V3, 8, 100
    h, layers, dense, v = c["hidden_size"], c["num_hidden_layers"], c["first_k_dense_replace"], c["vocab_size"]
    heads, q_rank, kv_rank = c["num_attention_heads"], c["q_lora_rank"], c["kv_lora_rank"]
    nope, rope, v_dim = c["qk_nope_head_dim"], c["qk_rope_head_dim"], c["v_head_dim"]
    moe, experts, shared = c["moe_intermediate_size"], c["n_routed_experts"], c["n_shared_experts"]
    attention = (
        h * q_rank
        + q_rank * heads * (nope + rope)
        + h * (kv_rank + rope)
        + kv_rank * heads * (nope + v_dim)
        + heads * v_dim * h
    )
    norms = layers * (2 * h + q_rank + kv_rank) + h
    mlps = dense * 3 * h * c["intermediate_size"] // ranks
    mixture = (layers - dense) * (h * experts + (experts + shared) * 3 * h * moe // ranks)
    got = found(c, ranks)
    for rank in got.ranks:
        assert rank.parameters == layers * attention + norms + mlps + mixture + 2 * v * h // ranks
        # The latent is whole on every rank.
        assert rank.kv_bytes == layers * (prompt + 10) * (kv_rank + rope) * B16
        assert rank.prefill.collective_calls == 1 + dense + 2 * (layers - dense) + 1
        assert rank.prefill.payload_bytes == (1 + dense + 2 * (layers - dense)) * prompt * h * B16 + v // ranks * B16
    attention_flops = got.prefill.flops - got.prefill.whole_flops
    pairs = prompt * (prompt + 1) // 2
    scores = 2 * pairs * heads * (nope + rope + v_dim)
    routers = (layers - dense) * h * experts * 2 * prompt
    assert attention_flops == (ranks - 1) * (layers * (2 * prompt * attention + scores) + routers)


@pytest.mark.parametrize("tensor", [8, 16])
def test_deepseek_v3_by_engine_deals_experts_out(tensor: int) -> None:
    c, prompt = DEEPSEEK_V3, 100
    got = found(c, tensor, "engine", tensor, batch=3)
    layers, dense, top = c["num_hidden_layers"], c["first_k_dense_replace"], c["num_experts_per_tok"]
    one_choice = 2 * 3 * c["hidden_size"] * c["moe_intermediate_size"]
    tokens, held = 3 * prompt, c["n_routed_experts"] // tensor
    for rank in got.ranks:
        phase = rank.prefill
        assert phase.flops_most - phase.flops_least == (layers - dense) * tokens * min(top, held) * one_choice
        assert phase.flops_least <= phase.flops <= phase.flops_most
        assert rank.kv_bytes == 3 * layers * (prompt + 10) * (c["kv_lora_rank"] + c["qk_rope_head_dim"]) * B16
    cut = found(c, tensor, "engine", 1, batch=3)
    # However experts are dealt out, all ranks together do the same.
    assert got.prefill.flops == cut.prefill.flops
    assert sum(rank.parameters for rank in got.ranks) == sum(rank.parameters for rank in cut.ranks)
    gpu = got.gpus[0]
    assert gpu.machines == tensor // 8
    assert gpu.memory.fits
    assert gpu.prefill.communication_ms is not None


@given(
    held=st.integers(1, 10),
    top_k=st.integers(1, 40),
    groups=st.integers(1, 12),
    tokens=st.integers(1, 60),
    inner=st.integers(1, 5),
)
def test_the_groups_parts_of_experts_make_up_the_whole(
    held: int, top_k: int, groups: int, tokens: int, inner: int
) -> None:
    count = held * groups
    top_k = min(top_k, count)

    def local(group: int, routing: Routing = "even") -> LocalExperts:
        shape = ((3, 2 * inner), (inner, 3))
        return LocalExperts("experts", count, top_k, shape, group=group, groups=groups, routing=routing)

    for step in (prefill(1, tokens, all_logits=False, full=False), decode_step(tokens, 5)):
        assert sum(local(group).choices(step) for group in range(groups)) == tokens * top_k
        for group in range(groups):
            least, most = local(group, "least").choices(step), local(group, "most").choices(step)
            assert 0 <= least <= local(group).choices(step) <= most <= tokens * top_k
            # What is left can be taken by the others: each token chooses an expert once.
            others = count - local(group).held
            assert tokens * top_k - least <= tokens * others
            assert tokens * top_k - most >= tokens * max(0, top_k - local(group).held)


@given(size=st.integers(0, 200), ranks=st.integers(1, 20))
def test_shares_make_up_the_whole_as_torch_cuts_it(size: int, ranks: int) -> None:
    parts = [share(size, ranks, rank) for rank in range(ranks)]
    assert sum(parts) == size
    assert parts == sorted(parts, reverse=True)


def test_mistakes() -> None:
    with pytest.raises(ConfigError, match="--expert 3 does not divide --tensor 8"):
        Split(8, 3)
    with pytest.raises(ConfigError, match="deals experts out over all of the 8 ranks or none"):
        found(DEEPSEEK_V3, 8, "plan", 4)
    with pytest.raises(ConfigError, match="cannot be cut into 3"):
        found(LLAMA_31_8B, 3)
    with pytest.raises(ConfigError, match="no plan to shard a gpt2 model"):
        found({"model_type": "gpt2"}, 2)
