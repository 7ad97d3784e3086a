"""`model.preprocess` for models whose own files say how their inputs are prepared."""

from __future__ import annotations

import pytest

from llm_perf_opt.config.schema import Config
from llm_perf_opt.errors import ConfigError
from llm_perf_opt.workload.preprocess import refuse_keys

DEMO = {
    "base_size": 1024,
    "image_size": 768,
    "crop_mode": True,
    "patch_size": 16,
    "downsample_ratio": 4,
}


def configured(**preprocess: object) -> Config:
    return Config.model_validate({"model": {"name": "auto", "path": "m", "preprocess": preprocess}})


@pytest.mark.parametrize("keys", [{"base_size": 640}, {"crop_mode": False}, DEMO])
def test_a_key_that_cannot_be_honoured_is_named_even_if_the_demo_has_that_value(keys: dict[str, object]) -> None:
    with pytest.raises(ConfigError) as caught:
        refuse_keys(configured(enable=True, **keys))
    assert all(f"model.preprocess.{key}" in str(caught.value) for key in keys)


@pytest.mark.parametrize("preprocess", [{}, {"enable": True}, {"enable": False, **DEMO}])
def test_nothing_is_refused_where_no_key_applies(preprocess: dict[str, object]) -> None:
    refuse_keys(configured(**preprocess))
