"""Building a model on the meta device, and running each distinct layer of it once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from llm_perf_opt.analysis.static.auto_classes import encoder_class, is_encoder
from llm_perf_opt.analysis.static.reader import check_names
from llm_perf_opt.analysis.traced.counter import AttentionRecorder, Call, Counter, Scores
from llm_perf_opt.errors import ConfigError

Key = tuple[object, ...]
"""What decides a layer's work."""


@dataclass(frozen=True, slots=True)
class Built:
    """A model without weights and how its attention is counted."""

    model: nn.Module
    config: Any
    where: str
    recorder: AttentionRecorder | None
    """None where the model's own attention code runs and its products are counted whole."""
    layers: Mapping[str, int]
    """Path of a repeated layer -> the number that it has in common with those equal to it."""

    @property
    def is_encoder(self) -> bool:
        """Whether it is an encoder alone, which generates nothing."""
        return is_encoder(self.config.to_dict())

    @property
    def has_encoder(self) -> bool:
        """Whether an encoder runs apart from the decoder."""
        return bool(getattr(self.config, "is_encoder_decoder", False))

    @property
    def text_config(self) -> Any:
        """The part of the config that its decoder is built from."""
        return _text_config(self.config)


def _transformers_config(config: Mapping[str, Any], where: str) -> Any:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    model_type = config.get("model_type")
    if model_type not in CONFIG_MAPPING:
        raise ConfigError(
            f"{where}: the installed transformers knows no model_type {model_type!r}",
            "install a transformers that has it; code beside the weights is never run for static analysis",
        )
    kind = CONFIG_MAPPING[model_type]
    check_names(config, {*vars(kind), *getattr(kind, "__dataclass_fields__", ()), *kind.attribute_map}, where)
    made = kind.from_dict(dict(config))
    _refuse_others(made, where)
    return made


def _refuse_others(config: Any, where: str) -> None:
    """Refuse what transformers has no language model for, and what it has one for by name alone."""
    from transformers import (
        MODEL_FOR_CAUSAL_LM_MAPPING,
        MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
        MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING,
        MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING,
    )

    kind, remedy = type(config), "static analysis counts language models and encoders of text: give one of those"
    if getattr(config, "is_encoder_decoder", False):
        if kind in MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING or kind in MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING:
            return
        raise ConfigError(
            f"{where}: {config.model_type} is an encoder-decoder whose encoder reads something else than text or sound",
            "its decoder alone is no model: no figure is given rather than a wrong one",
        )
    plain = config.to_dict()
    if is_encoder(plain):
        if encoder_class(plain) is None:
            raise ConfigError(
                f"{where}: architectures names {', '.join(plain['architectures'])}, which is no class of transformers' "
                f"own for a {config.model_type}",
                "name one of its classes, or leave architectures out for the one that fills in masked tokens",
            )
        return
    if kind not in MODEL_FOR_CAUSAL_LM_MAPPING and kind not in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING:
        raise ConfigError(f"{where}: {config.model_type} is no language model: there is no decoder to count", remedy)


def _factory(config: Any) -> Any:
    """The class of transformers that makes the whole model of a config: some types load as their decoder alone too."""
    from transformers import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING, MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING
    from transformers.models.auto import modeling_auto as auto

    plain = config.to_dict()
    if is_encoder(plain) and (chosen := encoder_class(plain)):
        return getattr(auto, chosen[0])
    if getattr(config, "is_encoder_decoder", False):
        text = type(config) in MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING
        return auto.AutoModelForSeq2SeqLM if text else auto.AutoModelForSpeechSeq2Seq
    seeing = type(config) in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING
    return auto.AutoModelForImageTextToText if seeing else auto.AutoModelForCausalLM


def _instantiate(config: Any, attention: str) -> nn.Module:
    from transformers import initialization

    factory = _factory(config)
    with torch.device("meta"), initialization.no_init_weights():
        model: nn.Module = factory.from_config(config, attn_implementation=attention).eval()
    # Weights are tied while they are initialised, which was skipped.
    model.tie_weights()  # type: ignore[operator]
    # Some look for padding in the tokens, which have no values here.
    object.__setattr__(model.config, "pad_token_id", None)  # that of some classes refuses null
    return model


def _build_errors() -> tuple[type[Exception], ...]:
    from huggingface_hub.errors import StrictDataclassError

    lookups = (KeyError, AttributeError, IndexError, AssertionError, ImportError, ArithmeticError)
    return (ValueError, TypeError, RuntimeError, StrictDataclassError, *lookups)


def build(config: Mapping[str, Any], where: str, *, own_attention: bool = False) -> Built:
    """The model of a config on the meta device: shapes alone, no memory.

    Args:
        own_attention: run the model's eager attention instead of recording it; for models that need masks.

    Raises:
        ConfigError: transformers cannot build it.
    """
    from transformers import AttentionInterface

    recorder: AttentionRecorder | None = None
    errors = _build_errors()
    try:
        prepared = _transformers_config(config, where)
        model: nn.Module | None = None
        if not own_attention:
            recorder = AttentionRecorder()
            AttentionInterface.register(AttentionRecorder.NAME, recorder)
            try:
                model = _instantiate(prepared, AttentionRecorder.NAME)
            except (KeyError, ValueError, NotImplementedError):
                # Classes of their own for each attention implementation.
                recorder = None
                prepared = _transformers_config(config, where)
        if model is None:
            model = _instantiate(prepared, "eager")
    except ConfigError:
        raise
    except errors as error:
        raise ConfigError(
            f"{where}: transformers cannot build this model: {type(error).__name__}: {error}",
            "check the sizes in the config",
        ) from error
    return Built(model, prepared, where, recorder, _repeated_layers(model, prepared))


def _plain(value: object) -> bool:
    return value is None or isinstance(value, bool | int | float | str)


def _signature(layer: nn.Module, index: int, config: Any) -> Key:
    """What decides a layer's work: classes, parameter shapes, plain settings, and its entry in per-layer lists."""
    parameters = tuple((name, tuple(parameter.shape)) for name, parameter in layer.named_parameters())
    settings = tuple(
        (path, type(module).__name__, name, value)
        for path, module in layer.named_modules()
        for name, value in sorted(vars(module).items())
        if _plain(value) and name not in ("layer_idx", "layer_id", "training")
    )
    lists = tuple(
        (name, str(value[index]))
        for name, value in sorted(vars(config).items())
        if isinstance(value, list | tuple) and index < len(value) == getattr(config, "num_hidden_layers", None)
    )
    return parameters, settings, lists


def _text_config(config: Any) -> Any:
    text = getattr(config, "get_text_config", None)
    return text() if callable(text) else config


def _repeated_layers(model: nn.Module, config: Any) -> dict[str, int]:
    found: dict[str, int] = {}
    numbers: dict[Key, int] = {}
    config = _text_config(config)
    for path, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) > 1 and not any(path.startswith(f"{p}.") for p in found):
            for index, layer in enumerate(module):
                key = (path, *_signature(layer, index, config))
                found[f"{path}.{index}"] = numbers.setdefault(key, len(numbers))
                for name, part in layer.named_children() if _chooses(layer) else ():
                    if _keeps_state_alone(part):
                        key = (path, name, *_signature(part, index, config))
                        found[f"{path}.{index}.{name}"] = numbers.setdefault(key, len(numbers))
    return found


def _chooses(layer: nn.Module) -> bool:
    """Whether a layer holds a list of modules, and may choose among them by its index."""
    return any(isinstance(module, nn.ModuleList) for module in layer.modules())


def _keeps_state_alone(part: nn.Module) -> bool:
    """Whether a part of a layer keeps what the stand-ins of its kernels record, and nothing else in the cache."""
    names = {name.rpartition(".")[2] for name, _ in part.named_modules()}
    return "conv1d" in names and not _chooses(part) and not any(name.endswith(("k_proj", "qkv_proj")) for name in names)


def _index(path: str) -> int:
    """The layer that a path lies in."""
    return next(int(name) for name in reversed(path.split(".")) if name.isdigit())


def _shapes(value: object, index: int | None) -> object:
    """What of an argument decides a layer's work; the `index` that some layers are told as their own does not."""
    if isinstance(value, torch.Tensor):
        return tuple(value.shape)
    if isinstance(value, list | tuple):
        return tuple(_shapes(item, index) for item in value)
    if isinstance(value, int) and not isinstance(value, bool) and value == index:
        return "its index"
    return value if _plain(value) else type(value).__name__


class Once:
    """Runs the first of equal layers and repeats its result and its counts for the others.

    A repeated layer keeps no cache of its own: what is cached is asked of the first (see `positions`).
    """

    def __init__(self, built: Built, counter: Counter) -> None:
        self._counter = counter
        self._seen: dict[Key, tuple[str, list[Call], set[str], Any]] = {}
        self._ran: dict[str, str] = {}
        for path in built.layers:
            self._wrap(built.model.get_submodule(path), path, built.layers[path])

    def forget(self) -> None:
        """Begin a new pass: its layers must run, since each pass extends the cache."""
        self._seen.clear()

    def positions(self, cached: int) -> list[int] | None:
        """The layer that stands for each of `cached` layers; None where no stack of layers is that deep."""
        stacks: dict[str, dict[int, int]] = {}
        for path, first in self._ran.items():
            name, _, index = path.rpartition(".")
            if index.isdigit():
                stacks.setdefault(name, {})[int(index)] = _index(first)
        for stack in stacks.values():
            if sorted(stack) == list(range(cached)):
                return [stack[index] for index in range(cached)]
        return None

    def _wrap(self, layer: nn.Module, path: str, number: int) -> None:
        own: Callable[..., Any] = layer.forward
        index = None if _chooses(layer) else _index(path)

        def forward(*args: Any, **kwargs: Any) -> Any:
            named = tuple((name, _shapes(kwargs[name], index)) for name in sorted(kwargs))
            key = (number, _shapes(args, index), named)
            counter = self._counter
            known = self._seen.get(key)
            if known is not None:
                first, calls, touched, result = known
                self._ran[path] = first
                counter.calls.extend(_moved(call, first, path) for call in calls)
                counter.touched.update(_under(path, name, first) for name in touched)
                return result
            before, outer = len(counter.calls), counter.touched
            counter.touched = set()
            result = own(*args, **kwargs)
            self._seen[key] = (path, counter.calls[before:], counter.touched, result)
            self._ran[path] = path
            counter.touched = outer | counter.touched
            return result

        layer.forward = forward


def _under(path: str, name: str, first: str) -> str:
    """The name of the same thing inside the layer at `path`."""
    return path + name[len(first) :] if name == first or name.startswith(f"{first}.") else name


def _moved(call: Call, first: str, path: str) -> Call:
    weight = None if call.weight is None else _under(path, call.weight, first)
    detail = call.detail
    if isinstance(detail, Scores) and detail.layer is not None and detail.layer == _index(first):
        detail = replace(detail, layer=_index(path))
    return replace(call, path=_under(path, call.path, first), weight=weight, detail=detail)
