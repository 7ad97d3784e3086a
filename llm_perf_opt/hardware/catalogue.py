"""The GPU catalogue: one YAML file per GPU under `gpus/`. Adding a GPU is adding a file.

A look-up reads every file's text but parses only those that mention the name, so that it costs a few milliseconds.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from llm_perf_opt.errors import ConfigError
from llm_perf_opt.hardware.gpu import Gpu

GPUS_DIR = Path(__file__).parent / "gpus"


def load_catalogue() -> tuple[Gpu, ...]:
    """Every GPU we know, in order of id."""
    return tuple(_parse(path) for path in sorted(GPUS_DIR.glob("*.yaml")))


def find_gpu(name: str) -> Gpu | None:
    """The GPU with exactly this driver name or catalogue id, whatever the case; None for any other.

    There is no nearest match: a MIG slice ("… MIG 1g.10gb") or a cut-down variant is not the whole GPU.
    """
    wanted = name.strip().lower()
    if not wanted:
        return None
    for path, text in _texts():
        # Only a file that mentions the name can match, so only that one is parsed.
        if wanted in text:
            gpu = _parse(path)
            if wanted == gpu.id or any(wanted == known.lower() for known in gpu.driver_names):
                return gpu
    return None


FOR_ANY_OTHER = "for any other GPU set hardware.peak_tflops and hardware.memory_bandwidth_gbs"


def gpu_named(name: str, otherwise: str = FOR_ANY_OTHER) -> Gpu:
    """The GPU a person asked for by name.

    Args:
        otherwise: what to do where the catalogue does not have it.

    Raises:
        ConfigError: no GPU has this name; the remedy lists near ones.
    """
    gpu = find_gpu(name)
    if gpu is None:
        near = ", ".join(near_names(name))
        raise ConfigError(
            f"unknown GPU {name!r}",
            f"did you mean {near}? Names are those of the catalogue (docs/hardware/gpus.md) or exactly the driver's; "
            f"{otherwise}",
        )
    return gpu


def near_names(name: str, limit: int = 3) -> tuple[str, ...]:
    """Catalogue ids that look most like `name`, best first; always at least one, for error messages only."""
    from difflib import SequenceMatcher

    def likeness(gpu: Gpu) -> float:
        wanted = name.strip().lower()
        return max(SequenceMatcher(None, wanted, known.lower()).ratio() for known in (gpu.id, *gpu.driver_names))

    ranked = sorted(load_catalogue(), key=lambda gpu: (-likeness(gpu), gpu.id))
    return tuple(gpu.id for gpu in ranked[:limit])


@cache
def _texts() -> tuple[tuple[Path, str], ...]:
    return tuple((path, path.read_text(encoding="utf-8").lower()) for path in sorted(GPUS_DIR.glob("*.yaml")))


@cache
def _parse(path: Path) -> Gpu:
    import yaml

    # The C loader reads a file in a third of a millisecond; builds of PyYAML without it are slower but equal.
    loader: type[yaml.CSafeLoader] | type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return Gpu.model_validate(yaml.load(path.read_text(encoding="utf-8"), Loader=loader))  # noqa: S506 (both are safe)
