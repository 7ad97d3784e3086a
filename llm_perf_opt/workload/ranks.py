"""Which rank of a sharded model this process is: told by its environment. Free of torch, so that the parent can ask.

torchrun says it in RANK, WORLD_SIZE and LOCAL_RANK, srun in SLURM_PROCID, SLURM_STEP_NUM_TASKS and SLURM_LOCALID.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from llm_perf_opt.errors import ConfigError

TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
SRUN = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID")


@dataclass(frozen=True)
class Ranks:
    """This rank among all."""

    rank: int
    world: int
    local_rank: int
    """Among those of this machine: the device it takes."""
    launcher: str
    """torchrun or srun."""


def ranks_of(environ: Mapping[str, str]) -> Ranks | None:
    """The rank that a launcher has made this process; None where there is no other.

    Raises:
        ConfigError: the launcher's variables contradict each other or are no numbers.
    """
    for launcher, names in (("torchrun", TORCHRUN), ("srun", SRUN)):
        found = [environ.get(name) for name in names]
        if found[0] is None or found[1] is None:
            continue
        try:
            rank, world, local = (int(value) if value is not None else 0 for value in found)
        except ValueError:
            rank, world, local = -1, 0, 0
        if not 0 <= rank < world or not 0 <= local <= rank:
            shown = " ".join(f"{name}={value}" for name, value in zip(names, found, strict=True))
            raise ConfigError(
                f"the variables of {launcher} name no rank: {shown}", "unset them, or start llmperf by it again"
            )
        if world > 1:
            return Ranks(rank, world, local, launcher)
    return None
