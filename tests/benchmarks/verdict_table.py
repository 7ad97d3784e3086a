"""How often a verdict is wrong and how often it finds what is there, by simulation: the table of docs/verdicts.md.

uv run python -m tests.benchmarks.verdict_table [--trials N] [--write]

Times are drawn with NumPy; each trial is then judged by the code that judges runs, not by a copy of it. A time is
100 ms · exp(block + launch + repeat), each part with its standard deviation; the repeats of a launch follow each other
as AR(1), begun in its stationary state. Exits with 1 where a row misses its limit.
"""

from __future__ import annotations

import argparse
import math
import sys
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from llm_perf_opt.analysis.looks import PLAN, launch_order, progress
from llm_perf_opt.analysis.shift import hodges_lehmann_shift
from llm_perf_opt.analysis.verdict import Verdict, judge, judge_blocks

PAGE = Path(__file__).parents[2] / "docs" / "verdicts.md"
TRIALS = 4000
SEED = 13
REPEATS = 10
Array = NDArray[np.float64]
Design = Literal["launches", "looks", "blocks"]
Counted = Literal["different", "slower", "same"]


@dataclass(frozen=True)
class Row:
    """One simulated situation. Spreads are standard deviations in percent."""

    counted: Counted
    limit_percent: float | None
    """None for what is shown and not claimed."""
    design: Design = "launches"
    replicates: int = 5
    """Launches a side, or blocks a side of one launch each; of looks, the last."""
    change_percent: float = 0.0
    between: tuple[float, float] = (2.0, 2.0)
    """Of launches, in A and in B."""
    within: float = 1.0
    repeat_ar: float = 0.0
    launch_ar: float = 0.0
    """Of launches in the order in which they are made."""
    drift: float = 0.0
    """From the first launch to the last."""
    blocks: float = 0.0
    noise: Literal["normal", "t3"] = "normal"

    @property
    def right(self) -> bool:
        """Whether what is counted is true: the limit is then the least, else the most."""
        return self.counted == "slower" or (self.counted == "same" and self.change_percent == 0)


@dataclass(frozen=True)
class Result:
    row: Row
    trials: int
    percent: float
    error_percent: float
    """Standard error of the simulation."""
    as_repeats_percent: float | None
    """Called different where the repeats of the first launches are taken as independent, as they once were."""

    def holds(self, errors: float = 0.0) -> bool:
        """Whether the limit does, with so many standard errors allowed."""
        if self.row.limit_percent is None:
            return True
        margin = errors * self.error_percent
        if self.row.right:
            return self.percent >= self.row.limit_percent - margin
        return self.percent <= self.row.limit_percent + margin


def equal_rows() -> Iterator[Row]:
    """A/A over everything that scatter can be."""
    for design, replicates in (("launches", 5), ("looks", PLAN[-1].launches)):
        for noise in ("normal", "t3"):
            for between in (0.0, 0.5, 2.0, 4.0):
                for within in (1.0, 2.0):
                    for ar in (0.0, 0.7):
                        spread = {"between": (between, between), "within": within, "repeat_ar": ar, "noise": noise}
                        yield Row("different", 5, design, replicates, **spread)  # type: ignore[arg-type]


def rows() -> list[Row]:
    half, four = (0.5, 0.5), (4.0, 4.0)
    few = [Row("different", 5, replicates=n, noise=noise) for n in (2, 3, 4, 10) for noise in ("normal", "t3")]
    return [
        *equal_rows(),
        *few,
        Row("different", 5, launch_ar=0.7),
        Row("different", 5, drift=10.0),
        Row("different", 5, "blocks", 1, blocks=0.5),
        Row("slower", 80, "blocks", 5, change_percent=5, blocks=0.5),
        Row("slower", 80, change_percent=5),
        Row("slower", 80, "looks", PLAN[-1].launches, change_percent=5),
        Row("slower", 95, change_percent=2, between=half),
        Row("same", 85, replicates=10, between=half),
        Row("different", 5, replicates=10, between=half),
        Row("slower", None, change_percent=5, between=four),
        Row("same", None, replicates=5, between=half),
        Row("same", 5, replicates=10, between=half, change_percent=1.0),
        Row("different", None, between=(0.0, 4.0)),
        Row("different", None, replicates=10, between=(0.0, 4.0)),
    ]


def simulate(row: Row, trials: int) -> Result:
    """Draw the trials of a row, whose seed is its own, and judge each."""
    rng = np.random.default_rng([SEED, zlib.crc32(repr(row).encode())])
    a, b = repeats(row, trials, rng)
    of_a, of_b = np.median(a, axis=2).tolist(), np.median(b, axis=2).tolist()
    share = sum(_is_counted(row, _judged(row, *sides)) for sides in zip(of_a, of_b, strict=True)) / trials
    today = _as_repeats(a[:, 0].tolist(), b[:, 0].tolist()) if _is_equal(row) else None
    # of a share near 0 or 1 too: Agresti and Coull 1998, Amer. Statist. 52
    shrunk = (share * trials + 2) / (trials + 4)
    error = math.sqrt(shrunk * (1 - shrunk) / (trials + 4))
    return Result(row, trials, share * 100, error * 100, None if today is None else today * 100)


def repeats(row: Row, trials: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Times in ms of A and B: trial, launch, repeat."""
    n = row.replicates
    order = np.array(list(launch_order(n)))
    launches = _ar1(row, rng, (trials, 2 * n), row.launch_ar)
    within = _ar1(row, rng, (trials, 2 * n, REPEATS), row.repeat_ar) * row.within
    drift = np.linspace(0, row.drift, 2 * n)
    sides = []
    for side, spread, change in (("A", row.between[0], 0.0), ("B", row.between[1], row.change_percent)):
        made = order == side
        blocks = _noise(row, rng, (trials, n)) * row.blocks
        percent = within[:, made] + (launches[:, made] * spread + blocks + drift[made])[:, :, None]
        sides.append(100 * np.exp(percent / 100) * (1 + change / 100))
    return sides[0], sides[1]


def _ar1(row: Row, rng: np.random.Generator, shape: tuple[int, ...], coefficient: float) -> Array:
    """Along the last axis, with variance 1."""
    noise = _noise(row, rng, shape)
    for step in range(1, shape[-1]):
        noise[..., step] = coefficient * noise[..., step - 1] + math.sqrt(1 - coefficient**2) * noise[..., step]
    return noise


def _noise(row: Row, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """With variance 1; that of t with 3 degrees of freedom is 3."""
    return rng.standard_normal(shape) if row.noise == "normal" else rng.standard_t(3, shape) / math.sqrt(3)


def _judged(row: Row, a: list[float], b: list[float]) -> Verdict:
    if row.design == "blocks":
        return judge_blocks([[block] for block in a], [[block] for block in b])
    if row.design == "looks":
        verdict = progress(a, b).verdict
        assert verdict is not None
        return verdict
    return judge(a, b)


def _is_counted(row: Row, verdict: Verdict) -> bool:
    return verdict.outcome in ("faster", "slower") if row.counted == "different" else verdict.outcome == row.counted


def _is_equal(row: Row) -> bool:
    return row.counted == "different" and row.design != "looks"


def _as_repeats(a: list[list[float]], b: list[list[float]]) -> float:
    """Share of intervals over the repeats of one launch a side that do not hold 0."""
    intervals = [hodges_lehmann_shift([sides]).interval for sides in zip(a, b, strict=True)]
    return sum(1 for interval in intervals if interval and not interval[0] <= 0 <= interval[1]) / len(intervals)


def simulate_all(chosen: Sequence[Row], trials: int, processes: int = 2) -> list[Result]:
    with ProcessPoolExecutor(processes) as pool:
        return list(pool.map(partial(simulate, trials=trials), chosen))


HEAD = (
    "simulated",
    "design",
    "between",
    "within",
    "AR(1)",
    "noise",
    "counted",
    "share",
    "limit",
    "repeats as replicates",
)


def table(results: Sequence[Result]) -> str:
    """Markdown."""
    lines = ["| " + " | ".join(HEAD) + " |", "|---" * len(HEAD) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(_cells(result)) + " |" for result in results)])


def _cells(result: Result) -> tuple[str, ...]:
    row, today = result.row, result.as_repeats_percent
    side = {"launches": "launches a side", "looks": "launches a side, looks", "blocks": "blocks a side"}[row.design]
    more = [f"+{row.change_percent:g} %"] if row.change_percent else ["equal"]
    more += [f"drift {row.drift:g} %"] * (row.drift > 0) + [f"launches AR(1) {row.launch_ar:g}"] * (row.launch_ar > 0)
    more += [f"blocks {row.blocks:g} %"] * (row.blocks > 0)
    bound = "none claimed" if row.limit_percent is None else f"{'≥' if row.right else '≤'} {row.limit_percent:g} %"
    spreads = dict.fromkeys(row.between)
    return (
        ", ".join(more),
        f"{row.replicates} {side}" if row.replicates > 1 else f"one {side.replace('blocks', 'block')}",
        " / ".join(f"{spread:g}" for spread in spreads) + " %",
        f"{row.within:g} %",
        f"{row.repeat_ar:g}",
        row.noise,
        row.counted,
        f"{result.percent:.1f} ± {result.error_percent:.1f} %",
        bound + ("" if result.holds() else " **missed**"),
        "" if today is None else f"{today:.0f} %",
    )


def summary(results: Sequence[Result]) -> str:
    """The table that the page begins with: the worst of the A/A rows, and every other."""
    grids: dict[Any, list[Result]] = {}
    for result in results:
        if result.row in set(equal_rows()):
            grids.setdefault(result.row.design, []).append(result)
    worst = [max(group, key=lambda result: result.percent) for group in grids.values()]
    rest = [result for result in results if result.row not in set(equal_rows())]
    return table([*worst, *rest])


def written(page: str, results: Sequence[Result]) -> str:
    """The page with its generated parts made anew."""
    grid = [result for result in results if result.row in set(equal_rows())]
    for name, text in (("summary", summary(results)), ("equal sides", table(grid))):
        start, end = f"<!-- simulated: {name} -->\n", "<!-- end -->"
        before, _, rest = page.partition(start)
        _, _, after = rest.partition(end)
        page = f"{before}{start}\n{text}\n\n{end}{after}"
    return page


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=TRIALS)
    parser.add_argument("--write", action="store_true", help=f"refresh {PAGE.name}")
    arguments = parser.parse_args()
    results = simulate_all(rows(), arguments.trials)
    print(table(results))
    if arguments.write:
        PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), results), encoding="utf-8")
    return 0 if all(result.holds() for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
