"""How several files of one kind go into one run: as ranks of one job, told by the files or by their names.

Every kind of group that files can make is decided here, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence

from llm_perf_opt.captures.rank_names import ranks_in_names
from llm_perf_opt.errors import ConfigError
from llm_perf_opt.formats.torch_job import Job
from llm_perf_opt.importing.item import Item

APART = "import each into a run of its own"


def number_ranks(items: Sequence[Item], jobs: Sequence[Job]) -> int | None:
    """Give every file its rank; the number of ranks of their job, where that is known.

    Args:
        jobs: what each file says of its job.

    Raises:
        ConfigError: they are not ranks of one job, two are the same rank, or nothing says which rank one is.
    """
    _refuse_other_jobs(items, jobs)
    named = ranks_in_names([str(item.source) for item in items])
    for number, (item, job) in enumerate(zip(items, jobs, strict=True)):
        item.rank = job.rank if job.rank is not None else named[number] if named is not None else None
        if item.rank is None:
            others = next(other for other in items if other is not item)
            raise ConfigError(
                f"{item.source} and {others.source} do not go into one run: their figures cannot be added up, and "
                f"neither {item.source} nor its name says which rank of a job it is",
                f"{APART}; or, of one job, have the number of the rank in each name, such as rank0.json.gz",
            )
    _refuse_same_rank(items)
    world_size = next((job.world_size for job in jobs if job.world_size is not None), None)
    for item in items:
        assert item.rank is not None
        if world_size is not None and not 0 <= item.rank < world_size:
            raise ConfigError(
                f"{item.source} is rank {item.rank} of a job of {world_size} ranks, which has none of that number",
                "leave it out, or import it alone",
            )
    return world_size


def _refuse_other_jobs(items: Sequence[Item], jobs: Sequence[Job]) -> None:
    for what, field in (("ranks", "world_size"), ("the backend", "backend"), ("NCCL", "nccl")):
        said: dict[object, Item] = {}
        for item, job in zip(items, jobs, strict=True):
            value = getattr(job, field)
            if value is not None:
                said.setdefault(value, item)
        if len(said) > 1:
            (one, first), (other, second), *_ = said.items()
            words = f"{one} and {other} {what}" if field == "world_size" else f"{what} {one} and {other}"
            raise ConfigError(
                f"{first.source} and {second.source} are of different jobs: they say {words}", f"{APART}, job by job"
            )


def _refuse_same_rank(items: Sequence[Item]) -> None:
    seen: dict[int, Item] = {}
    for item in items:
        assert item.rank is not None
        first = seen.setdefault(item.rank, item)
        if first is not item:
            raise ConfigError(
                f"{first.source} and {item.source} are both rank {item.rank}: two captures of a rank are not added up",
                f"name each rank once; {APART}",
            )
