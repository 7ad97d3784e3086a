"""The child: reads one work order, runs the model, writes records. Its outcome is its last event."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import traceback
from pathlib import Path

from llm_perf_opt.artifacts.layout import CHILD_LOG, EVENTS, PRIVATE_ORDER
from llm_perf_opt.errors import LlmperfError
from llm_perf_opt.workload.events import EventWriter
from llm_perf_opt.workload.order import WorkOrder
from llm_perf_opt.workload.ranks import ranks_of


def main() -> int:
    path = Path(sys.argv[1])
    private = path.with_name(PRIVATE_ORDER)
    order = WorkOrder.model_validate_json((private if private.exists() else path).read_bytes())
    ranks = ranks_of(os.environ) if order.config.parallel.tensor > 1 else None
    if ranks is not None:
        order = order.of_rank(ranks.rank)
        _write_own_log(order.scratch_dir / CHILD_LOG)
    # The parent decides what an interrupt means and ends the process group.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    events = EventWriter(order.scratch_dir / EVENTS)
    events.phase("import", 0, 1)
    try:
        from llm_perf_opt.workload.job import execute

        execute(order, events, ranks)
    except LlmperfError as error:
        events.failed(error.message, error.remedy, error.exit_code)
        return error.exit_code
    except BaseException as error:  # noqa: BLE001 - the stage boundary: whatever it raises ends here, SystemExit too
        traceback.print_exc()
        events.failed(*_explain(error), another=ranks is not None and _another_went(error))
        return 1
    events.done()
    return 0


def _write_own_log(log: Path) -> None:
    """Put what this rank prints into a log of its own, not among what the others print."""
    with log.open("ab") as file:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            os.dup2(file.fileno(), stream.fileno())


def _another_went(error: BaseException) -> bool:
    try:
        from llm_perf_opt.workload.joining import went_away
    except ImportError:
        return False
    return went_away(error)


def _explain(error: BaseException) -> tuple[str, str, int]:
    """Message, remedy and exit code of an error that nobody expected."""
    text = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else 'no message'}"
    with contextlib.suppress(ImportError):
        import torch

        if isinstance(error, torch.OutOfMemoryError) or "not enough memory" in str(error):
            return f"out of memory: {text}", "lower infer.batch_size, infer.max_new_tokens or the prompt", 1
    return text, "the whole traceback is in the child's log", 1


if __name__ == "__main__":
    sys.exit(main())
