"""A configuration of the earlier system to one that is valid today and means the same.

Moved keys move, interpolations of paths become relative paths, entries of `defaults:` are translated;
what has no successor is taken out. Everything taken out or changed is reported; comments stay.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from llm_perf_opt.config.aliases import rewrite_aliases
from llm_perf_opt.config.check import keeps_dollar
from llm_perf_opt.config.compose import SELF, parse_entry
from llm_perf_opt.config.emit import Comments, Item, emit, read_comments
from llm_perf_opt.config.load import compose_text
from llm_perf_opt.config.presets import Presets
from llm_perf_opt.config.problems import InvalidConfig, Problem
from llm_perf_opt.config.reader import read_mapping
from llm_perf_opt.config.remedies import REMOVED, moved_to
from llm_perf_opt.config.tree import Node, Source, dotted

_CWD = re.compile(r"\$\{(hydra:runtime\.cwd|oc\.env:PWD)\}/?")
_TIME_FOLDER = re.compile(r"/?\$\{now:[^}]*\}.*$")
_REFERENCE = re.compile(r"\$\{([A-Za-z_][\w.]*)\}")
_PLENTY = 8192
"""Stands for the `inf` of old files: more tokens than any page has."""


class Migrated(NamedTuple):
    """The new text, and one line for each thing that was changed or taken out."""

    text: str
    changes: tuple[str, ...]


def migrate(text: str, name: str, presets: Presets) -> Migrated:
    """Translate the text of a configuration; a valid one without old keys comes back as it is.

    Raises:
        InvalidConfig: the text is not a YAML mapping.
    """
    problems: list[Problem] = []
    root = read_mapping(text, Source("config", name, text), problems)
    if root is None or problems:
        raise InvalidConfig(problems)
    migration = _Migration(root, read_comments(text), presets)
    migration.run()
    if not migration.changes:
        return Migrated(text, ())
    return Migrated(migration.text(), tuple(migration.changes))


class _Migration:
    def __init__(self, root: Node, comments: Comments, presets: Presets) -> None:
        self.root = root
        self.comments = comments
        self.presets = presets
        self.items: dict[str, Item] = {}
        self.sections: dict[tuple[str, ...], Node] = {}
        self.changes: list[str] = []

    def run(self) -> None:
        problems: list[Problem] = []
        assert isinstance(self.root.value, dict)
        root = rewrite_aliases(self.root, problems)
        if root is not self.root or problems:
            self.changes.append("pipeline.torch_profiler.enabled → pipeline.torch_profiler.enable")
        assert isinstance(root.value, dict)
        moved: list[tuple[str, Node, str]] = []
        for key, node in root.value.items():
            if key == "defaults":
                self._defaults(node)
            else:
                self._walk((key,), node, moved)
        for new, node, old in moved:  # last, so that a key in its new place wins
            self._move(old, new, node)
        self._drop_what_is_invalid()

    def text(self) -> str:
        head = "".join(f"# {line}".rstrip() + "\n" for line in self.comments.head)
        return (head + "\n" if head else "") + emit(self.items)

    def _walk(self, path: tuple[str, ...], node: Node, moved: list[tuple[str, Node, str]]) -> None:
        name = dotted(path)
        new = moved_to(name)
        if name == "hydra":
            self._hydra(node)
        elif new is not None:
            moved.append((new, node, name))
        elif name in REMOVED:
            self.changes.append(f"{name}: taken out ({REMOVED[name].removeprefix('remove it: ')})")
        elif isinstance(node.value, dict) and node.value:
            self.sections[path] = node  # for its comments; it is written when something stands in it
            for key, child in node.value.items():
                self._walk((*path, key), child, moved)
        else:
            self._put(path, node)

    def _put(self, path: Sequence[str], node: Node, *, replace: bool = True) -> bool:
        """Write a value at a path; whether it was written."""
        value = self._resolved(dotted(path), node)
        if value is _GONE:
            return False
        below = self.items
        for depth, part in enumerate(path[:-1], start=1):
            if part not in below or not isinstance(below[part].value, dict):
                section = self.sections.get(tuple(path[:depth]))
                below[part] = self.comments.item(section, {}) if section is not None else Item({})
            below = below[part].value
        if path[-1] in below and not replace:
            return False
        below[path[-1]] = self.comments.item(node, value)
        return True

    def _move(self, old: str, new: str, node: Node) -> None:
        value = node.value
        if new.endswith("kernel_name") and not isinstance(value, str):
            self.changes.append(f"{old}: taken out (name kernels in {new}; `llmperf kernels top` lists them)")
        elif self._put(new.split("."), node, replace=False):
            self.changes.append(f"{old} → {new}")
        else:
            self.changes.append(f"{old}: taken out ({new} is set already)")

    def _hydra(self, node: Node) -> None:
        """Only the run directory means something here: its parent becomes artifacts.runs_dir."""
        folder = node.child("run")
        folder = folder.child("dir") if folder is not None else None
        self.changes.append("hydra: taken out (results go under artifacts.runs_dir)")
        if folder is not None and isinstance(folder.value, str):
            runs_dir = _relative(folder.value)
            has_own = isinstance(self.root.value, dict) and "artifacts" in self.root.value
            if "${" not in runs_dir and not has_own:
                self._put(("artifacts", "runs_dir"), folder, replace=False)
                self.changes.append(f"hydra.run.dir → artifacts.runs_dir: {runs_dir}")

    def _resolved(self, name: str, node: Node) -> Any:
        """The plain value with its interpolations resolved, or `_GONE`."""
        value = node.plain()
        if name == "infer.max_new_tokens" and str(value).lower() in ("inf", ".inf"):
            self.changes.append(f"{name}: inf → {_PLENTY}")
            return _PLENTY
        if not isinstance(value, str) or "${" not in value or keeps_dollar(tuple(name.split("."))):
            return value
        text = _relative(value)
        reference = _REFERENCE.fullmatch(text)
        if reference is not None:
            target = self._referenced(reference[1])
            if target is not None:
                self.changes.append(f"{name}: `{value}` → its value")
                return target.plain()
        if "${" in text:
            self.changes.append(f"{name}: `{value}` taken out (what the presets say stands)")
            return _GONE
        if name != "artifacts.runs_dir" or text:
            self.changes.append(f"{name}: `{value}` → {text}")
        return text

    def _referenced(self, name: str) -> Node | None:
        current: Node | None = self.root
        for part in name.split("."):
            current = current.child(part) if current is not None else None
        if current is None or (isinstance(current.value, str) and "${" in current.value):
            return None
        return current

    def _defaults(self, node: Node) -> None:
        """Entries translated; those that name nothing here are taken out."""
        if not isinstance(node.value, list):
            self.changes.append("defaults: taken out (not a list of presets)")
            return
        kept: list[Any] = []
        for entry in node.value:
            if entry.value == SELF:
                kept.append(SELF)
                continue
            pair = next(iter(entry.value.items())) if isinstance(entry.value, dict) and entry.value else None
            new = self._entry(pair[0], pair[1]) if pair is not None else None
            if new is not None:
                kept.append(new)
            elif pair is None:
                self.changes.append(f"defaults: {entry.plain()!r} taken out (not an entry)")
        self.items["defaults"] = self.comments.item(node, kept or [SELF])  # an empty list is not no list

    def _entry(self, left: str, option: Node) -> dict[str, str] | None:
        plain = left.removeprefix("override ").strip().lstrip("/")
        group, _, mounted = plain.partition("@")
        if group in ("runner", "runners"):
            self._runner(left, str(option.value))
            return None
        if mounted in ("torch_profiler", "nsys", "ncu"):
            mounted = f"pipeline.{mounted}"
        new = f"{group}@{mounted}" if mounted else group
        entry = parse_entry(new, option.value, option)
        if isinstance(entry, Problem) or self.presets.find(entry.group, entry.option) is None:
            self.changes.append(f"defaults: {left}: {option.plain()} taken out (there is no such preset)")
            return None
        if new != left:
            self.changes.append(f"defaults: {left} → {new}")
        return {new: str(option.value)}

    def _runner(self, left: str, option: str) -> None:
        """The runner presets: all but `no-static` said what is the default now."""
        self.changes.append(f"defaults: {left}: {option} taken out (the stages that are enabled say what runs)")
        if "no-static" in option:
            section = self.items.setdefault("pipeline", Item({}))
            section.value["static_analysis"] = Item({"enable": Item(False), "write_reports": Item(False)})
            self.changes.append(f"{option} → pipeline.static_analysis.{{enable, write_reports}}: false")

    def _drop_what_is_invalid(self) -> None:
        """Take out what the schema refuses, until it accepts the rest."""
        while True:
            try:
                compose_text(emit(self.items), "migrated", self.presets)
                return
            except InvalidConfig as error:
                dropped = [self._drop(problem) for problem in error.problems]
                if not any(dropped):
                    raise  # not ours to mend: a preset of the user's is broken

    def _drop(self, problem: Problem) -> bool:
        """Take out the value at a problem's path; whether there was one."""
        parts = re.sub(r"\[\d+\]", "", problem.path).split(".")
        parents = [self.items]
        for part in parts[:-1]:
            below = parents[-1].get(part)
            if below is None or not isinstance(below.value, dict):
                return False
            parents.append(below.value)
        if parents[-1].pop(parts[-1], None) is None:
            return False
        self.changes.append(f"{problem.path}: taken out ({problem.message})")
        for part, parent in zip(reversed(parts[:-1]), reversed(parents[:-1]), strict=True):
            if not parent[part].value:
                del parent[part]
        return True


_GONE = object()


def _relative(text: str) -> str:
    """A path without Hydra's working directory in front and its time-stamped folder behind."""
    return _TIME_FOLDER.sub("", _CWD.sub("", text))


def write(path: Path, text: str) -> Path:
    """Replace a file, keeping what it held as `.bak` (or `.bak2`, … where that exists).

    Returns:
        The path of the copy.

    Raises:
        OSError: the folder cannot be written to; the file is as it was.
    """
    path = path.resolve()
    backup = path.with_name(path.name + ".bak")
    number = 2
    while backup.exists():
        backup = path.with_name(f"{path.name}.bak{number}")
        number += 1
    new = path.with_name(f".{path.name}.new")
    new.write_text(text, encoding="utf-8")
    shutil.copymode(path, new)
    shutil.copy2(path, backup)
    new.replace(path)
    return backup
