"""Which section a preset file was written for: it says so by its folder, else by its keys. Read by `migrate.py`."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from llm_perf_opt.config.base import StageSettings
from llm_perf_opt.config.earlier import FLAT
from llm_perf_opt.config.keys import field_at, section_at, section_of, walk
from llm_perf_opt.config.presets import Presets, usual_mount
from llm_perf_opt.config.remedies import OUTPUT_ROOTS, gone_because, moved_to
from llm_perf_opt.config.schema import Config
from llm_perf_opt.config.tree import Node, leaves

_GROUP = re.compile(r"model/[^/]+/(arch|infer|output/(torch|direct))")
_PACKAGE = re.compile(r"^\s*#\s*@package\s+(\S+)\s*$", re.MULTILINE)
_LOOKED_AT = 200
"""Leaves by which a file is known."""
_AT_ROOT = {"defaults", "hydra", "run", "runners", "runner", "stage1_runner", "analysis", *OUTPUT_ROOTS}


def section_of_preset(path: Path, root: Node, text: str, presets: Presets) -> tuple[str, ...]:
    """The section that a file's keys belong in; empty for a whole configuration."""
    keys = list(root.value) if isinstance(root.value, dict) else []
    package = _PACKAGE.search(text)
    if package is not None:
        mount = tuple(package[1].split("."))
        return mount if section_at(mount) is not None else ()
    if not keys or "defaults" in keys or all(key in _AT_ROOT or key in Config.model_fields for key in keys):
        return ()
    return _by_folder(path, presets) or _by_keys(root)


def _by_folder(path: Path, presets: Presets) -> tuple[str, ...]:
    folders = path.absolute().parts[:-1]
    groups = presets.groups()
    for depth in range(len(folders), 0, -1):
        group = "/".join(folders[-depth:])
        if group in groups or _GROUP.fullmatch(group):
            mount = tuple(usual_mount(group).split("."))
            if section_at(mount) is not None:
                return mount
    return ()


def _by_keys(root: Node) -> tuple[str, ...]:
    """The section in which most of the keys have a place; the whole configuration where none beats it."""
    names = [".".join(part for part in path if isinstance(part, str)) for path, _ in leaves(root)][:_LOOKED_AT]
    best: tuple[str, ...] = ()
    most = _known(names, lambda name: name)
    for path, field in walk():
        if section_of(field) is not None:
            prefix = ".".join(path)
            count = _known(names, lambda name, prefix=prefix: f"{prefix}.{name}")  # type: ignore[misc]
            if count > most:
                best, most = path, count
    return best


def _known(names: list[str], placed: Callable[[str], str]) -> int:
    return sum(1 for name in names if _has_place(placed(name)))


def _has_place(name: str) -> bool:
    path = tuple(name.split("."))
    if name in FLAT or moved_to(name) is not None or gone_because(name) is not None:
        return True
    if path[-1] in aliases_at(path[:-1]):
        return True
    field = field_at(path)
    return field is not None and section_of(field) is None


def aliases_at(path: tuple[str, ...]) -> dict[str, str]:
    """Other spellings of the keys of a section."""
    model = section_at(path)
    return model.ALIASES if model is not None and issubclass(model, StageSettings) else {}
