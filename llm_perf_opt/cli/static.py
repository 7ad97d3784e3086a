"""`llmperf static`: what a model computes and moves, from its config alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from llm_perf_opt.errors import ConfigError

EXAMPLE = """Example:

  llmperf static path/to/model --prompt-tokens 2048 --context 2048

MODEL is a config.json or the directory of a Hugging Face model; no weights are read."""


def _images(texts: list[str]) -> tuple[tuple[int, int], ...]:
    sizes = []
    for text in texts:
        width, _, height = text.lower().partition("x")
        if not (width.isascii() and width.isdigit() and height.isascii() and height.isdigit()):
            raise ConfigError(f"--image {text!r} is no size", "write WIDTHxHEIGHT in pixels, such as 1024x768")
        if not (int(width) and int(height)):
            raise ConfigError(f"--image {text!r} is empty", "write WIDTHxHEIGHT in pixels, such as 1024x768")
        sizes.append((int(width), int(height)))
    return tuple(sizes)


def static(
    context: typer.Context,
    model: Annotated[Path | None, typer.Argument(help="config.json or model directory.", show_default=False)] = None,
    *,
    prompt_tokens: Annotated[
        int, typer.Option(min=1, help="Text tokens of the prompt; image tokens come on top.")
    ] = 2048,
    cached: Annotated[
        int | None,
        typer.Option("--context", min=0, help="Cached tokens before the decode step; the whole prompt if left out."),
    ] = None,
    new_tokens: Annotated[int, typer.Option(min=1, help="Tokens to generate.")] = 128,
    batch: Annotated[int, typer.Option(min=1, help="Sequences per forward pass.")] = 1,
    image: Annotated[
        list[str] | None, typer.Option(metavar="WxH", help="Image of each prompt, pixels; repeatable.")
    ] = None,
    dtype: Annotated[
        str | None, typer.Option(help="Type of weights and activations; the checkpoint's if left out.")
    ] = None,
    kv_dtype: Annotated[
        str | None, typer.Option(help="Type of the KV cache; that of the activations if left out.")
    ] = None,
    attention_flops: Annotated[str, typer.Option(help="causal or full.")] = "causal",
    logits: Annotated[str, typer.Option(help="Positions of the prompt that reach the head: last or all.")] = "last",
    mla_form: Annotated[str, typer.Option(help="Latent attention: reexpanded, cached or absorbed.")] = "reexpanded",
    prefill_chunk: Annotated[int | None, typer.Option(min=1, help="Tokens per piece of a chunked prefill.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the record as JSON.")] = False,
) -> None:
    """FLOPs, parameters and bytes of a model's prefill and decode, exact and without its weights."""
    if model is None:
        typer.echo(context.get_help())
        typer.echo("\n" + EXAMPLE)
        return
    from pydantic import ValidationError

    from llm_perf_opt.analysis.static import analyze
    from llm_perf_opt.analysis.static.report import markdown
    from llm_perf_opt.analysis.static.source import read_config
    from llm_perf_opt.records.static import StaticRequest

    try:
        request = StaticRequest.model_validate(
            {
                "prompt_tokens": prompt_tokens,
                "context": cached,
                "new_tokens": new_tokens,
                "batch": batch,
                "images": _images(image or []),
                "dtype": dtype,
                "kv_dtype": kv_dtype,
                "attention_flops": attention_flops,
                "logits": logits,
                "mla_form": mla_form,
                "prefill_chunk": prefill_chunk,
            }
        )
    except ValidationError as error:
        first = error.errors()[0]
        option = "--" + str(first["loc"][0]).replace("_", "-")
        raise ConfigError(f"{option} {first['input']}: {first['msg']}", "see llmperf static --help") from error
    config, file = read_config(model)
    record = analyze(config, request, where=str(file))
    typer.echo(record.to_json() if as_json else markdown(record), nl=as_json)
