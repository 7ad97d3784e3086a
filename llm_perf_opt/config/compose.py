"""The `defaults:` list: which preset files are laid one over the other, mounted where.

Look-up is literal: no interpolation, no nesting, no globs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from llm_perf_opt.config.keys import is_open, section_at, section_of, walk
from llm_perf_opt.config.presets import Presets, usual_mount
from llm_perf_opt.config.problems import Problem, at
from llm_perf_opt.config.reader import read_file
from llm_perf_opt.config.tree import Node, mount
from llm_perf_opt.nearest import nearest

SELF = "_self_"
_NAME = re.compile(r"[A-Za-z0-9_.+-]+")
_EXAMPLE = "write `- group@mount: option`, for example `- profiling/ncu@pipeline.ncu: ncu.high`"


class Entry(NamedTuple):
    """One entry of a `defaults:` list. `node` is where it was written."""

    group: str
    mount: str
    option: str
    node: Node

    @property
    def is_self(self) -> bool:
        return self.group == SELF


def parse_entry(left: str, option: object, node: Node) -> Entry | Problem:
    """`group@mount` and the option's name to an entry, or what is wrong with them."""
    group, has_mount, target = left.partition("@")
    target = target if has_mount else group.replace("/", ".")
    if not isinstance(option, str) or not option:
        return at(node, f"the option of {group} must be the name of a preset", remedy=_EXAMPLE)
    foreign = _not_ours(left, option, node)
    if foreign is not None:
        return foreign
    if not all(_NAME.fullmatch(part) and part.strip(".") for part in (*group.split("/"), option)):
        return at(node, f"{group}: {option} does not name a preset", remedy=_EXAMPLE)
    mount_path = target.split(".") if target else []
    if not mount_path or (section_at(mount_path) is None and not is_open(mount_path)):
        message = f"cannot be mounted at {target!r}: there is no such section"
        return at(node, message, remedy=_mount_remedy(group, target, option, _equals(node)))
    return Entry(group, target, option.removesuffix(".yaml"), node)


def _not_ours(left: str, option: str, node: Node) -> Problem | None:
    """What Hydra writes in a list and llmperf does not."""
    words = [word for word in ("optional", "override") if f"{word} " in f" {left}"]
    group, at_sign, target = left.rpartition(" ")[2].partition("@")
    remedy = f"write {group.lstrip('/')}{at_sign}{target.lstrip('/')}{_equals(node)}{option}"
    message = ""
    if "${" in left or "${" in option:
        message, remedy = "`${…}` is not supported in a defaults list", "write the preset's name out"
    elif any(char in left + option for char in "*?"):
        message, remedy = "globs are not supported in a defaults list", "write one entry for each preset"
    elif words:
        slash = ", nor is the leading slash" if "/" in (group[:1], target[:1]) else ""
        message = f"{left}: {' and '.join(words)} is not used here{slash}: an entry replaces what is there"
    elif "/" in (group[:1], target[:1]):
        message = f"{left}: the leading slash is too much, groups and mounts start at the top"
    return at(node, message, remedy=remedy) if message else None


def _equals(node: Node) -> str:
    return "=" if node.source.kind == "override" else ": "


def _mount_remedy(group: str, target: str, option: str, equals: str) -> str:
    usual = usual_mount(group)
    if section_at(usual.split(".")) is not None:
        return f"write {group}@{usual}{equals}{option}"
    sections = [".".join(path) for path, field in walk() if section_of(field) is not None]
    return f"the nearest section is {nearest(target, sections)}; write `group@section{equals}option`"


def read_defaults(root: Node, problems: list[Problem]) -> list[Entry]:
    """The entries of a file's `defaults:`, `_self_` last unless written elsewhere; mistakes go to `problems`."""
    assert isinstance(root.value, dict)
    listed = root.value.get("defaults")
    entries: list[Entry] = []
    if listed is None or not isinstance(listed.value, list):
        message = "must be a list of presets"
        problems.append(at(listed or root, message, path="defaults", remedy=_EXAMPLE, on_key=False))
        return [Entry(SELF, "", "", root)]
    for node in listed.value:
        if node.value == SELF:
            if any(entry.is_self for entry in entries):
                problems.append(at(node, "_self_ is written twice", path="defaults", remedy="keep one of the two"))
            entries.append(Entry(SELF, "", "", node))
        elif isinstance(node.value, dict) and len(node.value) == 1:
            ((left, option),) = node.value.items()
            parsed = parse_entry(left, option.value, option)
            if isinstance(parsed, Problem):
                problems.append(parsed)
            else:
                entries.append(parsed)
        else:
            problems.append(at(node, "not an entry of a defaults list", path="defaults", remedy=_EXAMPLE))
    if not any(entry.is_self for entry in entries):
        entries.append(Entry(SELF, "", "", listed))
    return entries


def choose(entries: Sequence[Entry], chosen: Sequence[Entry]) -> list[Entry]:
    """Group overrides applied to a list: each replaces the entry of its group and mount, else is added.

    An added entry goes to the end of the list, but before a `_self_` that ends it, so that the file's
    own keys stay stronger than any preset.
    """
    result = list(entries)
    for entry in chosen:
        same = [i for i, other in enumerate(result) if (other.group, other.mount) == (entry.group, entry.mount)]
        if same:
            result[same[0]] = entry
        elif result and result[-1].is_self:
            result.insert(-1, entry)
        else:
            result.append(entry)
    return result


def load_layers(
    entries: Sequence[Entry], own: Node, presets: Presets, problems: list[Problem], first_rank: int = 0
) -> list[Node]:
    """The layers of a list, weakest first; `own` is the file's own keys, placed at `_self_`.

    Presets that do not exist, and mistakes inside those that do, go to `problems`.
    """
    layers: list[Node] = []
    for number, entry in enumerate(entries):
        if entry.is_self:
            layers.append(own)
            continue
        path = presets.find(entry.group, entry.option)
        if path is None:
            problems.append(_missing(entry, presets))
            continue
        node = read_file(path, problems, presets.name(path), preset=True, rank=first_rank + number)
        if node is None:
            continue
        listed = node.child("defaults")
        if listed is not None:
            problems.append(at(listed, "a preset cannot list presets itself", remedy="list them in the configuration"))
            continue
        layers.append(mount(node, entry.mount.split(".")))
    return layers


def _missing(entry: Entry, presets: Presets) -> Problem:
    options = presets.options(entry.group)
    if options:
        near = nearest(entry.option, options)
        message = f"the group {entry.group} has no preset {entry.option!r}"
        remedy = f"did you mean {near}? There are: {', '.join(options)}"
    else:
        groups = presets.groups()
        message = f"there is no preset group {entry.group!r}"
        remedy = f"did you mean {nearest(entry.group, groups)}? `llmperf config presets` lists all" if groups else ""
    return at(entry.node, message, remedy=remedy)
