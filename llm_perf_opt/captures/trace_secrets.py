"""Hiding the secrets in a copy of a trace: what a program put into its metadata, `add_metadata_json` and the like."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from pathlib import Path

from llm_perf_opt.artifacts.files import replacing
from llm_perf_opt.formats.json_chunks import Tell, unpacked
from llm_perf_opt.redact import HIDDEN, is_secret_name

READ_AT_ONCE_BYTES = 1 << 20
MOST_UNCUT_BYTES = 16 << 20
"""Of text without an end of a line or of an event; longer text is cut anywhere."""
_STEMS = {
    "token": ("token",),
    "secret": ("secret",),
    "pass": ("password", "passwd", "passphrase", "pass"),
    "key": ("apikey", "key"),
    "credential": ("credentials", "credential"),
    "auth": ("authorization", "auth"),
    "cookie": ("cookie",),
    "pwd": ("pwd",),
    "bearer": ("bearer",),
}
"""What all names of secrets end with, by what stands in them."""
_NAME_ENDS = "|".join(end for ends in _STEMS.values() for end in ends)
# Traces are long and hold few secrets: a block is parsed only where one of these is in it, and each is a search.
_SIGNS = {
    stem.encode(): tuple(f"{end}{mark}".encode() for end in ends for mark in ('"', "="))
    for stem, ends in _STEMS.items()
}
# In lower case, and from the end of a name on, since a search that begins with any character is slow.
_GIVEN = re.compile(
    rf"""(?P<word>{_NAME_ENDS})(?:"\s*:\s*"(?P<quoted>(?:[^"\\]|\\.)+)"|=(?P<plain>[^\s"\\&,;=]+))""".encode()
)
_NAME = re.compile(rb"[\w.-]*\Z")
_LONGEST_NAME = 128
_LOGIN = re.compile(rb'://[^/?#\s"\\@]+@')


def hide_secrets(path: Path, named: Path | None = None, tell: Tell | None = None) -> int:
    """Replace the secrets in a trace packed with gzip by `***`; how many there were. Without any it stays as it is.

    Args:
        named: what errors call the file, where it is a copy.
        tell: is told how far it is.

    Raises:
        StageError: it is damaged or unfolds to more than a trace does, so that what is in it is not known.
    """
    found = sum(count for _, count in map(_hidden, _blocks(path, named or path, tell)))
    if not found:
        return 0
    with (
        replacing(path) as file,
        gzip.GzipFile(fileobj=file, filename="", mode="wb", compresslevel=3, mtime=0) as target,
    ):
        for block in _blocks(path, named or path, tell):
            target.write(_hidden(block)[0])
    return found


def _blocks(path: Path, named: Path, tell: Tell | None) -> Iterator[bytes]:
    """The text in pieces that end where no string does not."""
    rest = b""
    for data in unpacked(path, READ_AT_ONCE_BYTES, named, *(() if tell is None else (tell,))):
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
    lower = block.lower()
    if any(stem in lower and any(sign in lower for sign in signs) for stem, signs in _SIGNS.items()):
        found += [
            given.span("quoted" if given["quoted"] else "plain")
            for given in _GIVEN.finditer(lower)
            if _is_secret(block, given)
        ]
    if b"://" in lower:
        found += [(login.start() + 3, login.end() - 1) for login in _LOGIN.finditer(block)]
    found = [(start, end) for start, end in sorted(found) if block[start:end] != HIDDEN.encode()]
    parts, done = [], 0
    for start, end in found:
        if start >= done:
            parts += [block[done:start], HIDDEN.encode()]
            done = end
    return b"".join([*parts, block[done:]]), len(found)


def _is_secret(block: bytes, given: re.Match[bytes]) -> bool:
    """Whether the whole name, which ends with what was found, is one of a secret."""
    before = block[max(0, given.start() - _LONGEST_NAME) : given.end("word")]
    name = _NAME.search(before)
    return name is not None and is_secret_name(name[0].decode(errors="replace"))
