"""`llmperf static` as a process: what it imports, and the tracing child."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from llm_perf_opt.analysis.static.analyze import analyze
from llm_perf_opt.analysis.static.methods import description_by, static_record
from llm_perf_opt.analysis.static.sweep import parse_axis, sweep
from llm_perf_opt.analysis.traced.launch import traced
from llm_perf_opt.errors import ConfigError
from llm_perf_opt.hardware.catalogue import gpu_named
from llm_perf_opt.records.static import StaticRequest
from tests.cli_process import llmperf, read_json
from tests.unit.static.configs import DEEPSEEK_V3

pytestmark = pytest.mark.integration

_HEAVY = ("torch", "transformers", "numpy", "rich", "PIL", "tokenizers")
_PROBE = """
import sys
from llm_perf_opt.cli.main import main
try:
    main()
finally:
    print("HEAVY", sorted(set(sys.modules) & set({heavy!r})), file=sys.stderr)
"""


def test_the_closed_form_imports_nothing_heavy(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(DEEPSEEK_V3))
    for extra in (["--json", "--gpu", "h200-sxm"], ["--sweep", "batch=1,2", "--gpu", "l4", "--output", str(tmp_path)]):
        result = subprocess.run(
            [sys.executable, "-c", _PROBE.format(heavy=_HEAVY), "static", str(tmp_path), *extra],
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        assert "HEAVY []" in result.stderr


@pytest.mark.parametrize(
    ("content", "code", "text"),
    [
        ('{"model_type": "llama", "hidden_size": 0}', 2, "hidden_size is 0"),
        ('{"model_type": "llama",', 2, "broken JSON"),
        (None, 3, "config.json"),
    ],
)
def test_mistakes_end_with_their_exit_code(tmp_path: Path, content: str | None, code: int, text: str) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    command = [sys.executable, "-m", "llm_perf_opt.cli.main", "static", str(tmp_path)]
    script = Path(sys.executable).parent / "llmperf"
    if script.exists():
        command = [str(script), "static", str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == code
    assert text in result.stderr
    assert "remedy:" in result.stderr
    assert "Traceback" not in result.stderr


# BERT-like in size, and no family of ours: persimmon has no closed form here.
UNKNOWN = {
    "model_type": "persimmon",
    "vocab_size": 96,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
}


def test_a_model_without_closed_form_is_traced_in_a_child_and_kept(tmp_path: Path) -> None:
    request = StaticRequest(prompt_tokens=20, attention_flops="full", logits="all")
    description = traced(UNKNOWN, cache=tmp_path)
    record = analyze(UNKNOWN, request, description=description)
    assert record.method == "traced"
    prefill = record.phases.prefill
    assert prefill is not None
    # Query, key, value and output of 48 x 48, an MLP of two matrices, attention over the square, and the head.
    layer = 2 * 20 * (4 * 48 * 48 + 2 * 48 * 80) + 4 * 20 * 20 * 48
    assert prefill.flops == 3 * layer + 2 * 20 * 48 * 96
    assert sum(module.flops for module in prefill.by_module.values()) == prefill.flops
    assert analyze(UNKNOWN, request, description=traced(UNKNOWN, cache=tmp_path)) == record
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.usefixtures("warm_command")
def test_a_traced_model_has_all_that_a_closed_form_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    record = static_record(UNKNOWN, StaticRequest(prompt_tokens=20, new_tokens=9), [gpu_named("l4")])
    assert record.method == "traced"
    assert record.model.kv_bytes_per_token == 3 * 2 * 48 * 2
    generation, decode = record.phases.generation, record.phases.decode
    assert generation is not None
    assert decode is not None
    assert decode.kv_bytes == 21 * 3 * 2 * 48 * 2
    gpu = record.gpus[0]
    assert gpu.memory is not None
    assert gpu.memory.largest_batch > 1000
    assert gpu.memory.kv_bytes == 29 * 3 * 2 * 48 * 2
    assert gpu.phases.generation is not None
    assert gpu.phases.generation.unfused_ms is not None
    parsed = dict([parse_axis("batch=1,2")])
    description = description_by(UNKNOWN, record.request, method="auto")
    points = sweep(UNKNOWN, StaticRequest(prompt_tokens=20), parsed, [gpu_named("l4")], description=description).points
    assert [(point.batch, point.phase) for point in points] == [
        (1, "prefill"), (1, "decode"), (2, "prefill"), (2, "decode")
    ]  # fmt: skip
    assert points[1].flops == decode.flops
    assert points[3].kv_bytes == 2 * points[1].kv_bytes
    with pytest.raises(ConfigError, match="--mla-form absorbed needs a closed form"):
        static_record(UNKNOWN, StaticRequest(mla_form="absorbed"), fallback=False)


@pytest.mark.usefixtures("warm_command")
def test_what_transformers_cannot_build_is_refused_by_the_child(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="knows no model_type 'walrus'"):
        traced({"model_type": "walrus"}, cache=tmp_path)
    with pytest.raises(ConfigError, match="cannot build this model"):
        traced({**UNKNOWN, "num_attention_heads": 5}, cache=tmp_path)
    assert not list(tmp_path.glob("*.json"))


@pytest.mark.usefixtures("warm_command")
def test_the_first_sample_is_prepared_in_a_child_as_it_runs(tmp_path: Path) -> None:
    """The demo's first page: a global view and two tiles. The right figures were computed apart from the product."""
    arguments = ["--no-torch", "pipeline.static_analysis.use_synthetic_inputs=false", "infer.max_new_tokens=2"]
    finished = llmperf(["run", *arguments, "--output", "run"], tmp_path)
    assert finished.returncode == 0, finished.stderr
    prefill = read_json(tmp_path / "run" / "static_analysis" / "static_compute.json")["phases"]["prefill"]
    assert (prefill["tokens"], prefill["flops"]) == (581, 5_835_065_920)
    assert "| prefill | 581 | 5,835,065,920 |" in (tmp_path / "run" / "report.md").read_text()


@pytest.mark.usefixtures("warm_command")
def test_a_sample_that_cannot_be_prepared_fails_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "broken.png").write_bytes(b"no image")
    arguments = ["--no-torch", "pipeline.static_analysis.use_synthetic_inputs=false", "dataset.root=pages"]
    finished = llmperf(["run", *arguments, "dataset.name=null", "--output", "run"], tmp_path)
    assert finished.returncode == 1
    assert "broken.png" in finished.stderr
    assert "Traceback" not in finished.stderr
