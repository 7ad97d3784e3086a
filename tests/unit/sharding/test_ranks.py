"""Ranks: which one a process is, how they are started, what is refused before anything loads, and where tokens part."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch.distributed as dist

from llm_perf_opt.analysis.sharding.tp_plan import tensor_plan
from llm_perf_opt.config.load import load_config
from llm_perf_opt.config.problems import InvalidConfig
from llm_perf_opt.config.schema import Config, Model, Parallel
from llm_perf_opt.errors import ConfigError, StageError
from llm_perf_opt.records.inputs import Sample
from llm_perf_opt.records.launches import SampleTokens, Tokens
from llm_perf_opt.records.workload import RankFacts
from llm_perf_opt.reports.facts import RankRecords
from llm_perf_opt.reports.sections.sharded import remarks_on
from llm_perf_opt.run import plan_run
from llm_perf_opt.stages.given import with_ranks_given
from llm_perf_opt.stages.ncu import argv as ncu_argv
from llm_perf_opt.stages.ncu.settings import Ncu
from llm_perf_opt.stages.nsys.argv import captured_ranks
from llm_perf_opt.stages.nsys.settings import Nsys
from llm_perf_opt.workload.joining import meet
from llm_perf_opt.workload.order import captured_argv, child_argv
from llm_perf_opt.workload.rank_entry import chosen_command
from llm_perf_opt.workload.ranks import Ranks, ranks_of
from tests.records import workload

ORDER = Path("/run/order.json")
CHILD = [sys.executable, "-m", "llm_perf_opt.workload", "/run/order.json"]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nnodes=1", "--nproc-per-node=4", "--max-restarts=0"]


@pytest.mark.parametrize(
    ("environ", "found"),
    [
        ({}, None),
        ({"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}, None),
        ({"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}, Ranks(3, 4, 1, "torchrun")),
        ({"SLURM_PROCID": "9", "SLURM_STEP_NUM_TASKS": "16", "SLURM_LOCALID": "1"}, Ranks(9, 16, 1, "srun")),
        # A batch script has a task number, and is no step of several tasks.
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "8"}, None),
    ],
)
def test_a_process_is_told_its_rank(environ: dict[str, str], found: Ranks | None) -> None:
    assert ranks_of(environ) == found


@pytest.mark.parametrize("rank", ["4", "-1", "first"])
def test_variables_that_name_no_rank_are_refused(rank: str) -> None:
    with pytest.raises(ConfigError, match=f"RANK={rank} WORLD_SIZE=4"):
        ranks_of({"RANK": rank, "WORLD_SIZE": "4", "LOCAL_RANK": "0"})


def test_commands() -> None:
    assert child_argv(ORDER, Parallel()) == CHILD
    parallel = Parallel(tensor=4)
    assert child_argv(ORDER, parallel) == [*TORCHRUN, "--standalone", "--module", CHILD[2], CHILD[3]]
    placed = child_argv(ORDER, Parallel(tensor=4, rendezvous="node-0:29500"))
    assert placed[6:8] == ["--master-addr=node-0", "--master-port=29500"]
    tool = ["nsys", "profile", *CHILD]
    captured = captured_argv(tool, CHILD, parallel, (0, 2))
    entry = captured[captured.index("--module") + 2 :]
    assert entry == ["0,2", "4", *tool]
    assert [chosen_command(entry, rank) == tool for rank in range(4)] == [True, False, True, False]
    assert chosen_command(entry, 1) == CHILD


class Met(dict[str, bytes]):
    """A store that everybody has written to, but for those who do not come."""

    def set(self, key: str, value: str) -> None:
        self[key] = value.encode()

    def get(self, key: str) -> bytes:  # type: ignore[override]
        if key not in self:
            raise dist.DistStoreError("timeout")
        return self[key]


def test_ranks_meet() -> None:
    ours = {"torch": "2.15.0", "transformers": "5.23.0"}
    ranks = Ranks(0, 3, 0, "torchrun")
    same = {f"software/{rank}": b"torch 2.15.0;transformers 5.23.0" for rank in (1, 2)}
    meet(Met(same), ranks, ours)
    with pytest.raises(StageError, match=r"different software: rank 2 has torch 2\.14\.1, rank 0 torch 2\.15\.0"):
        meet(Met(same | {"software/2": b"torch 2.14.1;transformers 5.23.0"}), ranks, ours)
    with pytest.raises(StageError, match="rank 1 of 3 did not start in time"):
        meet(Met(), ranks, ours)


def rank_left(rank: int, tokens: list[int] | None) -> RankRecords:
    facts = RankFacts(rank=rank, world_size=2, host="here", backend="gloo", weight_bytes=1)
    made = None if tokens is None else Tokens(samples=(SampleTokens(sample=0, tokens=tuple(tokens)),))
    return RankRecords(workload().model_copy(update={"rank": facts}), made)


@pytest.mark.parametrize(
    ("other", "remark"),
    [
        ([1, 2, 3], "All ranks made the same tokens."),
        ([1, 9, 3], "new token 1: 2 on rank 0, 9 there."),
        ([1, 2], "new token 2: 3 on rank 0, None there."),
        (None, "Whether all made the same tokens is not known: rank 1 left none."),
    ],
)
def test_the_first_token_that_differs_is_named(other: list[int] | None, remark: str) -> None:
    samples = [Sample(kind="prompt", path=None, text="hi", size_bytes=2, sha256="0")]
    remarks = remarks_on("torch_profiler", [rank_left(0, [1, 2, 3]), rank_left(1, other)], samples)
    assert remarks[-1].endswith(remark)
    assert len(remarks) == 2


def model(folder: Path, **changes: Any) -> str:
    config = {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "intermediate_size": 128,
        "hidden_size": 64,
    }
    (folder / "config.json").write_text(json.dumps(config | changes))
    return str(folder)


@pytest.mark.parametrize(
    ("tensor", "changes", "message"),
    [
        (3, {}, "3 does not divide num_attention_heads 8"),
        (8, {}, "8 does not divide num_key_value_heads 4"),
        (4, {"intermediate_size": 126}, "4 does not divide intermediate_size 126"),
        (2, {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]}, "no plan to shard a gpt2 model"),
        (
            2,
            {"vision_config": {"model_type": "llama4_vision_model"}},
            "model too: llama4_vision_model",
        ),
    ],
)
def test_what_cannot_be_spread_is_refused_before_it_loads(
    tensor: int, changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    settings = Config(model=Model(path=model(tmp_path, **changes)), parallel=Parallel(tensor=tensor))
    with pytest.raises(ConfigError, match=message):
        plan_run(settings, tmp_path / "run")


def test_the_demo_is_not_spread(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a model from demo is not sharded"):
        plan_run(Config(parallel=Parallel(tensor=2)), tmp_path / "run")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("infer.execution=compile", "infer.execution: compile runs on one rank alone"),
        ("device=cuda:1", "device: cuda:1 is one device"),
        ("parallel.nodes=3", "4 ranks cannot be spread evenly over 3 machines"),
    ],
)
def test_settings_that_contradict_ranks(override: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match=message):
        load_config(None, ["parallel.tensor=4", override], cwd=tmp_path, environ={})


def test_ranks_that_were_given_are_taken() -> None:
    given_ranks = Ranks(0, 4, 0, "torchrun")
    assert with_ranks_given(Config(), given_ranks).parallel.tensor == 4
    assert with_ranks_given(Config(), None) == Config()
    with pytest.raises(ConfigError, match=r"torchrun started 4 ranks, and parallel\.tensor is 2"):
        with_ranks_given(Config(parallel=Parallel(tensor=2)), given_ranks)
    with pytest.raises(ConfigError, match="starts ranks on this machine alone"):
        with_ranks_given(Config(parallel=Parallel(tensor=4, nodes=2)), None)


def test_plans_are_those_of_transformers() -> None:
    plan = tensor_plan("deepseek_v3")
    assert plan is not None
    assert plan["layers.*.mlp.experts"] == "moe_tp_experts"
    assert plan["lm_head"] == "colwise_gather_output"
    assert not [path for path in plan if "self_attn" in path]
    assert tensor_plan("gpt2") is None


def test_ranks_of_captures() -> None:
    assert captured_ranks(Nsys(), 4) == (0,)
    assert captured_ranks(Nsys(ranks="all"), 3) == (0, 1, 2)
    assert captured_ranks(Nsys(ranks=(2, 0, 2)), 3) == (2, 0)
    with pytest.raises(ConfigError, match="there is no rank 3 of 3"):
        captured_ranks(Nsys(ranks=3), 3)


def ncu(**cli: Any) -> Ncu:
    return Ncu.model_validate({"ncu_cli": cli})


def test_ncu_never_replays_what_one_rank_waits_in() -> None:
    settings, on_all, _ = ncu_argv.of_ranks(ncu())
    assert not on_all
    assert settings.ncu_cli.replay_mode == "kernel"
    assert settings.ncu_cli.kernel_name == ncu_argv.NO_COMMUNICATION
    assert not ncu_argv.bounds_launches_of_ranks(settings)
    assert not ncu_argv._matches(ncu_argv.NO_COMMUNICATION, ncu_argv.COMMUNICATION)
    assert ncu_argv._matches(ncu_argv.NO_COMMUNICATION, "ampere_bf16_gemm")
    assert ncu_argv.of_ranks(ncu(kernel_name="regex:gemm"))[0].ncu_cli.kernel_name == "regex:gemm"
    for cli in ({"kernel_name": "regex:."}, {"replay_mode": "app-range"}, {"replay_mode": "application"}):
        with pytest.raises(ConfigError, match="the other"):
            ncu_argv.of_ranks(ncu(**cli))
    together = ncu(replay_mode="range", extra_args=["--communicator", "tcp", "--lockstep-kernel-launch"])
    assert ncu_argv.of_ranks(together)[1]
