"""Carries out command lines of llmperf, each in a fork of this process, which has imported all of it but torch.

Run as `python -P server.py` with the checkout to try on PYTHONPATH. One JSON object a line comes in: argv, cwd, output
(a path for both streams), limit_s; one goes out: how it ended, its peak of resident memory, its time without that in
which others had the core, its CPU time.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import pkgutil
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any

ADDRESS_SPACE_BYTES = 6 << 30
"""So that what grows without bound is an error of that process, not of the machine; what counts is resident memory."""
FILE_BYTES = 1 << 30
STEP_S = 0.002
TORCH = ("torch", "transformers")


def import_all() -> None:
    """Everything that a command imports, so that a fork does not have to."""
    import llm_perf_opt

    for module in pkgutil.walk_packages(llm_perf_opt.__path__, "llm_perf_opt."):
        if not module.name.startswith(("llm_perf_opt.workload.", "llm_perf_opt.analysis.traced")):
            if module.name.rpartition(".")[2] in ("supervisor", "__main__") or "child" in module.name:
                continue
            importlib.import_module(module.name)
    for name in ("msgspec", "pyarrow", "pyarrow.parquet", "sqlite3", "yaml", "rich.progress", "typer"):
        with contextlib.suppress(ImportError):  # an earlier checkout may do without
            importlib.import_module(name)
    # Forks of a process that has threads may hang, and the parent of no command imports torch.
    assert not any(name in sys.modules for name in TORCH)


def waited_for_a_core_s(pid: int) -> float:
    """Seconds in which the process was ready and another had the core: a busy machine is no hang (Linux; else 0)."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError):
        return 0.0


def run_in_fork(job: dict[str, Any]) -> dict[str, Any]:
    started = time.monotonic()
    pid = os.fork()
    if pid == 0:
        _command(job)
    hung, waited = False, 0.0
    wait_s = STEP_S / 4
    while True:
        ended, status, usage = os.wait4(pid, os.WNOHANG)
        if ended:
            break
        waited = waited_for_a_core_s(pid) or waited
        if time.monotonic() - started - waited > job["limit_s"] and not hung:
            hung = True
            os.killpg(pid, signal.SIGKILL)
        time.sleep(wait_s)
        wait_s = min(wait_s * 1.2, STEP_S * 5)
    return {
        "code": os.waitstatus_to_exitcode(status),
        "hung": hung,
        "peak_bytes": usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
        "own_s": time.monotonic() - started - waited,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "group": pid,
    }


def _command(job: dict[str, Any]) -> None:
    """Never returns."""
    code = 70
    try:
        os.setsid()
        null, output = os.open(os.devnull, os.O_RDONLY), os.open(job["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(null, 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.chdir(job["cwd"])
        os.environ.update(job.get("environment", {}))
        resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE_BYTES, ADDRESS_SPACE_BYTES))
        resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES, FILE_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        from llm_perf_opt.cli.main import main

        main(job["argv"])
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:  # noqa: BLE001 - as the interpreter does at the end of a process
        import traceback

        traceback.print_exc()
        code = 1
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def serve() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # nothing else may write there
    import_all()
    answers.write(json.dumps({"package": str(Path(sys.modules["llm_perf_opt"].__file__ or "").parent)}) + "\n")
    answers.flush()
    for line in sys.stdin:
        answers.write(json.dumps(run_in_fork(json.loads(line))) + "\n")
        answers.flush()


if __name__ == "__main__":
    serve()
