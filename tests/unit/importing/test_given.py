"""What the user says of files that do not say it themselves: their GPU, and which ranges are phases."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from llm_perf_opt.analysis.kernels.analyze import is_read
from llm_perf_opt.captures.kernel_files import find_kernels
from llm_perf_opt.cli import main as cli
from llm_perf_opt.errors import ConfigError
from llm_perf_opt.importing.execute import import_files, plan_import
from llm_perf_opt.importing.importer import PhaseRule, phase_rule
from llm_perf_opt.records.device_timeline import DeviceTimeline
from llm_perf_opt.reports.facts import read_run
from tests.unit.importing.test_import import Quiet, export, made
from tests.unit.timeline.example import EVENTS

H100 = "NVIDIA H100 80GB HBM3"
INSTRUCTIONS = ",".join(f'"smsp__sass_thread_inst_executed_op_{name}_pred_on.sum"' for name in ("fadd", "fmul", "ffma"))
RAW = (
    f'"ID","Process ID","Kernel Name","gpu__time_duration.sum","dram__bytes.sum",{INSTRUCTIONS}\n'
    '"","","","ns","byte","inst","inst","inst"\n"0","7","f","1000","5000","0","0","9000"\n'
)


def line(tmp_path: Path, file: Path, *, gpu: str | None = None, rules: tuple[PhaseRule, ...] = ()) -> DeviceTimeline:
    run_path = tmp_path / "the run"
    ended = import_files(plan_import([file], tmp_path, run_path, gpu=gpu, rules=rules), ["llmperf", "import"], Quiet())
    found = read_run(run_path, ended.manifest).first(DeviceTimeline)
    assert found is not None
    assert json.loads((run_path / "summary.json").read_bytes())["timeline"]["devices"][0]["name"] == gpu
    return found


@pytest.mark.parametrize("gpu", [None, H100])
@pytest.mark.parametrize("kind", ["nsys", "torch"])
def test_the_gpu_of_a_file_that_names_none(tmp_path: Path, kind: str, gpu: str | None) -> None:
    file = export(tmp_path / "x", [("f", 10)]) if kind == "nsys" else made(tmp_path, "t", json.dumps(EVENTS))
    assert line(tmp_path, file, gpu=gpu).devices[0].name == gpu


def test_a_file_that_names_its_gpu_is_believed(tmp_path: Path) -> None:
    named = {"deviceProperties": [{"id": 0, "name": "NVIDIA A100"}], "traceEvents": EVENTS}
    run_path = tmp_path / "the run"
    plan = plan_import([made(tmp_path, "t", json.dumps(named))], tmp_path, run_path, gpu=H100)
    found = read_run(run_path, import_files(plan, ["llmperf", "import"], Quiet()).manifest).first(DeviceTimeline)
    assert found is not None
    assert found.devices[0].name == "NVIDIA A100"
    assert any("is not used for what the file names: NVIDIA A100" in note for note in found.note_words())


def test_ranges_of_other_names_are_phases_and_steps(tmp_path: Path) -> None:
    trace = made(tmp_path, "t", json.dumps(EVENTS).replace('"decode"', '"model_step 4"'))
    found = line(tmp_path, trace, rules=(phase_rule("decode=^model_step"), phase_rule("prefill=^first$")))
    assert [(row.name, row.steps) for row in found.steps] == [("decode", 1)]
    assert [row.name for row in found.phases] == ["decode"]
    assert any("prefill=^first$: no range of" in note for note in found.note_words())
    assert not any("model_step" in note for note in found.note_words())


@pytest.mark.parametrize("text", ["decode", "=x", " =x", "decode=", "decode=(", "outside=x"])
def test_a_rule_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(text)):
        phase_rule(text)


def test_an_expression_may_hold_an_equals_sign() -> None:
    name, pattern = phase_rule("decode=step.DECODE bs=32")
    assert (name, pattern.pattern) == ("decode", "step.DECODE bs=32")


def test_roofs_are_drawn_where_the_gpu_is_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = made(tmp_path, "raw.csv", RAW)
    run_path = tmp_path / "the run"
    for arguments, drawn in ((["analyze", str(raw)], False), (["analyze", str(raw), "--gpu", H100], True)):
        with pytest.raises(SystemExit) as ended:
            cli.main(["kernels", *arguments, "--json"])
        assert ended.value.code == 0
        (point,) = json.loads(capsys.readouterr().out)["launches"][0]["points"]
        assert (point["share_of_roof"] is not None) is drawn
    import_files(plan_import([raw], tmp_path, run_path, gpu=H100), ["llmperf", "import"], Quiet())
    assert [launch.gpu for launch in find_kernels([run_path], is_read).launches] == [H100]


@pytest.mark.parametrize("command", [["import", "raw.csv"], ["kernels", "analyze", "raw.csv"]])
def test_an_unknown_gpu_lists_the_nearest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    made(tmp_path, "raw.csv", RAW)
    with pytest.raises(SystemExit) as ended:
        cli.main([*command, "--gpu", "H100 SXM"])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "unknown GPU 'H100 SXM'" in said
    assert "h100" in said
    assert not (tmp_path / "tmp").exists()
