"""Facts of the machine and the Python environment, gathered without importing torch or starting a process."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path

from llm_perf_opt.hardware.detect import detect_gpus
from llm_perf_opt.records.environment import EnvironmentRecord
from llm_perf_opt.records.hardware import GpuInventory
from llm_perf_opt.redact import redact_env

# Every version that can change a number or a result; nvidia-* wheels are added as found.
LIBRARIES = (
    "llm-perf-opt", "torch", "triton", "transformers", "tokenizers", "safetensors", "accelerate", "kernels",
    "flash-attn", "numpy", "pillow", "gguf", "nvtx", "pydantic", "pyyaml", "typer", "rich",
)  # fmt: skip
VARIABLES = ("CUDA_", "NVIDIA_", "OMP_", "MKL_", "PYTORCH_", "TORCH_", "HF_", "LLMPERF_", "NCCL_")


def environment_record(
    environment: Mapping[str, str] = os.environ,
    *,
    root: Path = Path("/"),
    gpus: Callable[[], GpuInventory] = detect_gpus,
) -> EnvironmentRecord:
    """What `env.json` holds.

    Args:
        environment: the variables to choose from and redact.
        root: where `/proc` and `/etc` are; tests point it at recorded files.
        gpus: tells which GPUs there are.
    """
    return EnvironmentRecord(
        os=operating_system(root),
        kernel=platform.release(),
        machine=platform.machine(),
        cpu_model=cpu_model(root),
        cpu_logical_cores=os.cpu_count(),
        cpu_available_cores=available_cores(),
        memory_total_bytes=memory_total_bytes(root),
        python_version=platform.python_version(),
        python_implementation=platform.python_implementation(),
        libraries=library_versions(),
        environment=relevant_environment(environment),
        gpus=gpus(),
    )


def operating_system(root: Path = Path("/")) -> str:
    """The system as its makers call it."""
    if platform.system() == "Darwin":
        return f"macOS {platform.mac_ver()[0]}"
    for line in _lines(root / "etc/os-release"):
        if line.startswith("PRETTY_NAME="):
            return line.removeprefix("PRETTY_NAME=").strip().strip("\"'")
    return f"{platform.system()} (no name in /etc/os-release)"


def cpu_model(root: Path = Path("/")) -> str | None:
    """The processor's name, or None where the system does not give one (Linux on ARM often does not)."""
    for line in _lines(root / "proc/cpuinfo"):
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Model") and value.strip():
            return value.strip()
    return platform.processor() or None


def memory_total_bytes(root: Path = Path("/")) -> int | None:
    """Main memory of the machine, not of a container's share of it."""
    for line in _lines(root / "proc/meminfo"):
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024  # printed in kB that are KiB: proc_meminfo(5)
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return None


def library_versions() -> dict[str, str | None]:
    """Versions from installed metadata: nothing is imported."""
    versions: dict[str, str | None] = {}
    for name in (*LIBRARIES, *_nvidia_distributions()):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return versions


def relevant_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that change results, sorted and with secrets hidden."""
    return redact_env({name: environment[name] for name in sorted(environment) if name.startswith(VARIABLES)})


def _nvidia_distributions() -> list[str]:
    names = {distribution.name for distribution in metadata.distributions()}
    return sorted(name for name in names if name and name.lower().startswith("nvidia"))


def available_cores() -> int | None:
    """CPUs that this process may run on."""
    # macOS has no affinity.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
