"""Running a model's steps on a CUDA device that is not there.

Under torch's FakeTensorMode a tensor has a shape, a type and a device, but no content: whatever would read its content
on the host (`.item()`, `.tolist()`, `if tensor`, a boolean mask) has nothing to read. The ledger keeps every such read,
with who asked for it, and answers with a made-up value where that lets the model go on.
"""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from llm_perf_opt.workload.loaded import Batch, LoadedModel

DEVICE = torch.device("cuda:0")
# Operators whose result has to come to the host, or whose shape is only known from their content.
READS = ("_local_scalar_dense", "item", "equal", "is_nonzero", "nonzero", "masked_select", "unique", "_unique2")
COPIES = ("_to_copy", "copy_")


class Ledger(FakeTensorMode):
    """A fake mode that keeps every read of a device tensor by the host."""

    def __init__(self) -> None:
        super().__init__(allow_non_fake_inputs=True)
        self.reads: Counter[tuple[str, str]] = Counter()
        """(operator, file that asked for it) → times."""

    def dispatch(self, func: Any, types: Sequence[Any], args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name.removeprefix("aten::")
        tensors = [value for value in (*args, *(kwargs or {}).values()) if isinstance(value, torch.Tensor)]
        on_device = any(tensor.device.type == "cuda" for tensor in tensors)
        if on_device and (name in READS or _boolean_index(name, args)):
            self.reads[name, _asker()] += 1
            if name in ("_local_scalar_dense", "item"):
                return tensors[0].dtype is torch.bool or 1
            if name in ("equal", "is_nonzero"):
                return True
            if name == "nonzero":  # one was found
                with self:
                    return torch.empty((1, tensors[0].ndim), dtype=torch.long, device=DEVICE)
        result = super().dispatch(func, types, args, kwargs)  # type: ignore[no-untyped-call]
        to_host = isinstance(result, torch.Tensor) and result.device.type == "cpu"
        if on_device and name in COPIES and to_host:
            self.reads[f"{name} to cpu", _asker()] += 1
        return result


def _boolean_index(name: str, args: Any) -> bool:
    if name not in ("index", "index_put", "index_put_") or len(args) < 2:
        return False
    return any(isinstance(index, torch.Tensor) and index.dtype is torch.bool for index in args[1] if index is not None)


def _asker() -> str:
    """The innermost file outside torch and these tests."""
    for frame in reversed(traceback.extract_stack()):
        name = frame.filename
        if "/torch/" in name or name == __file__ or "<" in name:
            continue
        for root in ("llm_perf_opt", "transformers"):
            if f"/{root}/" in name:
                return f"{root}/{name.rsplit(f'/{root}/', 1)[1]}"
        return Path(name).name
    return "unknown"


def onto_fake_cuda(loaded: LoadedModel, mode: Ledger) -> None:
    """Put the model's parameters and buffers, without content, on the device that is not there."""
    for module in loaded.model.modules():
        for name, parameter in list(module._parameters.items()):
            if parameter is not None:
                module._parameters[name] = torch.nn.Parameter(_fake(parameter, mode), requires_grad=False)
        for name, buffer in list(module._buffers.items()):
            if buffer is not None:
                module._buffers[name] = _fake(buffer, mode)
    loaded.device = DEVICE
    loaded.built = replace(loaded.built, device=DEVICE)


def fake_batch(batch: Batch, mode: Ledger) -> Batch:
    """The batch, without content, on the device that is not there; what is on the host on purpose stays there."""

    def placed(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return _fake(value, mode)
        if isinstance(value, list | tuple):
            return type(value)(placed(item) for item in value)
        return value

    fields = ("input_ids", "attention_mask", "positions", "extra")
    extra = {name: placed(value) for name, value in batch.extra.items()}
    return replace(batch, **{name: placed(getattr(batch, name)) for name in fields[:-1]}, extra=extra)


def _fake(value: torch.Tensor, mode: Ledger) -> torch.Tensor:
    with mode:
        return torch.empty(value.shape, dtype=value.dtype, device=DEVICE)
