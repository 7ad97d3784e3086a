"""The work order: the one thing a child reads, with the whole resolved configuration in it."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from llm_perf_opt.artifacts.layout import rank_dir
from llm_perf_opt.config.base import Output
from llm_perf_opt.config.schema import Config, Parallel
from llm_perf_opt.records.base import Record
from llm_perf_opt.records.inputs import Inputs
from llm_perf_opt.records.launches import Place
from llm_perf_opt.workload.rank_entry import MODULE as RANK_ENTRY

PYTHON = "python"
STEADY_STEP = "steady_decode_step"
"""Name of the range that `Capture.steady_step` asks for."""


class Capture(Record):
    """What a child does for the tool that watches it; its own profilers are off, and its times are never reported."""

    profiler_api: Literal["measured", "steady_step"] | None = None
    """Call cudaProfilerStart and -Stop around the timed repeats, or around the steady step."""
    steady_step: bool = False
    """Put the middle decode step of every generation into a range of its own, `STEADY_STEP`."""
    needs_ranges: bool = False
    """Without NVTX ranges the tool would capture nothing."""


class WorkOrder(Record):
    """What one child does and where it writes."""

    schema_version: Literal[1] = 1
    stage: str
    """The stage it works for."""
    launch: Place | None = None
    """Null for a child whose times are never reported."""
    config: Config
    inputs: Inputs
    scratch_dir: Path
    """Order, events and log of the child."""
    output_dir: Path
    """Records, tables and trace."""
    prediction_dir: Path | None = None
    """Null writes no predictions."""
    visualization_dir: Path | None = None
    """Null writes no gallery."""
    output: Output | None = None
    """What the outputs are like; null writes none."""
    timings_only: bool = True
    """Whether the stage does nothing but time, in this launch or another."""
    timed: bool = True
    """Make the timed repeats."""
    part: str | None = None
    """`module:function` of the stage's own part, done last."""
    observers: dict[str, str] = Field(default_factory=dict)
    """Observer → `module:function` of its watch over the timed repeats."""
    capture: Capture | None = None
    """Set for a child under nsys or ncu."""
    meeting: str = Field(default_factory=lambda: uuid.uuid4().hex)
    """What the ranks of this one child call their meeting: a store that outlives it is not taken for another's."""
    join_limit_s: float = 600.0
    """How long a rank waits for the others to start."""

    def of_rank(self, rank: int) -> WorkOrder:
        """What one rank of a sharded model does: the same, in directories of its own; the first writes the outputs."""
        changes: dict[str, object] = {
            "scratch_dir": rank_dir(self.scratch_dir, rank),
            "output_dir": rank_dir(self.output_dir, rank),
        }
        if rank:
            changes |= {"output": None, "prediction_dir": None, "visualization_dir": None}
        return self.model_copy(update=changes)


MODULE = "llm_perf_opt.workload"


def child_argv(order_path: Path, parallel: Parallel | None = None, prefix: Sequence[str] = ()) -> list[str]:
    """Command that carries out the order; of a sharded model torchrun's, which starts one child a rank.

    Args:
        prefix: what the command begins with; its `python` is then looked up by name, so that the prefix may bring
            another environment.
    """
    if parallel is None or parallel.tensor == 1:
        return one_child_argv(order_path, prefix)
    sharded = [*torchrun(parallel), MODULE, str(order_path)]
    return [*prefix, PYTHON, *sharded[1:]] if prefix else sharded


def one_child_argv(order_path: Path, prefix: Sequence[str] = ()) -> list[str]:
    """Command of one child, which nsys and ncu wrap: of a rank, where it is started as one."""
    python = PYTHON if prefix else sys.executable
    return [*prefix, python, "-m", MODULE, str(order_path)]


def captured_argv(tool: Sequence[str], child: Sequence[str], parallel: Parallel, ranks: Sequence[int]) -> list[str]:
    """Command of a capture of ranks: torchrun's, which starts the tool around the child on the chosen ranks and the
    child alone on the others; the tool's command ends with the child's."""
    return [*torchrun(parallel), RANK_ENTRY, ",".join(map(str, ranks)), str(len(child)), *tool]


def torchrun(parallel: Parallel) -> list[str]:
    """torchrun, up to the module that it starts on every rank."""
    return [
        *(sys.executable, "-m", "torch.distributed.run"),
        *("--nnodes=1", f"--nproc-per-node={parallel.tensor}", "--max-restarts=0"),
        *_meeting_options(parallel),
        "--module",
    ]


def _meeting_options(parallel: Parallel) -> list[str]:
    if parallel.rendezvous is None:
        return ["--standalone"]
    host, _, port = parallel.rendezvous.rpartition(":")
    return [f"--master-addr={host}", f"--master-port={port}"]
