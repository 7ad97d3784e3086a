"""CPU of `llmperf config validate` and `--help` against a bare typer+pydantic script, and of a file full of mistakes.

    uv run python tests/benchmarks/bench_cli_start.py

The bare script has three models, reads one YAML file and has one command of the same name: the least
that typer and pydantic can do. Runs alternate, so that a busy machine disturbs both alike.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROUNDS = 25
BARE = """
from pathlib import Path
from typing import Literal

import typer
from pydantic import BaseModel, ConfigDict


class Base(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True)


class Stage(Base):
    enable: bool = False
    trace: str = "cuda"


class Pipeline(Base):
    stage: Stage = Stage()


class Config(Base):
    experiment: str = "default"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    pipeline: Pipeline = Pipeline()


app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
config = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
app.add_typer(config, name="config")


@config.command()
def validate(file: Path) -> None:
    import yaml

    Config.model_validate(yaml.load(file.read_text(), Loader=yaml.CSafeLoader))
    typer.echo("valid")


@config.command()
def show(file: Path) -> None:
    typer.echo(file)


app()
"""


def cpu_seconds(argv: Sequence[str], expected_codes: tuple[int, ...] = (0,)) -> float:
    """User and system time of one process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    code = subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert code in expected_codes, f"{argv}: exit {code}"
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def compare(name: str, bare: Sequence[str], ours: Sequence[str]) -> None:
    pairs = [(cpu_seconds(bare), cpu_seconds(ours)) for _ in range(ROUNDS)]
    ratio = statistics.median(our / their for their, our in pairs)
    bare_ms, our_ms = (1000 * statistics.median(column) for column in zip(*pairs, strict=True))
    print(f"{name:<24} bare {bare_ms:4.0f} ms   llmperf {our_ms:4.0f} ms   ratio {ratio:.2f}   (at most 1.30)")


def file_full_of_mistakes(lines: int = 5000, mistakes: int = 200) -> str:
    """Valid patterns, and an unknown key or a wrong value every so many lines."""
    text = ["dataset:", "  fallback_patterns:"]
    text += [f"    - 'pattern_{number}'" for number in range(lines - mistakes - 10)]
    text += ["infer:", *(f"  max_new_token_{number}: {number}" for number in range(mistakes // 2))]
    text += ["model:", "  preprocess:", *(f"    wrong_{number}: {number}" for number in range(mistakes // 2))]
    return "\n".join(text) + "\n"


def main() -> None:
    llmperf = str(Path(sys.executable).parent / "llmperf")
    with tempfile.TemporaryDirectory() as folder:
        script, file, bad = (Path(folder) / name for name in ("bare.py", "small.yaml", "bad.yaml"))
        script.write_text(BARE, encoding="utf-8")
        file.write_text("experiment: small\n", encoding="utf-8")
        bad.write_text(file_full_of_mistakes(), encoding="utf-8")
        bare = [sys.executable, str(script)]
        validate = ["config", "validate", str(file)]
        compare("config validate FILE", [*bare, *validate], [llmperf, *validate])
        compare("--help", [*bare, "--help"], [llmperf, "--help"])
        compare("config validate --help", [*bare, *validate[:2], "--help"], [llmperf, *validate[:2], "--help"])
        seconds = min(cpu_seconds([llmperf, "config", "validate", str(bad)], (2,)) for _ in range(3))
        print(f"5,000 lines, 200 mistakes: {seconds:.2f} CPU s (at most 2)")


if __name__ == "__main__":
    main()
