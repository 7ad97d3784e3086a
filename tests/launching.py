"""Children that are not started: what each launch would have measured is written in its place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from llm_perf_opt.artifacts.layout import TOKENS, WORKLOAD
from llm_perf_opt.records.launches import SampleTokens, Tokens
from llm_perf_opt.records.workload import Workload
from llm_perf_opt.workload.order import WorkOrder
from tests.records import batch, repeat, workload

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
