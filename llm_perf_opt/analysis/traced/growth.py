"""What a count grows with: the tokens, the positions in sight, both at once, or the logits that are wanted.

Told apart by the numbers of a few passes alone. A count that fits none of these is refused.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from llm_perf_opt.analysis.static.rows import KeysInWindow, Rows
from llm_perf_opt.analysis.traced.counter import Call
from llm_perf_opt.analysis.traced.probe import Traced

Counts = Sequence[int]
"""Of a prompt whose last logits are wanted, of one that all are wanted of, and of two steps after it."""
Basis = Rows | KeysInWindow | str


def bases_of(prompt: int, window: int | None, stride: int | None, source: int | None = None) -> dict[Basis, Counts]:
    """What a count may grow with, and how often each pass has it.

    Args:
        window: of the layer, where its cache keeps no more.
        stride: positions that one entry stands for, where the module makes entries.
        source: positions that an encoder has read.
    """
    in_sight = [prompt + step if window is None else min(prompt + step, window) for step in (1, 2)]
    bases: dict[Basis, Counts] = {
        Rows.TOKENS: (prompt, prompt, 1, 1),
        Rows.LOGITS: (1, prompt, 1, 1),
        Rows.KEYS if window is None else KeysInWindow(window): (prompt, prompt, *in_sight),
        "pairs": (prompt**2, prompt**2, *in_sight),
        "logit pairs": (prompt, prompt**2, *in_sight),
        "all pairs": (prompt**2, prompt**2, (prompt + 1) ** 2, (prompt + 2) ** 2),
        "sequence": (1, 1, 1, 1),
        "once": (1, 1, 0, 0),
    }
    if source is not None:
        # What is a multiple of another comes before it.
        read: dict[Basis, Counts] = {
            "source pairs": (source**2, source**2, 0, 0),
            "source keys": (prompt * source, prompt * source, source, source),
            Rows.SOURCE: (source, source, 0, 0),
        }
        bases = read | bases
    if stride is not None:
        made = prompt // stride
        bases["entries"] = (prompt * made, prompt * made, (prompt + 1) // stride, (prompt + 2) // stride)
    return bases


def bases_of_encoder(passes: Sequence[tuple[int, int]]) -> dict[Basis, Counts]:
    """The same of an encoder alone, whose passes read so many sequences of so many tokens."""
    return {
        Rows.TOKENS: [batch * length for batch, length in passes],
        "pairs": [batch * length**2 for batch, length in passes],
        "sequence": [batch for batch, _ in passes],
        "together": [1] * len(passes),
        Rows.POSITIONS: [length for _, length in passes],
        "position pairs": [length**2 for _, length in passes],
    }


class NotExpressible(Exception):
    """A count that does not follow tokens or positions."""


def fitted(counts: Counts, bases: Mapping[Basis, Counts], what: str) -> tuple[Basis, int]:
    """The basis that the counts are a multiple of, and the multiple."""
    for name, basis in bases.items():
        factor = counts[0] // basis[0]
        if factor and all(count == factor * part for count, part in zip(counts, basis, strict=True)):
            return name, factor
    tokens = bases[Rows.TOKENS][0]
    raise NotExpressible(f"{what}: {', '.join(map(str, counts))} at {tokens} tokens and in two steps after them")


@dataclass(frozen=True, slots=True)
class Group:
    """The same call in each pass; None where a pass does not make it."""

    path: str
    calls: tuple[Call | None, ...]

    @property
    def first(self) -> Call:
        return next(call for call in self.calls if call is not None)

    def counts(self, what: str) -> Counts:
        return [0 if call is None else getattr(call, what) for call in self.calls]


def aligned(passes: Sequence[Traced]) -> dict[str, list[Group]]:
    """Calls of all passes matched by module, kind and weight, in the order of the first pass; by module path."""
    queues: list[dict[tuple[str, str, str | None], list[Call]]] = []
    for traced in passes:
        queue: dict[tuple[str, str, str | None], list[Call]] = defaultdict(list)
        for call in traced.calls:
            queue[call.path, call.kind, call.weight].append(call)
        queues.append(queue)
    groups: dict[str, list[Group]] = defaultdict(list)
    for key in dict.fromkeys(key for queue in queues for key in queue):
        columns = [queue.get(key, []) for queue in queues]
        for index in range(max(map(len, columns))):
            calls = tuple(column[index] if index < len(column) else None for column in columns)
            groups[key[0]].append(Group(key[0], calls))
    return groups
