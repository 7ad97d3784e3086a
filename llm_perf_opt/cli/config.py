"""`llmperf config`: check, show, write and migrate configurations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from llm_perf_opt.cli import console
from llm_perf_opt.cli.options import ConfigArguments, ConfigDirs, load
from llm_perf_opt.errors import ConfigError

app = typer.Typer(
    help="Check, show, write and migrate configurations.",
    epilog="Example: llmperf config validate my.yaml",
    no_args_is_help=True,
)


@app.command(
    epilog="""
    Examples:
      llmperf config validate my.yaml
      llmperf config validate my.yaml pipeline.nsys.enable=true
    """
)
def validate(
    arguments: ConfigArguments = None,
    config_dirs: ConfigDirs = None,
    json: Annotated[bool, typer.Option("--json", help="Mistakes as JSON, on standard output.")] = False,
) -> int:
    """Check a configuration without running anything.

    Prints "valid", or every mistake with its place and remedy (exit code 2).
    """
    if json:
        from llm_perf_opt.config.problems import InvalidConfig, to_json

        try:
            load(arguments, config_dirs=config_dirs)
        except InvalidConfig as error:
            typer.echo(to_json(error.problems))
            return error.exit_code
        typer.echo(to_json(()))
        return 0
    load(arguments, config_dirs=config_dirs)
    typer.echo("valid")
    return 0


@app.command(
    epilog="""
    Examples:
      llmperf config show my.yaml --origins
      llmperf config show profiling/ncu@pipeline.ncu=ncu.high > all.yaml
    """
)
def show(
    arguments: ConfigArguments = None,
    config_dirs: ConfigDirs = None,
    origins: Annotated[bool, typer.Option("--origins", help="Say for every value what set it.")] = False,
    json: Annotated[bool, typer.Option("--json", help="JSON instead of YAML.")] = False,
) -> None:
    """Print every setting as it would run.

    The YAML loads back to the same configuration.
    """
    from llm_perf_opt.config import show as texts

    loaded = load(arguments, config_dirs=config_dirs)
    typer.echo(texts.as_text(loaded, origins=origins, json=json), nl=False)


@app.command(
    epilog="""
    Examples:
      llmperf config init my.yaml --model causal_lm --stages static,torch
      llmperf config init --model deepseek_ocr2 > ocr.yaml
    """
)
def init(
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="Where to write it (none: standard output).")
    ] = None,
    model: Annotated[str, typer.Option("--model", metavar="NAME", help="Model to start from.")] = "demo",
    stages: Annotated[
        str, typer.Option("--stages", metavar="A,B", help="Stages to enable: static, torch, infer, nsys, ncu.")
    ] = "static,torch",
    config_dirs: ConfigDirs = None,
) -> None:
    """Write a commented configuration to start from."""
    from llm_perf_opt.config.presets import presets
    from llm_perf_opt.config.starter import models, stage_words, starter
    from llm_perf_opt.nearest import nearest

    found = presets(tuple(config_dirs or ()))
    names = models(found)
    if model not in names:
        raise ConfigError(
            f"--model {model}: there is no such model", f"did you mean {nearest(model, names)}? {', '.join(names)}"
        )
    words = tuple(stage_words())
    chosen = [name.strip() for name in stages.split(",") if name.strip()]
    for name in chosen:
        if name not in words:
            near = nearest(name, words)
            raise ConfigError(f"--stages {name}: there is no such stage", f"did you mean {near}? {', '.join(words)}")
    text = starter(model, chosen, found)
    if file is None:
        typer.echo(text, nl=False)
        return
    try:
        with file.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        raise ConfigError(f"{file} exists already", "choose another name, or remove it first") from None
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}", "choose a place that can be written to") from None
    console.note(f"wrote {file}; `llmperf config validate {file}` checks it")


@app.command(
    epilog="""
    Examples:
      llmperf config schema > llmperf.schema.json
    """
)
def schema() -> None:
    """Print the JSON Schema of configurations.

    An editor with a YAML language server completes and checks with it.
    """
    import json

    from llm_perf_opt.config.json_schema import config_schema

    typer.echo(json.dumps(config_schema(), indent=2, ensure_ascii=False))


@app.command(
    epilog="""
    Examples:
      llmperf config migrate old.yaml > new.yaml
      llmperf config migrate old.yaml --write
    """
)
def migrate(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A configuration or preset of the earlier system.")],
    write: Annotated[bool, typer.Option("--write", help="Replace the file, keeping the old one as FILE.bak.")] = False,
    config_dirs: ConfigDirs = None,
) -> int:
    """Turn a configuration or preset of the earlier system into a valid one.

    Prints the new file; what changed is said on standard error. What cannot be carried over is listed there too, with
    its line, and ends with exit code 1; the file is printed, or written, all the same.
    """
    from llm_perf_opt.config import migrate as migration
    from llm_perf_opt.config.presets import presets
    from llm_perf_opt.config.reader import read_text

    text = read_text(file)
    migrated = migration.migrate(text, str(file), presets(tuple(config_dirs or ())))
    for line in migrated.changes:
        console.note(line)
    if not migrated.is_new:
        console.note("nothing to migrate")
    if not write:
        typer.echo(migrated.text, nl=False)
    elif migrated.is_new:
        try:
            backup = migration.write(file, migrated.text)
        except OSError as error:
            raise ConfigError(f"{file}: {error.strerror}", "choose a place that can be written to") from None
        console.note(f"wrote {file}; the old one is {backup}")
    for left in migrated.left:
        console.error(f"{file}:{left}")
    return 1 if migrated.left else 0


@app.command(
    epilog="""
    Examples:
      llmperf config presets
      llmperf config presets profiling/ncu
    """
)
def presets(
    group: Annotated[
        str | None, typer.Argument(metavar="[GROUP]", help="Show this group only, with every value.")
    ] = None,
    config_dirs: ConfigDirs = None,
    json: Annotated[bool, typer.Option("--json", help="JSON instead of text.")] = False,
) -> None:
    """List the presets and what each sets."""
    from llm_perf_opt.config import catalogue
    from llm_perf_opt.config import presets as places

    found = places.presets(tuple(config_dirs or ()))
    if group is not None and group.rstrip("/") not in found.groups():
        from llm_perf_opt.nearest import nearest

        near = nearest(group, found.groups())
        raise ConfigError(
            f"there is no preset group {group!r}", f"did you mean {near}? `llmperf config presets` lists all"
        )
    typer.echo(catalogue.as_text(found, group and group.rstrip("/"), json=json), nl=False)
