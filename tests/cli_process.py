"""Running the real command line in a real process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

LLMPERF = str(Path(sys.executable).with_name("llmperf"))


def environment(**extra: str) -> dict[str, str]:
    """The process's own, plain and single-threaded."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "NO_COLOR": "1", "COLUMNS": "120", **extra}


def llmperf(
    arguments: Sequence[str], cwd: Path, *, timeout_s: float = 240, **extra: str
) -> subprocess.CompletedProcess[str]:
    """`llmperf ARGUMENTS` in `cwd`, to its end."""
    return subprocess.run(
        [LLMPERF, *arguments],
        cwd=cwd,
        env=environment(**extra),
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
