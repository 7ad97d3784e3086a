"""Make everything anew that is made from the code: generated parts of pages, pictures, snapshots of help and messages.

    uv run python docs/refresh.py [--check]

With `--check` nothing is changed: what is not as the code makes it is named, and the exit code is 1. What takes minutes
is not among them, and has a command of its own in CONTRIBUTING.md.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
MAKERS: tuple[tuple[str, ...], ...] = (
    ("docs/configuration/generate.py",),
    ("-m", "llm_perf_opt.hardware.table", "docs/hardware/gpus.md"),
    ("-m", "llm_perf_opt.analysis.advice.page", "docs/advice.md"),
    ("-m", "llm_perf_opt.analysis.static.family_list", "docs/static/families.md"),
    ("-m", "tests.walk.page"),
    ("docs/images/timeline.py",),
    ("-m", "pytest", "-q", "-n", "0", "tests/unit/cli/test_cli_main.py", "tests/unit/config/test_messages.py"),
)
"""Arguments of Python; each writes its files in place."""


def made_files() -> dict[Path, bytes]:
    """All that a maker may write."""
    folders = (ROOT / "docs", ROOT / "tests" / "unit")
    kinds = (".md", ".json", ".svg", ".txt", ".yaml")
    found = (file for folder in folders for file in folder.rglob("*") if file.suffix in kinds)
    return {file: file.read_bytes() for file in found}


def main(check: bool) -> int:
    before = made_files()
    environment = {**os.environ, "UPDATE_SNAPSHOTS": "1"}
    for maker in MAKERS:
        argv = [sys.executable, *maker]
        made = subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        if made.returncode:
            print(f"{' '.join(maker)} failed:\n{made.stdout}{made.stderr}", file=sys.stderr)
            return 1
    after = made_files()
    changed = sorted(file for file in before.keys() | after.keys() if before.get(file) != after.get(file))
    for file in changed:
        print(f"{'not as the code makes it' if check else 'refreshed'}: {file.relative_to(ROOT)}")
        if check and file in before:
            file.write_bytes(before[file])
        elif check:
            file.unlink()
    if check and changed:
        print("run: uv run python docs/refresh.py", file=sys.stderr)
    return int(check and bool(changed))


if __name__ == "__main__":
    sys.exit(main(check="--check" in sys.argv[1:]))
