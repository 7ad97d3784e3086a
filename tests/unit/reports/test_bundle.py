"""What is sent: the page, the gallery and the tables; never a trace, a capture or a configuration."""

from __future__ import annotations

import zipfile
from pathlib import Path

from llm_perf_opt.artifacts.run_directory import read_manifest
from llm_perf_opt.reports.bundle import write_bundle
from llm_perf_opt.reports.facts import read_run
from llm_perf_opt.reports.write import FORMATS, write_run_reports
from tests.made_runs import hostile_name, write_made_run


def test_a_bundle_has_the_page_and_its_tables(tmp_path: Path) -> None:
    run = write_made_run(tmp_path / "run", kernels=16, samples=1, name=hostile_name)
    (run / "torch_profiler" / "trace.json.gz").write_bytes(b"not to be sent")
    facts = read_run(run, read_manifest(run))
    write_run_reports(facts, tmp_path, FORMATS)
    for name in ("one.zip", "two.zip"):
        write_bundle(facts, tmp_path, tmp_path / name)
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.zip") as bundle:
        assert set(bundle.namelist()) == {
            *(f"run/{name}" for name in ("report.html", "report.md", "summary.json")),
            *(f"run/torch_profiler/{name}" for name in ("operators.csv", "kernels.csv", "pred/predictions.jsonl")),
        }
        kernels = bundle.read("run/torch_profiler/kernels.csv").decode()
    assert kernels.startswith("phase,name,calls,total_ns,max_ns\n")
    # A spreadsheet does not take a name for a formula.
    assert "'=HYPERLINK" in kernels
    assert '"=HYPERLINK' not in kernels
