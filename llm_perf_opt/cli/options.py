"""Arguments and options that commands share, and the one way from them to a configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from llm_perf_opt.cli import console

if TYPE_CHECKING:
    from llm_perf_opt.config.load import Loaded


def split_arguments(arguments: Sequence[str]) -> tuple[Path | None, tuple[str, ...]]:
    """CONFIG or MODEL, and OVERRIDES: the first argument without `=` is the file, the others are overrides."""
    config: Path | None = None
    overrides: list[str] = []
    for text in arguments:
        if config is None and "=" not in text:
            config = Path(text)
        else:
            overrides.append(text)
    return config, tuple(overrides)


def load(
    arguments: Sequence[str] | None,
    options: Mapping[str, object] | None = None,
    config_dirs: Sequence[Path] | None = None,
) -> Loaded:
    """CONFIG, OVERRIDES and options of a command to a configuration; notes are printed.

    Args:
        arguments: the words of `ConfigArguments`.
        options: dotted path → value of options; None stands for an option that was not given.
        config_dirs: the words of `ConfigDirs`.
    """
    from llm_perf_opt.config.load import load_config

    path, overrides = split_arguments(arguments or ())
    given = {name: value for name, value in (options or {}).items() if value is not None}
    loaded = load_config(path, overrides, options=given, config_dirs=tuple(config_dirs or ()))
    for line in loaded.notes:
        console.note(line)
    return loaded


def given_gpu(name: str | None) -> str | None:
    """The name of the GPU that `--gpu` means, as its driver reports it.

    Raises:
        ConfigError: the catalogue has none of this name.
    """
    if name is None:
        return None
    from llm_perf_opt.hardware.catalogue import gpu_named

    gpu = gpu_named(name, "roofs of any other GPU are not known")
    return gpu.driver_names[0] if gpu.driver_names else gpu.id


def _complete(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    from llm_perf_opt.cli.completion import complete

    return complete(incomplete)


ConfigArguments: TypeAlias = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[CONFIG|MODEL] [OVERRIDES]...",
        help="A YAML file or a model (directory, config.json, .gguf; none: the demo), then key=value or preset.",
        show_default=False,
        autocompletion=_complete,
    ),
]
ConfigDirs: TypeAlias = Annotated[
    list[Path] | None,
    typer.Option(
        "--config-dir", metavar="DIR", help="Directory with presets of your own; may be repeated.", show_default=False
    ),
]
GpuOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--gpu",
        metavar="NAME",
        help="The GPU where a file does not name it: its name in the catalogue, or exactly the driver's.",
        show_default=False,
    ),
]
