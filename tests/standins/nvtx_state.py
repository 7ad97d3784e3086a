"""Which ranges are open, replayed from recorded events, and ncu's filter grammar over them.

Written from the documentation, apart from `llm_perf_opt.tools.nvtx`, so that neither inherits the other's mistakes:
https://docs.nvidia.com/nsight-compute/NsightComputeCli/index.html#nvtx-filtering
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.standins.recorder import Event

Same = Callable[[str, str], bool]
"""Whether a pattern of the expression is a name."""


class BadExpressionError(ValueError):
    """The filter is not in ncu's grammar."""


@dataclass
class Ranges:
    """Open ranges: push/pop stacks per (process, thread, domain), start/end ranges per (process, domain)."""

    per_process: bool = False
    """`--nvtx-push-pop-scope process`: the ranges of all threads are on one stack."""
    stacks: dict[tuple[int, int, str | None], list[str]] = field(default_factory=lambda: defaultdict(list))
    started: dict[tuple[int, int], tuple[str | None, str]] = field(default_factory=dict)

    def apply(self, event: Event) -> None:
        key = (event.pid, 0 if self.per_process else event.tid, event.domain)
        if event.event == "push":
            self.stacks[key].append(event.name or "")
        elif event.event == "pop" and self.stacks[key]:
            self.stacks[key].pop()
        elif event.event == "start":
            self.started[event.pid, event.id] = (event.domain, event.name or "")
        elif event.event == "end":
            self.started.pop((event.pid, event.id), None)

    def stack(self, event: Event, domain: str | None) -> list[str]:
        return self.stacks.get((event.pid, 0 if self.per_process else event.tid, domain), [])

    def domains(self, event: Event) -> list[str | None]:
        pushed = [domain for pid, _, domain in self.stacks if pid == event.pid]
        begun = [domain for (pid, _), (domain, _) in self.started.items() if pid == event.pid]
        return list(dict.fromkeys([*pushed, *begun]))

    def open_started(self, event: Event, domain: str | None) -> set[str]:
        return {name for (pid, _), (where, name) in self.started.items() if pid == event.pid and where == domain}


def matches(expression: str, ranges: Ranges, event: Event) -> bool:
    """Whether what happens at `event` is inside the ranges that an `--nvtx-include` expression names.

    `regex:` before all of it makes the domain and every name a regular expression.
    """
    same = _regex_matches if expression.startswith("regex:") else _literal_matches
    domain, rest = _split_domain(expression.removeprefix("regex:"))
    if domain is None:
        places: list[str | None] = [None]
    else:
        places = [name for name in ranges.domains(event) if name is not None and same(domain, name)]
    if not _is_push_pop(rest, regex=same is _regex_matches):
        wanted = [name for name in rest.split(",") if name]
        return any(
            all(any(same(name, found) for found in ranges.open_started(event, place)) for name in wanted)
            for place in places
        )
    parts, bottom, top = _parts(rest, regex=same is _regex_matches)
    return any(_stack_matches(parts, bottom, top, ranges.stack(event, place), same) for place in places)


def _split_domain(expression: str) -> tuple[str | None, str]:
    found = re.match(r"((?:[^@\\]|\\.)*)@(.*)", expression, re.DOTALL)
    return (found[1], found[2]) if found else (None, expression)


def _is_push_pop(text: str, *, regex: bool) -> bool:
    return re.search(r"(?<!\\)/$" if regex else r"(?<!\\)[/\[\]]", text) is not None


def _parts(text: str, *, regex: bool) -> tuple[list[str], bool, bool]:
    bottom = text.startswith("[") and not regex
    text = text.removeprefix("[") if bottom else text
    pieces = re.split(r"(?<!\\)/", text)
    if len(pieces) > 1 and pieces[-1] == "":
        pieces.pop()
    last = pieces[-1]
    top = last.endswith("]") and not last.endswith("\\]") and not regex
    if top:
        pieces[-1] = last[:-1]
    if any(piece == "" for piece in pieces) or all(piece in ("*", "+") for piece in pieces):
        raise BadExpressionError(text)
    return pieces, bottom, top


def _stack_matches(parts: list[str], bottom: bool, top: bool, stack: list[str], same: Same) -> bool:
    starts = [0] if bottom else range(len(stack) + 1)
    return any(_from(parts, stack, start, top, same) for start in starts)


def _from(parts: list[str], stack: list[str], at: int, top: bool, same: Same) -> bool:
    if not parts:
        return at == len(stack) if top else True
    if parts[0] == "*":
        return any(_from(parts[1:], stack, later, top, same) for later in range(at, len(stack) + 1))
    here = at < len(stack) and (parts[0] == "+" or same(parts[0], stack[at]))
    return here and _from(parts[1:], stack, at + 1, top, same)


def _regex_matches(pattern: str, name: str) -> bool:
    return re.search(pattern, name) is not None


def _literal_matches(pattern: str, name: str) -> bool:
    return re.sub(r"\\(.)", r"\1", pattern) == name
