"""What a model adapter offers, and finding one by name. Free of torch, so that the parent can ask."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llm_perf_opt.analysis.static.pages import Pages
from llm_perf_opt.config.schema import Config
from llm_perf_opt.records.inputs import Sample, SampleSizes
from llm_perf_opt.registry import ADAPTERS
from llm_perf_opt.workload.inputs import Modality
from llm_perf_opt.workload.preprocess import refuse_keys

if TYPE_CHECKING:
    import torch

    from llm_perf_opt.workload.loaded import LoadedModel


@dataclass(frozen=True)
class Adapter:
    """One family of models."""

    modality: Modality
    """What its samples are."""
    model_config: Callable[[Config], Mapping[str, Any]]
    """The model's own configuration (the content of its `config.json`), read without torch.

    Raises MissingError where the model is not there and ConfigError where its configuration is broken: the parent
    calls it before any child starts."""
    load: Callable[[Config, torch.device], LoadedModel]
    """Build the model and read its weights; runs in the child."""
    pages: Callable[[Config], Pages] | None = None
    """How `model.preprocess` has images prepared, read without torch; ConfigError names a key that cannot be honoured.
    None: the model's own processor alone knows, and no key can be."""
    permit: Callable[[Config], None] | None = None
    """Raises ConfigError where the configuration does not let the model run. Static analysis runs none, and does not
    ask."""
    sizes: Callable[[Config, Sample], SampleSizes] | None = None
    """What a sample becomes, by the code that prepares it for the model; runs in a child, without weights and without
    code that came with the model. BadSampleError where it cannot be used."""
    has_checkpoint: bool = True
    """Its weights are read from `model.path`; False: it has none but random ones."""
    output_family: str | None = None
    """Which settings under `output.extra` are its own."""
    modules: tuple[str, ...] | None = None
    """Names that `LoadedModel.modules` may give, so that a capture that waits for another range is refused; None
    refuses nothing."""
    shards: bool = False
    """Its models are loaded by transformers' own classes, which can shard them."""
    anybodys_code: bool = False
    """With `trust_remote_code` it runs code that came with the model, which may push any range."""
    own_ranges: tuple[str, ...] = ()
    """NVTX ranges that the model pushes itself, whatever `measure.ranges` says."""


def check_preprocess(adapter: Adapter, config: Config) -> None:
    """Refuse what is asked of `model.preprocess` and cannot be done.

    Raises:
        ConfigError: naming the key.
    """
    if adapter.pages is None:
        refuse_keys(config)
    else:
        adapter.pages(config)


def find_adapter(name: str) -> Adapter:
    """The adapter called `name`.

    Raises:
        ConfigError: there is none of that name; the nearest are named.
        MissingError: a third party's adapter cannot be imported.
    """
    return ADAPTERS.get(name, Adapter)
