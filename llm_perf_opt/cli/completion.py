"""Completion of `[CONFIG] [OVERRIDES]...`: files, keys with their allowed values, and presets."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from llm_perf_opt.config.keys import all_settings, choices, field_at
from llm_perf_opt.config.presets import presets, usual_mount

Completion = tuple[str, str]
"""A word and a short help."""


class _Word(str):
    """A word that typer must not filter: in bash only its end is compared with what was typed."""

    __slots__ = ()

    def startswith(self, *_: object) -> bool:
        return True


def complete(incomplete: str, environ: Mapping[str, str] | None = None) -> list[Completion]:
    """What a shell should offer for the word that is being typed.

    bash breaks words at `=`, `:` and `@`, so there the whole word is put together again, and only what
    stands behind the last break is offered.
    """
    environ = os.environ if environ is None else environ
    word, cut = bash_word(environ) if "COMP_WORDS" in environ else (incomplete, 0)
    return [(_Word(text[cut:]), help_text) for text, help_text in complete_argument(word)]


def bash_word(environ: Mapping[str, str]) -> tuple[str, int]:
    """The whole word under the cursor, and how much of it bash takes as typed already."""
    words = environ["COMP_WORDS"].split("\n")
    index = int(environ.get("COMP_CWORD", len(words) - 1))
    words = words[: index + 1]
    current = words[index] if index < len(words) else ""
    start = min(index, len(words))
    while start > 1 and (words[start - 1] in _BREAKS or (start < len(words) and words[start] in _BREAKS)):
        start -= 1
    whole = "".join(words[start:])
    kept = "" if current in _BREAKS else current
    return whole, len(whole) - len(kept)


_BREAKS = frozenset({"=", ":", "@"})


def complete_argument(word: str) -> list[Completion]:
    """What a word of `[CONFIG] [OVERRIDES]...` may become."""
    left, equals, right = word.partition("=")
    if equals:
        return [item for item in _values(left) if item[0].startswith(f"{left}={right}")]
    keys = [(f"{key}=", "setting") for key in all_settings()]
    groups = [(f"{_mounted(group)}=", "preset") for group in presets().groups()]
    return [item for item in (*_files(word), *keys, *groups) if item[0].startswith(word)]


def _mounted(group: str) -> str:
    mount = usual_mount(group)
    return group if mount == group.replace("/", ".") else f"{group}@{mount}"


def _values(left: str) -> list[Completion]:
    found = [(f"{left}={option}", "preset") for option in presets().options(left.partition("@")[0])]
    field = field_at(left.split("."))
    if field is not None:
        words = ("true", "false") if field.annotation is bool else choices(field.annotation)
        found += [(f"{left}={word}", "value") for word in words]
    return found


def _files(word: str) -> list[Completion]:
    """YAML files and directories that begin with the word."""
    folder, _, start = word.rpartition("/")
    try:
        entries = sorted(Path(f"{folder}/" if folder else ".").iterdir())
    except OSError:
        return []
    prefix = word[: len(word) - len(start)]
    found = []
    for entry in entries:
        if entry.name.startswith(start) and not entry.name.startswith("."):
            if entry.is_dir():
                found.append((f"{prefix}{entry.name}/", "directory"))
            elif entry.suffix in (".yaml", ".yml"):
                found.append((f"{prefix}{entry.name}", "file"))
    return found
