"""What the children of ranks do for tests, named in their orders as the part of a stage."""

from __future__ import annotations

import json
import re
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from llm_perf_opt.analysis.traced.counter import add_missing_formulas
from llm_perf_opt.analysis.traced.dispatch import TorchDispatchMode
from llm_perf_opt.stages.torch_profiler.child import profile
from llm_perf_opt.stages.torch_profiler.settings import TorchProfiler
from llm_perf_opt.workload.part import PartContext

_COLLECTIVES = {
    "c10d.allreduce_.default": "all_reduce",
    "_c10d_functional.all_reduce.default": "all_reduce",
    "_c10d_functional.all_gather_into_tensor.default": "all_gather",
}


_BESIDE = re.compile("wait|wrap")


class _Handed(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts what this rank hands to collectives."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: dict[str, list[int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if kind := _COLLECTIVES.get(str(func)):
            handed = args[0] if isinstance(args[0], list) else [args[0]]
            self.calls.setdefault(kind, []).append(sum(found.numel() * found.element_size() for found in handed))
        elif str(func).startswith(("c10d.", "_c10d_functional.")) and not _BESIDE.search(str(func)):
            raise AssertionError(f"a collective that is not counted: {func}")
        return func(*args, **(kwargs or {}))


def count_and_profile(context: PartContext[Any]) -> None:
    """`count`, then what the torch profiler's stage does in the child."""
    count(context)
    profile(PartContext(context.session, TorchProfiler(warmup_rounds=0), context.measured, context.output_dir))


def count(context: PartContext[Any]) -> None:
    """Count the FLOPs and collectives of one prefill and one decode step, into `counted.json`."""
    add_missing_formulas()
    session = context.session
    batch = context.measured.work[0].batch
    found: dict[str, Any] = {}
    with torch.inference_mode():
        decoding = session.loop.execution.begin(batch)
        token = torch.zeros(batch.rows, dtype=torch.long)
        for name, run in (("prefill", decoding.prefill), ("decode", lambda: decoding.step(token))):
            flops, handed = FlopCounterMode(display=False), _Handed()
            with handed, flops:
                run()
            found[name] = {"flops": flops.get_total_flops(), "collectives": handed.calls}
    (context.output_dir / "counted.json").write_text(json.dumps(found))
