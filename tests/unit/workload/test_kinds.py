"""Which adapter runs a model, told from its config.json; and which models none runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llm_perf_opt.analysis.static.auto_classes import auto_classes
from llm_perf_opt.config.schema import Config
from llm_perf_opt.errors import ConfigError, MissingError
from llm_perf_opt.workload.choice import with_model_chosen
from llm_perf_opt.workload.kinds import IMAGE_TEXT, TEXT, adapter_for, check_runs


@pytest.mark.parametrize(
    ("config", "adapter"),
    [
        ({"model_type": "llama"}, "causal_lm"),
        ({"model_type": "mamba2"}, "causal_lm"),
        ({"model_type": "llama", "architectures": ["LlamaForCausalLM"]}, "causal_lm"),
        ({"model_type": "qwen3_vl", "vision_config": {}}, "image_text"),
        ({"model_type": "paligemma"}, "image_text"),
        ({"model_type": "gemma3", "vision_config": {}}, "image_text"),
        ({"model_type": "gemma3_text"}, "causal_lm"),
        ({"model_type": "deepseek_ocr2"}, "deepseek_ocr2"),
        ({"model_type": "deepseek_vl_v2", "architectures": ["DeepseekOCRForCausalLM"]}, "deepseek_ocr"),
        ({"model_type": "bert", "is_decoder": True, "architectures": ["BertLMHeadModel"]}, "causal_lm"),
        ({"model_type": "of_its_own", "auto_map": {"AutoModelForCausalLM": "m.M"}}, "causal_lm"),
    ],
    ids=lambda value: value if isinstance(value, str) else str(value["model_type"]),
)
def test_the_adapter_of(config: dict[str, Any], adapter: str) -> None:
    assert adapter_for(config, "here") == adapter


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"model_type": "bart", "is_encoder_decoder": True}, "a bart model has an encoder"),
        ({"model_type": "t5"}, "a t5 model has an encoder"),
        ({"model_type": "whisper"}, "a whisper model has an encoder"),
        ({"model_type": "bert"}, "a bert model is an encoder"),
        (
            {"model_type": "llama", "architectures": ["LlamaForSequenceClassification"]},
            "LlamaForSequenceClassification",
        ),
        ({"model_type": "llama", "architectures": ["LlamaModel"]}, "LlamaModel"),
        ({"model_type": "qwen2", "architectures": ["Qwen2ForRewardModel"]}, "Qwen2ForRewardModel"),
        ({"model_type": "vit"}, "a vit model generates no text"),
        ({"model_type": "nobody_knows_it"}, "knows no model type 'nobody_knows_it'"),
        ({}, "names no model_type"),
    ],
    ids=lambda value: value if isinstance(value, str) else str(value.get("model_type")),
)
def test_refused_by_name(config: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        adapter_for(config, "here")


def test_a_model_of_images_is_no_language_model() -> None:
    with pytest.raises(ConfigError, match="AutoModelForCausalLM"):
        check_runs({"model_type": "llava"}, TEXT, "here")
    with pytest.raises(ConfigError, match="AutoModelForImageTextToText"):
        check_runs({"model_type": "llama"}, IMAGE_TEXT, "here")


def test_the_tables_are_those_that_transformers_imports() -> None:
    from transformers.models.auto import modeling_auto

    assert auto_classes()[TEXT] == dict(modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
    assert auto_classes()[IMAGE_TEXT] == dict(modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES)
    assert auto_classes()["MASKED_LM"] == dict(modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES)


def chosen(path: Path | None, **model: Any) -> tuple[str, str]:
    config = Config.model_validate({"model": {"path": None if path is None else str(path), **model}})
    found = with_model_chosen(config).model
    return found.name, found.weights


def test_weights_are_read_where_there_are_some(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    assert chosen(tmp_path) == ("causal_lm", "random")
    assert chosen(tmp_path, weights="pretrained") == ("causal_lm", "pretrained")
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert chosen(tmp_path) == chosen(tmp_path / "config.json") == ("causal_lm", "pretrained")
    assert chosen(tmp_path, weights="random") == ("causal_lm", "random")
    assert chosen(tmp_path, name="demo") == ("demo", "random")


def test_without_a_path_it_is_the_demo(tmp_path: Path) -> None:
    assert chosen(None) == ("demo", "random")
    with pytest.raises(MissingError):
        chosen(tmp_path / "none")


def test_the_real_ones(shared_data: Path) -> None:
    models = shared_data.parent / "cases" / "models"
    found = {}
    for folder in sorted(models.iterdir()):
        try:
            found[folder.name] = adapter_for(json.loads((folder / "config.json").read_text()), folder.name)
        except ConfigError:
            found[folder.name] = "refused"
    assert {name: kind for name, kind in found.items() if kind != "causal_lm"} == {
        "Qwen--Qwen3-VL-30B-A3B-Instruct": "image_text",
        "Qwen--Qwen3-VL-8B-Instruct": "image_text",
        "tiny--paligemma": "image_text",
        "def--bart": "refused",
        "saved--reward_llama": "refused",
    }


@pytest.mark.parametrize("architectures", [3.5, "LlamaForCausalLM", {"a": 1}, None])
def test_architectures_that_are_no_list_name_none(architectures: object) -> None:
    assert adapter_for({"model_type": "llama", "architectures": architectures}, "config.json") == "causal_lm"


def test_of_a_type_in_both_tables_what_is_made_of_parts_reads_images() -> None:
    """Emu3 keeps its image part in `vq_config`; its text class does not take the whole configuration."""
    assert adapter_for({"model_type": "emu3", "vq_config": {}, "text_config": {}}, "config.json") == "image_text"
