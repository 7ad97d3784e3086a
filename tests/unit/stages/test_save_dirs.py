"""Folders of predictions and galleries: `~` is home, and what is taken is refused before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from llm_perf_opt.artifacts.files import sha256_of
from llm_perf_opt.artifacts.layout import workload_dir
from llm_perf_opt.config.base import Output, Prediction, TimedSettings, Visualization
from llm_perf_opt.config.load import load_config
from llm_perf_opt.config.problems import InvalidConfig
from llm_perf_opt.errors import ConfigError
from llm_perf_opt.run import plan_run
from llm_perf_opt.stages.save_dirs import elsewhere, prediction_dir, visualization_dir
from llm_perf_opt.stages.wrapped import inside

TORCH = "pipeline.torch_profiler.output"
DIRECT = "pipeline.direct_inference.output"
ON = (f"{TORCH}.prediction.enable=true", f"{DIRECT}.prediction.enable=true", "pipeline.direct_inference.enable=true")


def plan(tmp_path: Path, *overrides: str) -> None:
    plan_run(load_config(None, [*ON, *overrides], environ={}).config, tmp_path / "run")


@pytest.mark.parametrize("folder", ["pred", ".", "a/b", "null", "out.d", "../x", "workload", "/tmp/none/such"])
def test_what_is_free_is_taken(tmp_path: Path, folder: str) -> None:
    if folder == "../x":
        with pytest.raises(ConfigError, match="leaves the stage's own directory"):
            plan(tmp_path, f"{TORCH}.prediction.save_dir={folder}")
    else:
        plan(tmp_path, f"{TORCH}.prediction.save_dir={folder}")


@pytest.mark.parametrize("blank", ["''", "'  '", '"\\t"', '"a\\0"'])
@pytest.mark.parametrize("part", ["prediction", "visualization"])
def test_blank_is_refused(part: str, blank: str) -> None:
    with pytest.raises(InvalidConfig, match="must name a folder"):
        load_config(None, [f"{TORCH}.{part}.save_dir={blank}"], environ={})


@pytest.mark.parametrize("home", ["~", "~/out"])
def test_home_is_expanded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, home: str) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    config = load_config(None, [f"{TORCH}.prediction.save_dir='{home}'"], environ={}).config
    settings = config.pipeline.section("torch_profiler")
    assert isinstance(settings, TimedSettings)
    assert settings.output.prediction.save_dir == home.replace("~", str(tmp_path))


def test_the_home_of_nobody_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no home of ~nobody-here"):
        plan(tmp_path, f"{TORCH}.prediction.save_dir=~nobody-here/x")


@pytest.mark.parametrize(
    "name", ["workload.json", "trace.json.gz", "metrics.json/x", "predictions.md", "./report.md", "profile.sqlite"]
)
def test_names_of_the_stages_own_files_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="is the name of a file of the stage"):
        plan(tmp_path, f"{TORCH}.visualization.save_dir={name}")


@pytest.mark.parametrize("held", ["predictions.jsonl", "predictions.md", "workload.json", "run.json"])
def test_a_folder_with_somebodys_output_is_refused(tmp_path: Path, held: str) -> None:
    (tmp_path / "out").mkdir()
    plan(tmp_path, f"{TORCH}.prediction.save_dir={tmp_path / 'out'}")
    (tmp_path / "out" / held).write_text("")
    with pytest.raises(ConfigError) as error:
        plan(tmp_path, f"{TORCH}.prediction.save_dir={tmp_path / 'out'}")
    assert error.value.exit_code == 2
    assert not (tmp_path / "run").exists()


def test_a_folder_of_another_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "run.json").write_text("{}")
    with pytest.raises(ConfigError, match="is in another run"):
        plan(tmp_path, f"{DIRECT}.visualization.save_dir={tmp_path / 'old' / 'direct_inference' / 'viz'}")


def test_another_stages_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is in the run directory itself"):
        plan(tmp_path, f"{TORCH}.prediction.save_dir={tmp_path / 'run' / 'direct_inference' / 'pred'}")
    with pytest.raises(ConfigError, match="name the same folder"):
        plan(tmp_path, *(f"{stage}.prediction.save_dir={tmp_path / 'out'}" for stage in (TORCH, DIRECT)))
    (tmp_path / "link").symlink_to(tmp_path / "out")
    with pytest.raises(ConfigError, match="name the same folder"):
        plan(
            tmp_path,
            f"{TORCH}.prediction.save_dir={tmp_path / 'out'}",
            f"{DIRECT}.prediction.save_dir={tmp_path / 'link'}",
        )


@pytest.mark.parametrize("path", ["file", "file/below"])
def test_a_file_is_refused(tmp_path: Path, path: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="is a file"):
        plan(tmp_path, f"{TORCH}.prediction.save_dir={tmp_path / path}")


def test_what_is_switched_off_is_not_looked_at(tmp_path: Path) -> None:
    (tmp_path / "predictions.md").write_text("")
    plan(tmp_path, f"{TORCH}.visualization.enable=false", f"{TORCH}.visualization.save_dir={tmp_path}")


def test_files_outside_the_run_are_recorded_with_their_digest(tmp_path: Path) -> None:
    run, out = tmp_path / "run", tmp_path / "out"
    for folder in (run / "torch_profiler" / "viz", out):
        folder.mkdir(parents=True)
    (out / "predictions.jsonl").write_text("{}\n")
    (run / "torch_profiler" / "viz" / "predictions.md").write_text("# gallery\n")
    found = elsewhere(run, out, run / "torch_profiler" / "viz").files
    assert [(file.path, file.size_bytes) for file in found] == [(str(out / "predictions.jsonl"), 3)]
    assert found[0].sha256 == sha256_of(out / "predictions.jsonl")


@pytest.mark.parametrize("folder", ["out", ".", "../shared", "/shared", None])
def test_stages_under_tools_keep_their_own_outputs(tmp_path: Path, folder: str | None) -> None:
    output = Output(prediction=Prediction(enable=True, save_dir=folder), visualization=Visualization(save_dir=folder))
    found = set()
    for stage in ("nsys", "ncu"):
        own = workload_dir(tmp_path, stage)
        for place in (prediction_dir(own, inside(output)), visualization_dir(own, inside(output))):
            assert place is not None
            assert (own / place).is_relative_to(own)
            found.add((stage, place))
    assert len({place for _, place in found}) >= 2
    assert not {place for stage, place in found if stage == "nsys"} & {p for stage, p in found if stage == "ncu"}
