"""A trace's JSON in pieces of whole events, so that a file of any size is read in bounded memory.

A piece ends where one event does and the next begins (`}, {`). Such a place can also lie inside an event, or inside a
string; then what stands before it is no balanced JSON and cannot be decoded, and an earlier place is tried. So a piece
that decodes was cut between events.
"""

from __future__ import annotations

import contextlib
import gzip
import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from llm_perf_opt.errors import MissingError, StageError
from llm_perf_opt.opening import open_file

GZIP_MAGIC = b"\x1f\x8b"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# Recorded traces shrink 10 to 20 times; a file that unfolds far more was made to fill memory or disks.
MOST_TIMES_LARGER = 200
ALWAYS_ALLOWED_BYTES = 256 << 20
PIECE_BYTES = 1 << 20
# There is never so much text without the end of an event in it.
MOST_BETWEEN_EVENTS_BYTES = 64 << 20
_LONGEST_PLACE = 256
"""With the white space in it."""
MOST_PLACES = 64
"""Places that are tried for the end of a piece."""

_BETWEEN = re.compile(rb"\}\s*,\s*\{")
_EVENTS = re.compile(rb'"traceEvents"\s*:\s*\[')
_END = re.compile(rb"\}\s*\]")
_REMEDY = "export the trace again: torch.profiler.profile.export_chrome_trace"


Tell = Callable[[int, int], None]
"""Is told how many bytes of a file were read, and how many there are."""


def silent(_done: int, _size: int) -> None:
    """Tells nobody."""


def looks_like_trace(start: bytes) -> bool:
    """Whether a file that begins with these bytes (unpacked) is a trace."""
    text = start.removeprefix(BYTE_ORDER_MARK).lstrip()
    return text[:1] in (b"{", b"[") and (b'"traceEvents"' in text or b'"ph"' in text)


def unpacked_start(path: Path, length: int) -> bytes:
    """The first bytes of a file, unpacked where it is gzip.

    Raises:
        OSError: it cannot be read.
    """
    with open_file(path) as file:
        start = file.read(length)
    if not start.startswith(GZIP_MAGIC):
        return start
    with contextlib.suppress(zlib.error):
        return zlib.decompressobj(wbits=31).decompress(start, length)
    return start


def holds(path: Path, text: bytes) -> bool:
    """Whether a file holds these bytes, unpacked where it is gzip; as far as it can be read.

    Raises:
        OSError: it cannot be read.
    """
    with open_file(path) as file, contextlib.suppress(EOFError, zlib.error, NotJsonError):
        unpacked, before = _Unpacked(file, path.stat().st_size), b""
        while piece := unpacked.read(PIECE_BYTES):
            if text in before + piece:
                return True
            before = piece[-len(text) :]
    return False


def unpacked(path: Path, at_once_bytes: int, named: Path | None = None, tell: Tell = silent) -> Iterator[bytes]:
    """All of a file, unpacked where it is gzip, up to the bound on what a trace unfolds to.

    Args:
        named: what errors call the file, where it is a copy.
        tell: is told how far it is.

    Raises:
        StageError: it is damaged, or unfolds to more.
        MissingError: it cannot be read.
    """
    with _unreadable(named or path), open_file(path) as file:
        text = _Unpacked(file, path.stat().st_size, tell)
        while piece := text.read(at_once_bytes):
            yield piece


@contextlib.contextmanager
def _unreadable(path: Path) -> Iterator[None]:
    """What is wrong with a trace, in words."""
    try:
        yield
    except (gzip.BadGzipFile, EOFError, zlib.error, NotJsonError) as error:
        words = " ".join(str(error).split())[:200]
        raise StageError(f"{path} cannot be read as a trace of torch.profiler: {words}", _REMEDY) from error
    except OSError as error:
        raise MissingError(f"{path} cannot be read: {error.strerror}", "name a file that can be read") from error


class NotJsonError(Exception):
    """A piece is not what the decoder takes; `at` is up to which byte it was read, where that is known."""

    def __init__(self, words: str, at: int | None = None) -> None:
        super().__init__(words)
        self.at = at


class TooDeepError(NotJsonError):
    """It is nested deeper than any trace, which no other place to cut it would change."""

    def __init__(self) -> None:
        super().__init__("it is nested too deep for a trace")


Decoder = Callable[[bytes], Any]
"""Takes JSON; raises NotJsonError."""


class Pieces:
    """The events of a trace, piece by piece, and what stands around them."""

    def __init__(self, path: Path, decode_events: Decoder, decode_rest: Decoder, tell: Tell = silent) -> None:
        """Both decoders are given balanced JSON: a list of events, the object around it without them."""
        self.path = path
        self._tell = tell
        self.byte_order_mark = False
        self.around: dict[str, Any] = {}
        """What the object around the events holds; complete after the last piece."""
        self._decode_events = decode_events
        self._decode_rest = decode_rest

    def __iter__(self) -> Iterator[Any]:
        with _unreadable(self.path), open_file(self.path) as file:
            yield from self._pieces(_Unpacked(file, self.path.stat().st_size, self._tell))

    def _pieces(self, text: _Unpacked) -> Iterator[Any]:
        buffer, listed = self._head(text)
        while True:
            while len(buffer) < PIECE_BYTES and not text.ended:
                buffer += text.read(PIECE_BYTES)
            if text.ended and len(buffer) <= 2 * PIECE_BYTES:
                break
            events, buffer = self._first_piece(buffer, text)
            if events is None:
                break
            yield events
        yield self._last_piece(buffer, listed)

    def _head(self, text: _Unpacked) -> tuple[bytes, bool]:
        """The text from the first event on, and whether the events are all there is."""
        buffer = text.read(1 << 16)
        if buffer.startswith(BYTE_ORDER_MARK):
            self.byte_order_mark = True
            buffer = buffer[len(BYTE_ORDER_MARK) :]
        while not buffer.strip() and not text.ended:
            buffer = text.read(1 << 16)
        if buffer.lstrip()[:1] == b"[":
            return buffer.lstrip()[1:], True
        tried = 0
        while True:
            for found in _EVENTS.finditer(buffer, tried):
                tried = found.start() + 1
                try:
                    self._add(buffer[: found.end()] + b"]}")
                except NotJsonError:
                    continue
                return buffer[found.end() :], False
            if text.ended:
                self._decode_rest(buffer)  # says what is wrong with it, if anything is
                raise NotJsonError("there is no list of traceEvents in it")
            if len(buffer) > MOST_BETWEEN_EVENTS_BYTES:
                raise NotJsonError(f"its first {MOST_BETWEEN_EVENTS_BYTES >> 20} MiB hold no event")
            buffer += text.read(PIECE_BYTES)

    def _first_piece(self, buffer: bytes, text: _Unpacked) -> tuple[Any, bytes]:
        """The first events of the buffer and what is left; no events where it holds the end of the list."""
        problem: NotJsonError | None = None
        while True:
            places = _Places(_BETWEEN, buffer)
            while (found := places.last()) is not None:
                cut = found.start() + 1
                try:
                    return self._decode_events(b"[" + buffer[:cut] + b"]"), buffer[found.end() - 1 :]
                except TooDeepError:
                    raise
                except NotJsonError as error:
                    problem = error
                    places.end_before(found.start(), error)
            if text.ended:
                return None, buffer
            if len(buffer) > MOST_BETWEEN_EVENTS_BYTES:
                raise problem or NotJsonError(f"{MOST_BETWEEN_EVENTS_BYTES >> 20} MiB of it hold no event")
            buffer += text.read(len(buffer))

    def _last_piece(self, buffer: bytes, listed: bool) -> Any:
        start = b'{"":0' if not listed else b""
        if buffer.lstrip()[:1] == b"]":
            self._rest(start, buffer.lstrip()[1:], listed)
            return self._decode_events(b"[]")
        problem: NotJsonError | None = None
        places = _Places(_END, buffer)
        while (found := places.last()) is not None:
            try:
                events = self._decode_events(b"[" + buffer[: found.end()])
            except TooDeepError:
                raise
            except NotJsonError as error:
                problem = problem or error
                places.end_before(found.start(), error)
                continue
            try:
                self._rest(start, buffer[found.end() :], listed)
            except NotJsonError as error:
                problem = problem or error
                places.end_before(found.start())
                continue
            return events
        # No place fits: decoding all of it says where it is broken.
        self._decode_events(b"[" + buffer + (b"]" if listed else b""))
        raise problem or NotJsonError("it ends in the middle")

    def _rest(self, start: bytes, rest: bytes, listed: bool) -> None:
        if listed:
            if rest.strip():
                raise NotJsonError("something follows its last event")
            return
        self._add(start + rest)

    def _add(self, text: bytes) -> None:
        found = self._decode_rest(text)
        if not isinstance(found, dict):
            raise NotJsonError("it is no object")
        self.around.update({key: value for key, value in found.items() if key not in ("", "traceEvents")})


class _Places:
    """Matches of a pattern from the end on, at most MOST_PLACES; most often the first of them is right."""

    def __init__(self, pattern: re.Pattern[bytes], buffer: bytes) -> None:
        self._pattern, self._buffer = pattern, buffer
        self._before = len(buffer)
        self._left = MOST_PLACES

    def last(self) -> re.Match[bytes] | None:
        """The last one that begins before what was found to be in the way."""
        self._left -= 1
        window = 1 << 14
        while self._left >= 0 and self._before > 0:
            start = max(0, self._before - window)
            places = self._pattern.finditer(self._buffer, start, self._before + _LONGEST_PLACE)
            found = [place for place in places if place.start() < self._before]
            if found or not start:
                return found[-1] if found else None
            window *= 16
        return None

    def end_before(self, place: int, error: NotJsonError | None = None) -> None:
        """That place does not fit: where the text before it was not read to its end, none behind that point does."""
        at = place if error is None or error.at is None else error.at - 1  # what was read began with a bracket
        self._before = min(place, at)


class _Unpacked:
    """The text of a file, unpacked where it is gzip, up to a bound."""

    def __init__(self, file: IO[bytes], size: int, tell: Tell = silent) -> None:
        self._file, self._size, self._tell = file, size, tell
        packed = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
        file.seek(0)
        self._stream: IO[bytes] | gzip.GzipFile = gzip.GzipFile(fileobj=file) if packed else file
        self._left = max(ALWAYS_ALLOWED_BYTES, MOST_TIMES_LARGER * size) if packed else None
        self.ended = False

    def read(self, size: int) -> bytes:
        parts, wanted = [], size
        while wanted > 0 and (data := self._stream.read(wanted)):
            parts.append(data)
            wanted -= len(data)
        self.ended = wanted > 0
        self._tell(self._file.tell(), self._size)
        data = b"".join(parts)
        if self._left is not None:
            self._left -= len(data)
            if self._left < 0:
                raise NotJsonError(f"it unfolds to more than {MOST_TIMES_LARGER} times its size, which no trace does")
        return data
