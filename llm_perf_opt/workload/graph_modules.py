"""Modules as annotations of the nodes of a CUDA graph: a replay runs without the program, so nothing else says them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch.cuda import graph_annotations


@contextlib.contextmanager
def captured_graph(graph: torch.cuda.CUDAGraph, model: torch.nn.Module) -> Iterator[None]:
    """Capture what the block runs; where torch and the driver can, each node is annotated with its innermost module."""
    can = graph_annotations.is_available()
    with torch.cuda.graph(graph, enable_annotations=can), annotated_modules(model) if can else contextlib.nullcontext():
        yield


@contextlib.contextmanager
def annotated_modules(model: torch.nn.Module) -> Iterator[None]:
    """Annotate what each module launches in a capture with its name; hooks are gone when the block ends."""
    opened: list[Any] = []
    handles = []
    for name, module in model.named_modules():

        def before(_module: torch.nn.Module, _args: Any, name: str = name) -> None:
            scope = graph_annotations.mark_kernels(name or type(model).__name__, backward=False)
            scope.__enter__()
            opened.append(scope)

        def after(_module: torch.nn.Module, _args: Any, _result: Any) -> None:
            opened.pop().__exit__(None, None, None)

        handles += [module.register_forward_pre_hook(before), module.register_forward_hook(after, always_call=True)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
