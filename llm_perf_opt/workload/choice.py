"""What `auto` stands for in `model`: decided by the parent when a run is planned, so that everything after it, every
child included, is told."""

from __future__ import annotations

from llm_perf_opt.analysis.static.source import read_config
from llm_perf_opt.config.schema import Config
from llm_perf_opt.workload.adapter import find_adapter
from llm_perf_opt.workload.kinds import adapter_for
from llm_perf_opt.workload.weights import has_weights, model_path


def with_model_chosen(config: Config) -> Config:
    """`config` with the adapter and the kind of weights in place of `auto`.

    Raises:
        MissingError: there is nothing at `model.path`.
        ConfigError: what is there cannot be run.
    """
    model = config.model
    name = _adapter_name(config) if model.name == "auto" else model.name
    weights = model.weights
    if weights == "auto":
        read = model.path is not None and find_adapter(name).has_checkpoint and has_weights(model_path(model))
        weights = "pretrained" if read else "random"
    return config.model_copy(update={"model": model.model_copy(update={"name": name, "weights": weights})})


def _adapter_name(config: Config) -> str:
    if config.model.path is None:
        return "demo"
    path = model_path(config.model)
    return "causal_lm" if path.suffix == ".gguf" else adapter_for(read_config(path)[0], str(path))
