"""`llmperf static`: what a model computes and moves, from its config alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llm_perf_opt.artifacts.layout import STATIC, STATIC_REPORT
from llm_perf_opt.cli import console
from llm_perf_opt.errors import ConfigError, MissingError

if TYPE_CHECKING:
    from llm_perf_opt.analysis.sharding.shares import Split
    from llm_perf_opt.analysis.static.stored import StoredWeights
    from llm_perf_opt.config.schema import Config
    from llm_perf_opt.hardware.gpu import Gpu
    from llm_perf_opt.records.static import StaticRecord, StaticRequest

app = typer.Typer()

YAML = (".yaml", ".yml")

EXAMPLES = """
Examples:
  llmperf static path/to/model --prompt-tokens 2048 --gpu h100-sxm5
  llmperf static path/to/model --tensor 8 --expert 8 --layout engine --gpu h200-sxm
  llmperf static config.json --sweep batch=1,2,4,...,256 --sweep context=1k,...,128k --gpu l4 --gpu h200-sxm

MODEL is a config.json, the directory of a Hugging Face model, a .gguf file, a configuration of
llmperf (.yaml), or the name of a model preset such as demo. Of weights only the sizes are read.
"""


def _images(texts: list[str]) -> tuple[tuple[int, int], ...]:
    sizes = []
    for text in texts:
        sides = text.lower().split("x")
        if len(sides) != 2 or not all(side.isascii() and side.isdigit() and int(side) for side in sides):
            raise ConfigError(f"--image {text!r} is no size", "write WIDTHxHEIGHT in pixels, such as 1024x768")
        sizes.append((int(sides[0]), int(sides[1])))
    return tuple(sizes)


def _request(values: Mapping[str, object]) -> StaticRequest:
    from pydantic import ValidationError

    from llm_perf_opt.analysis.static.precision import dtype_name
    from llm_perf_opt.records.static import StaticRequest

    for option in ("dtype", "kv_dtype"):
        if values[option] is not None:
            dtype_name(str(values[option]))
    try:
        return StaticRequest.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        option = "--" + str(first["loc"][0]).replace("_", "-")
        raise ConfigError(f"{option} {first['input']}: {first['msg']}", "see llmperf static --help") from error


def _loaded(path: Path | None, *overrides: str) -> Config:
    from llm_perf_opt.config.load import load_config
    from llm_perf_opt.workload.choice import with_model_chosen

    return with_model_chosen(load_config(path, list(overrides)).config)


def _of_config(config: Config) -> Mapping[str, Any]:
    from llm_perf_opt.workload.adapter import check_preprocess, find_adapter

    adapter = find_adapter(config.model.name)
    check_preprocess(adapter, config)
    return adapter.model_config(config)


def _with_views(request: StaticRequest, model: str) -> StaticRequest:
    """The request with its images as the configuration has them prepared, where MODEL is one of llmperf's own; else as
    the model's files say."""
    from llm_perf_opt.analysis.static.pages import together
    from llm_perf_opt.workload.adapter import find_adapter
    from llm_perf_opt.workload.preprocess import pixel_limits

    path = Path(model)
    if not request.images:
        return request
    if not (path.suffix in YAML or _names_preset(path)):
        return request.model_copy(update={"pixel_limits": pixel_limits(path)})
    config = _loaded(path) if path.suffix in YAML else _preset(model)
    pages = find_adapter(config.model.name).pages
    if pages is None:
        limits = pixel_limits(Path(config.model.path)) if config.model.path else None
        return request.model_copy(update={"pixel_limits": limits})
    prepared = together([pages(config).of(image) for image in request.images])
    return request.model_copy(update={"views": prepared.views, "image_tokens": prepared.tokens})


def _preset(name: str) -> Config:
    """The configuration that a model preset makes."""
    from llm_perf_opt.registry import ADAPTERS

    if name not in ADAPTERS.builtin():
        raise MissingError(
            f"{name}: no such file, directory or model preset",
            f"give a config.json, a model directory, or one of {', '.join(ADAPTERS.builtin())}",
        )
    return _loaded(None, f"model/{name}/arch@model={name}.default")


def _names_preset(path: Path) -> bool:
    return not (path.exists() or path.suffix or len(path.parts) > 1)


def _model_config(model: str) -> tuple[Mapping[str, Any], str, StoredWeights | None]:
    """The model's config.json, or what stands for it, what to call it in errors, and its weights where they are."""
    from llm_perf_opt.analysis.static.source import read_config
    from llm_perf_opt.analysis.static.stored import stored_weights

    path = Path(model)
    if path.suffix in YAML:
        return _of_config(_loaded(path)), model, None
    if path.suffix == ".gguf" and path.is_file():
        from llm_perf_opt.workload.gguf_config import read_gguf_config, stored_in_gguf

        return read_gguf_config(path), model, stored_in_gguf(path)
    if not _names_preset(path):
        config, file = read_config(path)
        return config, str(file), stored_weights(file.parent)
    return _of_config(_preset(model)), f"model preset {model}", None


def _gpus(names: list[str]) -> list[Gpu]:
    from llm_perf_opt.hardware.catalogue import gpu_named

    return [gpu_named(name) for name in dict.fromkeys(names)]


@app.command(epilog=EXAMPLES)
def static(
    context: typer.Context,
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODEL]",
            help="config.json, model directory, .gguf file, llmperf YAML, or preset.",
            show_default=False,
        ),
    ] = None,
    *,
    prompt_tokens: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Text tokens of the prompt; image tokens come on top.",
            show_default="2048, or all positions of an encoder that has fewer",
            rich_help_panel="Sizes",
        ),
    ] = None,
    cached: Annotated[
        int | None,
        typer.Option(
            "--context",
            min=0,
            metavar="N",
            help="Cached tokens before the decode step; the whole prompt if left out.",
            rich_help_panel="Sizes",
        ),
    ] = None,
    new_tokens: Annotated[
        int, typer.Option(min=1, metavar="N", help="Tokens to generate.", rich_help_panel="Sizes")
    ] = 128,
    batch: Annotated[
        int, typer.Option(min=1, metavar="N", help="Sequences per forward pass.", rich_help_panel="Sizes")
    ] = 1,
    image: Annotated[
        list[str] | None,
        typer.Option(metavar="WxH", help="Image of each prompt, pixels; repeatable.", rich_help_panel="Sizes"),
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(
            metavar="DTYPE",
            help="Type of weights and activations; the checkpoint's if left out.",
            rich_help_panel="Sizes",
        ),
    ] = None,
    kv_dtype: Annotated[
        str | None,
        typer.Option(
            metavar="DTYPE", help="Type of the KV cache; that of the activations if left out.", rich_help_panel="Sizes"
        ),
    ] = None,
    gpu: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Give bounds and memory fit on this GPU; repeatable.")
    ] = None,
    attention_flops: Annotated[
        str,
        typer.Option(metavar="causal|full", help="Which scores of the prompt are counted.", rich_help_panel="Counting"),
    ] = "causal",
    logits: Annotated[
        str,
        typer.Option(
            metavar="last|all", help="Positions of the prompt that reach the head.", rich_help_panel="Counting"
        ),
    ] = "last",
    mla_form: Annotated[
        str,
        typer.Option(
            metavar="reexpanded|cached|absorbed", help="Form of latent attention (MLA).", rich_help_panel="Counting"
        ),
    ] = "reexpanded",
    prefill_chunk: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Tokens per piece of a chunked prefill.", rich_help_panel="Sizes"),
    ] = None,
    method: Annotated[
        str,
        typer.Option(
            metavar="auto|analytic|traced",
            help="Closed form or trace; auto traces where there is no closed form.",
            rich_help_panel="Counting",
        ),
    ] = "auto",
    tensor: Annotated[
        int, typer.Option(min=1, metavar="N", help="Ranks that share the model.", rich_help_panel="Ranks")
    ] = 1,
    expert: Annotated[
        int,
        typer.Option(
            min=1, metavar="N", help="Groups of these ranks that hold whole experts.", rich_help_panel="Ranks"
        ),
    ] = 1,
    layout: Annotated[
        str,
        typer.Option(
            metavar="plan|engine",
            help="Sharded as transformers' plan says, or as serving engines do.",
            rich_help_panel="Ranks",
        ),
    ] = "plan",
    sweep: Annotated[
        list[str] | None,
        typer.Option(metavar="AXIS=VALUES", help="Sweep batch, context or prompt: batch=1,2,4,...,256; repeatable."),
    ] = None,
    output: Annotated[Path | None, typer.Option(metavar="DIR", help="Write the files into this directory.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """FLOPs, parameters and bytes of a model's prefill and decode, exact and without its weights."""
    if model is None:
        typer.echo(context.get_help())
        return
    request = _request(
        {
            **({} if prompt_tokens is None else {"prompt_tokens": prompt_tokens}),
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
    gpus = _gpus(gpu or [])
    config, where, stored = _model_config(model)
    if method not in ("auto", "analytic", "traced"):
        raise ConfigError(f"--method {method!r} is unknown", "one of auto, analytic, traced")
    request = _with_views(request, model)
    split = _split(tensor, expert, layout)
    if sweep and split is not None:
        raise ConfigError(
            "--sweep bounds each point on one GPU, and --tensor counts the ranks of one point",
            "ask for one of them at a time; points on ranks one by one: --batch, --prompt-tokens, --new-tokens",
        )
    if split is not None:
        _run_sharded(
            config, request, gpus, split, layout=layout, method=method, where=where, output=output, as_json=as_json
        )
    elif sweep:
        _run_sweep(config, request, gpus, sweep, method, where=where, stored=stored, output=output, as_json=as_json)
    else:
        _run_once(config, request, gpus, method, where=where, stored=stored, output=output, as_json=as_json)


def _run_once(
    config: Mapping[str, Any],
    request: StaticRequest,
    gpus: list[Gpu],
    method: str,
    *,
    where: str,
    stored: StoredWeights | None,
    output: Path | None,
    as_json: bool,
) -> None:
    from llm_perf_opt.analysis.static.measured import on_this_machine
    from llm_perf_opt.analysis.static.methods import static_record

    record = static_record(
        config,
        request,
        gpus,
        method=method,  # type: ignore[arg-type]
        fallback=False,
        where=where,
        stored=stored,
    )
    record = record if gpus else on_this_machine(record)
    _give(record, output, as_json=as_json)


def _give(record: StaticRecord, output: Path | None, *, as_json: bool) -> None:
    if output is not None:
        _write(output, _report_files(record))
    if as_json:
        typer.echo(record.to_json())
    else:
        from llm_perf_opt.reports.static import static_document

        console.show(static_document(record))


def _split(tensor: int, expert: int, layout: str) -> Split | None:
    """The ranks that were asked for; None of one process."""
    from llm_perf_opt.analysis.sharding.shares import Split

    if layout not in ("plan", "engine"):
        raise ConfigError(f"--layout {layout!r} is unknown", "one of plan, engine")
    split = Split(tensor, expert)
    return None if tensor == 1 else split


def _run_sharded(
    config: Mapping[str, Any],
    request: StaticRequest,
    gpus: list[Gpu],
    split: Split,
    *,
    layout: str,
    method: str,
    where: str,
    output: Path | None,
    as_json: bool,
) -> None:
    from llm_perf_opt.analysis.sharding.figures import sharding
    from llm_perf_opt.analysis.static.analyze import analyze
    from llm_perf_opt.analysis.static.methods import description_by

    traced = description_by(config, request, method=method, where=where)  # type: ignore[arg-type]
    whole = analyze(config, request, where=where, description=traced)
    found = sharding(
        config,
        request,
        split,
        layout,  # type: ignore[arg-type]
        gpus,
        where=where,
        description=traced,
    )
    _give(whole.model_copy(update={"sharding": found}), output, as_json=as_json)


def _report_files(record: StaticRecord) -> dict[str, str]:
    from llm_perf_opt.reports.markdown import to_markdown
    from llm_perf_opt.reports.static import static_document

    return {STATIC: record.to_json() + "\n", STATIC_REPORT: to_markdown(static_document(record))}


def _run_sweep(
    config: Mapping[str, Any],
    request: StaticRequest,
    gpus: list[Gpu],
    axes: list[str],
    method: str,
    *,
    where: str,
    stored: StoredWeights | None,
    output: Path | None,
    as_json: bool,
) -> None:
    from llm_perf_opt.analysis.static.methods import description_by
    from llm_perf_opt.analysis.static.sweep import parse_axis, sweep
    from llm_perf_opt.reports.html import to_html
    from llm_perf_opt.reports.static_sweep import SWEEP_CSV, SWEEP_PAGE, sweep_document

    parsed = [parse_axis(text) for text in axes]
    if len({name for name, _ in parsed}) != len(parsed):
        raise ConfigError("--sweep names an axis twice", "give each axis once, with all its values")
    description = description_by(config, request, method=method, where=where)  # type: ignore[arg-type]
    done = sweep(config, request, dict(parsed), gpus, where=where, description=description, stored=stored)
    files = {SWEEP_CSV: done.to_csv(), SWEEP_PAGE: to_html(sweep_document(done, drawn=True))}
    _write(output or Path(), files)
    if as_json:
        typer.echo(done.to_json())
    else:
        console.show(sweep_document(done))


def _write(directory: Path, files: Mapping[str, str]) -> None:
    from llm_perf_opt.artifacts.files import write_text

    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            write_text(directory / name, text)
            console.note(f"wrote {directory / name}")
    except OSError as error:
        raise MissingError(f"{directory}: cannot be written: {error.strerror}", "give another --output") from error
