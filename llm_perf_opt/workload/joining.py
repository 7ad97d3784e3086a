"""The ranks of one model in the child: meeting, the same software on all, waiting for one another, and shards.

The ranks meet in a store of their own before the process group is made, so that one that does not come is named, and
one that came with other software too.
"""

from __future__ import annotations

import contextlib
import os
import platform
import socket
from collections.abc import Iterator, Mapping
from datetime import timedelta
from importlib.metadata import version
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]
from torch.distributed import Store as AnyStore  # type: ignore[attr-defined]
from torch.distributed.tensor import DTensor, distribute_tensor

from llm_perf_opt import __version__
from llm_perf_opt.errors import MissingError, StageError
from llm_perf_opt.records.workload import RankFacts
from llm_perf_opt.workload.order import WorkOrder
from llm_perf_opt.workload.ranks import Ranks

# Ranks may load for very long at different speeds. A hung one is found by the parent, which sees that nothing moves.
COLLECTIVE_LIMIT = timedelta(hours=2)


class Store(Protocol):
    """What ranks tell one another before they compute."""

    def set(self, key: str, value: str) -> None: ...

    def get(self, key: str) -> bytes:
        """The value; waits for it. Raises DistStoreError when nobody sets it in time."""


def own_software() -> dict[str, str]:
    """What must be the same on all ranks: name → version."""
    return {
        "llmperf": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": version("transformers"),
    }


def meet(store: Store, ranks: Ranks, software: Mapping[str, str]) -> None:
    """Wait for every rank, and compare what it runs.

    Raises:
        StageError: a rank did not come, or runs other software.
    """
    mine = ";".join(f"{name} {number}" for name, number in software.items())
    store.set(f"software/{ranks.rank}", mine)
    for rank in range(ranks.world):
        try:
            theirs = store.get(f"software/{rank}").decode()
        except dist.DistStoreError as error:
            raise StageError(
                f"rank {rank} of {ranks.world} did not start in time",
                "look at its log; on another machine, whether it reaches the rendezvous",
            ) from error
        if theirs != mine:
            differ = [
                f"rank {rank} has {other}, rank {ranks.rank} {own}"
                for own, other in zip(mine.split(";"), theirs.split(";"), strict=False)
                if own != other
            ]
            raise StageError(
                f"the ranks run different software: {', '.join(differ)}", "start all of them in one environment"
            )


@contextlib.contextmanager
def joined(order: WorkOrder, ranks: Ranks | None, device: torch.device) -> Iterator[None]:
    """All ranks together, from their meeting to their parting; of one process nothing.

    Raises:
        StageError, MissingError: they cannot come together.
    """
    if ranks is None:
        yield
        return
    backend = order.config.parallel.backend or ("nccl" if device.type == "cuda" else "gloo")
    if backend == "nccl" and device.type != "cuda":
        raise MissingError(
            f"parallel.backend: nccl needs CUDA devices, and the model runs on {device}",
            "set parallel.backend: gloo, or leave it out",
        )
    shared = _store(order, ranks)
    meet(PrefixStore("meeting", shared), ranks, own_software())
    dist.init_process_group(
        backend,
        store=PrefixStore("group", shared),
        rank=ranks.rank,
        world_size=ranks.world,
        timeout=COLLECTIVE_LIMIT,
        device_id=device if backend == "nccl" else None,
    )
    yield
    # Not after an error: the others may be in a collective, and would be waited for.
    dist.destroy_process_group()


def _store(order: WorkOrder, ranks: Ranks) -> AnyStore:
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    hosts = ranks.rank == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
    try:
        limit = timedelta(seconds=order.join_limit_s)
        store = TCPStore(host, port, ranks.world, is_master=hosts, timeout=limit, wait_for_workers=False)
    except dist.DistNetworkError as error:
        if "EADDRINUSE" in str(error) or "in use" in str(error):
            raise StageError(
                f"port {port}, where the ranks are to find one another, is in use",
                "set parallel.rendezvous to HOST:PORT with a free port",
            ) from error
        raise StageError(
            f"rank {ranks.rank} cannot reach {host}:{port}, where the ranks meet: {str(error).splitlines()[0]}",
            "set parallel.rendezvous to HOST:PORT of the first rank's machine",
        ) from error
    return PrefixStore(order.meeting, store)


def wait_for_ranks() -> None:
    """Wait until every rank is here; of one process nothing."""
    if dist.is_initialized():
        dist.barrier()


def is_sharded() -> bool:
    """Whether other ranks work on this model too: what one of them leaves out, the others wait for."""
    return dist.is_initialized()


def least_of_ranks(value: int) -> int:
    """The smallest `value` of all ranks, which all of them get; of one process its own."""
    if not dist.is_initialized():
        return value
    shared = torch.tensor(value, device="cuda" if dist.get_backend() == "nccl" else "cpu")
    dist.all_reduce(shared, dist.ReduceOp.MIN)
    return int(shared)


def went_away(error: BaseException) -> bool:
    """Whether an error is that another rank is gone, which has its own."""
    if isinstance(error, dist.DistBackendError | dist.DistNetworkError | dist.DistStoreError):
        return True
    text = str(error)
    return is_sharded() and ("onnection closed by peer" in text or "onnection reset by peer" in text)


def local_part(tensor: torch.Tensor) -> torch.Tensor:
    """What this rank holds of a tensor: the tensor itself, where it is not sharded."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def shard_like(whole: torch.Tensor, like: Any) -> torch.Tensor:
    """The part of `whole` that this rank holds of a sharded tensor of its shape; nothing is sent."""
    cut = distribute_tensor(whole, like.device_mesh, like.placements, src_data_rank=None)
    return cut.to_local()


def rank_facts(model: Any, ranks: Ranks | None) -> RankFacts | None:
    """This rank, and what it holds of the model; None of one process."""
    if ranks is None:
        return None
    held = [local_part(parameter) for parameter in model.parameters()]
    return RankFacts(
        rank=ranks.rank,
        world_size=ranks.world,
        host=socket.gethostname(),
        backend=str(dist.get_backend()),
        weight_bytes=sum(part.numel() * part.element_size() for part in held),
    )
