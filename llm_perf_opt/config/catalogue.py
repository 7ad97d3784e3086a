"""What presets there are, and what each sets."""

from __future__ import annotations

import json as json_module
import textwrap
from typing import Any, NamedTuple

from llm_perf_opt.config.emit import flow
from llm_perf_opt.config.presets import Presets, usual_mount
from llm_perf_opt.config.problems import InvalidConfig, Problem
from llm_perf_opt.config.reader import read_file
from llm_perf_opt.config.tree import Node


class Preset(NamedTuple):
    """One preset file."""

    group: str
    option: str
    file: str
    text: str
    """The comment at the head of the file."""
    settings: dict[str, Any]
    """Dotted path below the mount → value."""

    @property
    def mount(self) -> str:
        """Where it is mounted as a rule."""
        return usual_mount(self.group)


def catalogue(presets: Presets) -> list[Preset]:
    """Every preset, by group and option.

    Raises:
        InvalidConfig: a file is not a readable mapping.
    """
    return [read_preset(presets, group, option) for group in presets.groups() for option in presets.options(group)]


def read_preset(presets: Presets, group: str, option: str) -> Preset:
    path = presets.find(group, option)
    assert path is not None
    problems: list[Problem] = []
    node = read_file(path, problems, presets.name(path), preset=True)
    if node is None or problems:
        raise InvalidConfig(problems)
    return Preset(group, option, node.source.name, head_comment(node.source.text or ""), _settings(node))


def head_comment(text: str) -> str:
    """The comment lines a file begins with, as one paragraph."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.removeprefix("#").strip())
    return " ".join(lines)


def _settings(node: Node, prefix: str = "") -> dict[str, Any]:
    """Lists whole, maps by their leaves."""
    if not isinstance(node.value, dict) or (prefix and not node.value):
        return {prefix: node.plain()}
    found: dict[str, Any] = {}
    for key, child in node.value.items():
        found |= _settings(child, f"{prefix}.{key}" if prefix else key)
    return found


def as_text(presets: Presets, group: str | None = None, *, json: bool = False) -> str:
    """All presets with a line each, or one group with every value."""
    listed = [preset for preset in catalogue(presets) if group in (None, preset.group)]
    if json:
        rows = [{**preset._asdict(), "mount": preset.mount} for preset in listed]
        return json_module.dumps(rows, indent=2, ensure_ascii=False) + "\n"
    lines: list[str] = []
    before = ""
    for preset in listed:
        if preset.group != before:
            before = preset.group
            mount = f"@{preset.mount}" if preset.mount != preset.group.replace("/", ".") else ""
            lines += [*([""] if lines else []), f"{preset.group}{mount}"]
        lines.append(f"  {preset.option}  ({preset.file})")
        if preset.text:
            lines += textwrap.wrap(preset.text, 100, initial_indent="    ", subsequent_indent="    ")
        if group is not None:
            lines += [f"    {key}: {flow(value)}" for key, value in preset.settings.items()]
        else:
            lines += textwrap.wrap(
                f"sets {', '.join(preset.settings)}", 100, initial_indent="    ", subsequent_indent="      "
            )
    return "\n".join(lines) + "\n"
