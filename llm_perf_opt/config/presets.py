"""Preset files: found by literal group and option name in the user's directories, then in the shipped one."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import llm_perf_opt
from llm_perf_opt.errors import MissingError

ENTRY = "config.yaml"
CONFIG_DIR_VARIABLE = "LLMPERF_CONFIG_DIR"


def shipped_dir() -> Path:
    """Directory of the shipped presets: `configs/` of a checkout, or the copy inside the wheel."""
    package = Path(llm_perf_opt.__file__).parent
    checkout = package.parent / "configs"
    return checkout if (checkout / ENTRY).is_file() else package / "configs"


class Presets(NamedTuple):
    """Directories to look in, the strongest first; the shipped one is last."""

    directories: tuple[Path, ...]

    def find(self, group: str, option: str) -> Path | None:
        """The file of an option, or None."""
        for directory in self.directories:
            path = directory / group / f"{option}.yaml"
            if path.exists():  # what is no file is refused by who reads it
                return path
        return None

    def options(self, group: str) -> tuple[str, ...]:
        """Names of the options of a group, sorted."""
        names = {
            path.name.removesuffix(".yaml")
            for directory in self.directories
            for path in _yaml_files(directory / group)
            if not (group == "" and path.name == ENTRY)
        }
        return tuple(sorted(names))

    def groups(self) -> tuple[str, ...]:
        """Names of all groups that have options, sorted."""
        found = set()
        for directory in self.directories:
            for folder, subfolders, files in os.walk(directory):
                subfolders[:] = [name for name in subfolders if not name.startswith(".")]
                group = Path(folder).relative_to(directory).as_posix()
                if group != "." and any(name.endswith(".yaml") for name in files):
                    found.add(group)
        return tuple(sorted(found))

    def name(self, path: Path) -> str:
        """How a preset file is shown: relative to the shipped directory as `configs/…`, else as it is."""
        shipped = self.directories[-1]
        if path.is_relative_to(shipped):
            return f"configs/{path.relative_to(shipped).as_posix()}"
        return str(path)


def usual_mount(group: str) -> str:
    """The section a group of the shipped presets is made for; the group's own name where there is none."""
    parts = group.split("/")
    if parts[:1] == ["model"] and len(parts) > 2:
        stage = {"torch": "torch_profiler", "direct": "direct_inference"}.get(parts[-1], "")
        known = {"arch": "model", "infer": "infer"}
        return known.get(parts[2], f"pipeline.{stage}.output.extra.{parts[1]}")
    mounts = {
        "profiling/torch": "pipeline.torch_profiler",
        "profiling/nsys": "pipeline.nsys",
        "profiling/ncu": "pipeline.ncu",
        "output/torch": "pipeline.torch_profiler.output",
        "output/direct": "pipeline.direct_inference.output",
    }
    return mounts.get(group, group.replace("/", "."))


def presets(config_dirs: Sequence[Path] = (), environ: Mapping[str, str] | None = None) -> Presets:
    """Where to look: `config_dirs`, then those of LLMPERF_CONFIG_DIR, then the shipped ones.

    Raises:
        MissingError: a directory of the user's does not exist.
    """
    environ = os.environ if environ is None else environ
    from_environment = [Path(part) for part in environ.get(CONFIG_DIR_VARIABLE, "").split(os.pathsep) if part]
    for directory, origin in [
        *((directory, "--config-dir") for directory in config_dirs),
        *((directory, CONFIG_DIR_VARIABLE) for directory in from_environment),
    ]:
        if not directory.is_dir():
            raise MissingError(f"{origin}: no such directory: {directory}", "check the path, or leave it out")
    return Presets((*config_dirs, *from_environment, shipped_dir()))


def _yaml_files(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from folder.glob("*.yaml")
