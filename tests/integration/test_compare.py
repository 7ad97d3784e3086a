"""`llmperf compare` on runs of the demo through the real command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from llm_perf_opt.records.comparison import Comparison
from tests.cli_process import llmperf

pytestmark = pytest.mark.usefixtures("warm_commands")

SHORT = [
    *("infer.max_new_tokens=4", "measure.repeats=3", "pipeline.torch_profiler.warmup_rounds=0"),
    "pipeline.torch_profiler.output.visualization.enable=false",
    # The two runs are made one after the other, on a machine that may be busy with one of them only.
    "pipeline.machine.enable=false",
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of torch_profiler: a growing cache and a static one; two small pages are two batches."""
    folder = tmp_path_factory.mktemp("compare")
    (folder / "pages").mkdir()
    for width in (200, 300):
        Image.linear_gradient("L").resize((width, 200)).convert("RGB").save(folder / "pages" / f"{width}.png")
    for name, overrides in (("a", []), ("b", ["infer.cache=static"])):
        finished = llmperf(["torch", "--output", name, "dataset.root=pages", *SHORT, *overrides], folder)
        assert finished.returncode == 0, finished.stderr
    return folder


def test_two_real_runs_are_two_blocks_and_their_repeats_are_compared_when_asked(runs: Path) -> None:
    finished = llmperf(["compare", "a", "b", "--json"], runs)
    assert finished.returncode == 0, finished.stderr
    found = Comparison.model_validate_json(finished.stdout)
    (stage,) = found.stages
    assert stage.work.relation == stage.answers.relation == "same"
    assert (found.replicate, found.outcome) == ("block", "cannot tell")
    finished = llmperf(["compare", "a", "b", "--json", "--within-launch"], runs)
    found = Comparison.model_validate_json(finished.stdout)
    assert found.replicate == "repeat"
    figures = {figure.name: figure for figure in found.stages[0].figures}
    for name in ("ttft_ms", "prefill.latency_ms", "decode.tpot_ms", "e2e.latency_ms"):
        figure = figures[name]
        assert figure.a.n == figure.b.n == 6
        assert figure.replicates == (3, 3)
        assert figure.change_percent_interval is not None
        assert figure.change_percent is not None
        assert figure.change_percent_interval[0] <= figure.change_percent
    assert {item.name for item in found.config} == {"infer.cache"}
    assert found.environment == found.inputs == ()
    assert {change.phase for change in found.profiles.operators} == {"prefill", "decode"}


def test_a_run_against_itself(runs: Path) -> None:
    finished = llmperf(["compare", "a", "a", "--require-same-output"], runs)
    assert finished.returncode == 0, finished.stderr
    assert "A and B are the same run: no change." in finished.stdout
    assert "\x1b" not in finished.stdout


def test_gates_end_the_process_with_their_codes(runs: Path) -> None:
    for limit, code in (
        ("e2e.latency_ms < +100000%", 4),
        ("e2e.latency_ms > +100000%", 0),
        ("decode.mbu < +0%", 5),
        ("e2e > 1", 2),
    ):
        finished = llmperf(["compare", "a", "b", "--within-launch", "--fail-if", limit], runs)
        assert finished.returncode == code, f"{limit}\n{finished.stdout}\n{finished.stderr}"
        assert "Traceback" not in finished.stderr


def test_what_is_no_run_is_missing(runs: Path) -> None:
    finished = llmperf(["compare", "a", "missing"], runs)
    assert finished.returncode == 3
    assert finished.stdout == ""
    assert "missing holds no run" in finished.stderr
