"""The defaults that families declare are those of the installed transformers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest

from llm_perf_opt.analysis.static.description import Family
from llm_perf_opt.analysis.static.families import every_family

pytestmark = pytest.mark.integration
FAMILIES = tuple(family for family in every_family() if not family.remote)
_ABSENT = object()


def _field_defaults(config_class: type[Any]) -> Mapping[str, Any]:
    values = {}
    for field in dataclasses.fields(config_class):
        made = field.default_factory
        values[field.name] = field.default if made is dataclasses.MISSING else made()
    return values


@pytest.mark.parametrize("family", FAMILIES, ids=[family.model_type for family in FAMILIES])
def test_defaults_equal_those_of_the_config_class(family: Family) -> None:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    config_class = CONFIG_MAPPING[family.model_type]
    actual = _field_defaults(config_class)
    for key, default in family.defaults.items():
        value = actual.get(key, _ABSENT)
        if value is _ABSENT:
            # Not declared there: models read it with a fallback, so that a file may still give it.
            assert default is None, f"{family.model_type}.{key} is not in {config_class.__name__}"
        else:
            normal = list(value) if isinstance(value, tuple) else value
            assert default == normal, f"{family.model_type}.{key}"


@pytest.mark.parametrize("family", FAMILIES, ids=[family.model_type for family in FAMILIES])
def test_aliases_are_those_transformers_accepts(family: Family) -> None:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    config_class = CONFIG_MAPPING[family.model_type]
    mapped = {frozenset(pair) for pair in (config_class.attribute_map or {}).items()}
    for alias, key in family.aliases.items():
        assert frozenset((alias, key)) in mapped or alias == "n_embed", f"{family.model_type}: {alias}"
