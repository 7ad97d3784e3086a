"""What is wrong with a configuration: every mistake with its place, cause and remedy, all at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from llm_perf_opt.config.tree import Node, Source
from llm_perf_opt.errors import ConfigError

MAX_SHOWN = 200
OLD = ("this setting has moved", "this setting is gone", "this section is gone")
"""Messages about keys of the earlier system."""


class Problem(NamedTuple):
    """One mistake. `path` is the dotted path, empty where there is none (a syntax error)."""

    message: str
    source: Source
    line: int = 0
    column: int = 0
    path: str = ""
    remedy: str = ""

    @property
    def place(self) -> tuple[str, int, int, str]:
        """What tells two places apart."""
        return self.source.name, self.line, self.column, "" if self.line else self.path

    @property
    def where(self) -> str:
        if self.source.is_file:
            return f"{self.source.name}:{self.line}:{self.column}" if self.line else self.source.name
        if self.source.kind == "environment":
            return f"environment variable {self.source.name}"
        return f"{self.source.kind} {self.source.name}"


def at(node: Node, message: str, *, path: str = "", remedy: str = "", on_key: bool = True) -> Problem:
    """A problem at a node: at its key, or at its value."""
    line, column = node.place if on_key else (node.line, node.column)
    return Problem(message, node.source, line, column, path, remedy)


class InvalidConfig(ConfigError):
    """A configuration with mistakes; `problems` holds them in file order."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda p: (p.source.rank, p.line, p.column, p.path, p.message)))
        shown = [render(problem) for problem in self.problems[:MAX_SHOWN]]
        if len(self.problems) > MAX_SHOWN:
            shown.append(f"… and {len(self.problems) - MAX_SHOWN} more")
        count = len(self.problems)
        shown.append(f"{count} mistake{'s' if count != 1 else ''} in the configuration")
        super().__init__("\n".join(shown), self._general_remedy())

    def _general_remedy(self) -> str:
        """For files of the earlier system, the command that translates them."""
        old = [p.source.name for p in self.problems if p.message in OLD and p.source.kind == "config"]
        return f"this is a file of the earlier system: `llmperf config migrate {old[0]}` translates it" if old else ""


def render(problem: Problem) -> str:
    """Place, dotted path and message; the lines around it; the remedy."""
    path = f"{problem.path}: " if problem.path else ""
    lines = [f"{problem.where}: {path}{problem.message}"]
    lines += snippet(problem)
    if problem.remedy:
        lines.append(f"  remedy: {problem.remedy}")
    return "\n".join(lines)


def snippet(problem: Problem) -> list[str]:
    """The line of the mistake and the one before it, with a mark under the place."""
    if problem.source.text is None or not problem.line:
        return []
    text = problem.source.lines
    if problem.line > len(text):
        return []
    first = max(1, problem.line - 1)
    shown = []
    for number in range(first, problem.line + 1):
        line = text[number - 1].replace("\t", "→")
        shown.append(f"  {number:>5} | {_printable(line[:160])}")
    shown.append(f"        | {' ' * (problem.column - 1)}^" if problem.column <= 160 else "        |")
    return shown


def _printable(text: str) -> str:
    """Control characters, which could drive a terminal, replaced."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def to_json(problems: Sequence[Problem]) -> str:
    """Problems for a program: whether there are none, and each with its place, path, message and remedy."""
    import json

    rows = [
        {
            "kind": problem.source.kind,
            "source": problem.source.name,
            "line": problem.line or None,
            "column": problem.column or None,
            "path": problem.path or None,
            "message": problem.message,
            "remedy": problem.remedy or None,
        }
        for problem in problems
    ]
    return json.dumps({"valid": not rows, "problems": rows}, indent=2, ensure_ascii=False)
