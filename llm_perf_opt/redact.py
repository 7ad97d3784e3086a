from __future__ import annotations
from collections.abc import Sequence
def redact_argv(argv: Sequence[str]) -> tuple[str, ...]:
    return tuple(argv)
