"""torch and its CUDA build, asked in a child process: this process never imports torch."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from llm_perf_opt.hardware.doctor.finding import Answer, Finding, Surroundings

# A cold import of torch from a slow disk can take a minute.
TIMEOUT_S = 180.0
INSTALL = "https://pytorch.org/get-started/locally/"

_QUESTION = """
import json, warnings
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    import torch
    usable = torch.cuda.is_available()
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if usable else []
print(json.dumps({
    "version": torch.__version__, "cuda": torch.version.cuda, "hip": torch.version.hip,
    "usable": usable, "names": names, "said": [str(warning.message) for warning in said],
}))
"""


@dataclass(frozen=True, slots=True)
class _Torch:
    version: str
    cuda: str | None
    hip: str | None
    usable: bool
    names: tuple[str, ...]
    said: tuple[str, ...]


def check_torch(surroundings: Surroundings) -> tuple[Finding, ...]:
    """torch, and whether it can use a GPU."""
    try:
        metadata.version("torch")
    except metadata.PackageNotFoundError:
        remedy = f"install it: uv sync, or {INSTALL}"
        return (
            Finding("torch", "missing", "not installed", remedy),
            Finding("cuda", "missing", "torch is not installed", "as for torch"),
        )
    answer = surroundings.ask([sys.executable, "-c", _QUESTION], TIMEOUT_S)
    torch = _read(answer)
    if torch is None:
        detail = f"importing it failed: {_last_line(answer)}"
        return (
            Finding("torch", "missing", detail, f"install it again: {INSTALL}"),
            Finding("cuda", "unknown", "torch does not import", "as for torch"),
        )
    build = f"CUDA {torch.cuda}" if torch.cuda else f"ROCm {torch.hip}" if torch.hip else "no GPU support"
    return (Finding("torch", "ok", f"{torch.version}, built with {build}"), _cuda(torch, surroundings))


def _cuda(torch: _Torch, surroundings: Surroundings) -> Finding:
    if torch.usable:
        return Finding("cuda", "ok", f"torch can use {len(torch.names)}: {', '.join(torch.names)}")
    if torch.cuda is None:
        detail = "this torch is built without CUDA"
        return Finding("cuda", "missing", detail, f"on a machine with an NVIDIA GPU install a CUDA build: {INSTALL}")
    gpus = surroundings.gpus
    if not gpus.gpus:
        return Finding("cuda", "missing", "torch finds no GPU", "as for driver and gpu; until then runs use the CPU")
    if surroundings.environment.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return Finding("cuda", "missing", "CUDA_VISIBLE_DEVICES hides every GPU", "unset CUDA_VISIBLE_DEVICES")
    driver_cuda = gpus.cuda_driver_version
    if driver_cuda is not None and _numbers(driver_cuda)[:1] < _numbers(torch.cuda)[:1]:
        detail = f"driver {gpus.driver_version} supports CUDA {driver_cuda}, torch needs {torch.cuda}"
        return Finding("cuda", "missing", detail, "update the NVIDIA driver, or install a torch built for its CUDA")
    said = torch.said[-1].splitlines()[0] if torch.said else "torch does not say why"
    remedy = "compare nvidia-smi with torch's build; in a container start it with --gpus all"
    return Finding("cuda", "missing", f"there is a GPU, but torch cannot use it: {said}", remedy)


def _read(answer: Answer) -> _Torch | None:
    if answer.code != 0:
        return None
    try:
        # Libraries may print on stdout while loading; the answer is the last line.
        told: dict[str, Any] = json.loads(answer.stdout.strip().splitlines()[-1])
        return _Torch(**{**told, "names": tuple(told["names"]), "said": tuple(told["said"])})
    except (ValueError, IndexError, KeyError, TypeError):
        return None


def _last_line(answer: Answer) -> str:
    lines = [line for line in answer.stderr.splitlines() if line.strip()]
    return lines[-1].strip() if lines else f"exit code {answer.code}"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())
