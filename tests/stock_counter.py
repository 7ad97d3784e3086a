"""What a small model computes, counted by torch's own counter over transformers' eager code.

On the CPU: the shape functions of the meta device are Python, and take several times as long as so little arithmetic.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator
from typing import Any

from llm_perf_opt.errors import ConfigError
from llm_perf_opt.records.static import StaticRecord


# transformers' own kernels of a recurrence multiply in chunks or element by element: their arithmetic is put in by
# hand, two products an element of the state for a scan and three for the delta rule, each multiply-add two FLOPs.
def by_hand(home: dict[str, Any], counted: list[int]) -> Iterator[tuple[str, Any]]:
    import torch

    def convolve(hidden: Any, weight: Any) -> Any:
        channels, kernel = weight.shape
        counted[0] += 2 * channels * kernel
        return torch.zeros_like(hidden)

    def scan(hidden: Any, elements: int, state: tuple[int, ...]) -> Any:
        counted[0] += 4 * elements
        return torch.zeros_like(hidden), torch.zeros(state)

    def delta(query: Any, key: Any, value: Any, *_: Any, **named: Any) -> Any:
        batch, _, heads, width = value.shape
        counted[0] += 6 * heads * width * key.shape[-1]
        return torch.zeros_like(value), torch.zeros(batch, heads, key.shape[-1], width)

    def scan2(x: Any, dt: Any, A: Any, B: Any, *_: Any, **named: Any) -> Any:
        batch, _, heads, width = x.shape
        return scan(x, heads * width * B.shape[-1], (batch, heads, width, B.shape[-1]))

    kernels = {
        "causal_conv1d_fn": lambda x, weight, *_, **named: convolve(x, weight),
        "causal_conv1d_update": lambda x, state, weight, *_, **named: convolve(x, weight),
        "mamba2_chunk_scan": scan2,
        "mamba2_selective_state_update": lambda state, x, *_, **named: scan(x, state[0].numel(), ())[0],
        "mamba_selective_scan": lambda x, dt, A, *_, **named: scan(x, A.numel(), (1, *A.shape)),
        "mamba_selective_state_update": lambda state, x, *_, **named: scan(x, state[0].numel(), ())[0],
        "torch_chunk_gated_delta_rule": delta,
        "torch_recurrent_gated_delta_rule": delta,
        "chunk_kimi_delta_attention": delta,
        "recurrent_kimi_delta_attention": delta,
    }
    return ((name, kernel) for name, kernel in kernels.items() if name in home)


def griffin(home: dict[str, Any], kernel: int, counted: list[int]) -> Iterator[Any]:
    """The recurrent block of RecurrentGemma, by hand: a convolution, and one product an element of the state."""
    from unittest.mock import patch

    import torch

    def scan(lru: Any, hidden_states: Any, recurrent_states: Any, **_: Any) -> Any:
        counted[0] += 2 * hidden_states.shape[-1] * (kernel + 1)
        return hidden_states, recurrent_states

    def convolve(own: Any, hidden: Any) -> Any:
        return torch.zeros_like(hidden)

    if "RecurrentGemmaRglru" in home:
        yield patch.object(home["RecurrentGemmaRglru"], "_rnn_scan", scan)
        yield patch.object(torch.nn.Conv1d, "forward", convolve)


def stock_counter(config: dict[str, Any], prompt: int, context: int) -> tuple[int, int, int]:
    """Parameters and FLOPs of prefill and of a decode step, counted by torch over every layer of eager code.

    Written without our tracer, so that the two can disagree.
    """
    import sys
    from unittest.mock import patch

    import torch
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, DynamicCache
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    from llm_perf_opt.workload.past import past_of

    made = CONFIG_MAPPING[config["model_type"]].from_dict(dict(config))
    seeing = type(made) in AutoModelForImageTextToText._model_mapping
    factory = AutoModelForImageTextToText if seeing else AutoModelForCausalLM
    model = factory.from_config(made, attn_implementation="eager").eval().requires_grad_(False)

    def grouped(a: list[int], b: list[int], *rest: object, **named: object) -> int:
        return 2 * a[-2] * a[-1] * b[-1]

    homes = [vars(sys.modules[name]) for name in {type(module).__module__ for module in model.modules()}]
    past = past_of(model).name
    remembers = past in inspect.signature(model.forward).parameters

    def flops(tokens: int, cache: DynamicCache) -> int:
        counted = [0]
        counter = FlopCounterMode(display=False, custom_mapping={torch.ops.aten._grouped_mm: grouped})
        with contextlib.ExitStack() as stack:
            for home in homes:
                stack.enter_context(patch.dict(home, by_hand(home, counted)))
                for replaced in griffin(home, getattr(made, "conv1d_width", 0), counted):
                    stack.enter_context(replaced)
            stack.enter_context(torch.no_grad())
            stack.enter_context(counter)
            tokens_in = torch.ones(1, tokens, dtype=torch.long)
            # What keeps nothing runs all tokens again, for the last logits.
            again = {} if tokens == prompt else {"logits_to_keep": 1}
            model(input_ids=tokens_in, **({past: cache, "use_cache": True} if remembers else again))
        return int(counter.get_total_flops()) + tokens * counted[0]

    prefill = flops(prompt, DynamicCache(config=made))
    cache = DynamicCache(config=made)
    flops(context, cache)
    step = flops(1 if remembers else context + 1, cache)
    return sum(parameter.numel() for parameter in model.parameters()), prefill, step


def stock_encoder_decoder(config: dict[str, Any], source: int, tokens: int, context: int) -> tuple[int, int, int]:
    """The same of an encoder-decoder: its encoder once, and `tokens` of its decoder; a step with `context` cached.

    Args:
        source: tokens that the encoder reads; of sound, positions.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import AutoModelForSeq2SeqLM, AutoModelForSpeechSeq2Seq
    from transformers.modeling_outputs import BaseModelOutput
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    made = CONFIG_MAPPING[config["model_type"]].from_dict(dict(config))
    text = type(made) in AutoModelForSeq2SeqLM._model_mapping
    if not text and type(made) not in AutoModelForSpeechSeq2Seq._model_mapping:
        raise ConfigError("its encoder reads neither text nor sound")
    factory = AutoModelForSeq2SeqLM if text else AutoModelForSpeechSeq2Seq
    model = factory.from_config(made, attn_implementation="eager").eval().requires_grad_(False)
    read: dict[str, Any] = {"input_ids": torch.ones(1, source, dtype=torch.long)}
    if not text:
        read = {"input_features": torch.zeros(1, made.num_mel_bins, 2 * source)}

    def count(queries: int, **given: Any) -> tuple[int, Any]:
        counter = FlopCounterMode(display=False)
        ids = torch.ones(1, queries, dtype=torch.long)
        with torch.no_grad(), counter:
            found = model(decoder_input_ids=ids, use_cache=True, **given)
        return int(counter.get_total_flops()), found

    prefill, _ = count(tokens, **read)
    _, before = count(context, **read)
    encoded = BaseModelOutput(last_hidden_state=before.encoder_last_hidden_state)
    step, _ = count(1, encoder_outputs=encoded, past_key_values=before.past_key_values)
    return sum(parameter.numel() for parameter in model.parameters()), prefill, step


def stock_encoder(config: dict[str, Any], tokens: int) -> tuple[int, int, int]:
    """The same of an encoder alone, by the class that its config names: one pass, and no step."""
    import torch
    import transformers
    from torch.utils.flop_counter import FlopCounterMode
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    made = CONFIG_MAPPING[config["model_type"]].from_dict(dict(config))
    made._attn_implementation = "eager"
    named = config.get("architectures")
    if named:
        model = getattr(transformers, named[0])(made)
    else:
        model = transformers.AutoModelForMaskedLM.from_config(made, attn_implementation="eager")
    # Some look for padding in tokens that come without a mask.
    object.__setattr__(model.config, "pad_token_id", None)
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        model.eval().requires_grad_(False)(input_ids=torch.ones(1, tokens, dtype=torch.long))
    return sum(parameter.numel() for parameter in model.parameters()), int(counter.get_total_flops()), 0


def totals(record: StaticRecord) -> tuple[int | None, int, int]:
    prefill, decode = record.phases.prefill, record.phases.decode
    assert prefill is not None
    step = 0 if decode is None else decode.implemented_flops or decode.flops
    return record.model.parameters, prefill.implemented_flops or prefill.flops, step
