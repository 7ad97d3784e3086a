"""One secret is planted in every way into a run; no byte of what the run leaves is it."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import sqlite3
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli_process import llmperf, read_json
from tests.plugins import write_distribution
from tests.standins.fixtures import Nsight
from tests.tiny_models import write_text_model
from tests.unit.formats.ncu_rep_writer import block, kernel, report
from tests.unit.importing.test_import import export
from tests.unit.timeline.example import EVENTS

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("warm_commands")]

SECRET = "Zq7planted0123456789"
QUICK = ["measure.repeats=1", "measure.warmup=0", "infer.max_new_tokens=2"]
PLUGIN = '''
from llm_perf_opt.config.base import StageSettings
from llm_perf_opt.stages.base import Stage


class Thing(StageSettings):
    """A thing."""

    api_key: str = ""
    """What opens it."""
    note: str = ""
    """About it."""


def execute(context):
    settings = context.settings
    raise RuntimeError(f"refused: {settings.note} with api_key={settings.api_key}")


STAGE = Stage(settings=Thing, needs="nothing", execute=execute)
'''
# What nsys itself writes cannot be cleaned, which is said.
NOT_CLEANED = (".nsys-rep",)


def contents(file: Path) -> Iterator[bytes]:
    """The bytes of a file, and what is packed in them."""
    data = file.read_bytes()
    yield data
    if data.startswith(b"\x1f\x8b"):
        yield gzip.decompress(data)
    if data.startswith(b"SQLite format 3"):
        with contextlib.closing(sqlite3.connect(file)) as connection:
            yield "\n".join(connection.iterdump()).encode(errors="replace")
    for start in range(len(data)):  # any zlib stream, as in PNG files
        if data[start : start + 2] in (b"x\x9c", b"x\xda", b"x^"):
            with contextlib.suppress(zlib.error):
                yield zlib.decompressobj().decompress(data[start:])


def leaks(run: Path) -> list[str]:
    """Files of a run that the secret is in."""
    files = [file for file in run.rglob("*") if file.is_file() and file.suffix not in NOT_CLEANED]
    assert len(files) > 5
    return [str(file.relative_to(run)) for file in files if any(SECRET.encode() in found for found in contents(file))]


def test_a_run_of_our_own_workload(nsight: Nsight, tmp_path: Path) -> None:
    """Environment, tool arguments, prompt, experiment: under nsys, which stores environments, and without."""
    model = write_text_model(tmp_path / "model", "llama")
    finished = llmperf(
        [
            *(
                *("run", "--no-static", "--no-torch", "--nsys", "--output", "run", *QUICK),
                *("model.name=causal_lm", f"model.path={model}", "model.weights=random"),
            ),
            "pipeline.direct_inference.enable=true",
            "pipeline.direct_inference.output.prediction.enable=true",
            f"pipeline.nsys.extra_args=['--env-var=HF_TOKEN={SECRET},LEVEL=2']",
            f"dataset.prompt='Read https://me:{SECRET}@host.example/page with Authorization: Token {SECRET}'",
            f"experiment='api_key={SECRET}'",
        ],
        tmp_path,
        timeout_s=240,
        **nsight.env,
        MY_API_KEY=SECRET,
        HTTPS_PROXY=f"http://me:{SECRET}@proxy.example:3128",
    )
    run = tmp_path / "run"
    assert (run / "run.json").exists(), finished.stderr
    manifest = read_json(run / "run.json")
    assert manifest["stages"]["direct_inference"]["status"] == "completed", finished.stderr
    assert manifest["stages"]["nsys"]["status"] == "completed", manifest["stages"]["nsys"]
    assert leaks(run) == []
    assert SECRET not in finished.stderr
    assert manifest["hidden"] == ["experiment", "dataset.prompt", "pipeline.nsys.extra_args"]
    # The child was given the prompt as it is: its work is that of the prompt, not of stars.
    order = read_json(run / "tmp" / "workload" / "direct_inference" / "order.json")
    assert "https://***@host.example/page" in order["config"]["dataset"]["prompt"]
    assert not list(run.rglob(".order*"))
    assert "run.nsys-rep: a report holds the environments" in (run / "report.md").read_text()
    again = llmperf(["run", "--resume", "run"], tmp_path)
    assert again.returncode == 2
    assert "dataset.prompt" in again.stderr and "held a secret" in again.stderr


def test_somebody_elses_command(nsight: Nsight, tmp_path: Path) -> None:
    """A command that prints what it was given, under both tools."""
    said = f"print('mysql -p{SECRET} Authorization: Token {SECRET} --password {SECRET}'); import sys; print(sys.argv)"
    words = [f"-p{SECRET}", "-u", f"me:{SECRET}", "--header", f"Authorization: Bearer {SECRET}", f"token={SECRET}"]
    words += [f"https://{SECRET}@host.example/x?sig={SECRET}&a=1", "--password", SECRET]
    for tool in ("nsys", "ncu"):
        command = ["--", "python", "-c", said, *words]
        llmperf([tool, "--output", tool, *command], tmp_path, timeout_s=240, **nsight.env, MY_PASSWORD=SECRET)
        log = (tmp_path / tool / "tmp" / "workload" / tool / "child.log").read_text()
        assert "mysql -p***" in log, log
        assert leaks(tmp_path / tool) == []


def test_a_plugin_of_which_a_setting_is_a_secret(tmp_path: Path) -> None:
    site = write_distribution(tmp_path / "site", PLUGIN, entry_points={"llmperf.stages": {"thing": "STAGE"}})
    finished = llmperf(
        [
            *("run", "--no-static", "--no-torch", "--output", "run"),
            *(f"pipeline.plugins.thing.api_key={SECRET}", f"pipeline.plugins.thing.note='see token={SECRET}'"),
        ],
        tmp_path,
        PYTHONPATH=os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])]),
    )
    assert finished.returncode == 1, finished.stderr
    assert SECRET not in finished.stderr
    assert leaks(tmp_path / "run") == []
    assert "api_key: '***'" in (tmp_path / "run" / "config.yaml").read_text()


def test_imported_files(tmp_path: Path) -> None:
    nsys = export(tmp_path / "x.sqlite", [("f", 10)])
    with contextlib.closing(sqlite3.connect(nsys)) as connection, connection:
        connection.execute("CREATE TABLE IF NOT EXISTS META_DATA_CAPTURE (name TEXT, value TEXT)")
        connection.execute(
            "INSERT INTO META_DATA_CAPTURE VALUES ('PROCESS_0:ENVIRONMENT_VARIABLE', ?)", (f'HF_TOKEN="{SECRET}"',)
        )
        connection.execute("INSERT INTO StringIds VALUES (99, ?)", (f"HOME=/\0HF_TOKEN={SECRET}\0",))
        connection.execute("INSERT INTO StringIds VALUES (98, ?)", (f"python x.py {SECRET}",))
    trace = tmp_path / "trace.json"
    trace.write_text(json.dumps({"traceEvents": EVENTS, "env": {"HF_TOKEN": SECRET}}))
    profiled = tmp_path / "x.ncu-rep"
    profiled.write_bytes(report(block(kernels=[kernel("f()", {0: 5.0})], strings=["gpu__time_duration.sum"])))
    finished = llmperf(["import", *map(str, (nsys, trace, profiled)), "--output", "run"], tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert leaks(tmp_path / "run") == []
