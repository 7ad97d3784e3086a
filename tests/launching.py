"""Children that are not started: what each launch would have measured is written in its place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llm_perf_opt.artifacts.layout import TOKENS, WORKLOAD, launch_dir
from llm_perf_opt.config.dump import to_yaml
from llm_perf_opt.config.load import load_config
from llm_perf_opt.records.launches import Place, SampleTokens, Tokens
from llm_perf_opt.records.workload import Workload
from llm_perf_opt.workload.order import WorkOrder
from tests.records import batch, facts, measured, repeat, workload

Said = Callable[[WorkOrder], Workload | Exception]


def timed(scale: float = 1.0, repeats: int = 4, **changes: Any) -> Workload:
    """Repeats that take `scale` times as long, each a little longer than the one before."""
    made = [
        repeat(
            ttft_ms=50.0 * scale * (1 + step / 100),
            prefill_ms=39.0 * scale * (1 + step / 100),
            e2e_ms=70.0 * scale * (1 + step / 100),
        )
        for step in range(repeats)
    ]
    return workload(batch(*made), **changes)


def launched(record: Workload, number: int, block: str, order: int) -> Workload:
    place = Place(block=block, launch=number, order=order, started="2026-01-01T00:00:00.000Z")
    return record.model_copy(update={"launch": place})


def write_run(
    path: Path,
    *launches: Workload,
    block: str | None = None,
    overrides: tuple[str, ...] = (),
    tokens: tuple[int, ...] | None = None,
) -> Path:
    """A run directory with these launches of each stage; without a block, one as llmperf 0.2 left it."""
    stages = dict.fromkeys(item.stage for item in launches)
    run = facts(*(measured(next(item for item in launches if item.stage == stage)) for stage in stages))
    assert run.setup is not None
    path.mkdir(parents=True)
    (path / "run.json").write_text(run.manifest.model_dump_json())
    (path / "config.yaml").write_text(to_yaml(load_config(None, overrides).config))
    (path / "env.json").write_text(run.setup.environment.model_dump_json())
    (path / "inputs.yaml").write_text(run.setup.inputs.model_dump_json())  # JSON is YAML
    for stage in stages:
        own = [item for item in launches if item.stage == stage]
        for number, item in enumerate(own):
            folder = launch_dir(path / stage, number, len(own))
            folder.mkdir(parents=True)
            record = item if block is None else launched(item, number, block, 2 * number)
            (folder / WORKLOAD).write_text(record.model_dump_json())
            if tokens is not None:
                said = Tokens(samples=(SampleTokens(sample=0, tokens=tokens),))
                (folder / TOKENS).write_text(said.model_dump_json())
    return path


class Children:
    """Stands in for `run_child` and remembers the orders and prefixes."""

    def __init__(self, said: Said, tokens: tuple[int, ...] = (1, 2, 3, 4, 5)) -> None:
        self.said = said
        self.tokens = tokens
        self.orders: list[WorkOrder] = []
        self.prefixes: list[tuple[str, ...]] = []

    def __call__(self, order: WorkOrder, progress: Any, *, prefix: Any = ()) -> None:
        self.orders.append(order)
        self.prefixes.append(tuple(prefix))
        said = self.said(order)
        order.output_dir.mkdir(parents=True, exist_ok=True)
        (order.output_dir / WORKLOAD).unlink(missing_ok=True)
        progress.update("measure", 1, 1, 0)
        if isinstance(said, Exception):
            raise said
        record = said.model_copy(
            update={"stage": order.stage, "launch": order.launch, "timings_only": order.timings_only}
        )
        (order.output_dir / WORKLOAD).write_text(record.model_dump_json())
        said_of = Tokens(samples=(SampleTokens(sample=0, tokens=self.tokens),))
        (order.output_dir / TOKENS).write_text(said_of.model_dump_json())

    @classmethod
    def stand_in(cls, monkeypatch: pytest.MonkeyPatch, said: Said) -> Children:
        children = cls(said)
        monkeypatch.setattr("llm_perf_opt.stages.launches.run_child", children)
        return children
