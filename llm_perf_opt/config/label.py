"""What a run is called: by its model, or by the command it watched."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from llm_perf_opt.config.schema import Config

UNLABELLED = "default"
"""The label of a run that was given none."""


def run_label(config: Config) -> str:
    """The model's name, or the command that was launched in its place, and the label the user gave the run."""
    workload = config.pipeline.workload
    if workload.command is not None:
        name = shlex.join(workload.command)
    elif workload.module is not None:
        name = f"python -m {workload.module}"
    else:
        name = model_label(config)
    return name if config.experiment == UNLABELLED else f"{name} ({config.experiment})"


def model_label(config: Config) -> str:
    """The name of a model's directory or file, as its owner calls it; of one without files, its adapter's name."""
    model = config.model
    if model.path is None:
        return "demo" if model.name == "auto" else model.name
    path = Path(model.path)
    if path.suffix == ".json":
        path = path.parent
    # The cache of the Hugging Face hub: models--OWNER--NAME/snapshots/COMMIT
    if path.parent.name == "snapshots" and (cached := re.fullmatch(r"models--(.+?)--(.+)", path.parent.parent.name)):
        return f"{cached[1]}/{cached[2]}"
    return path.stem if path.suffix == ".gguf" else path.name or str(path)
