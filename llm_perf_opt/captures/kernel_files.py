"""Profiled kernels in files and folders: run directories, folders of exports, single CSVs and reports.

Files of one folder that export the same launch, each with other sections, are put together.
"""

from __future__ import annotations

import contextlib
import io
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from llm_perf_opt.analysis.kernel_names import identity
from llm_perf_opt.analysis.kernels.analyze import analyze_launch, arithmetic_by_kernel, is_read
from llm_perf_opt.artifacts.layout import COMMAND, DETAILS, ENVIRONMENT, FACTS, MANIFEST, RAW, stage_dir
from llm_perf_opt.errors import LlmperfError, MissingError, StageError
from llm_perf_opt.formats.ncu_launches import ForeignTableError, Wanted, csv_launches, raw_launches
from llm_perf_opt.formats.ncu_raw import MisspeltError, Profiled
from llm_perf_opt.formats.ncu_rep import read_report, read_rules
from llm_perf_opt.opening import open_file, parse_json, read_file
from llm_perf_opt.records.kernels import KernelArithmetic, Launch, RuleResult, Unreadable
from llm_perf_opt.records.tools import NcuCapture, NsysCapture
from llm_perf_opt.registry import stage_leaving

SUFFIXES = (".csv", ".ncu-rep")
DURATION = "gpu__time_duration.sum"
PRINTED_DIGITS = 0.01
"""The details page prints two decimals of a number above one: two pages of one launch differ by less."""


@dataclass
class Found:
    """What was read, what could not be, and what was passed over."""

    launches: list[Launch] = field(default_factory=list)
    problems: list[Unreadable] = field(default_factory=list)
    captured_ns: Counter[str] = field(default_factory=Counter)
    """Time of kernels in the nsys captures of the runs that were read, by their `identity`."""
    passed_over: list[str] = field(default_factory=list)
    """Tables in a folder that are not ncu's."""


def find_kernels(paths: Iterable[Path], wanted: Wanted) -> Found:
    """Everything about kernels in `paths`, in that order and, within a folder, in order of name.

    What cannot be read is a problem and stops nothing else.
    """
    found = Found()
    for path in paths:
        if path.is_dir():
            before = len(found.launches) + len(found.problems)
            _read_folder(path, found, wanted)
            if len(found.launches) + len(found.problems) == before:
                reason = "no profiled kernels: no run with an ncu stage, no CSV of ncu, no .ncu-rep"
                found.problems.append(Unreadable(path=str(path), reason=reason, exit_code=MissingError.exit_code))
        elif path.exists():
            found.launches += _together(_read_file(path, found, wanted, str(path), named=True))
        else:
            missing = "no such file or folder"
            found.problems.append(Unreadable(path=str(path), reason=missing, exit_code=MissingError.exit_code))
    return found


def arithmetic_of(file: Path) -> tuple[KernelArithmetic, ...]:
    """What the kernels of one export or report computed; empty where that was not counted, or it cannot be read."""
    return arithmetic_by_kernel(map(analyze_launch, find_kernels([file], is_read).launches))


def _read_folder(folder: Path, found: Found, wanted: Wanted) -> None:
    if (folder / MANIFEST).is_file():
        _read_run(folder, found, wanted)
        return
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        reason = f"cannot be read: {error.strerror}"
        found.problems.append(Unreadable(path=str(folder), reason=reason, exit_code=MissingError.exit_code))
        return
    files = [path for path in entries if path.suffix in SUFFIXES and path.is_file()]
    whole = (launch for file in files for launch in _read_file(file, found, wanted, str(folder), named=False))
    found.launches += _together(whole)
    for path in entries:
        if path.is_dir() and not path.is_symlink() and not path.name.startswith("."):
            _read_folder(path, found, wanted)


def _read_run(folder: Path, found: Found, wanted: Wanted) -> None:
    """The ncu stage of a run: its export, else its reports."""
    profiled = stage_dir(folder, stage_leaving(NcuCapture))
    reports = sorted(profiled.glob("*.ncu-rep"))
    tables = [profiled / name for name in (RAW, DETAILS) if (profiled / name).is_file()]
    files = tables[:1] or reports
    if not files:
        found.problems.append(Unreadable(path=str(folder), reason=_why_no_kernels(folder)))
        return
    # Of a run that did not start ncu itself, the environment is not the one that was profiled.
    gpu = _only_gpu(folder / ENVIRONMENT) if (profiled / COMMAND).is_file() else _named_at_import(folder)
    whole = (launch for file in files for launch in _read_file(file, found, wanted, str(folder), named=True))
    launches = [launch if launch.gpu else replace(launch, gpu=gpu) for launch in _together(whole)]
    if files != reports:
        _add_rules(launches, reports)
    found.launches += launches
    # A run without a capture, or of another version, has no times; its kernels are there all the same.
    with contextlib.suppress(OSError, ValueError):
        for kernel in NsysCapture.read(stage_dir(folder, stage_leaving(NsysCapture)) / FACTS).kernels:
            found.captured_ns[identity(kernel.name)] += kernel.total_ns


def _add_rules(launches: Iterable[Launch], reports: Iterable[Path]) -> None:
    """What ncu's rules said of them: a raw page does not hold it, its report does."""
    said: dict[tuple[str, ...], tuple[RuleResult, ...]] = {}
    for report in reports:
        # A report that cannot be read takes nothing away: all figures are in the raw page.
        with contextlib.suppress(LlmperfError):
            said |= {_identity(profiled): rules for profiled, rules in read_rules(report)}
    for launch in launches:
        key = (launch.process_id, launch.id, launch.kernel, launch.grid, launch.block)
        launch.rules.extend(rule for rule in said.get(key, ()) if rule not in launch.rules)


def _identity(profiled: Profiled) -> tuple[str, ...]:
    return profiled.process_id, profiled.id, profiled.name, profiled.grid, profiled.block


def _why_no_kernels(folder: Path) -> str:
    """What the manifest says of the ncu stage."""
    try:
        stages = parse_json(read_file(folder / MANIFEST))["stages"]
        entry = stages.get(stage_leaving(NcuCapture))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"{MANIFEST} cannot be read: {error}"
    if not isinstance(entry, dict):
        return "the run had no ncu stage"
    return f"no kernels: the ncu stage is {entry.get('status')}: {entry.get('reason')}"


def _named_at_import(folder: Path) -> str | None:
    """The GPU that `llmperf import --gpu` was told of an ncu file."""
    try:
        files = parse_json(read_file(folder / MANIFEST))["imported"]
        return next((file["gpu"] for file in files if file["kind"].startswith("ncu") and file.get("gpu")), None)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _only_gpu(environment: Path) -> str | None:
    """The name of the machine's GPU, where all of its GPUs have one name."""
    try:
        gpus = parse_json(read_file(environment))["gpus"]["gpus"]
        names = {str(gpu["name"]) for gpu in gpus}
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return names.pop() if len(names) == 1 else None


def _read_file(path: Path, found: Found, wanted: Wanted, source: str, *, named: bool) -> list[Launch]:
    """The launches of one file; what stops it becomes a problem of `found`.

    Args:
        named: it was asked for by name, so that a table that is not ncu's is a problem too.
    """
    launches: list[Launch] = []
    try:
        launches.extend(replace(launch, source=source) for launch in _launches(path, wanted))
    except MisspeltError as error:
        found.problems.append(_unreadable(path, error))
        launches.clear()  # numbers before it are spelt alike, and were taken for others
    except ForeignTableError as error:
        if named:
            found.problems.append(_unreadable(path, error, f"; {error.remedy}"))
        else:
            found.passed_over.append(str(path))
    except LlmperfError as error:
        found.problems.append(_unreadable(path, error))
    return launches


def _unreadable(path: Path, error: LlmperfError, more: str = "") -> Unreadable:
    """The error without the path, which stands beside it."""
    reason = error.message.removeprefix(f"{path} ")
    return Unreadable(path=str(path), reason=f"{reason}{more}", exit_code=error.exit_code)


def _launches(path: Path, wanted: Wanted) -> Iterator[Launch]:
    if path.suffix == ".ncu-rep":
        yield from raw_launches(read_report(path), str(path), wanted)
        return
    try:
        with io.TextIOWrapper(open_file(path), encoding="utf-8-sig", newline="") as lines:
            if not lines.buffer.peek(1):
                raise StageError(f"{path} is empty", "export it again from its report")
            yield from csv_launches(lines, str(path), wanted)
    except UnicodeDecodeError as error:
        raise StageError(f"{path} is not UTF-8 text: {error}", "export it again from its report") from error
    except OSError as error:
        raise MissingError(f"{path} cannot be read: {error.strerror}") from error


def _together(launches: Iterable[Launch]) -> list[Launch]:
    """One launch of those that are the same one; where two have a metric, the first one's counts."""
    kept: list[Launch] = []
    known: dict[tuple[str, ...], list[Launch]] = {}
    for launch in launches:
        same_key = known.setdefault((launch.process_id, launch.id, launch.kernel, launch.grid, launch.block), [])
        same = next((other for other in same_key if _lasted_alike(launch, other)), None)
        if same is None:
            kept.append(launch)
            same_key.append(launch)
        else:
            for name, value in launch.metrics.items():
                same.metrics.setdefault(name, value)
            same.rules.extend(rule for rule in launch.rules if rule not in same.rules)
            same.remarks.extend(remark for remark in launch.remarks if remark not in same.remarks)
    return kept


def _lasted_alike(one: Launch, other: Launch) -> bool:
    """False where their durations tell two launches apart; process ids repeat between containers and machines."""
    first, second = one.metrics.get(DURATION), other.metrics.get(DURATION)
    return first is None or second is None or math.isclose(first, second, rel_tol=PRINTED_DIGITS)
