"""`peaks.json`: what a short benchmark reached on the device that the model runs on, before the model was loaded."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from llm_perf_opt.records.base import Record

QUIET = 0.05
"""Rounds of one benchmark that differ by no more than this share of the best were made on a quiet machine."""


KEPT_ROUNDS = 3


class MeasuredRate(Record):
    """The best of several rounds, between which the other benchmarks ran. A disturbance only slows."""

    per_s: float
    """FLOPs, or bytes, per second."""
    rounds: tuple[float, ...]
    """The best of each round, of several attempts the best three; `per_s` is the best of these."""
    what: str
    """What was run."""

    @property
    def spread(self) -> float:
        """How far the worst round stays behind the best, as a share of the best."""
        return 1 - min(self.rounds) / self.per_s

    def or_better(self, other: MeasuredRate) -> MeasuredRate:
        """Of both the best rounds."""
        best = max(self, other, key=lambda rate: rate.per_s)
        rounds = sorted((*self.rounds, *other.rounds), reverse=True)[:KEPT_ROUNDS]
        return best.model_copy(update={"rounds": tuple(rounds)})

    @property
    def quiet(self) -> bool:
        """Whether it repeats within `QUIET`."""
        return self.spread <= QUIET


class MeasuredPeaks(Record):
    """What was reached: no data sheet's peak, and no ceiling that nothing can pass."""

    SUMMARY: ClassVar[str] = "measured_peaks"

    schema_version: Literal[1] = 1
    device: str
    """cpu or cuda:N."""
    name: str
    """As in `workload.json`."""
    threads: int
    torch_version: str
    measured: str
    """When: UTC, ISO 8601."""
    took_s: float
    flops_per_s: dict[str, MeasuredRate]
    """Matrix products, by type (float32, …)."""
    read_bytes_per_s: MeasuredRate | None
    """Reading memory; null with its reason in `missing`."""
    last_level_cache_bytes: int | None
    """Of all caches of the last level that the process may use, or the L2 of a GPU; null, its reason in `missing`."""
    missing: dict[str, str] = Field(default_factory=dict)
    """Type, `read_bytes_per_s` or `last_level_cache_bytes` → why there is no figure."""
    attempts: int = 1
    """How often it was measured: again, and the best rounds kept, where the machine was not quiet."""
    cache: str | None = None
    """The file that keeps it for later runs; removed, the next run measures again. Null where it could not be kept."""

    def or_better(self, later: MeasuredPeaks) -> MeasuredPeaks:
        """A later measurement, with what was better in this one."""
        kinds = self.flops_per_s.keys() & later.flops_per_s.keys()
        better = {kind: self.flops_per_s[kind].or_better(later.flops_per_s[kind]) for kind in kinds}
        first, second = self.read_bytes_per_s, later.read_bytes_per_s
        read = second if first is None else first if second is None else first.or_better(second)
        return later.model_copy(
            update={
                "flops_per_s": {**later.flops_per_s, **better},
                "read_bytes_per_s": read,
                "attempts": self.attempts + 1,
            }
        )

    @property
    def quiet(self) -> bool:
        """Whether every benchmark repeats."""
        reads = [self.read_bytes_per_s] if self.read_bytes_per_s is not None else []
        return all(rate.quiet for rate in (*self.flops_per_s.values(), *reads))

    def label(self, dtype: str) -> str:
        """What it is, for a note beside figures of products of this type and of reading memory."""
        threads = f", {self.threads} {'thread' if self.threads == 1 else 'threads'}" if self.device == "cpu" else ""
        said = f"the measured peak of {self.name} ({self.device}{threads}, {dtype}, {self.measured[:10]})"
        rates = {"products": self.flops_per_s.get(dtype), "reading memory": self.read_bytes_per_s}
        unsteady = [
            f"rounds of {what} differ by {rate.spread * 100:.0f} %"
            for what, rate in rates.items()
            if rate is not None and not rate.quiet
        ]
        return f"{said}, on a machine that was not quiet: {' and '.join(unsteady)}" if unsteady else said
