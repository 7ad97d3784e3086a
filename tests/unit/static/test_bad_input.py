"""Malformed configs of every family: an error that names file, key and remedy, never another exception."""

from __future__ import annotations

import copy
import json
import math
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from llm_perf_opt.analysis.static.analyze import analyze
from llm_perf_opt.analysis.static.families import find_family
from llm_perf_opt.analysis.static.methods import static_record
from llm_perf_opt.analysis.static.reader import NotCovered
from llm_perf_opt.analysis.static.source import MAX_BYTES, parse_config, read_config
from llm_perf_opt.analysis.static.stored import stored_weights
from llm_perf_opt.analysis.traced import launch
from llm_perf_opt.errors import ConfigError, MissingError
from llm_perf_opt.records.static import StaticRequest
from tests.integration.static_table import DECODERS, DEEPSEEK_OCR2, VISION
from tests.unit.static.configs import DEEPSEEK_OCR2 as PUBLISHED_OCR2
from tests.unit.static.configs import LLAMA_31_8B

Config = dict[str, Any]
EVERY: list[tuple[str, Config]] = [
    *((name, {"model_type": model_type, **config}) for name, model_type, config in DECODERS),
    *((name, {"model_type": model_type, **config}) for name, model_type, config, _ in VISION),
    ("deepseek_ocr2", DEEPSEEK_OCR2),
]
MAY_BE_ZERO = {"first_k_dense_replace", "max_window_layers", "window_size", "num_experts", "shared_intermediate_size"}
MAY_BE_ZERO |= {"index_skip_topk_offset", "num_kv_shared_layers"}
# Of these types alone.
MAY_BE_ZERO_HERE = {
    "granitemoehybrid": {"num_local_experts"},
    "gemma4_text": {"hidden_size_per_layer_input"},
}
RATIOS = {"mlp_ratio"}


def read_keys(config: Config) -> set[str]:
    """The keys that somebody declares to read, so that a wrong value cannot pass unseen."""
    family = find_family(config["model_type"])
    assert family is not None
    nested = {key for part in ("text_config", "vision_config") for key in config.get(part, {})} - {"pad_token_id"}
    return {*family.defaults, *family.aliases} | nested


def sizes(config: Config, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in config.items():
        if isinstance(value, dict) and key != "rope_parameters":
            yield from sizes(value, (*path, key))
        elif isinstance(value, int) and not isinstance(value, bool):
            yield (*path, key)


def changed(config: Config, path: tuple[str, ...], value: object) -> Config:
    copied = copy.deepcopy(config)
    inner = copied
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return copied


@pytest.mark.parametrize(("name", "config"), EVERY, ids=[name for name, _ in EVERY])
def test_no_size_may_be_zero_negative_or_a_string(name: str, config: Config) -> None:
    request, read = StaticRequest(prompt_tokens=5), read_keys(config)
    may_be_zero = MAY_BE_ZERO | MAY_BE_ZERO_HERE.get(config["model_type"], set())
    for path in sizes(config):
        key = path[-1]
        if key not in read:
            continue
        for value in (0, -1, "8", 1.5, True, [7, 8], {"a": 1}):
            if (value == 0 and key in may_be_zero) or (value == 1.5 and key in RATIOS):
                continue
            with pytest.raises(ConfigError) as caught:
                analyze(changed(config, path, value), request, where="here/config.json")
            text = caught.value.message
            assert text.startswith("here/config.json: "), text
            assert key in text or caught.value.remedy, text


@pytest.mark.parametrize(("name", "config"), EVERY, ids=[name for name, _ in EVERY])
def test_any_single_key_may_be_missing_or_null(name: str, config: Config) -> None:
    """Each is filled from the type's defaults, or refused: nothing else happens."""
    for path in sizes(config):
        for value in (None, 10**9):
            try:
                analyze(changed(config, path, value), StaticRequest(prompt_tokens=5))
            except ConfigError as error:
                assert error.remedy


CONTRADICTIONS: list[tuple[Config, str]] = [
    ({"num_key_value_heads": 7}, "num_key_value_heads = 7"),
    ({"num_attention_heads": 24}, "hidden_size is 4096, which num_attention_heads = 24"),
    ({"n_routed_experts": 64}, "n_routed_experts = 64 is no key of this model type"),
    ({"tie_word_embeddings": "yes"}, "tie_word_embeddings is 'yes'"),
    ({"model_type": None}, "model_type is None"),
    ({"dtype": "float128"}, "float128"),
]


@pytest.mark.parametrize(("change", "text"), CONTRADICTIONS)
def test_contradictions_are_named(change: Config, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        analyze({**LLAMA_31_8B, **change}, where="here/config.json")
    assert text in caught.value.message
    assert caught.value.remedy


def test_misspelt_keys_are_named() -> None:
    text = dict(PUBLISHED_OCR2["text_config"])
    text["num_routed_experts"] = text.pop("n_routed_experts")
    with pytest.raises(ConfigError, match=r"text_config\.num_routed_experts.*calls it n_routed_experts"):
        analyze({**PUBLISHED_OCR2, "text_config": text})
    wrong = {key: value for key, value in LLAMA_31_8B.items() if key != "hidden_size"}
    with pytest.raises(ConfigError, match=r"hiden_size.*hidden_size"):
        analyze({**wrong, "hiden_size": 4096})


@pytest.mark.parametrize("wrong", ["num_routed_experts", "n_experts", "routed_experts", "num_local_expert"])
def test_a_misspelt_expert_count_is_never_a_default_model(wrong: str) -> None:
    with pytest.raises(ConfigError, match=wrong):
        analyze({"model_type": "deepseek_v3", wrong: 64})


def test_more_experts_per_token_than_experts() -> None:
    text = {**PUBLISHED_OCR2["text_config"], "num_experts_per_tok": 65}
    with pytest.raises(ConfigError, match=r"num_experts_per_tok is 65, above .*n_routed_experts = 64"):
        analyze({**PUBLISHED_OCR2, "text_config": text})


def test_an_unknown_model_type_is_not_a_dense_model(monkeypatch: pytest.MonkeyPatch) -> None:
    unknown = {**LLAMA_31_8B, "model_type": "walrus"}
    with pytest.raises(NotCovered, match="no closed form for model_type 'walrus'"):
        analyze(unknown)

    def refuse(*_: object, **__: object) -> None:
        raise ConfigError("'walrus' needs real values", "")

    monkeypatch.setattr("llm_perf_opt.analysis.traced.launch.traced", refuse)
    with pytest.raises(ConfigError, match="needs real values"):
        static_record(unknown, StaticRequest(), fallback=False)
    assert static_record(unknown, StaticRequest(), fallback=True).method == "estimated"


PLAIN = {
    "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
    "intermediate_size": 14336, "vocab_size": 128256,
}  # fmt: skip
QWEN3_30B = {
    "hidden_size": 2048, "num_hidden_layers": 48, "num_attention_heads": 32, "num_key_value_heads": 4, "head_dim": 128,
    "num_experts": 128, "num_experts_per_tok": 8, "moe_intermediate_size": 768, "intermediate_size": 6144,
    "decoder_sparse_step": 1, "mlp_only_layers": [], "norm_topk_prob": True, "tie_word_embeddings": False,
    "vocab_size": 151936, "torch_dtype": "bfloat16",
}  # fmt: skip
KIMI_K2 = {
    "hidden_size": 7168, "num_hidden_layers": 61, "num_attention_heads": 64, "num_key_value_heads": 64,
    "q_lora_rank": 1536, "kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128,
    "intermediate_size": 18432, "moe_intermediate_size": 2048, "n_routed_experts": 384, "n_shared_experts": 1,
    "num_experts_per_tok": 8, "first_k_dense_replace": 1, "n_group": 1, "topk_group": 1, "vocab_size": 163840,
    "torch_dtype": "bfloat16",
}  # fmt: skip


@pytest.mark.parametrize(
    ("known", "changes", "like"),
    [
        (LLAMA_31_8B, {}, "llama"),
        (LLAMA_31_8B, {"nextn_layers": 1}, "llama"),
        (LLAMA_31_8B, {"architectures": None}, "llama"),
        (PLAIN, {}, "llama"),
        (PLAIN, {"attention_bias": True, "head_dim": 128}, "llama"),
        (PLAIN, {"sliding_window": 4096}, "mistral"),
        (LLAMA_31_8B, {"architectures": ["Qwen3ForCausalLM"], "head_dim": 128}, "qwen3"),
        (QWEN3_30B, {}, "qwen3_moe"),
        (KIMI_K2, {}, "deepseek_v3"),
    ],
)
def test_a_type_that_no_release_has_is_estimated_by_its_keys(
    known: dict[str, Any], changes: dict[str, Any], like: str
) -> None:
    started = {**known, **changes, "model_type": "walrus"}
    record = static_record(started, StaticRequest(), fallback=False)
    assert (record.method, record.model.model_type) == ("estimated", "walrus")
    assert record.assumptions[0].startswith(f"ESTIMATE: counted as {like}, since")
    assert "knows no model_type 'walrus'" in record.assumptions[0]
    same = analyze({**started, "model_type": like})
    assert record.model.parameters == same.model.parameters
    with pytest.raises(ConfigError, match="knows no model_type 'walrus'"):
        static_record(started, StaticRequest(), method="traced")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"num_experts": 8}, "none has all of num_experts"),
        ({"ssm_state_size": 16, "mamba_expand": 2}, "none has all of mamba_expand, ssm_state_size"),
        ({"vision_config": {"hidden_size": 64}}, "several stacks"),
        ({"is_encoder_decoder": True}, "several stacks"),
        ({"hidden_size": None}, "no known family has its sizes"),
        ({"architectures": ["JambaForCausalLM"]}, "set model_type to jamba"),
    ],
)
def test_what_no_known_family_is_like_is_not_estimated(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        unnamed = {**LLAMA_31_8B, "architectures": ["WalrusForCausalLM"]}
        static_record({**unnamed, **changes, "model_type": "walrus"}, StaticRequest(), fallback=False)
    assert "knows no model_type 'walrus'" in caught.value.message
    assert why in str(caught.value)


def test_a_vision_model_with_an_unknown_decoder_is_not_covered() -> None:
    with pytest.raises(NotCovered, match=r"text_config has model_type 'walrus'"):
        analyze({"model_type": "llava", "text_config": {"model_type": "walrus"}})


def test_broken_files(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    for text, expected in [
        ("{", r"config\.json:1:2: broken JSON"),
        ("[]", "holds a JSON list, not an object"),
        ('"llama"', "holds a JSON str"),
        ("", "broken JSON"),
        ('{"a": NaN', "broken JSON"),
    ]:
        file.write_text(text)
        with pytest.raises(ConfigError, match=expected):
            read_config(tmp_path)
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not UTF-8"):
        read_config(file)


@pytest.mark.parametrize("depth", [100, 100_000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_deep_nesting_is_refused(depth: int, opening: str, closing: str) -> None:
    inner = opening * depth + "1" + closing * depth
    with pytest.raises(ConfigError, match="nested"):
        parse_config(f'{{"deep": {inner}}}', "config.json")


def test_large_files_are_refused_unread(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    with file.open("wb") as handle:
        handle.truncate(MAX_BYTES + 1)
    with pytest.raises(ConfigError, match="above the"):
        read_config(file)


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"has no config\.json"):
        read_config(tmp_path)
    with pytest.raises(MissingError, match="does not exist"):
        read_config(tmp_path / "nowhere")


def test_a_byte_order_mark_is_fine(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text("\ufeff" + json.dumps(LLAMA_31_8B), encoding="utf-8")
    assert read_config(tmp_path) == (LLAMA_31_8B, file)


@pytest.mark.parametrize("wrong", ["1e999", "-1", "1.5", "true", '"8"', "null", "[8]", "1" + "0" * 400 + ".5"])
@pytest.mark.parametrize("place", ["shape", "data_offsets"])
def test_a_header_of_weights_with_sizes_that_are_none(tmp_path: Path, place: str, wrong: str) -> None:
    given = {"dtype": '"F32"', "shape": "[2, 1]", "data_offsets": "[0, 8]"}
    given[place] = given[place].replace("0", wrong) if place == "data_offsets" else f"[2, {wrong}]"
    header = f'{{"a": {{{", ".join(f"{json.dumps(key)}: {text}" for key, text in given.items())}}}}}'.encode()
    (tmp_path / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 8)
    with pytest.raises(ConfigError, match="tensor a has no size"):
        stored_weights(tmp_path)


def test_a_header_of_weights_that_is_nested_beyond_reason(tmp_path: Path) -> None:
    header = b'{"a":' + b"[" * 100_000
    (tmp_path / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(ConfigError, match="its header cannot be read: it is nested too deep"):
        stored_weights(tmp_path)


def test_numbers_that_json_has_none_for_as_transformers_writes_them() -> None:
    written = '{"limit": [0.0, {"__float__": "Infinity"}], "low": {"__float__": "-Infinity"}, "a": {"__float__": "1"}}'
    assert parse_config(written, "config.json") == {
        "limit": [0.0, float("inf")],
        "low": float("-inf"),
        "a": {"__float__": "1"},
    }


_TINY = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 128,
    "tie_word_embeddings": False,
}
_LAYER = {
    "self_attn.q_proj": (64, 64),
    "self_attn.k_proj": (32, 64),
    "self_attn.v_proj": (32, 64),
    "self_attn.o_proj": (64, 64),
    "mlp.gate_proj": (96, 64),
    "mlp.up_proj": (96, 64),
    "mlp.down_proj": (64, 96),
    "input_layernorm": (64,),
    "post_attention_layernorm": (64,),
}
Shapes = dict[str, tuple[int, ...]]
_TENSORS: Shapes = {
    "lm_head.weight": (128, 64),
    "model.embed_tokens.weight": (128, 64),
    "model.norm.weight": (64,),
    **{f"model.layers.{layer}.{name}.weight": shape for layer in range(2) for name, shape in _LAYER.items()},
}


def write_tensors(file: Path, shapes: Shapes) -> None:
    header, end = {}, 0
    for name, shape in shapes.items():
        start, end = end, end + 4 * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(text)) + text + bytes(end))


def write_shards(folder: Path, *shards: Shapes, names: tuple[str, ...] = ("1.safetensors", "2.safetensors")) -> None:
    own = (set(list(_TENSORS)[:10]), set(list(_TENSORS)[10:]))
    placed = {tensor: name for name, tensors in zip(names, own, strict=True) for tensor in tensors}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": placed}))
    for name, shapes in zip(names, shards, strict=False):
        write_tensors(folder / name, shapes)


def half(number: int, tensors: Shapes = _TENSORS) -> Shapes:
    return dict(list(tensors.items())[10 * number : 10 * number + (10 if number == 0 else 99)])


def cut_short(folder: Path) -> None:
    write_tensors(folder / "model.safetensors", _TENSORS)
    with (folder / "model.safetensors").open("r+b") as file:
        file.truncate(5000)


def without(name: str) -> Shapes:
    return {tensor: shape for tensor, shape in _TENSORS.items() if tensor != name}


def whole(folder: Path) -> None:
    write_tensors(folder / "model.safetensors", _TENSORS)


_Q, _UP = "model.layers.0.self_attn.q_proj.weight", "model.layers.1.mlp.up_proj.weight"
_NARROW = {name: tuple(side // 2 for side in shape) for name, shape in _TENSORS.items()}
STORED: dict[str, tuple[Callable[[Path], object], Config, str]] = {
    "wider": (whole, {"hidden_size": 128}, f"tensor {_Q} is 64 x 64, and by its sizes 128 x 128"),
    "heads": (whole, {"num_key_value_heads": 4}, r"k_proj.weight is 32 x 64, and by its sizes 64 x 64"),
    "fewer heads": (whole, {"num_key_value_heads": 1}, r"k_proj.weight is 32 x 64, and by its sizes 16 x 64"),
    "deeper": (whole, {"num_hidden_layers": 3}, r"its sizes make 108,\d+ parameters, its tensors hold 78,144"),
    "as many": (
        lambda at: write_tensors(at / "model.safetensors", {**_TENSORS, _Q: (32, 128)}),
        {},
        f"tensor {_Q} is 32 x 128, and by its sizes 64 x 64",
    ),
    "lacking": (
        lambda at: write_tensors(at / "model.safetensors", without(_UP)),
        {},
        "its sizes make 78,144 parameters, its tensors hold 72,000",
    ),
    "empty": (lambda at: (at / "model.safetensors").write_bytes(b""), {}, r"no safetensors file \(0 bytes\)"),
    "cut short": (cut_short, {}, r"model.safetensors: cut short: 5,000 of 31\d,\d+ bytes"),
    "link": (
        lambda at: (at / "model.safetensors").symlink_to(at / "gone"),
        {},
        "model.safetensors: a symbolic link whose target is gone",
    ),
    "a shard twice": (lambda at: write_shards(at, half(0), half(0)), {}, "2.safetensors: holds no .* the index says"),
    "another model's": (lambda at: write_shards(at, half(0), half(1, _NARROW)), {}, "tensor .* is 32 x 32, and by"),
    "a shard missing": (lambda at: write_shards(at, half(0)), {}, "2.safetensors: named by the index, and not there"),
    "another class": (whole, {"architectures": ["Qwen2ForCausalLM"]}, "Qwen2ForCausalLM, of model type qwen2, and"),
}


@pytest.mark.parametrize(("make", "change", "message"), STORED.values(), ids=list(STORED))
def test_weights_and_config_that_contradict_each_other(
    tmp_path: Path, make: Callable[[Path], object], change: Config, message: str
) -> None:
    make(tmp_path)
    with pytest.raises(ConfigError, match=message) as caught:
        analyze({**_TINY, **change}, stored=stored_weights(tmp_path))
    assert caught.value.remedy


def test_weights_and_config_that_agree(tmp_path: Path) -> None:
    write_shards(tmp_path, half(0), half(1))
    assert analyze(_TINY, stored=stored_weights(tmp_path)).model.weight_bytes == 4 * 78_144


def test_a_config_whose_target_is_gone(tmp_path: Path) -> None:
    (tmp_path / "config.json").symlink_to(tmp_path / "cleared")
    with pytest.raises(MissingError, match=r"config.json is a symbolic link whose target is gone"):
        read_config(tmp_path)


FOREIGN = {
    "llama": ({"n_embd": 64, "n_layer": 2}, "n_embd is no key of this model type, which calls it hidden_size"),
    "gpt2": ({"n_embd": 64, "d_ff": 96}, "d_ff is no key of this model type, which calls it n_inner"),
    "mamba2": (
        {"num_attention_heads": 4},
        "num_attention_heads is no key of this model type, which calls it num_heads",
    ),
}


@pytest.mark.parametrize("model_type", FOREIGN)
def test_keys_of_another_type_are_no_defaults(model_type: str) -> None:
    keys, message = FOREIGN[model_type]
    with pytest.raises(ConfigError, match=message):
        analyze({"model_type": model_type, **keys})


@pytest.mark.parametrize("model_type", ["bert", "t5", "whisper", "jamba"])
@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("hidden_size", 0, "hidden_size is 0, below 1"),
        ("d_model", "64", "d_model is '64', not a whole number"),
        ("vocab_size", -1, "vocab_size is -1, below 1"),
        ("num_layers", -2, "num_layers is -2, below 1"),
        ("num_hidden_layers", 10**9, "num_hidden_layers is 1,000,000,000, above the 10,000 accepted"),
        ("hidden_size", 10**15, "hidden_size is 1,000,000,000,000,000, above"),
    ],
)
def test_absurd_sizes_start_no_child(model_type: str, key: str, value: object, message: str, tmp_path: Path) -> None:
    """The fixture of unit tests forbids processes."""
    with pytest.raises(ConfigError, match=message):
        launch.traced({"model_type": model_type, key: value}, cache=tmp_path)
