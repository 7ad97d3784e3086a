"""Running the nsys and ncu stages on the stand-ins through the real command line, and checking how they failed."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from llm_perf_opt.records.manifest import Manifest, StageEntry
from tests.cli_process import LLMPERF, environment, read_json
from tests.standins.fixtures import Nsight


def command_line(
    arguments: Sequence[str], nsight: Nsight, folder: Path, **extra: str
) -> subprocess.CompletedProcess[str]:
    """`llmperf ARGUMENTS` in `folder`, where the stand-ins are what is installed."""
    return subprocess.run(
        [LLMPERF, *arguments],
        cwd=folder,
        env=environment(**{**nsight.env, **extra}),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def profile(
    tool: str, nsight: Nsight, folder: Path, arguments: Sequence[str], **extra: str
) -> subprocess.CompletedProcess[str]:
    """`llmperf TOOL --output run ARGUMENTS`."""
    return command_line([tool, "--output", "run", *arguments], nsight, folder, **extra)


def stage_entry(folder: Path, stage: str) -> StageEntry:
    """What the manifest of `run` says of a stage."""
    manifest = Manifest.model_validate_json((folder / "run" / "run.json").read_bytes())
    return manifest.stages[stage]


def running(marker: Path) -> list[int]:
    """Processes but llmperf's own whose command line names `marker`."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            words = (folder / "cmdline").read_bytes() if folder.name.isdigit() else b""
        except OSError:
            continue
        if str(marker).encode() in words and LLMPERF.encode() not in words:
            found.append(int(folder.name))
    return found


@dataclass(frozen=True)
class Expected:
    """A failure: its code, words of its message, and what the command exits with."""

    code: str
    words: str
    exit_code: int = 1

    def check(self, stage: str, finished: subprocess.CompletedProcess[str], folder: Path) -> None:
        """The message names the cause, the remedy leads to the docs, and manifest and exit code agree."""
        assert finished.returncode == self.exit_code, finished.stderr
        assert "Traceback" not in finished.stderr
        failed = stage_entry(folder, stage)
        assert failed.status == "failed"
        assert failed.exit_code == self.exit_code
        assert self.words in (failed.reason or "")
        assert f"docs/nsight/failures.md#{self.code}" in (failed.remedy or "")
        assert f"error: {stage}: " in finished.stderr
        assert read_json(folder / "run" / stage / "facts.json")["failure"]["code"] == self.code
        assert (folder / "run" / "report.md").exists()
