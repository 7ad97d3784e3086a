"""YAML text to a tree of nodes: strict, bounded, and with every mistake reported at its place.

Built on the parser's events rather than on its objects, so that depth, size and aliases are bounded
before anything is built, and nothing a file says can run code.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from llm_perf_opt.config.problems import InvalidConfig, Problem
from llm_perf_opt.config.tree import Node, Scalar, Source
from llm_perf_opt.errors import MissingError
from llm_perf_opt.opening import read_stream

MAX_FILE_BYTES = 4 * 2**20
MAX_DEPTH = 64
MAX_NODES = 50_000
"""Nodes of one file, each alias counted as all it stands for."""

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"
_BASE_60 = re.compile(r"[-+]?\d[\d_]*(:[0-5]?\d)+(\.[\d_]*)?")
_OCTAL = re.compile(r"[-+]?0[0-7_]+")
_BOOLEANS = {"yes": True, "true": True, "on": True, "no": False, "false": False, "off": False}


class _Stop(Exception):
    """Reading cannot go on."""


def read_file(
    path: Path, problems: list[Problem], name: str | None = None, *, preset: bool = False, rank: int = 0
) -> Node | None:
    """Read one YAML file whose root is a mapping (an empty file is an empty mapping).

    Mistakes inside the file go to `problems`; None means that nothing could be made of it.

    Raises:
        MissingError: there is no such file.
        InvalidConfig: it cannot be read as text: a directory, no permission, too large, not UTF-8.
    """
    source = Source("preset" if preset else "config", name or str(path), None, rank)
    text = _read_text(path, source)
    return read_mapping(text, source._replace(text=text), problems)


def read_text(path: Path) -> str:
    """The text of a user's file; raises as `read_file` does."""
    return _read_text(path, Source("config", str(path)))


def read_mapping(text: str, source: Source, problems: list[Problem]) -> Node | None:
    """Parse `text`, whose root must be a mapping."""
    node = parse(text, source, problems)
    if node is None or isinstance(node.value, dict):
        return node
    if node.value is None:
        return node.with_value({})
    what = "a list" if isinstance(node.value, list) else "a single value"
    problems.append(
        Problem(
            f"a configuration is a mapping of keys, this file holds {what}",
            source,
            node.line,
            node.column,
            remedy="write `key: value` lines, for example `experiment: first`",
        )
    )
    return None


def parse(text: str, source: Source, problems: list[Problem]) -> Node | None:
    """Parse one YAML document; mistakes go to `problems`, None means that reading had to stop."""
    builder = _Builder(source, problems)
    try:
        return builder.build(text)
    except _Stop:
        return None


def _read_text(path: Path, source: Source) -> str:
    def refuse(message: str, remedy: str, line: int = 0, column: int = 0) -> InvalidConfig:
        return InvalidConfig([Problem(message, source, line, column, remedy=remedy)])

    try:
        data = read_stream(path, MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise MissingError(f"{source.name}: no such file", "check the path; `llmperf config init` writes one") from None
    except IsADirectoryError:
        raise refuse("this is a directory", "give the YAML file inside it") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise refuse(f"cannot be read: {reason}", "check the path and its permissions") from None
    if len(data) > MAX_FILE_BYTES:
        raise refuse(f"larger than {MAX_FILE_BYTES // 2**20} MiB", "a configuration is small: is this the right file?")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line = before.count(b"\n") + 1
        column = error.start - (before.rfind(b"\n") + 1) + 1
        raise refuse(
            f"not UTF-8 text (byte 0x{data[error.start]:02x})", "save the file as UTF-8", line, column
        ) from None


class _Frame:
    """A collection that is being read."""

    __slots__ = ("anchor", "key", "key_mark", "node", "size", "skips")

    def __init__(self, node: Node, anchor: str | None) -> None:
        self.node = node
        self.anchor = anchor
        self.key: str | None = None
        self.key_mark: Any = None
        self.skips = False
        self.size = 1


class _Builder:
    def __init__(self, source: Source, problems: list[Problem]) -> None:
        self.source = source
        self.problems = problems
        self.stack: list[_Frame] = []
        self.anchors: dict[str, tuple[Node, int]] = {}
        self.total = 0
        self.root: Node | None = None

    def build(self, text: str) -> Node:
        try:
            loader = _Loader(text)
            try:
                while True:
                    event = loader.get_event()
                    if isinstance(event, yaml.StreamEndEvent):
                        break
                    self._take(event, loader)
            finally:
                loader.dispose()
        except yaml.MarkedYAMLError as error:
            self._syntax_error(error, text)
            raise _Stop from None
        except yaml.reader.ReaderError:
            self._character_error(text)
            raise _Stop from None
        return self.root or Node(None, self.source)

    def problem(self, mark: Any, message: str, remedy: str = "") -> None:
        path = ".".join(f.key for f in self.stack if isinstance(f.node.value, dict) and f.key is not None)
        self.problems.append(Problem(message, self.source, mark.line + 1, mark.column + 1, path, remedy))

    def _take(self, event: Any, loader: Any) -> None:
        if isinstance(event, yaml.ScalarEvent):
            self._scalar(event, loader)
        elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            self._open(event)
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            frame = self.stack.pop()
            if frame.anchor:
                self.anchors[frame.anchor] = (frame.node, frame.size)
            self._place(frame.node, frame.size)
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event)
        elif isinstance(event, yaml.DocumentStartEvent) and self.root is not None:
            self.problem(event.start_mark, "a second YAML document", "keep one document in a file; remove the `---`")
            raise _Stop

    def _count(self, size: int, mark: Any) -> None:
        self.total += size
        if self.total > MAX_NODES:
            self.problem(mark, f"more than {MAX_NODES:,} values, aliases expanded", "write out what is meant, once")
            raise _Stop

    def _refuse_tag(self, event: Any) -> None:
        if event.tag is not None and event.tag != "!":
            shown = "!!" + event.tag.removeprefix(_TAG) if event.tag.startswith(_TAG) else event.tag
            self.problem(
                event.start_mark, f"the YAML tag {shown} is not allowed", "write the plain value, without a tag"
            )

    def _open(self, event: Any) -> None:
        self._refuse_tag(event)
        mark = event.start_mark
        if len(self.stack) >= MAX_DEPTH:
            self.problem(mark, f"nested deeper than {MAX_DEPTH} levels", "no setting lies that deep")
            raise _Stop
        self._count(1, mark)
        top = self.stack[-1] if self.stack else None
        if top is not None and isinstance(top.node.value, dict) and top.key is None:
            self.problem(mark, "a key must be plain text, not a list or a mapping", "write `key: value`")
            raise _Stop
        value: Any = {} if isinstance(event, yaml.MappingStartEvent) else []
        self.stack.append(_Frame(Node(value, self.source, mark.line + 1, mark.column + 1), event.anchor))
        if event.anchor:
            self.anchors.pop(event.anchor, None)

    def _scalar(self, event: Any, loader: Any) -> None:
        mark = event.start_mark
        self._count(1, mark)
        top = self.stack[-1] if self.stack else None
        if top is not None and isinstance(top.node.value, dict) and top.key is None:
            self._key(top, event, loader)
            return
        self._refuse_tag(event)
        value = self._value(event, loader)
        node = Node(value, self.source, mark.line + 1, mark.column + 1)
        if event.anchor:
            self.anchors[event.anchor] = (node, 1)
        self._place(node, 1)

    def _key(self, top: _Frame, event: Any, loader: Any) -> None:
        """Note the key; a mistaken one is reported, and its value will be left out."""
        mark = event.start_mark
        top.key_mark = mark
        top.skips = True
        name = event.value
        assert isinstance(top.node.value, dict)
        tag = loader.resolve(yaml.ScalarNode, name, event.implicit)
        if tag == f"{_TAG}merge":
            self.problem(
                mark, "YAML merge keys (`<<`) are not supported", "list presets under `defaults:`, or repeat the keys"
            )
        elif event.tag is not None or tag not in (f"{_TAG}str", f"{_TAG}timestamp", f"{_TAG}value"):
            self.problem(mark, f"the key {name!r} is not text in YAML", f'put it in quotes: "{name}"')
        elif name in top.node.value:
            first = top.node.value[name]
            top.key = name  # for the path that is reported
            self.problem(mark, f"the key is written twice; first in line {first.place[0]}", "keep one of the two")
        else:
            top.skips = False
        top.key = name

    def _place(self, node: Node, size: int) -> None:
        """Put a finished value where it belongs."""
        if not self.stack:
            self.root = node
            return
        top = self.stack[-1]
        top.size += size
        if isinstance(top.node.value, dict):
            assert top.key is not None
            mark = top.key_mark
            if not top.skips:
                top.node.value[top.key] = node._replace(key_line=mark.line + 1, key_column=mark.column + 1)
            top.key = None
        else:
            assert isinstance(top.node.value, list)
            top.node.value.append(node)

    def _alias(self, event: Any) -> None:
        top = self.stack[-1] if self.stack else None
        if top is not None and isinstance(top.node.value, dict) and top.key is None:
            self.problem(event.start_mark, "an alias cannot be a key", "write the key out")
            raise _Stop
        if event.anchor not in self.anchors:
            inside = any(frame.anchor == event.anchor for frame in self.stack)
            message = (
                f"the alias *{event.anchor} contains itself" if inside else f"no anchor &{event.anchor} before this"
            )
            quote = "" if inside else "; text that begins with * needs quotes"
            self.problem(event.start_mark, message, f"write the value out{quote}")
            raise _Stop
        node, size = self.anchors[event.anchor]
        self._count(size, event.start_mark)
        mark = event.start_mark
        self._place(node._replace(line=mark.line + 1, column=mark.column + 1), size)

    def _value(self, event: Any, loader: Any) -> Scalar:
        text: str = event.value
        tag = loader.resolve(yaml.ScalarNode, text, event.implicit)
        try:
            match tag.removeprefix(_TAG):
                case "null":
                    return None
                case "bool":
                    return _BOOLEANS[text.lower()]
                case "int" | "float" if _BASE_60.fullmatch(text):
                    self.problem(
                        event.start_mark, f"{text} is a number in base 60 in YAML", f'put it in quotes: "{text}"'
                    )
                case "int":
                    return self._integer(text, event)
                case "float":
                    number = text.replace("_", "").lower()
                    return float(number.replace(".inf", "inf").replace(".nan", "nan"))
                case _:
                    return text
        except ValueError:
            self.problem(
                event.start_mark,
                f"not a number that can be read: {text[:40]}",
                "write it in plain digits; in quotes, if it is text",
            )
        return None

    def _integer(self, text: str, event: Any) -> int | None:
        if _OCTAL.fullmatch(text):
            self.problem(
                event.start_mark,
                f"{text} is an octal number in YAML",
                f'write it without the leading 0, or in quotes: "{text}"',
            )
            return None
        number = int(text.replace("_", ""), 0)
        if abs(number) >= 2**63:
            raise ValueError("more than any setting needs, and too long to print")
        return number

    def _syntax_error(self, error: yaml.MarkedYAMLError, text: str) -> None:
        mark = error.problem_mark or error.context_mark
        what = error.problem or "not YAML"
        remedy = "check the indentation, quotes and brackets here and in the line before"
        if not self.source.is_file:
            remedy = "check quotes and brackets: values are YAML, and the shell may have taken some of them away"
        if mark is not None and _character(text, mark.line, mark.column) == "\t":
            what, remedy = "a tab, which YAML does not allow here", "indent with spaces"
        elif "alias" in (error.context or "") or "alias" in what:
            remedy = "text that begins with * needs quotes"
        context = f" ({error.context})" if error.context and error.problem == what else ""
        self.problems.append(
            Problem(
                f"not valid YAML: {what}{context}",
                self.source,
                mark.line + 1 if mark else 0,
                mark.column + 1 if mark else 0,
                remedy=remedy,
            )
        )

    def _character_error(self, text: str) -> None:
        """A character YAML does not allow: find it, since the parser counts in its own buffer."""
        match = re.search(_FORBIDDEN, text)
        position = match.start() if match else 0
        char = text[position : position + 1] or "?"
        line = text.count("\n", 0, position) + 1
        column = position - (text.rfind("\n", 0, position) + 1) + 1
        self.problems.append(
            Problem(
                f"the character U+{ord(char):04X} is not allowed in YAML",
                self.source,
                line,
                column,
                remedy="is this a binary file? If not, remove the character, or write it as an escape in double quotes",
            )
        )


def _character(text: str, line: int, column: int) -> str:
    lines = text.split("\n")
    return lines[line][column : column + 1] if line < len(lines) else ""


_FORBIDDEN = "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
