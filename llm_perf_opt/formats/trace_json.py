"""Decodes the events of a trace: fast where they are JSON of the expected types, else by a slower way that takes more.

What the trade's tools accept is taken: NaN and Infinity, control characters and bytes that are no UTF-8 in strings,
times as text. Each is counted. Both ways give the same events.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

from llm_perf_opt.formats.json_chunks import NotJsonError, TooDeepError
from llm_perf_opt.opening import without_halves

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
FAILURES_UNTIL_SLOW = 3
MOST_EXACT_US = float(1 << 43)
"""Up to here a double holds a time in microseconds to half a nanosecond."""

ARGUMENTS = {
    "external": "External id",
    "old_external": "external id",
    "correlation": "correlation",
    "stream": "stream",
    "device": "device",
    "bytes": "bytes",
    "graph": "graph id",
    "node": "graph node id",
    "sync": "cuda_sync_kind",
    "collective": "Collective name",
    "group": "Process Group Name",
    "members": "Process Group Ranks",
    "sequence": "Seq",
    "communicator": "Comms Id",
    "kernel": "kernel",
    "annotation": "name",
    "module": "str",
}
TAKEN: dict[str, Any] = {
    "sync": str,
    "collective": str,
    # Calls of ROCm write these as text; of device work they are numbers.
    "bytes": int | str,
    "stream": int | str,
}
"""Of which types an argument is taken, where not as a whole number."""
ANYTHING = frozenset({"group", "members", "communicator", "kernel", "annotation", "module"})
"""Names of groups are texts or numbers; the other keys have values of any type in events that do not mean these."""


@dataclass(slots=True)
class Arguments:
    """What is used of an event's `args`."""

    external: int = -1
    old_external: int = -1
    """As torch before 1.13 spelt it."""
    correlation: int = -1
    stream: int | str = -1
    device: int = -1
    bytes: int | str = -1
    graph: int = -1
    node: int = -1
    sync: str = ""
    collective: str = ""
    group: Any = ""
    members: Any = ""
    sequence: int = -1
    communicator: Any = ""
    kernel: Any = ""
    """What a call launches: ROCm says it."""
    annotation: Any = ""
    """What a node of a graph was annotated with (`torch.cuda.graph_annotations`), or …"""
    module: Any = ""
    """… the module that it was annotated with."""


@dataclass(slots=True)
class Event:
    """One event; a field is None where the file has nothing of use there."""

    ph: str | None = None
    cat: str | None = None
    name: str | None = None
    pid: int | str | None = None
    tid: int | str | None = None
    ts: int | float | Decimal | None = None
    dur: int | float | Decimal | None = None
    args: Arguments | None = None


NO_ARGUMENTS = Arguments()
NO_EVENT = Event()


_HALF = re.compile(r"\\u[dD][89a-fA-F]")


@dataclass
class TraceDecoder:
    """Decodes lists of events; `odd` counts what is not strict JSON."""

    odd: Counter[str] = field(default_factory=Counter)
    _failures: int = 0
    _fast: Callable[[bytes], list[Any]] | None = None
    _exact: Callable[[bytes], list[Any]] | None = None

    def events(self, text: bytes) -> list[Any]:
        """The events of one piece.

        Raises:
            NotJsonError: it cannot be read either way.
        """
        import msgspec

        if self._fast is None:
            self._fast, self._exact = _fast_decoders()
        assert self._exact is not None
        if self._failures < FAILURES_UNTIL_SLOW:
            try:
                found = self._fast(text)
                if any(type(event.ts) is float and abs(event.ts) >= MOST_EXACT_US for event in found):
                    found = self._exact(text)
                return found
            except (msgspec.DecodeError, UnicodeDecodeError):
                pass
            except RecursionError as error:
                raise TooDeepError from error
        slow = self._slow(text)
        self._failures += 1
        return slow

    def around(self, text: bytes) -> Any:
        """The object around the events."""
        return _lenient(text, Counter())

    def _slow(self, text: bytes) -> list[Event]:
        odd: Counter[str] = Counter()
        found = _lenient(text, odd)
        events = [_event(value, odd) for value in found if isinstance(value, dict)]
        self.odd += odd  # only of pieces that could be read: others are tried again
        return events


def _fast_decoders() -> tuple[Callable[[bytes], list[Any]], Callable[[bytes], list[Any]]]:
    import msgspec

    arguments = msgspec.defstruct(
        "Arguments",
        [(name, _argument_type(name), getattr(NO_ARGUMENTS, name)) for name in ARGUMENTS],
        rename=dict(ARGUMENTS),
        gc=False,
    )
    either = int | str | None

    def decoder(number: Any) -> Callable[[bytes], list[Any]]:
        event = msgspec.defstruct(
            "Event",
            [
                ("ph", str | None, None), ("cat", str | None, None), ("name", str | None, None), ("pid", either, None),
                ("tid", either, None), ("ts", number, None), ("dur", number, None), ("args", arguments | None, None),
            ],
            gc=False,
        )  # fmt: skip
        decode: Callable[[bytes], list[Any]] = msgspec.json.Decoder(list[event]).decode  # type: ignore[valid-type]
        return decode

    return decoder(int | float | None), decoder(Decimal | None)


def _argument_type(name: str) -> Any:
    return Any if name in ANYTHING else TAKEN.get(name, int)


def _lenient(text: bytes, odd: Counter[str]) -> Any:
    plain = text.decode("utf-8", "replace")
    replaced = plain.count(REPLACEMENT) - text.count(REPLACEMENT.encode())
    if replaced:
        odd["bytes that are no UTF-8"] += replaced

    def constant(name: str) -> float:
        odd["NaN or Infinity"] += 1
        return float(name)

    def parsed(*, strict: bool = True) -> Any:
        value = json.loads(plain, parse_float=Decimal, parse_constant=constant, strict=strict)
        halves = without_halves(value) if _HALF.search(plain) else value
        if halves != value:
            odd["halves of characters"] += 1
        return halves

    try:
        try:
            return parsed()
        except json.JSONDecodeError as error:
            if "control character" not in error.msg:
                raise
            odd.pop("NaN or Infinity", None)
            odd["control characters in strings"] += sum(map(plain.count, map(chr, (*range(9), 11, 12, *range(14, 32)))))
            odd["control characters in strings"] = max(1, odd["control characters in strings"])
            return parsed(strict=False)
    except json.JSONDecodeError as error:
        raise NotJsonError(str(error), len(plain[: error.pos].encode())) from error
    except RecursionError as error:
        raise TooDeepError from error
    except ValueError as error:  # a number of thousands of digits
        raise NotJsonError(str(error)) from error


def _event(value: dict[str, Any], odd: Counter[str]) -> Event:
    args = value.get("args")
    return Event(
        ph=_text(value.get("ph")),
        cat=_text(value.get("cat")),
        name=_text(value.get("name")),
        pid=_id(value.get("pid")),
        tid=_id(value.get("tid")),
        ts=_number(value.get("ts"), odd),
        dur=_number(value.get("dur"), odd),
        args=_arguments(args) if isinstance(args, dict) else None,
    )


def _arguments(args: dict[str, Any]) -> Arguments:
    found = Arguments()
    for name, key in ARGUMENTS.items():
        given = args.get(key)
        if name in ANYTHING:
            setattr(found, name, args.get(key, ""))
        elif isinstance(given, TAKEN.get(name, int)) and not isinstance(given, bool):
            setattr(found, name, given)
    return found


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _id(value: Any) -> int | str | None:
    return value if isinstance(value, int | str) or value is None else str(value)


def _number(value: Any, odd: Counter[str]) -> int | Decimal | None:
    if isinstance(value, str):
        try:
            value = Decimal(value)
        except InvalidOperation:
            return None
        odd["times as text"] += 1
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return None
    return value if not isinstance(value, Decimal) or value.is_finite() else None
