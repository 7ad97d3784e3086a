"""Building a transformers model: random or pretrained weights, the type, the attention implementation, the device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch

from llm_perf_opt.config.schema import Config
from llm_perf_opt.errors import MissingError, StageError


@dataclass(frozen=True)
class Built:
    """A model on its device."""

    model: Any
    device: torch.device
    weights_id: str
    attention: str
    attention_note: str | None


def build(make: Callable[[str], Any], config: Config, dtype: torch.dtype, device: torch.device) -> Built:
    """A model with seeded random weights; `make` is given the attention implementation to use.

    The weights are drawn on the CPU in float32, so that every device and type starts from the same ones.
    """

    def seeded(attention: str) -> Any:
        torch.manual_seed(config.model.seed)
        return make(attention).to(device=device, dtype=dtype)

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


def flash_obstacle(dtype: torch.dtype, device: torch.device) -> str | None:
    """Why FlashAttention cannot run here, or None."""
    if device.type != "cuda":
        return "it needs a CUDA device"
    if dtype not in (torch.float16, torch.bfloat16):
        return f"it needs float16 or bfloat16, not {str(dtype).removeprefix('torch.')}"
    if find_spec("flash_attn") is None:
        return "the package flash-attn is not installed"
    return None


def resolve_device(name: str) -> torch.device:
    """The device called `name`; auto is cuda:0 where CUDA is usable, else the CPU.

    Raises:
        MissingError: CUDA was asked for and is not usable, or has no such device.
    """
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        built = "torch is built without CUDA" if torch.version.cuda is None else "torch finds no usable GPU or driver"
        raise MissingError(f"device: {name} was asked for and {built}", "set device: cpu or auto; see llmperf doctor")
    device = torch.device("cuda:0" if name in ("auto", "cuda") else name)
    if device.index >= torch.cuda.device_count():
        raise MissingError(
            f"device: {name} was asked for and there are {torch.cuda.device_count()} GPUs", "name one that exists"
        )
    return device
