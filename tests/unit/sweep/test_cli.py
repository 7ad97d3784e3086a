"""`llmperf sweep` where it starts nothing: listing, and what is refused before anything is written."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from llm_perf_opt.cli import console
from llm_perf_opt.cli import main as cli
from llm_perf_opt.records.sweep import SweepPoint
from llm_perf_opt.sweep.directory import SweepDirectory
from llm_perf_opt.sweep.points import Task
from tests.unit.sweep.leaving import leave


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    console.set_level()


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.main(["sweep", *words])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_points_are_listed_with_what_has_become_of_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("infer.batch_size=2,1", "--launches", "2", "--output", "s", "--dry-run")
    assert run(*words, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [(row["settings"], row["launch"]) for row in found["points"]] == [
        ({"infer.batch_size": 1}, 1),
        ({"infer.batch_size": 2}, 1),
        ({"infer.batch_size": 1}, 2),
        ({"infer.batch_size": 2}, 2),
    ]
    assert not (tmp_path / "s").exists()
    first = found["points"][0]
    point = SweepPoint(id=first["id"], settings=first["settings"], group="g", batch=1)
    leave(SweepDirectory(tmp_path / "s"), Task(point, 1))
    assert run(*words) == 0
    assert f"{first['id']}  infer.batch_size=1  (completed)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "launches"), [((), 1), (("measure.launches=2",), 2), (("measure.launches=2", "--launches", "3"), 3)]
)
def test_launches_are_those_of_the_option_else_of_the_configuration(
    words: tuple[str, ...], launches: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("infer.batch_size=1,2", *words, "--dry-run", "--json") == 0
    rows = json.loads(capsys.readouterr().out)["points"]
    assert [row["launch"] for row in rows] == [number for number in range(1, launches + 1) for _ in range(2)]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("infer.batch_size=1,0",), 2, "1 of 2 points cannot be run, so none was started"),
        (("infer.batch_size=1,2", "--batch", "4"), 2, "infer.batch_size is swept, and an option gives it one value"),
        (("--zip", "infer.batch_size=1,2", "--zip", "infer.seed=1"), 2, "equally many values"),
        (("infer.batch_size=1,2", "--partition", "gpu"), 2, "--partition is of Slurm"),
        (("infer.batch_size=1,2", "--time", "5"), 2, "--time is of Slurm"),
        (("infer.batch_size=1,2", "--jobs", "2", "--gpus-each", "1"), 2, "takes 2 GPUs"),
        (("infer.batch_size=1,2", "--on", "slurm"), 3, "Slurm|submitit"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_written(
    words: tuple[str, ...], code: int, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*words, "--output", "s") == code
    assert re.search(message, capsys.readouterr().err)
    assert not list(tmp_path.iterdir())
