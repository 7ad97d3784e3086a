"""Models on ranks that torchrun starts, joined by gloo; and ranks that are killed, hang or run out of memory."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from llm_perf_opt.analysis.sharding.figures import sharding
from llm_perf_opt.analysis.sharding.ranks import rank_figures
from llm_perf_opt.analysis.sharding.shares import Split
from llm_perf_opt.artifacts.layout import TOKENS, WORKLOAD, headline_dir, rank_dir, rank_dirs, timeline_file
from llm_perf_opt.config.schema import Config, Dataset, Infer, Measure, Model, Parallel, Synthetic
from llm_perf_opt.errors import StageError
from llm_perf_opt.records.device_timeline import DeviceTimeline
from llm_perf_opt.records.inputs import Inputs, MadeUp, Sample
from llm_perf_opt.records.launches import Tokens
from llm_perf_opt.records.static import StaticRequest
from llm_perf_opt.records.workload import Workload
from llm_perf_opt.stages.child import run_child
from llm_perf_opt.stages.ranks import run_ranks
from llm_perf_opt.stages.torch_profiler.execute import compare_ranks
from llm_perf_opt.workload.events import EventWriter
from llm_perf_opt.workload.job import execute
from llm_perf_opt.workload.order import MODULE, WorkOrder, child_argv
from tests.cli_process import LLMPERF, environment, llmperf, read_json
from tests.integration.test_child import Quiet
from tests.tiny_models import IMAGE_TEXT, write_image_text_model
from tests.walk.small import small

pytestmark = pytest.mark.integration

PROMPT, NEW = 12, 8
SIZES: dict[str, Any] = {
    "vocab_size": 500,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "max_position_embeddings": 512,
    "torch_dtype": "float32",
}
MODELS: dict[str, dict[str, Any]] = {
    "llama": {"model_type": "llama", "architectures": ["LlamaForCausalLM"], **SIZES},
    "mixtral": {
        "model_type": "mixtral",
        "architectures": ["MixtralForCausalLM"],
        "num_local_experts": 4,
        "num_experts_per_tok": 2,
        **SIZES,
    },
}


def order_of(folder: Path, model: str, tensor: int, part: str | None = None) -> WorkOrder:
    path = folder / "model"
    path.mkdir(exist_ok=True)
    (path / "config.json").write_text(json.dumps(MODELS[model]))
    made = MadeUp(seed=0, prompt_tokens=PROMPT, images=())
    sample = Sample(kind="made_up", path=None, made_up=made, size_bytes=0, sha256="")
    return WorkOrder(
        stage="direct_inference",
        config=Config(
            device="cpu",
            model=Model(name="causal_lm", path=str(path), weights="random"),
            dataset=Dataset(synthetic=Synthetic(prompt_tokens=PROMPT)),
            infer=Infer(max_new_tokens=NEW, stop_on_eos=False),
            measure=Measure(warmup=0, repeats=1),
            parallel=Parallel(tensor=tensor),
        ),
        inputs=Inputs(samples=(sample,), epochs=((0,),)),
        scratch_dir=folder / f"scratch-{tensor}",
        output_dir=folder / f"out-{tensor}",
        part=part,
    )


def alone(order: WorkOrder) -> Workload:
    """What one process, this one, makes of the order."""
    order.scratch_dir.mkdir()
    order.output_dir.mkdir()
    execute(order, EventWriter(order.scratch_dir / "events.jsonl"))
    return Workload.read(order.output_dir / WORKLOAD)


@pytest.mark.usefixtures("warm_command")
@pytest.mark.parametrize(("model", "tensor"), [("llama", 2), ("mixtral", 4)])
def test_ranks_make_the_tokens_of_one_process_and_what_the_plan_says(model: str, tensor: int, tmp_path: Path) -> None:
    part = "count_and_profile" if tensor == 2 else "count"
    order = order_of(tmp_path, model, tensor, f"tests.integration.rank_parts:{part}")
    run_child(order, Quiet())
    if tensor == 2:
        check_comparison(order.output_dir)
    folders = rank_dirs(order.output_dir)
    ranks = [Workload.read(folder / WORKLOAD) for folder in folders]
    one = alone(order_of(tmp_path, model, 1))

    assert headline_dir(order.output_dir) == rank_dir(order.output_dir, 0)
    alones = Tokens.read(order_of(tmp_path, model, 1).output_dir / TOKENS)
    assert [Tokens.read(folder / TOKENS) for folder in folders] == [alones] * tensor
    assert len(ranks) == tensor
    for found in ranks:
        assert found.work_fingerprint == one.work_fingerprint
        assert found.model.parameters == one.model.parameters
    figures = rank_figures(ranks)
    assert [row.rank for row in figures] == list(range(tensor))

    request = StaticRequest(prompt_tokens=PROMPT, new_tokens=NEW, attention_flops="full")
    plan = sharding(MODELS[model], request, Split(tensor), "plan")
    assert [row.weight_bytes for row in figures] == [row.weight_bytes for row in plan.ranks]
    counted = [json.loads((folder / "counted.json").read_text()) for folder in folders]
    for phase, total in (("prefill", plan.prefill), ("decode", plan.decode)):
        assert sum(rank[phase]["flops"] for rank in counted) == total.flops
        handed = [sum(map(sum, rank[phase]["collectives"].values())) for rank in counted]
        assert sum(handed) == total.payload_bytes
    for collectives, phase in ((plan.prefill_collectives, "prefill"), (plan.decode_collectives, "decode")):
        for kind, calls in counted[0][phase]["collectives"].items():
            assert len(calls) == sum(found.calls for found in collectives if found.kind == kind)


def check_comparison(folder: Path) -> None:
    """All that gloo exchanged, on both ranks, told by the one clock of this machine."""
    compare_ranks(folder, 2, Quiet())
    line = DeviceTimeline.read(folder / timeline_file())
    assert line.rank_comparison is not None
    assert (line.rank_comparison.clocks, line.rank_comparison.missing) == (1, ())
    for rank in line.ranks:
        assert rank.reason is None
        # Of one layer two sums, of every step one gathering of logits and one sum of embeddings, and some of ids.
        assert NEW * (2 * SIZES["num_hidden_layers"] + 1) <= rank.compared < rank.collectives
        assert rank.skew_ns is not None
        assert rank.transfer_ns is not None
        assert rank.untold_ns is not None
        assert rank.skew_ns + rank.transfer_ns + rank.untold_ns <= rank.collectives_ns
    assert len({rank.compared for rank in line.ranks}) == 1


@pytest.mark.campaign
@pytest.mark.parametrize("name", ["qwen2_5_vl", "llava", "gemma3", "jamba", "qwen3_next", "minimax", "olmo_hybrid"])
def test_images_and_recurrent_states_make_the_tokens_of_one_process(name: str, tmp_path: Path) -> None:
    path = tmp_path / "model"
    if name in IMAGE_TEXT:
        write_image_text_model(path, name)
        asked = ["--image", "64x64"]
    else:
        from transformers import CONFIG_MAPPING

        path.mkdir()
        (path / "config.json").write_text(json.dumps(small(CONFIG_MAPPING[name]().to_dict(), name)))
        asked = ["--prompt-tokens", str(PROMPT)]
    asked += ["--max-new-tokens", str(NEW), "device=cpu", "model.weights=random", "model.dtype=float32"]
    asked += ["infer.stop_on_eos=false", "measure.warmup=0", "measure.repeats=1", "hardware.peaks=catalogue"]
    made = []
    for tensor in (1, 2):
        run = tmp_path / f"run-{tensor}"
        words = ["infer", str(path), *asked, f"parallel.tensor={tensor}", "--output", str(run)]
        finished = llmperf(words, tmp_path)
        assert finished.returncode == 0, finished.stderr
        made.append(Tokens.read(headline_dir(run / "direct_inference") / TOKENS))
    assert made[0] == made[1]


@pytest.mark.campaign
def test_a_run_on_given_ranks_that_was_killed_is_resumed_on_them(tmp_path: Path) -> None:
    """The first rank's llmperf is killed while the model decodes: torchrun ends the other; both go on later."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text(json.dumps(MODELS["llama"]))
    torchrun = [str(Path(LLMPERF).with_name("torchrun")), "--nproc-per-node", "2", "--no-python", LLMPERF]
    words = ["infer", "model", "--prompt-tokens", str(PROMPT), "--max-new-tokens", "400", "device=cpu"]
    words += ["infer.stop_on_eos=false", "measure.warmup=0", "measure.launches=2", "hardware.peaks=catalogue"]
    words += ["artifacts.runs_dir=runs", "--output", "run"]
    first = subprocess.Popen([*torchrun, *words], cwd=tmp_path, env=environment(), start_new_session=True)
    steps = tmp_path / "run" / "tmp" / "workload" / "direct_inference" / "launch-00" / "rank-0" / "events.jsonl"
    deadline = time.monotonic() + 120
    while not (steps.exists() and '"step"' in steps.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    (pid,) = [
        int(folder.name)
        for folder in Path("/proc").glob("[0-9]*")
        if f"{LLMPERF}\0infer" in _command(folder) and f"{tmp_path}" in str(_cwd(folder)) and _rank(folder) == "0"
    ]
    os.kill(pid, signal.SIGKILL)
    assert first.wait(timeout=120) != 0
    assert read_json(tmp_path / "run" / "run.json")["status"] == "running"
    again = [*torchrun, "run", "--resume", "run"]
    resumed = subprocess.run(again, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=240)
    assert resumed.returncode == 0, resumed.stderr
    assert read_json(tmp_path / "run" / "run.json")["status"] == "completed"
    assert len(list((tmp_path / "run" / "direct_inference").glob("launch-0[01]/rank-[01]/tokens.json"))) == 4
    assert not list((tmp_path / "runs").iterdir())


def _cwd(folder: Path) -> Path | None:
    try:
        return (folder / "cwd").readlink()
    except OSError:
        return None


def _rank(folder: Path) -> str | None:
    found = (folder / "environ").read_text(errors="replace").split("\0")
    return next((entry.removeprefix("RANK=") for entry in found if entry.startswith("RANK=")), None)


FAULTS = {
    "killed": ("rank 1 was ended by SIGKILL in phase 'measure', and the others were stopped", "dmesg"),
    "out of memory": ("rank 1: out of memory: decode", "lower infer.batch_size"),
    "hung": (
        "no rank made progress for 20 s, rank 1 the first to stop, and all were stopped; rank 0: measure",
        "py-spy",
    ),
}


@pytest.mark.parametrize("fault", list(FAULTS))
def test_a_rank_that_fails_ends_all_with_its_own_words(fault: str, tmp_path: Path) -> None:
    order = order_of(tmp_path, "llama", 2)
    order.scratch_dir.mkdir()
    for rank in range(2):
        rank_dir(order.scratch_dir, rank).mkdir()
    argv = child_argv(order.scratch_dir / "order.json", order.config.parallel)
    argv[argv.index(MODULE)] = "tests.integration.rank_stand_in"
    with pytest.raises(StageError) as caught:
        run_ranks(order, [*argv, fault], Quiet(), 20.0 if fault == "hung" else 120.0)
    message, remedy = FAULTS[fault]
    assert message in caught.value.message
    assert remedy in caught.value.remedy
    assert not [folder for folder in Path("/proc").glob("[0-9]*") if str(tmp_path) in _command(folder)]


def _command(folder: Path) -> str:
    try:
        return (folder / "cmdline").read_text()
    except OSError:
        return ""
