"""A marked estimate for a model that can neither be described nor traced: Llama's formula on the usual keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llm_perf_opt.analysis.static.analyze import analyze, model_type_of
from llm_perf_opt.errors import ConfigError
from llm_perf_opt.hardware.gpu import Gpu
from llm_perf_opt.records.static import StaticRecord, StaticRequest

_NEEDED = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size")
_READ = (*_NEEDED, "num_key_value_heads", "head_dim", "tie_word_embeddings", "torch_dtype", "dtype")


def estimate(
    config: Mapping[str, Any],
    request: StaticRequest,
    gpus: Sequence[Gpu] = (),
    *,
    where: str,
    because: str,
) -> StaticRecord:
    """Figures of a Llama of the same sizes, marked as an estimate.

    Args:
        because: why nothing better is known.

    Raises:
        ConfigError: a size is missing, or the model is not dense: then no estimate is better than a wrong one.
    """
    missing = [key for key in _NEEDED if key not in config]
    if missing:
        raise ConfigError(f"{where}: no estimate without {', '.join(missing)}", because)
    if config.get("is_encoder_decoder") is True:
        raise ConfigError(f"{where}: no estimate for an encoder-decoder", because)
    experts = [key for key in config if "expert" in key or key.startswith("moe")]
    if experts:
        raise ConfigError(f"{where}: no estimate for a mixture of experts ({', '.join(experts)})", because)
    plain = {key: config[key] for key in _READ if key in config}
    record = analyze({**plain, "model_type": "llama"}, request, gpus, where=where)
    note = f"ESTIMATE: counted as a Llama of these sizes, since {because}"
    model = record.model.model_copy(update={"model_type": model_type_of(config, where)})
    return record.model_copy(update={"method": "estimated", "model": model, "assumptions": (note, *record.assumptions)})
