"""Malformed configs of every family: an error that names file, key and remedy, never another exception."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llm_perf_opt.analysis.static import NotCovered, analyze
from llm_perf_opt.analysis.static.families import find_family
from llm_perf_opt.analysis.static.methods import static_record
from llm_perf_opt.analysis.static.source import MAX_BYTES, parse_config, read_config
from llm_perf_opt.analysis.static.stored import stored_weights
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
        raise ConfigError("transformers knows no 'walrus'", "install another")

    monkeypatch.setattr("llm_perf_opt.analysis.traced.launch.traced", refuse)
    with pytest.raises(ConfigError, match="knows no 'walrus'"):
        static_record(unknown, StaticRequest(), fallback=False)
    record = static_record(unknown, StaticRequest(), fallback=True)
    assert record.method == "estimated"
    assert record.model.model_type == "walrus"
    assert record.assumptions[0].startswith("ESTIMATE: counted as a Llama")
    with pytest.raises(ConfigError, match="no estimate for a mixture of experts"):
        static_record({**unknown, "num_experts": 8}, StaticRequest(), fallback=True)


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
