"""Old files become valid ones that mean the same, with their comments, and every change is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from llm_perf_opt.config.load import compose_text, load_config
from llm_perf_opt.config.migrate import Migrated, migrate, write
from llm_perf_opt.config.presets import presets
from llm_perf_opt.config.problems import InvalidConfig
from llm_perf_opt.config.remedies import MOVED, OUTPUTS
from llm_perf_opt.config.schema import Config

SHIPPED = presets((), {})
DATA = Path(__file__).parent / "data"


def migrated(text: str) -> tuple[Migrated, Config]:
    result = migrate(text, "old.yaml", SHIPPED)
    return result, compose_text(result.text, "new.yaml", SHIPPED)


def test_the_earlier_reference_means_the_same() -> None:
    result, config = migrated((DATA / "earlier_reference.yaml").read_text(encoding="utf-8"))
    assert "${" not in result.text
    assert "hydra" not in result.text
    assert (config.experiment, config.device, config.use_flash_attn) == ("stage1", "cuda:0", True)
    assert config.dataset.name == "omnidocbench"
    assert (config.model.name, config.model.preprocess.image_size) == ("deepseek_ocr", 640)
    assert (config.infer.max_new_tokens, config.infer.no_repeat_ngram_size) == (8192, 20)
    pipeline = config.pipeline
    assert pipeline.static_analysis.model_dump(include={"enable", "write_reports", "use_synthetic_inputs"}) == {
        "enable": True,
        "write_reports": True,
        "use_synthetic_inputs": True,
    }
    assert pipeline.torch_profiler.enable is True  # what the preset says, which the old file referred to
    assert (pipeline.nsys.enable, pipeline.nsys.gating_nvtx) == (False, True)
    assert (pipeline.ncu.enable, pipeline.ncu.gating_nvtx) == (False, True)
    assert pipeline.ncu.ncu_cli.sections == ("SpeedOfLight", "MemoryWorkloadAnalysis", "Occupancy", "SchedulerStats")
    assert config.artifacts.runs_dir == "tmp/profile-output"
    assert "# Nsight Compute args are provided by the preset" in result.text
    listed = result.text.split("\n\n")[1].splitlines()
    assert listed[0] == "defaults:"
    assert len(listed) == 11


def test_the_unified_configuration() -> None:
    result, config = migrated((DATA / "earlier_unified.yaml").read_text(encoding="utf-8"))
    assert (config.device, config.measure.repeats, config.artifacts.runs_dir) == ("cuda:0", 3, "tmp/runs")
    assert [left.name for left in result.left] == [
        "run.mode",
        "run.top_n_kernels",
        "hydra.output_subdir",
        "hydra.job.chdir",
    ]
    assert "hydra.run.dir: taken out, artifacts.runs_dir says the same" in result.changes


def test_migrating_twice_changes_nothing_more() -> None:
    for file in DATA.glob("earlier_*.yaml"):
        once = migrate(file.read_text(encoding="utf-8"), "old.yaml", SHIPPED)
        assert migrate(once.text, "new.yaml", SHIPPED) == Migrated(once.text)


def test_a_valid_file_comes_back_as_it_is() -> None:
    text = "# mine\ninfer:   {max_new_tokens: 3}   # few\n"
    assert migrate(text, "my.yaml", SHIPPED) == Migrated(text)


_VALUES = {"enable": "false", "enabled": "false", "activities": "[cpu]", "warmup_rounds": "4", "kernel_name": "x"}


@pytest.mark.parametrize(("old", "new"), [*MOVED.items(), *((f"outputs.{old}", new) for old, new in OUTPUTS.items())])
def test_every_moved_key_is_moved(old: str, new: str) -> None:
    last = new.rpartition(".")[2]
    whole = {"repeats", "num_samples_per_epoch", "max_new_tokens", "max_images", "thumbnail_width", "warmup_rounds"}
    lists = {"metrics": "[m]", "sections": "[s]", "activities": "[cpu]"}
    texts = {
        **{"include": "decode", "set": "full", "kernel_name": "gemm", "save_dir": "out", "subset_filelist": "/l.txt"},
        **{"prompt": "read", "runs_dir": "out"},
    }
    value = "5" if last in whole else lists.get(last, texts.get(last, "cpu" if last == "device" else "false"))
    text = "".join(f"{'  ' * depth}{part}:\n" for depth, part in enumerate(old.split(".")))[:-1] + f" {value}\n"
    result, config = migrated(text)
    assert f"{old} → {new}" in result.changes
    found: object = config
    for part in new.split("."):
        found = getattr(found, part)
    shown = [str(item) for item in found] if isinstance(found, tuple) else found
    assert str(shown).lower() == (f"['{value[1:-1]}']" if value.startswith("[") else value)


def test_the_new_key_wins_over_the_old() -> None:
    result, config = migrated("run: {repeats: 7}\nmeasure: {repeats: 2}\n")
    assert config.measure.repeats == 2
    assert [str(left) for left in result.left] == [
        "1: run.repeats: 7: not carried over: measure.repeats is set already"
    ]
    result, _ = migrated("run: {repeats: 2}\nmeasure: {repeats: 2}\n")
    assert result.changes == ("run.repeats: taken out, measure.repeats says the same",)
    assert not result.left


def test_runner_presets() -> None:
    result, config = migrated("defaults:\n  - runners: stage1.no-static\n  - _self_\n")
    assert config.pipeline.static_analysis.enable is False
    assert "runners" not in result.text


def test_entries_at_old_places() -> None:
    text = "defaults:\n  - /profiling/torch@torch_profiler: torch-profiler.min\n  - override hydra/launcher: joblib\n"
    result, config = migrated(text)
    assert config.pipeline.torch_profiler.activities == ("cpu",)
    assert "override" not in result.text


def test_a_list_of_which_nothing_is_left_still_keeps_the_demo_out() -> None:
    result, config = migrated("defaults:\n  - runner: stage2\nrun: {device: cpu}\n")
    assert result.text.startswith("defaults: [_self_]\n")
    assert config.dataset.name is None
    result, config = migrated("defaults: demo\n")
    assert [str(left) for left in result.left] == ["1: defaults: demo: not carried over: not a list of presets"]
    assert config.dataset.name == "demo_pages"


def test_inf_becomes_a_large_integer() -> None:
    result, config = migrated("infer: {max_new_tokens: inf}\n")
    assert config.infer.max_new_tokens == 8192
    assert "infer.max_new_tokens: inf → 8192" in result.changes


def test_references_take_their_value() -> None:
    _, config = migrated("experiment: first\nmodel: {revision: '${experiment}'}\n")
    assert config.model.revision == "first"


def test_what_nothing_can_be_made_of_is_taken_out_and_said() -> None:
    result, config = migrated("infer:\n  max_new_tokens: many\n  beams: 4\nnonsense: {a: 1}\n")
    assert config.infer.max_new_tokens == 32  # the demo's
    assert [(left.line, left.name) for left in result.left] == [
        (2, "infer.max_new_tokens"),
        (3, "infer.beams"),
        (4, "nonsense.a"),
    ]


def test_the_users_own_dollars_stay() -> None:
    text = "pipeline: {workload: {command: [sh, -c, 'echo ${HOME}']}}\ndataset: {prompt: 'cost: ${x}'}\n"
    assert migrate(text, "my.yaml", SHIPPED) == Migrated(text)


def test_comments_stay() -> None:
    text = (
        "# head\n\n# about the run\nrun:\n  device: cpu  # no GPU here\nexperiment: 'a # b'  # the label\n# the end\n"
    )
    result, _ = migrated(text)
    assert result.text == "# head\n\nexperiment: 'a # b'  # the label\n# the end\ndevice: cpu  # no GPU here\n"


def test_a_broken_file_is_not_migrated() -> None:
    with pytest.raises(InvalidConfig):
        migrate("a: [1\n", "old.yaml", SHIPPED)


def test_write_keeps_copies(tmp_path: Path) -> None:
    file = tmp_path / "old.yaml"
    file.write_text("one", encoding="utf-8")
    assert write(file, "two") == tmp_path / "old.yaml.bak"
    assert write(file, "three") == tmp_path / "old.yaml.bak2"
    contents = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()}
    assert contents == {"old.yaml": "three", "old.yaml.bak": "one", "old.yaml.bak2": "two"}


def test_every_file_that_is_valid_today_is_left_alone(tmp_path: Path) -> None:
    for path in sorted(SHIPPED.directories[-1].rglob("*.yaml")):
        if path.name == "config.yaml":
            text = path.read_text(encoding="utf-8")
            assert migrate(text, "config.yaml", SHIPPED).text == text
    assert load_config(environ={}).config.model.name == "demo"
