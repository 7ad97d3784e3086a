"""How other counters see the same models:

    uv run --with fvcore --with calflops --with deepspeed python tests/benchmarks/compare_counters.py

Each is asked for one prefill of 2,048 tokens of the same transformers model, whose true count is the closed form with
full attention and all logits (equal to torch's counter with the grouped product added, which is checked first). The
models have their published sizes and no weights (the meta device). A counter that is not installed or fails says so.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from llm_perf_opt.analysis.static.analyze import analyze
from llm_perf_opt.records.static import StaticRequest

TOKENS = 2048
MODELS: dict[str, dict[str, Any]] = {
    "Llama-3.1-8B": {
        "model_type": "llama",
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 128256,
        "num_hidden_layers": 32,
    },
    "Qwen3-30B-A3B": {
        "model_type": "qwen3_moe",
        "hidden_size": 2048,
        "moe_intermediate_size": 768,
        "num_attention_heads": 32,
        "num_key_value_heads": 4,
        "head_dim": 128,
        "vocab_size": 151936,
        "num_experts": 128,
        "num_experts_per_tok": 8,
        "num_hidden_layers": 48,
    },
    "DeepSeek-V3": {"model_type": "deepseek_v3"},
}


def build(config: dict[str, Any]) -> tuple[Any, Any]:
    """The model on the meta device and its transformers config."""
    import torch
    from transformers import AutoModelForCausalLM, initialization
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    made = CONFIG_MAPPING[config["model_type"]].from_dict(dict(config))
    with torch.device("meta"), initialization.no_init_weights():
        return AutoModelForCausalLM.from_config(made, attn_implementation="eager").eval(), made


def _inputs(made: Any) -> dict[str, Any]:
    from transformers import DynamicCache

    return {"input_ids": _ids(), "past_key_values": DynamicCache(config=made), "use_cache": True}


def torch_stock(config: dict[str, Any]) -> int:
    """`torch.utils.flop_counter` as it comes."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    model, made = build(config)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(**_inputs(made))
    return int(counter.get_total_flops())


def torch_completed(config: dict[str, Any]) -> int:
    """The same with a formula for the grouped product."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    def grouped(a: list[int], b: list[int], *rest: object, **named: object) -> int:
        return 2 * a[-2] * a[-1] * b[-1]

    model, made = build(config)
    with (
        torch.no_grad(),
        FlopCounterMode(display=False, custom_mapping={torch.ops.aten._grouped_mm: grouped}) as counter,
    ):
        model(**_inputs(made))
    return int(counter.get_total_flops())


def _ids() -> Any:
    import torch

    return torch.ones(1, TOKENS, dtype=torch.long, device="meta")


def _plain(config: dict[str, Any]) -> Any:
    """The model as a module of one tensor, for counters that pass or trace nothing else."""
    import torch
    from transformers import DynamicCache

    class Plain(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model, self.made = build(config)

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            # Given a cache, transformers does not look into the values of the positions.
            logits: torch.Tensor = self.model(
                input_ids=ids, past_key_values=DynamicCache(config=self.made), use_cache=True
            ).logits
            return logits

    return Plain().eval()


def fvcore(config: dict[str, Any]) -> int:
    """`fvcore.nn.FlopCountAnalysis`, which counts a multiply and an add as one."""

    nn = importlib.import_module("fvcore.nn")
    counted = nn.FlopCountAnalysis(_plain(config), _ids())
    return 2 * int(counted.unsupported_ops_warnings(False).uncalled_modules_warnings(False).total())


def calflops(config: dict[str, Any]) -> int:
    """`calflops.calculate_flops`."""
    module = importlib.import_module("calflops")
    flops, _, _ = module.calculate_flops(
        model=_plain(config),
        kwargs={"ids": _ids()},
        print_results=False,
        output_as_string=False,
        include_backPropagation=False,
    )
    return int(flops)


def deepspeed(config: dict[str, Any]) -> int:
    """`deepspeed.profiling.flops_profiler`."""
    profiler = importlib.import_module("deepspeed.profiling.flops_profiler.profiler")
    flops, _, _ = profiler.get_model_profile(
        model=_plain(config), kwargs={"ids": _ids()}, print_profile=False, detailed=False, as_string=False, warm_up=0
    )
    return int(flops)


PEERS: dict[str, Callable[[dict[str, Any]], int]] = {
    "torch": torch_stock,
    "fvcore": fvcore,
    "calflops": calflops,
    "deepspeed": deepspeed,
}


def _cell(peer: Callable[[dict[str, Any]], int], config: dict[str, Any], truth: int) -> str:
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            found = peer(config)
    except ModuleNotFoundError as error:
        return f"not installed ({error.name})"
    except Exception as error:  # noqa: BLE001 (whatever a peer dies of is the result)
        return f"fails: {type(error).__name__}: {str(error)[:60]}"
    return "exact" if found == truth else f"{100 * (found - truth) / truth:+.1f} %"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


def main() -> None:
    """Print the table."""
    import logging

    logging.disable(logging.ERROR)
    request = StaticRequest(prompt_tokens=TOKENS, attention_flops="full", logits="all")
    truths: dict[str, int] = {}
    for name, config in MODELS.items():
        phase = analyze(config, request).phases.prefill
        assert phase is not None
        truths[name] = phase.flops
        assert truths[name] == torch_completed(config), name
    print("| counter | " + " | ".join(MODELS) + " |")
    print("| --- | " + " | ".join("---:" for _ in MODELS) + " |")
    print("| true FLOPs | " + " | ".join(f"{truths[name]:,}" for name in MODELS) + " |")
    print("| llmperf | " + " | ".join("exact" for _ in MODELS) + " |")
    for peer, count in PEERS.items():
        cells = [_cell(count, config, truths[name]) for name, config in MODELS.items()]
        print(f"| {peer} {_version(peer)} | " + " | ".join(cells) + " |")
    print(f"\nOne prefill of {TOKENS} tokens; {time.strftime('%Y-%m-%d')}, transformers {_version('transformers')}.")


if __name__ == "__main__":
    main()
