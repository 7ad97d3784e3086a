"""A configuration or a preset of the earlier system to one that is valid today and means the same.

Moved keys move, values that are spelt otherwise now are, interpolations take their value, entries of `defaults:` are
translated; comments stay. Every leaf of the old file is either carried over or listed with the reason.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from llm_perf_opt.config import earlier
from llm_perf_opt.config.check import keeps_dollar
from llm_perf_opt.config.compose import SELF
from llm_perf_opt.config.emit import Comments, Item, emit, flow, items, read_comments
from llm_perf_opt.config.load import compose_text
from llm_perf_opt.config.old_defaults import options_of, translate
from llm_perf_opt.config.preset_place import aliases_at, section_of_preset
from llm_perf_opt.config.presets import Presets
from llm_perf_opt.config.problems import InvalidConfig, Problem
from llm_perf_opt.config.reader import read_mapping
from llm_perf_opt.config.remedies import gone_because, moved_to
from llm_perf_opt.config.tree import Node, Source, dotted, find, leaves, merge, mount

_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
_ITEM = re.compile(r"(?P<list>.+)\[(?P<number>\d+)\]")
_SHOWN = 60
_MANDATORY = "???"
"""What stood for a value that had to be given on the command line."""

Path_ = tuple[str, ...]


class Left(NamedTuple):
    """A leaf of the old file that is not carried over."""

    line: int
    name: str
    value: str
    reason: str

    def __str__(self) -> str:
        return f"{self.line}: {self.name}: {self.value}: not carried over: {self.reason}"


class Migrated(NamedTuple):
    """The new text, one line for each thing that was changed, and what is not in it."""

    text: str
    changes: tuple[str, ...] = ()
    left: tuple[Left, ...] = ()

    @property
    def is_new(self) -> bool:
        """Whether the text is another one than was given."""
        return bool(self.changes or self.left)


def migrate(text: str, name: str, presets: Presets) -> Migrated:
    """Translate the text of a file called `name`; a valid one without old keys comes back as it is.

    Raises:
        InvalidConfig: the text is not a YAML mapping, or a preset that it lists is broken.
    """
    problems: list[Problem] = []
    root = read_mapping(text, Source("config", name, text), problems)
    if root is None or problems:
        raise InvalidConfig(problems)
    section = section_of_preset(Path(name), root, text, presets)
    migration = _Migration(root, section, read_comments(text), presets)
    migration.run()
    if not migration.changes and not migration.left:
        return Migrated(text)
    left = sorted(migration.left, key=_place)
    return Migrated(migration.text(), migration.changes, tuple(left))


def _place(left: Left) -> tuple[int, list[int | str]]:
    """Its line, then its name with numbers as numbers."""
    parts = enumerate(re.split(r"(\d+)", left.name))
    return left.line, [int(part) if number % 2 else part for number, part in parts]


class _Written(NamedTuple):
    """A value of the new file and what it is from."""

    old: str
    node: Node


class _Migration:
    """Paths are those of a whole configuration, also for a preset, whose keys are mounted at `section` meanwhile."""

    def __init__(self, root: Node, section: Path_, comments: Comments, presets: Presets) -> None:
        self.section = section
        self.comments = comments
        for lines in (comments.head, *comments.above.values()):
            lines[:] = [line for line in lines if not line.startswith("@package ")]
        self.presets = presets
        self._said: dict[str, list[str]] = {}
        self._listed: set[str] = set()
        self.left: list[Left] = []
        self.items: dict[str, Item] = {}
        self.root = mount(self._nested(root, ()), section)
        self._written: dict[Path_, _Written] = {}
        self._same: dict[Path_, list[_Written]] = {}
        self._below: dict[str, list[Path_]] = {}
        self._kept: dict[Path_, list[int]] = {}
        self._sections: dict[Path_, Node] = {}
        self._moved: list[tuple[str, str, Node]] = []
        self._referring: list[tuple[Path_, str, Node]] = []
        self._presets_of_old: dict[str, tuple[Any, Node]] = {}
        self._asked: list[str] = []

    def run(self) -> None:
        assert isinstance(self.root.value, dict)
        for key, node in self.root.value.items():
            if key == "defaults":
                self._defaults(node)
            else:
                self._walk((key,), node)
        for old, new, node in self._moved:  # last, so that a key in its new place wins
            self._put(tuple(new.split(".")), old, node)
        self._settle()
        referring, self._referring = self._referring, []
        for path, old, node in referring:
            self._put(path, old, node, final=True)
            self._settle()
        if self.changes or self.left:
            self._write_presets_out()
            self._place_file_list()
        if self.section:
            self._leave_what_is_elsewhere()

    @property
    def changes(self) -> tuple[str, ...]:
        return tuple(line for lines in self._said.values() for line in lines)

    def _say(self, old: str, line: str) -> None:
        self._said.setdefault(old, []).append(line)

    def text(self) -> str:
        below = self.items
        for part in self.section:
            found = below.get(part)
            below = found.value if found is not None else {}
        head = "".join(f"# {line}".rstrip() + "\n" for line in self.comments.head)
        return (head + "\n" if head and below else head) + emit(below)

    # --- the old file, key by key

    def _nested(self, node: Node, path: Path_) -> Node:
        """`a.b: c` as `a: {b: c}`, where nothing else is there."""
        if not isinstance(node.value, dict) or path[:1] == ("defaults",) or path[:2] == ("pipeline", "plugins"):
            return node
        plain = {key: child for key, child in node.value.items() if not _NAME.fullmatch(key)}
        found = {key: self._nested(child, (*path, key)) for key, child in plain.items()}
        for key, child in node.value.items():
            if key not in plain:
                name, parts = dotted((*path, key)), key.split(".")
                if not _is_free(found, parts):
                    self._leave(name, child, "it is written as sections too")
                    continue
                self._say(name, f"{name}: written as sections, one below the other")
                below = mount(self._nested(child, (*path, *parts)), parts[1:])
                below = below._replace(key_line=child.key_line, key_column=child.key_column)
                found[parts[0]] = merge(found[parts[0]], below) if parts[0] in found else below
        return node.with_value(found)

    def _walk(self, path: Path_, node: Node) -> None:
        name = dotted(path)
        old = dotted(path[len(self.section) :]) if path[: len(self.section)] == self.section else name
        new = _successor(name)
        gone = gone_because(name)
        if new != name and new.rpartition(".")[0] == name.rpartition(".")[0] and not self._has(tuple(new.split("."))):
            self._put(tuple(new.split(".")), old, node)  # another name in the same place
        elif new != name:
            self._moved.append((old, new, node))
        elif self.section and old == "description" and isinstance(node.value, str):
            self.comments.head.extend(node.value.splitlines())
            self._say(old, "description → a comment")
        elif isinstance(node.value, dict) and node.value:
            self._sections[path] = node  # for its comments; it is written when something stands in it
            for key, child in node.value.items():
                self._walk((*path, key), child)
        elif gone is not None:
            self._leave(old, node, gone.removeprefix("remove it: "))
        else:
            self._put(path, old, node)

    def _leave(self, old: str, node: Node, reason: str) -> None:
        self._said.pop(old, None)
        for path, leaf in leaves(node):
            if dotted((old, *path)) in self._listed:
                continue
            self._listed.add(dotted((old, *path)))
            shown = flow(leaf.plain())
            shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"
            line = leaf.place[0] if path or leaf.key_line else leaf.line
            self.left.append(Left(line, dotted((old, *path)), shown, reason))

    def _put(self, path: Path_, old: str, node: Node, *, final: bool = False) -> None:
        """Write a value at its new path, unless something is there; a reference waits until all else is written."""
        name = ".".join(path)
        try:
            value = self._value(name, node, final=final)
        except _Waits:
            self._referring.append((path, old, node))
            return
        except earlier.Unresolved as error:
            self._leave(old, node, str(error))
            return
        if value is _OF_THE_PRESETS:
            self._say(old, f"{old}: {flow(node.plain())} taken out: what the presets say stands")
            return
        if name == "pipeline.ncu.ncu_cli.kernel_name" and str(value).isdigit():
            self._leave(old, node, f"name kernels in {name}; `llmperf kernels top` lists them")
            return
        self._write(path, old, node, value)

    def _write(self, path: Path_, old: str, node: Node, value: Any) -> None:
        name = ".".join(path)
        below = self.items
        for depth, part in enumerate(path[:-1], start=1):
            if part not in below:
                section = self._sections.get(path[:depth])
                below[part] = self.comments.item(section, {}) if section is not None else Item({})
            if not isinstance(below[part].value, dict):
                self._leave(old, node, f"{'.'.join(path[:depth])} is set already, to a single value")
                return
            below = below[part].value
        if path[-1] in below:
            there = below[path[-1]].value
            if isinstance(there, dict) or flow(there) != flow(value):
                self._leave(old, node, f"{name} is set already")
            else:
                self._say(old, f"{old}: taken out, {name} says the same")
                self._same.setdefault(path, []).append(_Written(old, node))
            return
        below[path[-1]] = self.comments.item(node, items(value) if isinstance(value, dict) and value else value)
        self._written[path] = _Written(old, node)
        as_was = node.plain()
        shown = f": {flow(as_was)} → {flow(value)}" if value != as_was else ""
        if dotted(path[len(self.section) :]) != old and name != old:
            self._say(old, f"{old} → {name}{shown}")
        elif shown:
            self._say(old, f"{old}{shown}")

    # --- values

    def _value(self, name: str, node: Node, *, final: bool) -> Any:
        """The value as it is written now."""

        def resolved(found: Node) -> Any:
            if isinstance(found.value, list):
                return [resolved(item) for item in found.value]
            value = found.plain()
            if value == _MANDATORY:
                raise earlier.Unresolved("it is to be given: the old file has no value")
            if isinstance(value, str) and "${" in value and not keeps_dollar(tuple(name.split("."))):
                return earlier.resolved(name, value, lambda key: self._look_up(name, key, final=final))
            return value

        return earlier.value_now(name, resolved(node))

    def _look_up(self, asking: str, key: str, *, final: bool) -> Any:
        """What `${key}` stands for: a value of the old file, else what the presets say."""
        found = find(self.root, key.split("."))
        if key in self._asked:
            raise earlier.Unresolved("it refers to itself")
        if found is not None:
            self._asked.append(key)
            try:
                return self._value(_successor(key), found, final=final)
            finally:
                self._asked.pop()
        new = _successor(key)
        if new == asking:
            return _OF_THE_PRESETS
        if not final:
            raise _Waits
        value: Any = compose_text(emit(self.items), "migrated", self.presets)
        for part in new.split("."):
            if not hasattr(value, part):
                raise earlier.Unresolved(f"there is no {key} in the file")
            value = getattr(value, part)
        if not isinstance(value, (str, int, float, type(None))):
            raise earlier.Unresolved(f"{key} is no single value")
        return value

    # --- the defaults list

    def _defaults(self, node: Node) -> None:
        """Entries translated; those that name nothing here are left out."""
        if not isinstance(node.value, list):
            self._leave("defaults", node, "not a list of presets")
            return
        kept: list[Any] = []
        for number, entry in enumerate(node.value):
            name = f"defaults[{number}]"
            if entry.value == SELF and SELF not in kept:
                kept.append(SELF)
            elif not isinstance(entry.value, dict) or not entry.value:
                self._leave(name, entry, "it names no preset: only groups can be listed")
            else:
                for left, option in options_of(entry):
                    kept += self._entry(name, left, option, is_weaker=SELF not in kept)
        self.items["defaults"] = self.comments.item(node, kept or [SELF])  # an empty list is not no list

    def _entry(self, name: str, left: str, option: Node, *, is_weaker: bool) -> Iterator[dict[str, str]]:
        new = translate(left, option, self.presets)
        shown = f"defaults: {left}: {flow(option.plain())}"
        if new.reason is not None:
            self._leave(dotted((name, left)), option, new.reason)
        elif new.empty:
            self._say(name, f"{shown}: taken out, it chooses nothing")
        elif new.switches_static_off:
            for key in ("enable", "write_reports"):
                self._moved.append((f"{name}.{left}", f"pipeline.static_analysis.{key}", option.with_value(False)))
            self._say(name, f"{shown} → pipeline.static_analysis.{{enable, write_reports}}: false")
        for group, chosen in new.entries:
            if (left, str(option.value)) != (group, chosen):
                self._say(name, f"{shown} → {group}: {chosen}")
            self._remember_preset(group, chosen, option, is_weaker=is_weaker)
            yield {group: chosen}

    def _remember_preset(self, entry: str, option: str, node: Node, *, is_weaker: bool) -> None:
        group, _, mounted = entry.partition("@")
        option = option.removesuffix(".yaml")
        path = self.presets.find(group, option)
        if path is None or not path.is_relative_to(self.presets.directories[-1]):
            return
        for key, value in earlier.PRESET_VALUES.get((group, option), ()):
            name = f"{mounted or group.replace('/', '.')}.{key}"
            if is_weaker:
                self._presets_of_old[_successor(name)] = value, node
            else:
                reason = f"the preset of this name leaves it otherwise now, and {SELF} is before it"
                self.left.append(Left(node.place[0], name, flow(value), reason))

    def _write_presets_out(self) -> None:
        """What the presets of the old system set otherwise than ours of the same name, the later one winning."""
        for name, (value, node) in self._presets_of_old.items():
            path = tuple(name.split("."))
            if self._has(path):
                continue
            now = earlier.value_now(name, value)
            below = self.items
            for part in path[:-1]:
                below = below.setdefault(part, Item({})).value
            below[path[-1]] = Item(now, beside="as the old preset had it")
            self._written[path] = _Written(name, node)
            self._say(name, f"{name}: {flow(now)}: written out, as the old preset had it")
        self._settle()

    def _place_file_list(self) -> None:
        """A relative list of files was below dataset.root; it is below the directory llmperf runs in now."""
        dataset = self.items.get("dataset")
        written = self._written.get(("dataset", "subset_filelist"))
        if dataset is None or written is None or written.old not in ("subset_filelist", "dataset.subset_filelist"):
            return
        root, listed = dataset.value.get("root"), dataset.value["subset_filelist"]
        given = written.node.value
        if not isinstance(given, str) or given != listed.value or given[:1] in ("/", "~"):
            return
        if root is None or not root.value:
            return
        listed.value = f"{root.value.rstrip('/')}/{given}"
        self._say(written.old, f"{written.old}: {given} → {listed.value} (it was relative to dataset.root)")

    def _has(self, path: Path_) -> bool:
        below: Any = self.items
        for part in path:
            if not isinstance(below, dict):
                return True
            if part not in below:
                return False
            below = below[part].value
        return True

    # --- what is not valid

    def _settle(self) -> None:
        """Take out what the schema refuses, until it accepts the rest."""
        while True:
            try:
                compose_text(emit(self.items), "migrated", self.presets)
                return
            except InvalidConfig as error:
                self._index()
                # From the end, so that the numbers of the items of a list stay what the problems say.
                dropped = [self._drop(problem) for problem in reversed(error.problems)]
                if not any(dropped):
                    raise  # not ours to mend: a preset of the user's is broken

    def _drop(self, problem: Problem) -> bool:
        """Take out the values at and below a problem's path, or those beside it; whether there were any."""
        item = _ITEM.match(problem.path)
        if item is not None and self._drop_item(tuple(item["list"].split(".")), int(item["number"]), problem.message):
            return True
        name = re.sub(r"(\[\d+\])+$", "", problem.path)
        found = self._at(name)
        if not found and "." in name and problem.source.name != "migrated":
            found = self._at(name.rpartition(".")[0])  # it contradicts what a preset says
        for path in found:
            self._remove(path)
            for written in (self._written.pop(path), *self._same.pop(path, ())):
                self._leave(written.old, written.node, problem.message)
        return bool(found)

    def _drop_item(self, path: Path_, number: int, reason: str) -> bool:
        """Take one item out of a list, the others staying; whether it was that simple."""
        written = self._written.get(path)
        if written is None or path in self._same or not isinstance(written.node.value, list):
            return False
        values = self._value_at(path)
        kept = self._kept.setdefault(path, list(range(len(written.node.value))))
        if len(kept) != len(values) or number >= len(kept) or len(kept) == 1:
            return False
        original = kept.pop(number)
        del values[number]
        self._leave(f"{written.old}[{original}]", written.node.value[original], reason)
        return True

    def _value_at(self, path: Path_) -> Any:
        below: Any = self.items
        for part in path[:-1]:
            below = below[part].value
        return below[path[-1]].value

    def _at(self, name: str) -> list[Path_]:
        """Paths that were written, at a name and below it."""
        return [path for path in self._below.get(name, ()) if path in self._written]

    def _index(self) -> None:
        self._below = {}
        for path in self._written:
            for depth in range(1, len(path) + 1):
                self._below.setdefault(dotted(path[:depth]), []).append(path)

    def _remove(self, path: Path_) -> None:
        parents = [self.items]
        for part in path[:-1]:
            parents.append(parents[-1][part].value)
        del parents[-1][path[-1]]
        for part, parent in zip(reversed(path[:-1]), reversed(parents[:-1]), strict=True):
            if not parent[part].value:
                del parent[part]

    def _leave_what_is_elsewhere(self) -> None:
        """A preset sets keys of its own section and no others."""
        own = ".".join(self.section)
        for path, written in list(self._written.items()):
            if path[: len(self.section)] != self.section:
                reason = (
                    f"it is {'.'.join(path)} now, which a preset of {own} does not reach: write it in a configuration"
                )
                self._leave(written.old, written.node, reason)
                del self._written[path]
        if self._said or self.left:
            self._say("", f"this is a preset: list it at {own}, from a directory of your own (--config-dir)")


class _Waits(Exception):
    """A reference to what only the presets set."""


_OF_THE_PRESETS = object()


def _successor(name: str) -> str:
    """Where a setting lives now; the name itself where it has not moved."""
    while (new := moved_to(name)) is not None:
        name = new
    name = earlier.FLAT.get(name, name)
    section, _, key = name.rpartition(".")
    alias = aliases_at(tuple(section.split("."))).get(key) if section else None
    return f"{section}.{alias}" if alias else name


def _is_free(nodes: dict[str, Node], parts: Sequence[str]) -> bool:
    """Whether nothing is at a path, nor a single value above it."""
    for part in parts:
        if part not in nodes:
            return True
        value = nodes[part].value
        if not isinstance(value, dict):
            return False
        nodes = value
    return False


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
