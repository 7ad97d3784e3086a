"""What a model adapter offers, and finding one by name. Free of torch, so that the parent can ask."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

from llm_perf_opt.config.schema import Config
from llm_perf_opt.errors import ConfigError, MissingError
from llm_perf_opt.workload import adapters
from llm_perf_opt.workload.inputs import Modality

if TYPE_CHECKING:
    import torch

    from llm_perf_opt.workload.loaded import LoadedModel

GROUP = "llmperf.adapters"


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
    output_family: str | None = None
    """Which settings under `output.extra` are its own."""
    modules: tuple[str, ...] | None = None
    """Names that `LoadedModel.modules` may give, so that a capture that waits for another range is refused; None
    refuses nothing."""
    own_ranges: tuple[str, ...] = ()
    """NVTX ranges that the model pushes itself, whatever `measure.ranges` says."""


def builtin_names() -> list[str]:
    """Names of the adapters in this package."""
    return sorted(module.name for module in pkgutil.iter_modules(adapters.__path__))


def find_adapter(name: str) -> Adapter:
    """The adapter called `name`; one of ours wins over a third party's.

    Raises:
        ConfigError: there is none of that name; the nearest are named.
        MissingError: a third party's adapter cannot be imported.
    """
    if name in builtin_names():
        return _checked(importlib.import_module(f"{adapters.__name__}.{name}").ADAPTER, name)
    external = {point.name: point for point in entry_points(group=GROUP)}
    if name in external:
        return _load_external(external[name])
    names = sorted({*builtin_names(), *external})
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise ConfigError(f"model.name: there is no model adapter called {name!r}", f"{hint}there are {', '.join(names)}")


def _load_external(point: EntryPoint) -> Adapter:
    try:
        found = point.load()
    except ImportError as error:
        owner = point.dist.name if point.dist else "an unknown distribution"
        raise MissingError(
            f"model adapter {point.name!r} of {owner} cannot be imported: {error}", f"repair or remove {owner}"
        ) from error
    return _checked(found, point.name)


def _checked(found: object, name: str) -> Adapter:
    if not isinstance(found, Adapter):
        raise ConfigError(f"model adapter {name!r} is no llm_perf_opt.workload.adapter.Adapter")
    return found
