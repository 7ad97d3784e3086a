"""Settings from `LLMPERF_…` environment variables: `__` nests, values are YAML, unknown names are errors.

Imported only when such a variable is set: pydantic-settings costs a fifth of the start-up time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import create_model
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource

from llm_perf_opt.config.keys import walk
from llm_perf_opt.config.overrides import read_value
from llm_perf_opt.config.problems import Problem
from llm_perf_opt.config.schema import Config
from llm_perf_opt.config.tree import Node, Source, mount
from llm_perf_opt.nearest import nearest

PREFIX = "LLMPERF_"


class _Variables(EnvSettingsSource):
    """The names of pydantic-settings, from a given environment, with values left as they are written."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        fields: dict[str, Any] = {name: (field.annotation, None) for name, field in Config.model_fields.items()}
        settings = create_model("Variables", __base__=BaseSettings, **fields)
        super().__init__(settings, case_sensitive=False, env_prefix=PREFIX, env_nested_delimiter="__")

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return {name.lower(): value for name, value in self._environ.items()}

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        return value


def read_environment(
    environ: Mapping[str, str], names: Sequence[str], problems: list[Problem], first_rank: int = 0
) -> list[Node]:
    """One layer for each of the variables `names`; a section's is weaker than those of its keys.

    Variables whose name or value is wrong go to `problems`.
    """
    layers: list[Node] = []
    for number, name in enumerate(sorted(names)):
        source = Source("environment", name, None, first_rank + number)
        nested = _Variables({name: environ[name]})()
        node = _node(nested, source, ()) if nested else unknown(source)
        if isinstance(node, Problem):
            problems.append(node)
        else:
            layers.append(node)
    return layers


def _node(value: Any, source: Source, path: tuple[str, ...]) -> Node | Problem:
    """The one value of a variable, below the maps that lead to it."""
    while isinstance(value, Mapping):
        ((key, value),) = value.items()
        path = (*path, key)
    node = read_value(value, source, ".".join(path))
    return node if isinstance(node, Problem) else mount(node, path)


def unknown(source: Source) -> Problem:
    """A variable that no setting has: the nearest of those that there are, or where an old key lives now."""
    from llm_perf_opt.config.load import RESERVED
    from llm_perf_opt.config.remedies import gone_because, moved_to

    old = source.name.removeprefix(PREFIX).lower().replace("__", ".")
    moved = moved_to(old)
    gone = gone_because(old)
    if moved is not None:
        return Problem("this setting has moved", source, remedy=f"write {variable(moved)} instead")
    if gone is not None:
        return Problem("this setting is gone", source, remedy=gone)
    names = [variable(".".join(path)) for path, _ in walk()]
    remedy = f"did you mean {nearest(source.name, [*names, *RESERVED])}? `__` goes one level down"
    return Problem("no setting has this name", source, remedy=remedy)


def variable(setting: str) -> str:
    """The variable of a setting."""
    return PREFIX + setting.upper().replace(".", "__")
