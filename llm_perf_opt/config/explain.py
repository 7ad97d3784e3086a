"""Pydantic's errors in the words of YAML: each at its place, with the remedy. Imported only when there are errors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from llm_perf_opt.config import remedies
from llm_perf_opt.config.keys import allows_null, choices, field_at, section_at
from llm_perf_opt.config.problems import MAX_SHOWN, Problem, at
from llm_perf_opt.config.schema import Config
from llm_perf_opt.config.tree import Node, dotted, find
from llm_perf_opt.nearest import is_near, nearest

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

Path = tuple[str | int, ...]

_EXPECTED = {
    "string_type": "text",
    "int_type": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping of keys",
    "model_type": "a mapping of keys",
    "model_attributes_type": "a mapping of keys",
    "finite_number": "a finite number",
}
_BOUNDS = {
    "greater_than": "must be above {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "string_too_short": "must not be empty",
    "too_short": "must hold at least {min_length} item",
}
_EXPONENT = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")
_WRITTEN_OUT = 1e15


def explain(values: dict[str, Any], error: ValidationError, tree: Node) -> list[Problem]:
    """One problem for each place that has errors.

    Pydantic does not compare settings of a section that has an error. Where unknown keys are the only
    errors of a section, they are taken out of `values` and the rest is validated again, so that
    contradictions come out in the same run.
    """
    by_path = _by_path(error, tree)
    problems = list(_problems(by_path, tree))
    unknown = [path for path, errors in by_path.items() if errors[0]["type"] == "extra_forbidden"]
    if unknown:
        for path in unknown:
            _remove(values, path)
        try:
            Config.model_validate(values)
        except ValidationError as again:
            later = _by_path(again, tree)
            problems += _problems({path: errors for path, errors in later.items() if path not in by_path}, tree)
    return problems


def _by_path(error: ValidationError, tree: Node) -> dict[Path, list[ErrorDetails]]:
    by_path: dict[Path, list[ErrorDetails]] = {}
    for detail in error.errors(include_url=False, include_input=False):
        by_path.setdefault(_written_path(detail["loc"], tree), []).append(detail)
    # Of "text or a list of text", an item that is not text says more than "a list is not text".
    inner = {path[:depth] for path in by_path for depth in range(len(path))}
    return {path: details for path, details in by_path.items() if path not in inner}


def _remove(values: dict[str, Any], path: Path) -> None:
    *parents, name = path
    below: Any = values
    for part in parents:
        below = below[part]
    del below[name]


def _problems(by_path: dict[Path, list[ErrorDetails]], tree: Node) -> Iterator[Problem]:
    """Problems in file order; those beyond what is shown are not explained, which takes time."""
    placed = [(node, path) for path in by_path if (node := find(tree, path)) is not None]
    placed.sort(key=lambda pair: (pair[0].source.rank, pair[0].place))
    for number, (node, path) in enumerate(placed):
        group = by_path[path]
        if number >= MAX_SHOWN:
            yield at(node, "a mistake", path=dotted(path))
        elif group[0]["type"] == "extra_forbidden":
            yield from unknown_key(path, node)
        elif not (isinstance(node.value, str) and "${" in node.value):
            problem = _mistake(path, node, group)
            yield problem if problem.remedy else problem._replace(remedy=_meaning(path))


def _meaning(path: Path) -> str:
    """What the setting is for, and its default: the remedy where nothing better is known."""
    from llm_perf_opt.config.describe import descriptions
    from llm_perf_opt.config.emit import flow

    name = ".".join(part for part in path if isinstance(part, str))
    for item in descriptions():
        if item.name == name and not item.is_section:
            return f"{item.text} Default: {flow(item.default)}"
    return ""


def _written_path(loc: Path, tree: Node) -> Path:
    """Pydantic's location without what is not in the file (names of union members)."""
    path: list[str | int] = []
    node = tree
    for part in loc:
        child = node.child(part)
        if child is not None:
            path.append(part)
            node = child
    return tuple(path)


def unknown_key(path: Path, node: Node) -> Iterator[Problem]:
    """An unknown key: where the setting lives now, or the nearest key and its siblings."""
    written_flat = remedies.for_dotted(path, node)
    known = [written_flat] if written_flat is not None else list(remedies.for_old_key(path, node))
    if known:
        yield from known
        return
    *parents, name = path
    section = section_at(parents)
    siblings = tuple(section.model_fields) if section is not None else ()
    if node.source.kind == "environment":
        from llm_perf_opt.config.environment import unknown

        yield unknown(node.source)._replace(path=dotted(path))
        return
    near = remedies.nearest_key(str(name), parents, siblings)
    where = dotted(parents) or "the top level"
    yield at(
        node,
        "unknown key",
        path=dotted(path),
        remedy=f"did you mean {near}? Keys of {where}: {', '.join(siblings)}",
    )


def _mistake(path: Path, node: Node, errors: list[ErrorDetails]) -> Problem:
    special = remedies.for_value(path)
    if special is not None:
        return at(node, f"{special[0]}, not {_shown(node)}", path=dotted(path), remedy=special[1], on_key=False)
    error = errors[0]
    kind = error["type"]
    context: dict[str, Any] = error.get("ctx") or {}
    if kind == "value_error":
        return at(node, str(context.get("error", error["msg"])), path=dotted(path), remedy="")
    if kind == "inconsistent":
        return _inconsistent(path, node, error["msg"], context)
    if kind == "literal_error":
        return _not_a_choice(path, node)
    wanted = [_EXPECTED[e["type"]] for e in errors if e["type"] in _EXPECTED]
    if wanted:
        message = f"must be {' or '.join(dict.fromkeys(wanted))}, not {_shown(node)}"
        return at(node, message, path=dotted(path), remedy=_type_remedy(path, node, wanted), on_key=False)
    bound = _BOUNDS.get(kind)
    message = bound.format(**context) if bound else error["msg"][0].lower() + error["msg"][1:]
    shown = "" if kind == "string_too_short" else f", not {_shown(node)}"
    return at(node, f"{message}{shown}", path=dotted(path), on_key=False)


def _inconsistent(path: Path, node: Node, message: str, context: dict[str, Any]) -> Problem:
    """Settings that contradict each other: shown at the one the model names, as far as that is written."""
    remedy = context.get("remedy", "")
    found: Path = path
    for key in context["key"].split("."):
        child = node.child(key)
        if child is None:
            break
        node, found = child, (*found, key)
    return at(node, message, path=dotted(found), remedy=remedy)


def _not_a_choice(path: Path, node: Node) -> Problem:
    names = tuple(part for part in path if isinstance(part, str))
    field = field_at(names)
    allowed = choices(field.annotation) if field is not None else ()
    message = f"must be one of {', '.join(allowed)}, not {_shown(node)}"
    near = nearest(str(node.value), allowed) if allowed else ""
    remedy = f"did you mean {near}?" if near and is_near(str(node.value), near) else ""
    return at(node, message, path=dotted(path), remedy=remedy, on_key=False)


def _type_remedy(path: Path, node: Node, wanted: list[str]) -> str:
    value = node.value
    names = tuple(part for part in path if isinstance(part, str))
    field = field_at(names)
    remedy = ""
    if value is None:
        if section_at(names) is not None:
            remedy = "remove the line, or write the keys of this section below it, indented"
        elif field is not None and not allows_null(field):
            remedy = "null is not allowed here: give a value, or remove the line"
    elif "text" in wanted and not isinstance(value, (list, dict)):
        remedy = "put it in quotes: what looks like a number, true or false is not text in YAML"
        if not node.source.is_file:
            name = node.source.name if node.source.kind == "environment" else dotted(path)
            remedy = f"quote it for YAML inside the shell's quotes: {name}='\"{node.value}\"'"
    elif "a list" in wanted:
        remedy = f"write a list: [{value}]" if not isinstance(value, dict) else "write a list: `- item`, one a line"
    elif "an integer" in wanted and (whole := _whole(value)) is not None:
        remedy = f"write it out: {whole}"
    elif isinstance(value, str) and _EXPONENT.fullmatch(value):
        remedy = "in YAML 1.1 a number with an exponent needs a point and a sign: 1.0e-3"
    elif isinstance(value, str) and re.fullmatch(r"[-+]?[0-9.]+", value):
        remedy = "write the number without quotes"
    elif "a mapping of keys" in wanted:
        remedy = "write the keys of this section below it, indented"
    elif "true or false" in wanted:
        remedy = "write true or false, without quotes"
    return remedy


def _whole(value: object) -> int | None:
    """The integer that was meant by 1e3 or 1000.0."""
    number = value
    if isinstance(value, str) and _EXPONENT.fullmatch(value):
        number = float(value)
    if isinstance(number, float) and number.is_integer() and abs(number) < _WRITTEN_OUT:
        return int(number)
    return None


def _shown(node: Node) -> str:
    value = node.value
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'the text "{value[:60]}{"…" if len(value) > 60 else ""}"'
    return f"the number {value}"[:60]
