"""Properties: what is shown loads back, a mutated file is refused at the mutated line, noise never crashes.

`CONFIG_TEST_EXAMPLES=10000` runs as many examples of each.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_perf_opt.config.dump import to_yaml
from llm_perf_opt.config.load import compose_text, load_config
from llm_perf_opt.config.migrate import migrate
from llm_perf_opt.config.preset_place import section_of_preset
from llm_perf_opt.config.presets import presets
from llm_perf_opt.config.problems import InvalidConfig
from llm_perf_opt.config.reader import read_mapping
from llm_perf_opt.config.schema import Config
from llm_perf_opt.config.tree import Source
from tests.unit.config.config_strategies import documents, valid_settings

SHIPPED = presets((), {})
# LLMPERF_ is the prefix of settings, so the knob has another name.
_ASKED = os.environ.get("CONFIG_TEST_EXAMPLES")
EXAMPLES = settings(
    max_examples=int(_ASKED or 150),
    deadline=2000 if _ASKED else None,  # ms, for each example
    derandomize=_ASKED is None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)


@EXAMPLES
@given(valid_settings())
def test_what_is_shown_loads_back(values: dict[str, Any]) -> None:
    text = yaml.safe_dump(values, allow_unicode=True, sort_keys=False)
    config = compose_text(text, "my.yaml", SHIPPED)
    assert compose_text(to_yaml(config), "shown.yaml", SHIPPED) == config


@EXAMPLES
@given(valid_settings())
def test_what_is_shown_of_the_schema_alone_loads_back(values: dict[str, Any]) -> None:
    config = Config.model_validate(values)
    assert compose_text(to_yaml(config), "shown.yaml", SHIPPED) == config


WHOLE = to_yaml(compose_text("", "my.yaml", SHIPPED)).splitlines()
SIMPLE = [number for number, line in enumerate(WHOLE) if line.count(":") == 1 and line.strip()[:1] not in "-<"]


@EXAMPLES
@given(st.sampled_from(SIMPLE), st.data())
def test_a_mutated_key_or_value_is_valid_or_refused_at_its_line(number: int, data: st.DataObject) -> None:
    key, _, value = WHOLE[number].partition(":")
    if data.draw(st.booleans(), label="mutate the key") or not value.strip():
        indent = len(key) - len(key.lstrip())
        place = data.draw(st.integers(indent, len(key) - 1), label="place")
        key = key[:place] + data.draw(st.sampled_from(["x", "", "_q", "e"]), label="letter") + key[place + 1 :]
    else:
        value = " " + data.draw(st.sampled_from(["null", "3", "-1", "1.5", "true", "zzz", "[1]", "{a: 1}", ".inf"]))
    lines = [*WHOLE[:number], f"{key}:{value}", *WHOLE[number + 1 :]]
    try:
        compose_text("\n".join(lines) + "\n", "my.yaml", SHIPPED)
    except InvalidConfig as error:
        assert number + 1 in {problem.line for problem in error.problems}, error.message


@EXAMPLES
@given(documents())
def test_random_documents_are_valid_or_refused(text: str) -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".yaml", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        try:
            load_config(Path(file.name), environ={})
        except InvalidConfig as error:
            assert error.problems
            assert all(problem.message for problem in error.problems)


@EXAMPLES
@given(documents())
def test_whatever_is_migrated_is_valid(text: str) -> None:
    try:
        migrated = migrate(text, "old.yaml", SHIPPED)
    except InvalidConfig:
        return  # not a YAML mapping
    compose_text(_whole(migrated.text), "new.yaml", SHIPPED)


def _whole(text: str) -> str:
    """A configuration; a text whose keys are those of one section is a preset, and stands below that."""
    root = read_mapping(text, Source("config", "old.yaml", text), [])
    assert root is not None
    values = root.plain()
    for part in reversed(section_of_preset(Path("old.yaml"), root, text, SHIPPED)):
        values = {part: values}
    return yaml.safe_dump(values, allow_unicode=True)
