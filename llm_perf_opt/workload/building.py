"""Building a transformers model: random or pretrained weights, the type, the attention implementation, the device."""

from __future__ import annotations

import contextlib
import pickle
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoTokenizer, PreTrainedTokenizerFast
from transformers.distributed import DistributedConfig

from llm_perf_opt.config.schema import Config
from llm_perf_opt.errors import ConfigError, MissingError, StageError
from llm_perf_opt.workload.checkpoint import check_loaded
from llm_perf_opt.workload.random_weights import drawing
from llm_perf_opt.workload.weights import model_path, weights_id

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
    "spiece.model",
    "tekken.json",
)
PROCESSOR_FILES = ("processor_config.json", "preprocessor_config.json")


@dataclass(frozen=True)
class Built:
    """A model on its device."""

    model: Any
    device: torch.device
    weights_id: str
    attention: str
    attention_note: str | None
    notes: tuple[str, ...] = ()
    """What the reader should know of the weights."""

    @property
    def is_random(self) -> bool:
        """Whether its weights were drawn, not read."""
        return self.weights_id.startswith("random:")


def build(make: Callable[[str], Any], config: Config, dtype: torch.dtype, device: torch.device) -> Built:
    """A model with seeded random weights; `make` is given the attention implementation to use.

    The weights are drawn on the device in their type: one seed gives one model on one type of device.
    """

    def seeded(attention: str) -> Any:
        with device, drawing(config.model.seed):
            return make(attention).to(dtype)

    model, attention, note = with_attention(seeded, config.use_flash_attn, dtype, device)
    return Built(model, device, f"random:{config.model.seed}", attention, note)


def with_attention(
    make: Callable[[str], Any], use_flash: bool, dtype: torch.dtype, device: torch.device
) -> tuple[Any, str, str | None]:
    """The model from `make`, the attention implementation it took, and why that is not FlashAttention if asked for.

    FlashAttention where it is usable, else SDPA, else eager (for models that have nothing else).
    """
    why_not = flash_obstacle(dtype, device)
    candidates = ["sdpa", "eager"] if why_not or not use_flash else ["flash_attention_2", "sdpa", "eager"]
    note = f"FlashAttention not used: {why_not}" if use_flash and why_not else None
    for attention in candidates:
        try:
            return make(attention), attention, note
        except (ImportError, ValueError) as error:
            if "attention" not in str(error).lower() and "sdpa" not in str(error).lower():
                raise
            note = f"{attention} not used: {error}".split("\n", 1)[0]
    raise StageError(f"no attention implementation works for this model: {note}")


def load_checkpoint(auto_class: Any, config: Config, device: torch.device) -> Built:
    """The model at `model.path` by one of transformers' auto classes: its weights, or random ones in their place.

    Raises:
        MissingError: files or packages are missing.
        ConfigError: the model needs code of its own and may not run it (none of it has run by then).
        StageError: transformers refuses the files.
    """
    path = model_path(config.model)
    with explaining_load(path):
        source = checkpoint_source(config)
        hf_config = AutoConfig.from_pretrained(**source)
        _refuse_encoder(hf_config, path)
        dtype = _dtype(config, hf_config)
        if config.model.weights == "random":
            return _random(auto_class, hf_config, config, dtype, device)

        def pretrained(attention: str) -> Any:
            # Given the configuration, it is not read again, which takes seconds of a GGUF file. With a device map each
            # tensor goes to the device as it is read.
            return auto_class.from_pretrained(
                **source,
                config=hf_config,
                dtype=dtype,
                attn_implementation=attention,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
                **_placed(config, device),
            )

        (model, loading), attention, note = with_attention(pretrained, config.use_flash_attn, dtype, device)
        notes = check_loaded(model, loading, path)
        return Built(model, device, weights_id(path), attention, note, notes)


def _random(auto_class: Any, hf_config: Any, config: Config, dtype: torch.dtype, device: torch.device) -> Built:
    """The architecture of `hf_config` with drawn weights.

    A class of transformers is built as from a checkpoint that lacks every tensor: without memory first, then each
    tensor once, on the device, in its type. Code that came with a model may not stand that.
    """
    quantized = getattr(hf_config, "quantization_config", None) is not None
    if quantized:
        del hf_config.quantization_config
    notes = ("the weights are random and not quantized, unlike the checkpoint's",) if quantized else ()
    seed = config.model.seed
    if config.model.trust_remote_code:

        def remote(attention: str) -> Any:
            return auto_class.from_config(hf_config, attn_implementation=attention, dtype=dtype, trust_remote_code=True)

        return replace(build(remote, config, dtype, device), notes=notes)
    with torch.device("meta"):
        kind = type(auto_class.from_config(hf_config))

    def drawn(attention: str) -> Any:
        with drawing(seed):
            return kind.from_pretrained(
                None,
                config=hf_config,
                state_dict={},
                dtype=dtype,
                attn_implementation=attention,
                **_placed(config, device),
            )

    model, attention, note = with_attention(drawn, config.use_flash_attn, dtype, device)
    return Built(model, device, f"random:{seed}", attention, note, notes)


def _placed(config: Config, device: torch.device) -> dict[str, Any]:
    """Arguments of `from_pretrained` that say where the weights go: to the device, or this rank's part of them."""
    ranks = config.parallel.tensor
    if ranks == 1:
        return {"device_map": {"": device}}
    return {"distributed_config": DistributedConfig(tp_size=ranks)}


def _refuse_encoder(hf_config: Any, path: Path) -> None:
    """What `config.json` may leave to the class's default."""
    if getattr(hf_config, "is_encoder_decoder", False):
        raise ConfigError(
            f"{path}: a {hf_config.model_type} model has an encoder before its decoder, which llmperf does not run",
            "give a decoder-only language model, or one that reads images and text",
        )


def checkpoint_source(config: Config) -> dict[str, Any]:
    """Arguments of `from_pretrained` that say where the files of `model.path` are; nothing is downloaded."""
    path = model_path(config.model)
    source: dict[str, Any] = {
        "pretrained_model_name_or_path": str(path if path.is_dir() else path.parent),
        "trust_remote_code": config.model.trust_remote_code,
        "local_files_only": True,
    }
    if path.suffix == ".gguf":
        source["gguf_file"] = path.name
    return source


def tokenizer_without_code(config: Config) -> Any:
    """The tokenizer at `model.path`, read without running code that came with the model.

    Raises:
        MissingError, StageError: as `load_checkpoint` says.
    """
    source = {**checkpoint_source(config), "trust_remote_code": False}
    with explaining_load(model_path(config.model)):
        try:
            return AutoTokenizer.from_pretrained(**source)
        except ValueError as error:
            if "trust_remote_code" not in str(error):
                raise
            # The class is the model's own; the file says the same to transformers' general one.
            return PreTrainedTokenizerFast.from_pretrained(**source)


def check_text_files(config: Config, names: Collection[str]) -> bool:
    """Whether the model at `model.path` has one of these files, which made-up samples do without.

    Raises:
        MissingError: it has none, and the samples need it.
    """
    path = model_path(config.model)
    folder = path if path.is_dir() else path.parent
    if path.suffix == ".gguf" or any((folder / name).is_file() for name in names):
        return True
    synthetic = config.dataset.synthetic
    if synthetic.prompt_tokens is not None or (synthetic.wanted and not config.dataset.prompt):
        return False
    with explaining_load(path):
        AutoConfig.from_pretrained(**checkpoint_source(config))  # a model that may not run its code says that first
    raise MissingError(
        f"{folder} has none of {', '.join(names)}, which its prompts need",
        "put the checkpoint's own beside its config.json, or have samples made up: --prompt-tokens N "
        "(dataset.synthetic.prompt_tokens)",
    )


@contextlib.contextmanager
def explaining_load(path: Path) -> Iterator[None]:
    """Turn what transformers raises over the files at `path` into errors with a remedy.

    Raises:
        MissingError, ConfigError, StageError: as `load_checkpoint` says.
    """
    try:
        yield
    except ImportError as error:
        raise MissingError(f"transformers cannot load {path}: {_first_line(error)}", "install what it names") from error
    except OSError as error:
        raise MissingError(f"{path} is not a complete model: {_first_line(error)}", "check model.path") from error
    except (pickle.UnpicklingError, EOFError, SafetensorError) as error:
        raise _damaged(path, error) from error
    except RuntimeError as error:
        if "PytorchStreamReader" not in str(error):
            raise
        raise _damaged(path, error) from error
    except (ValueError, KeyError) as error:
        if "trust_remote_code" in str(error):
            raise ConfigError(
                f"{path} needs its own Python code to run", "set model.trust_remote_code: true if you trust it"
            ) from error
        raise StageError(f"transformers cannot load {path}: {_first_line(error)}") from error


def _damaged(path: Path, error: Exception) -> StageError:
    """Of weights that cannot be read."""
    # What torch says of a refused pickle is how to run the code in it.
    refused = isinstance(error, pickle.UnpicklingError | EOFError)
    what = "its weights are cut off, no weights, or more than tensors" if refused else _first_line(error)
    return StageError(
        f"the weights of {path} cannot be read: {what}",
        "download them again; a pickle that holds more than tensors is not loaded, since that would run its code: take "
        "safetensors",
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]


def _dtype(config: Config, hf_config: Any) -> torch.dtype:
    """The configured type; auto is the checkpoint's, float32 where it names none (GGUF files are dequantized)."""
    name = config.model.dtype
    if name != "auto":
        found: torch.dtype = getattr(torch, name)
        return found
    for part in (hf_config, hf_config.get_text_config(decoder=True)):
        declared = getattr(part, "dtype", None)
        if isinstance(declared, torch.dtype):
            return declared
    return torch.float32


def flash_obstacle(dtype: torch.dtype, device: torch.device) -> str | None:
    """Why FlashAttention cannot run here, or None."""
    if device.type != "cuda":
        return "it needs a CUDA device"
    if dtype not in (torch.float16, torch.bfloat16):
        return f"it needs float16 or bfloat16, not {str(dtype).removeprefix('torch.')}"
    if find_spec("flash_attn") is None:
        return "the package flash-attn is not installed"
    return None


def resolve_device(name: str, local_rank: int | None = None) -> torch.device:
    """The device called `name`; auto is cuda:0 where CUDA is usable, else the CPU.

    Args:
        local_rank: number among the ranks of this machine, which is that of its GPU too; None: there is one process.

    Raises:
        MissingError: CUDA was asked for and is not usable, or has no such device.
    """
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        built = "torch is built without CUDA" if torch.version.cuda is None else "torch finds no usable GPU or driver"
        raise MissingError(f"device: {name} was asked for and {built}", "set device: cpu or auto; see llmperf doctor")
    if local_rank is not None and local_rank >= torch.cuda.device_count():
        raise MissingError(
            f"rank {local_rank} of this machine has no GPU: there are {torch.cuda.device_count()}",
            "set parallel.tensor to no more than the GPUs, or device: cpu",
        )
    device = torch.device(f"cuda:{local_rank or 0}" if name in ("auto", "cuda") else name)
    if device.index >= torch.cuda.device_count():
        raise MissingError(
            f"device: {name} was asked for and there are {torch.cuda.device_count()} GPUs", "name one that exists"
        )
    return device
