"""Processes of ours that import torch, answer one question and end."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable
from typing import NoReturn


def answer_and_end(answer: Callable[[], int]) -> NoReturn:
    """Run `answer` and end with its exit code, without what only a process that goes on needs.

    Looking for garbage in all that torch imports, and taking that down, take a second of the four that such a process
    lives. Nothing that is registered for the end of a process runs.
    """
    gc.disable()
    code = answer()
    sys.stdout.flush()
    os._exit(code)
