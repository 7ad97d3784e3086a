"""Settings from `LLMPERF_…` environment variables: `__` nests, values are YAML, unknown names are errors.

Imported only when such a variable is set: pydantic-settings costs a fifth of the start-up time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce

from llm_perf_opt.config.overrides import read_value
from llm_perf_opt.config.problems import InvalidConfig, Problem
from llm_perf_opt.config.tree import Node, Source, merge, mount

PREFIX = "LLMPERF_"


def read_environment(environ: Mapping[str, str], names: Sequence[str], first_rank: int) -> list[Node]:
    """One layer per variable, in the order of their names (so that a section comes before its keys)."""
    layers: list[Node] = []
    problems: list[Problem] = []
    for number, name in enumerate(sorted(names)):
        source = Source("environment", name, None, first_rank + number)
        path = name.removeprefix(PREFIX).lower().split("__")
        try:
            layers.append(mount(read_value(environ[name], source, ".".join(path)), path))
        except InvalidConfig as error:
            problems += error.problems
    if problems:
        raise InvalidConfig(problems)
    return [reduce(merge, layers)]
