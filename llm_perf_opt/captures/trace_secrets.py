"""Copies of traces without their secrets: what a program put into its metadata, `add_metadata_json` and the like."""

from __future__ import annotations

import gzip
import hashlib
import re
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import BinaryIO

from llm_perf_opt.artifacts.files import GZIP_MAGIC, copy_file, replacing, writing
from llm_perf_opt.formats.json_chunks import Tell, silent, unpacked
from llm_perf_opt.opening import read_file
from llm_perf_opt.redact import HIDDEN, is_secret_name

READ_AT_ONCE_BYTES = 1 << 18
MOST_UNCUT_BYTES = 16 << 20
"""Of text without an end of a line or of an event; longer text is cut anywhere."""
_ENDS = (
    *("token", "secret", "password", "passwd", "passphrase", "pass", "apikey", "key", "credentials", "credential"),
    *("authorization", "auth", "cookie", "pwd", "bearer"),
)
"""What all names of secrets end with."""
_NAME_ENDS = "|".join(_ENDS)
_TAIL_BYTES = 8
_TAILS = {
    length: [int.from_bytes(end.encode()[-length:], "little") for end in ends]
    for length, ends in groupby(sorted(_ENDS, key=len), lambda end: min(len(end), _TAIL_BYTES))
}
"""The last bytes of those ends as numbers, by how many they are."""
# In lower case, and from the end of a name on, since a search that begins with any character is slow.
_GIVEN = re.compile(
    rf"""(?P<word>{_NAME_ENDS})(?:"\s*:\s*"(?P<quoted>(?:[^"\\]|\\.)+)"|=(?P<plain>[^\s"\\&,;=]+))""".encode()
)
_NAME = re.compile(rb"[\w.-]*\Z")
_LONGEST_NAME = 128
_LOGIN = re.compile(rb'://[^/?#\s"\\@]+@')


def store_trace(source: Path, target: Path, tell: Tell = silent) -> tuple[str, int]:
    """Copy a trace as gzip, with `***` for each secret; the hex sha256 of the source, and how many secrets it had.

    A trace that is packed already and has no secrets is copied byte for byte.

    Args:
        tell: is told how far it is.

    Raises:
        MissingError: the source cannot be read, or there is no permission to write.
        StageError: the source is damaged or unfolds to more than a trace does, so that what is in it is not known; the
            disk is full, …
    """
    hidden = 0
    if read_file(source, len(GZIP_MAGIC)) == GZIP_MAGIC:

        def clean(copy: Path) -> None:
            nonlocal hidden
            hidden = hide_secrets(copy, source, tell)

        return copy_file(source, target, clean=clean), hidden
    digest = hashlib.sha256()
    with writing(target), replacing(target) as file, _packing(file) as packed:
        text = unpacked(source, READ_AT_ONCE_BYTES, tell=tell)
        for block in _whole(_digested(text, digest)):
            kept, found = _hidden(block)
            packed.write(kept)
            hidden += found
    return digest.hexdigest(), hidden


def hide_secrets(path: Path, named: Path | None = None, tell: Tell = silent) -> int:
    """Replace the secrets in a trace packed with gzip by `***`; how many there were. Without any it stays as it is.

    Args:
        named: what errors call the file, where it is a copy.
        tell: is told how far it is.

    Raises:
        StageError: it is damaged or unfolds to more than a trace does, so that what is in it is not known.
    """

    def blocks() -> Iterator[bytes]:
        return _whole(unpacked(path, READ_AT_ONCE_BYTES, named or path, tell))

    found = sum(count for _, count in map(_hidden, blocks()))
    if not found:
        return 0
    with replacing(path) as file, _packing(file) as target:
        for block in blocks():
            target.write(_hidden(block)[0])
    return found


def _packing(file: BinaryIO) -> gzip.GzipFile:
    return gzip.GzipFile(fileobj=file, filename="", mode="wb", compresslevel=3, mtime=0)


def _digested(blocks: Iterable[bytes], digest: hashlib._Hash) -> Iterator[bytes]:
    for block in blocks:
        digest.update(block)
        yield block


def _whole(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The text in pieces that end where no string does not."""
    rest = b""
    for data in blocks:
        rest += data
        cut = max(rest.rfind(b"\n"), rest.rfind(b"},")) + 1
        if not cut and len(rest) > MOST_UNCUT_BYTES:
            cut = len(rest)
        if cut:
            yield rest[:cut]
            rest = rest[cut:]
    yield rest


def _hidden(block: bytes) -> tuple[bytes, int]:
    """`block` without its secrets, and how many they were."""
    found: list[tuple[int, int]] = []
    if _may_name_a_secret(block):
        found += [
            given.span("quoted" if given["quoted"] else "plain")
            for given in _GIVEN.finditer(block.lower())
            if _is_secret(block, given)
        ]
    if b"@" in block and b"://" in block:
        found += [(login.start() + 3, login.end() - 1) for login in _LOGIN.finditer(block)]
    found = [(start, end) for start, end in sorted(found) if block[start:end] != HIDDEN.encode()]
    parts, done = [], 0
    for start, end in found:
        if start >= done:
            parts += [block[done:start], HIDDEN.encode()]
            done = end
    return b"".join([*parts, block[done:]]), len(found)


def _may_name_a_secret(block: bytes) -> bool:
    """Whether a quoted word, or one before `=`, ends like the name of a secret. Traces are long and hold few secrets:
    only where that is so, a block is worth a search."""
    import numpy as np

    padded = bytes(_TAIL_BYTES) + block
    text = np.frombuffer(padded, np.uint8)
    marks = np.flatnonzero((text == ord('"')) | (text == ord("=")))
    # The two letters before it tell most of them apart, the eight before it the rest; in lower case, where letters.
    pairs = np.ndarray((len(padded) - 1,), "<u2", padded, 0, (1,))[marks - 2] | 0x2020
    table = np.zeros(1 << 16, np.bool_)
    table[[int.from_bytes(end.encode()[-2:], "little") for end in _ENDS]] = True
    marks = marks[table[pairs]]
    tails = np.ndarray((len(padded) - _TAIL_BYTES + 1,), "<u8", padded, 0, (1,))[marks - _TAIL_BYTES]
    tails |= np.uint64(0x2020202020202020)
    return any(np.isin(tails >> np.uint64(64 - 8 * length), ends).any() for length, ends in _TAILS.items())


def _is_secret(block: bytes, given: re.Match[bytes]) -> bool:
    """Whether the whole name, which ends with what was found, is one of a secret."""
    before = block[max(0, given.start() - _LONGEST_NAME) : given.end("word")]
    name = _NAME.search(before)
    return name is not None and is_secret_name(name[0].decode(errors="replace"))
