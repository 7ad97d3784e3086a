"""All checks in the order they are shown, what may be required of them, and how they read."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from llm_perf_opt.errors import ConfigError, MissingError
from llm_perf_opt.hardware.doctor.dcgm import check_dcgm
from llm_perf_opt.hardware.doctor.disk import check_disk
from llm_perf_opt.hardware.doctor.finding import Finding, Status, Surroundings
from llm_perf_opt.hardware.doctor.gpu import check_gpu
from llm_perf_opt.hardware.doctor.permissions import check_permissions
from llm_perf_opt.hardware.doctor.python import check_nvtx, check_python, check_uv
from llm_perf_opt.hardware.doctor.quiet import QUIET, check_quiet
from llm_perf_opt.hardware.doctor.tools import check_tools
from llm_perf_opt.hardware.doctor.torch import check_torch

CHECKS: tuple[Callable[[Surroundings], tuple[Finding, ...]], ...] = (
    check_python,
    check_gpu,
    check_torch,
    check_tools,
    check_permissions,
    check_dcgm,
    check_nvtx,
    check_disk,
    check_uv,
)

REQUIRABLE = (
    "python", "driver", "nvml", "gpu", "torch", "cuda", "nsys", "ncu", "counters", "perf", "dcgm", "nvtx", "disk",
    "temporary", "uv",
)  # fmt: skip
"""Names that `--require` takes: those of the findings; `gpu` stands for any GPU."""


def examine(surroundings: Surroundings, *, quiet: bool = False) -> tuple[Finding, ...]:
    """Every finding, in the order of `CHECKS`; `quiet`: of what keeps the machine from giving the same times twice."""
    if quiet:
        return check_quiet(surroundings)
    return tuple(finding for check in CHECKS for finding in check(surroundings))


def parse_requirements(text: str, *, quiet: bool = False) -> tuple[str, ...]:
    """The names of a comma-separated list, each once.

    Args:
        quiet: of the findings of a quiet machine.

    Raises:
        ConfigError: a name that no check has.
    """
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    known = QUIET if quiet else REQUIRABLE
    for name in names:
        if name not in known:
            from difflib import get_close_matches

            near = get_close_matches(name, known, n=1, cutoff=0.0)[0]
            raise ConfigError(f"--require does not know {name!r}", f"did you mean {near}? Choices: {', '.join(known)}")
    return names


def enforce(findings: Sequence[Finding], required: Sequence[str], *, quiet: bool = False) -> None:
    """See that everything required is there (`ok` or `warn`), or, of a quiet machine, is as it should be (`ok`).

    Raises:
        MissingError: what is not, with the remedy of each.
    """
    absent: list[tuple[str, Finding]] = []
    for name in required:
        named = [finding for finding in findings if finding.name.partition(":")[0] == name]
        good = [finding for finding in named if finding.status in (("ok",) if quiet else ("ok", "warn"))]
        # One GPU that can be used will do; for quiet all must be left alone.
        if named and (len(good) < len(named) if quiet else not good):
            absent.append((name, next(finding for finding in named if finding not in good)))
    if absent:
        raise MissingError(
            f"required but not {'quiet' if quiet else 'usable'}: "
            + "; ".join(f"{name} ({finding.detail})" for name, finding in absent),
            "; ".join(f"{name}: {finding.remedy}" for name, finding in absent if finding.remedy),
        )


def as_json(findings: Sequence[Finding]) -> dict[str, Any]:
    """The findings for a program."""
    return {"schema_version": 1, "findings": [asdict(finding) for finding in findings]}


def as_text(findings: Sequence[Finding], width: int, paint: Callable[[str, Status], str] | None = None) -> str:
    """The findings for a reader, wrapped to `width` columns.

    Args:
        findings: what to show.
        width: columns of the terminal.
        paint: colours a status word; None leaves it plain.
    """
    name_width = max(len(finding.name) for finding in findings)
    indent = " " * (len("missing") + name_width + 4)
    lines: list[str] = []
    for finding in findings:
        head = f"{finding.status:<7}  {finding.name:<{name_width}}  "
        block = _wrap(finding.detail, width, head, indent)
        if paint is not None:
            block[0] = paint(finding.status, finding.status) + block[0].removeprefix(finding.status)
        if finding.remedy and finding.status != "ok":
            block += _wrap(finding.remedy, width, f"{indent}-> ", f"{indent}   ")
        lines += block
    return "\n".join([*lines, "", *_wrap(_summary(findings), width, "", "")])


def _wrap(text: str, width: int, first: str, rest: str) -> list[str]:
    # Paths and addresses are never cut: a long one stands on a line of its own.
    return textwrap.wrap(
        text, max(width, 40), initial_indent=first, subsequent_indent=rest, break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip


def _summary(findings: Sequence[Finding]) -> str:
    labels: dict[Status, str] = {"missing": "missing", "warn": "limited", "unknown": "unknown"}
    parts = []
    for status, label in labels.items():
        names = [finding.name for finding in findings if finding.status == status]
        if names:
            parts.append(f"{label}: {', '.join(names)}")
    return "; ".join(parts) if parts else "everything is in place"
