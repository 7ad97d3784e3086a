"""TOP.yaml: written for a person to edit, read strictly."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from pydantic import ValidationError

from llm_perf_opt.config.problems import Problem, at, render
from llm_perf_opt.config.reader import read_file
from llm_perf_opt.config.tree import Node, dotted, find
from llm_perf_opt.errors import ConfigError, MissingError
from llm_perf_opt.nearest import nearest
from llm_perf_opt.records.kernels import TopKernel, TopKernels

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_HEADER = """\
# The kernels that take the most time in {source}.
# `llmperf kernels profile THIS_FILE -- COMMAND` profiles one launch of each with Nsight Compute.
# kernel_name is ncu's --kernel-name, matched against demangled names (--kernel-name-base demangled); widen it to take a
# family of kernels, such as regex:gemm. launch_skip matching launches pass before the one that is profiled.
"""
TORCH_NAMES = (
    "these are names as torch prints them; ncu spells templates otherwise, so their patterns match nothing: take the "
    "list from an nsys capture, or widen kernel_name"
)
"""What to know before profiling from a torch profile."""
_NEEDLESS_ESCAPE = re.compile(r"\\([^A-Za-z0-9.^$*+?()\[\]{}|\\/])")
_DESCRIPTION = re.compile(r"(?P<percent>\d+(\.\d+)?)% of GPU time, (?P<calls>[1-9]\d*) calls")
_SHOWN = 6
_WRITES_ONE = "`llmperf kernels top SOURCE > top.yaml` writes such a file"


def to_yaml(top: TopKernels) -> str:
    """The file, a name on one line however long it is.

    Raises:
        MissingError: there are no kernels, only CUDA graphs that were traced whole.
    """
    if not top.kernels:
        launches = top.whole_graphs.launches if top.whole_graphs is not None else 0
        raise MissingError(
            f"{top.source}: there are no kernels to profile, only CUDA graphs traced whole ({launches:,} launches)",
            "capture with --cuda-graph-trace=node, which records the kernels in them",
        )
    values = top.model_dump(mode="json")
    body = yaml.safe_dump(values, sort_keys=False, width=float("inf"))
    return _HEADER.format(source=" ".join(top.source.split())) + body


def read_top(path: Path) -> TopKernels:
    """The kernels of a file.

    Raises:
        MissingError: there is no such file.
        ConfigError: with every mistake in it, each at its place.
    """
    problems: list[Problem] = []
    try:
        node = read_file(path, problems)
    except MissingError as error:
        raise MissingError(error.message, _WRITES_ONE) from error
    if node is not None and not problems:
        try:
            top = TopKernels.model_validate_json(json.dumps(_as_written_now(node).plain()), strict=True)
            if top.kernels:
                return top
            empty = at(find(node, ("kernels",)) or node, "there is no kernel in the list", path="kernels")
            problems = [empty]
        except ValidationError as error:
            problems = [_problem(found, _as_written_now(node)) for found in error.errors()]
    shown = [render(problem) for problem in problems[:_SHOWN]]
    shown += [f"… and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
    raise ConfigError("\n".join(shown), _WRITES_ONE)


def _as_written_now(root: Node) -> Node:
    """A list of the earlier system, whose kernels have `regex` and `description`, with today's keys."""
    listed = root.child("kernels")
    if listed is None or not isinstance(listed.value, list) or not isinstance(root.value, dict):
        return root
    kernels = [_kernel_now(kernel) for kernel in listed.value]
    return root.with_value({**root.value, "kernels": listed.with_value(kernels)})


def _kernel_now(kernel: Node) -> Node:
    if not isinstance(kernel.value, dict) or "regex" not in kernel.value or "kernel_name" in kernel.value:
        return kernel
    values = {key: node for key, node in kernel.value.items() if key not in ("regex", "description")}
    regex = kernel.value["regex"]
    if isinstance(regex.value, str) and regex.value:
        # Python escapes more than has a meaning; ncu's grammar knows no escaped space.
        plain = _NEEDLESS_ESCAPE.sub(lambda found: found[1], regex.value)
        regex = regex.with_value(f"regex:{plain.removeprefix('regex:')}")
    values["kernel_name"] = regex
    told = kernel.value.get("description")
    figures = _DESCRIPTION.search(told.value) if told is not None and isinstance(told.value, str) else None
    if told is not None and figures is not None:
        values["share"] = told.with_value(round(float(figures["percent"]) / 100, 6))
        values["launches"] = told.with_value(int(figures["calls"]))
    return kernel.with_value(values)


def _problem(error: ErrorDetails, tree: Node) -> Problem:
    path = error["loc"]
    node = find(tree, path)
    while node is None:  # of a missing key, the mapping it belongs in
        path = path[:-1]
        node = find(tree, path)
    keys = TopKernel.model_fields if error["loc"][0] == "kernels" else TopKernels.model_fields
    if error["type"] == "extra_forbidden":
        near = nearest(str(error["loc"][-1]), tuple(keys))
        remedy = f"did you mean {near}? Keys: {', '.join(keys)}"
        return at(node, "there is no such key", path=dotted(error["loc"]), remedy=remedy)
    if error["type"] == "missing":
        return at(node, "this key is missing", path=dotted(error["loc"]))
    return at(node, error["msg"], path=dotted(error["loc"]))
