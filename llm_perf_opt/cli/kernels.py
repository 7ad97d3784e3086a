"""`llmperf kernels`: which kernels take the time, profiles of them, and what limits each."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from llm_perf_opt.cli import console
from llm_perf_opt.cli.lazy import TailCommand
from llm_perf_opt.cli.options import ConfigDirs, GpuOption, given_gpu
from llm_perf_opt.cli.running import DryRunOption, JsonOption, workload_after
from llm_perf_opt.errors import ConfigError

app = typer.Typer(
    help="Which kernels take the time, and what limits each.",
    epilog="Example: llmperf kernels top RUN -o top.yaml",
    no_args_is_help=True,
)


@app.command(
    epilog="""
    Examples:
      llmperf kernels top tmp/profile-output/20261122-101500
      llmperf kernels top capture.sqlite --range decode --device 0 -o top.yaml
      llmperf kernels top trace.json.gz --limit 20 > top.yaml
      llmperf kernels top summary_cuda_gpu_kern_sum.csv --json
    """
)
def top(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="RUN|SQLITE|CSV|TRACE",
            help="A run, an nsys export, a trace of torch.profiler, or a table of nsys stats.",
        ),
    ],
    *,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="How many kernels.")] = 10,
    device: Annotated[
        int | None,
        typer.Option("--device", metavar="N", min=0, help="Only this GPU, as the time line numbers it."),
    ] = None,
    phase: Annotated[
        str | None, typer.Option("--phase", metavar="PHASE", help="Only launches in this phase: prefill, decode, …")
    ] = None,
    within: Annotated[
        str | None,
        typer.Option("--range", metavar="NAME", help="Only launches in ranges or operators of this name."),
    ] = None,
    rank: Annotated[
        int | None, typer.Option("--rank", metavar="N", min=0, help="Only this rank of a run of several.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="Write the YAML there.", show_default=False),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show the kernels that take the most time.

    A terminal gets a table; elsewhere, and with -o, it is YAML: the file that `kernels profile` reads.
    """
    from llm_perf_opt.captures.top_kernels import top_kernels
    from llm_perf_opt.records.kernels import Choice

    found = top_kernels(source, limit, Choice(device, phase, within, rank))
    if as_json:
        typer.echo(found.model_dump_json(indent=2))
    if output is None and not as_json and sys.stdout.isatty():
        from llm_perf_opt.reports.top_kernels import top_document

        console.show(top_document(found))
        return
    if output is None and as_json:
        return
    from llm_perf_opt.captures.top_file import TORCH_NAMES, to_yaml

    if found.spelling == "torch":
        console.note(TORCH_NAMES)
    text = to_yaml(found)
    if output is None:
        typer.echo(text, nl=False)
        return
    from llm_perf_opt.artifacts.files import write_text

    write_text(output, text)
    console.note(f"wrote {output}")


@app.command(
    cls=TailCommand,
    epilog="""
    Examples:
      llmperf kernels profile top.yaml -- python my_script.py
      llmperf kernels profile top.yaml profiling/ncu@pipeline.ncu=ncu.high --limit 3 --dry-run -- python my_script.py
    """,
)
def profile(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="TOP.yaml", help="What `kernels top` printed.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[OVERRIDES]...", help="key=value or group@mount=preset.", show_default=False),
    ] = None,
    *,
    limit: Annotated[
        int | None,
        typer.Option("--limit", metavar="N", min=1, help="Only the first N kernels of the file.", show_default=False),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="DIR", help="Where the runs go; must be new or empty.", show_default=False),
    ] = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    config_dirs: ConfigDirs = None,
) -> None:
    """Profile one launch of each kernel of TOP.yaml with ncu.

    The command after `--` is run once for each kernel, each time as a run of its own in DIR; `kernels analyze` then
    sums them up in DIR/kernels.md.
    """
    from llm_perf_opt.captures.top_file import TORCH_NAMES, read_top
    from llm_perf_opt.cli.kernel_profiles import Request, print_plans, profile_kernels

    workload = workload_after(context)
    if not workload:
        raise ConfigError("which command to profile is missing", "for example: -- python my_script.py")
    listed = read_top(file)
    if listed.spelling == "torch":
        console.note(f"{file}: {TORCH_NAMES}")
    request = Request(listed.kernels[:limit], workload, tuple(overrides or ()), config_dirs, output)
    if dry_run:
        print_plans(request, as_json=as_json)
        return
    raise typer.Exit(profile_kernels(request, as_json=as_json))


@app.command(
    epilog="""
    Examples:
      llmperf kernels analyze tmp/profile-output/20261122-101500
      llmperf kernels analyze profiles/ other.ncu-rep raw.csv --output report
      llmperf kernels analyze raw.csv --gpu "NVIDIA H100 80GB HBM3"
    """
)
def analyze(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PATH...", help="Runs, folders, CSVs of ncu (raw or details page), .ncu-rep files."),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            metavar="DIR",
            help="Write kernels.md, .html and .json there.",
            show_default=False,
        ),
    ] = None,
    gpu: GpuOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what limits each profiled kernel.

    Also its caches, occupancy and traffic, and how far its arithmetic is from the roof.
    """
    from llm_perf_opt.cli.kernel_analysis import analyze_paths, failed, print_analysis, write_analysis

    analysis, passed_over = analyze_paths(paths, given_gpu(gpu))
    for path in passed_over:
        console.detail(f"{path}: no table of ncu, passed over")
    if not analysis.launches:
        raise failed(analysis)
    if output is not None:
        for written in write_analysis(analysis, output):
            console.note(f"wrote {written}")
    if output is None or as_json:
        print_analysis(analysis, as_json=as_json)
    for problem in analysis.problems:
        console.error(f"{problem.path}: {problem.reason}")
    raise typer.Exit(max((problem.exit_code for problem in analysis.problems), default=0))
