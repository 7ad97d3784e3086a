"""A merged tree to a validated `Config`, or to every mistake in it, each at its place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import ValidationError

from llm_perf_opt.config.keys import is_open, section_of, walk
from llm_perf_opt.config.problems import InvalidConfig, Problem, at
from llm_perf_opt.config.schema import Config
from llm_perf_opt.config.tree import Node, dotted, leaves

_INTERPOLATION_REMEDY = (
    "write the value itself; relative paths start at the directory llmperf runs in, "
    "and results go under artifacts.runs_dir"
)


def build(tree: Node, problems: Sequence[Problem] = ()) -> Config:
    """Validate a merged tree; `problems` are the mistakes already found in it.

    Raises:
        InvalidConfig: with every mistake.
    """
    found = [*problems, *_interpolations(tree)]
    values = tree.plain()
    assert isinstance(values, dict)
    _add_sections(values)
    try:
        config = Config.model_validate(values)
    except ValidationError as error:
        from llm_perf_opt.config.explain import explain

        places = {problem.place for problem in found}  # a value that could not be read is not explained again
        raise InvalidConfig([*found, *(p for p in explain(values, error, tree) if p.place not in places)]) from None
    if found:
        raise InvalidConfig(found)
    return config


def _add_sections(values: dict[str, Any]) -> None:
    """Write out the sections nobody mentions: one validator then builds all of them.

    Left to their default factories, pydantic would build a validator for each section on its own,
    which takes as long as all the rest of loading.
    """
    for path, field in walk():
        if section_of(field) is not None:
            below: Any = values
            for part in path[:-1]:
                below = below.get(part) if isinstance(below, dict) else None
            if isinstance(below, dict):
                below.setdefault(path[-1], {})


def _interpolations(tree: Node) -> Iterator[Problem]:
    for path, node in leaves(tree):
        if isinstance(node.value, str) and "${" in node.value and not keeps_dollar(path):
            message, remedy = "`${…}` is not interpolated", _INTERPOLATION_REMEDY
            yield at(node, message, path=dotted(path), remedy=remedy, on_key=False)


def keeps_dollar(path: tuple[str | int, ...]) -> bool:
    """Whether `${…}` is the user's own text there (a shell command, a prompt, plug-in settings)."""
    own = path[:3] == ("pipeline", "workload", "command") or "extra_args" in path or path[:2] == ("dataset", "prompt")
    return own or is_open(path)
