"""Text on a terminal: how wide it is, lines of whole words, names without their middle."""

from __future__ import annotations

import unicodedata

ELLIPSIS = "…"


def cells(text: str) -> int:
    """Columns of a terminal that `text` takes: two for a wide character, none for a combining one."""
    return len(text) if text.isascii() else sum(map(_cells_of, text))


def _cells_of(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def fold(text: str, width: int) -> list[str]:
    """`text` broken after every `width` columns."""
    lines, left = [""], width
    for character in text:
        left -= _cells_of(character)
        if left < 0:
            lines.append("")
            left = width - _cells_of(character)
        lines[-1] += character
    return lines


def wrap(text: str, width: int) -> list[str]:
    """Lines of whole words; a word wider than `width` is folded."""
    lines = [""]
    for word in text.split():
        joined = f"{lines[-1]} {word}" if lines[-1] else word
        if cells(joined) <= width:
            lines[-1] = joined
        else:
            lines += fold(word, width)
    return lines if lines[0] or len(lines) == 1 else lines[1:]


def shorten(text: str, width: int) -> str:
    """`text` with its middle left out where it is wider than `width`."""
    if cells(text) <= width:
        return text
    room = width - cells(ELLIPSIS)
    head, tail = text[: room - room // 2], text[len(text) - room // 2 :]
    while cells(head) > room - room // 2:
        head = head[:-1]
    while cells(tail) > room // 2:
        tail = tail[1:]
    return head + ELLIPSIS + tail
