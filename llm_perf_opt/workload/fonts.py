"""A font that has the characters of a label: Pillow's own, else one of the system's, else their code points."""

from __future__ import annotations

import functools
import os
import sys
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
_PROBE_PIXELS = 16
_NO_CHARACTER = "\U0010ffff"
"""No font has it: what is drawn for it is the box for every character that a font does not have."""
_ENDINGS = (".ttf", ".otf", ".ttc", ".otc")
_BROAD = ("dejavusans.", "notosans-regular", "notosanscjk-regular", "arial unicode", "droidsansfallback", "unifont")
"""What the names of fonts with many scripts begin with; they are tried first."""
_STYLED = ("bold", "italic", "oblique", "light", "black", "thin", "mono", "condensed", "serif")


@dataclass(frozen=True)
class Lettering:
    """How a text is drawn."""

    font: Font
    text: str
    """With code points for what no font has."""
    missing: str = ""
    """Those characters."""


def lettering(text: str, size_px: int) -> Lettering:
    """The font and the words to draw `text` with, never a box in place of a character."""
    own = ImageFont.load_default(size_px)
    characters = frozenset(text)
    if not _missing(ImageFont.load_default(_PROBE_PIXELS), characters):
        return Lettering(own, text)
    path, missing = _best(characters)
    font: Font = own if path is None else ImageFont.truetype(path, size_px)
    shown = "".join(f"U+{ord(char):04X} " if char in missing else char for char in text)
    return Lettering(font, shown.strip(), "".join(sorted(missing)))


@functools.lru_cache(maxsize=1024)
def _best(characters: frozenset[str]) -> tuple[str | None, frozenset[str]]:
    """The first font with all of them, else the one with most; and what it does not have."""
    best: tuple[str | None, frozenset[str]] = None, _missing(ImageFont.load_default(_PROBE_PIXELS), characters)
    digits = frozenset("U+0123456789ABCDEF")  # for the code points
    for path in font_files():
        try:
            font = ImageFont.truetype(path, _PROBE_PIXELS)
            missing = _missing(font, characters)
            if len(missing) < len(best[1]) and not _missing(font, digits):
                best = path, missing
        except (OSError, ValueError):
            continue  # not a font, or a broken one
        if not missing:
            break
    return best


def _missing(font: Font, characters: frozenset[str]) -> frozenset[str]:
    """Characters for which the font has no glyph."""
    box = _picture(font, _NO_CHARACTER)
    return frozenset(char for char in characters if not _is_drawn(font, char, box))


def _is_drawn(font: Font, char: str, box: tuple[object, bytes]) -> bool:
    category = unicodedata.category(char)
    if category in ("Cc", "Zl", "Zp"):  # they are no glyphs, and some of them end a layout
        return False
    return category in ("Zs", "Cf") or _picture(font, char) not in (box, (None, b""))


def _picture(font: Font, char: str) -> tuple[object, bytes]:
    mask = font.getmask(char)
    return mask.getbbox(), bytes(mask)


@functools.cache
def font_files() -> tuple[str, ...]:
    """Every font of the system, those with many scripts first, plain ones before styled ones."""
    found = sorted({str(path) for folder in _folders() for path in _fonts_in(folder)})
    return tuple(sorted(found, key=lambda path: _rank(Path(path).name.lower())))


def _rank(name: str) -> tuple[int, int, str]:
    broad = next((number for number, start in enumerate(_BROAD) if name.startswith(start)), len(_BROAD))
    return broad, sum(style in name for style in _STYLED), name


def _fonts_in(folder: Path) -> Iterator[Path]:
    for place, _, files in os.walk(folder):
        yield from (Path(place, name) for name in files if name.lower().endswith(_ENDINGS))


def _folders() -> Iterator[Path]:
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 - Path.home raises where there is none
    if sys.platform == "darwin":
        yield from (Path("/System/Library/Fonts"), Path("/Library/Fonts"), home / "Library" / "Fonts")
        return
    shared = os.environ.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share"
    own = os.environ.get("XDG_DATA_HOME") or str(home / ".local" / "share")
    yield from (Path(folder) / "fonts" for folder in (*shared.split(os.pathsep), own) if folder)
    yield home / ".fonts"
