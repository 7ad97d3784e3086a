"""Each built-in extension is one file: added to a copy of the package, it is found, runs and is reported."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import llm_perf_opt
from llm_perf_opt.config.presets import shipped_dir
from tests.cli_process import environment, read_json

pytestmark = pytest.mark.integration

PACKAGE = Path(llm_perf_opt.__file__).parent
RUN = "from llm_perf_opt.cli.main import main; main()"

STAGE = '''
"""How many samples there are."""
from __future__ import annotations
from typing import ClassVar
from llm_perf_opt.artifacts.files import write_text
from llm_perf_opt.config.base import StageSettings
from llm_perf_opt.records.base import Record
from llm_perf_opt.records.outcome import Outcome
from llm_perf_opt.stages.base import Stage, StageContext

class Counting(StageSettings):
    """How many samples there are."""
    enable: bool = False
    """Run this stage."""
    twice: bool = False
    """Count them twice."""

class Count(Record):
    SUMMARY: ClassVar[str] = "counting"
    samples: int

def execute(context: StageContext[Counting]) -> Outcome:
    count = len(context.inputs.samples) * (2 if context.settings.twice else 1)
    write_text(context.output_dir / "count.json", Count(samples=count).model_dump_json())
    return Outcome.completed()

STAGE = Stage(
    settings=Counting, records={"count.json": "llm_perf_opt.stages.counting:Count"}, short="count", execute=execute
)
'''
ADVICE = """
from llm_perf_opt.analysis.advice.rule import Case, Rule
from llm_perf_opt.records.advice import AdviceFigure

def cases(evidence):
    figure = AdviceFigure(name="stages", value=1.0, unit="stages", source="run.json: stages")
    yield Case("There is a stage.", (figure,), "Nothing to change.", "nothing is gained")

RULES = (Rule("a-stage", "There is a stage.", "stages", 0.5, "made records only", cases),)
"""
ADAPTER = """
from llm_perf_opt.workload.adapter import Adapter

ADAPTER = Adapter(modality="text", model_config=lambda config: {"model_type": "llama"}, load=None)
"""


class Copy:
    """A copy of the package that files are added to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(PACKAGE, folder / "llm_perf_opt", ignore=shutil.ignore_patterns("__pycache__", "configs"))
        shutil.copytree(shipped_dir(), folder / "configs")

    def add(self, place: str, text: str) -> None:
        path = self.folder / place
        assert path.parent.is_dir() and not path.exists()
        path.write_text(text, encoding="utf-8")

    def add_documented(self, place: str) -> None:
        """The file that docs/extending.md shows for that place."""
        page = (PACKAGE.parent / "docs" / "extending.md").read_text(encoding="utf-8")
        found = re.search(rf"<!-- tried: {re.escape(place)} -->\n\n```python\n(.*?)```", page, re.DOTALL)
        assert found is not None, place
        self.add(place, found[1])

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", RUN, *arguments],
            cwd=self.folder,
            env=environment(PYTHONPATH=os.fspath(self.folder)),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def succeeds(self, *arguments: str) -> str:
        finished = self.run(*arguments)
        assert finished.returncode == 0, finished.stderr
        return finished.stdout


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy(tmp_path)


def test_a_stage_is_one_file_and_one_line(copy: Copy) -> None:
    copy.add("llm_perf_opt/stages/counting.py", STAGE)
    registry = copy.folder / "llm_perf_opt" / "registry.py"
    line = '        f"{PACKAGE}.stages.nsys",\n'
    text = registry.read_text()
    assert text.count(line) == 1
    registry.write_text(text.replace(line, line + '        f"{PACKAGE}.stages.counting",\n'))
    assert "--count" in copy.succeeds("run", "--help")
    assert "counting:\n    enable: false\n    twice: false" in copy.succeeds("config", "show")
    wrong = copy.run("config", "validate", "configs/config.yaml", "pipeline.counting.twise=true")
    assert wrong.returncode == 2 and "did you mean pipeline.counting.twice?" in wrong.stderr
    assert "Count them twice." in copy.succeeds("config", "schema")
    copy.succeeds("run", "--no-static", "--no-torch", "--count", "pipeline.counting.twice=true", "--output", "run")
    assert read_json(copy.folder / "run" / "counting" / "count.json") == {"samples": 4}
    assert read_json(copy.folder / "run" / "summary.json")["counting"] == {"samples": 4}
    assert "| counting | completed |" in (copy.folder / "run" / "report.md").read_text()
    assert read_json(copy.folder / "run" / "run.json")["stages"]["counting"]["status"] == "completed"


def test_a_section_an_importer_and_a_rule_of_advice_are_one_file_each(copy: Copy) -> None:
    copy.add_documented("llm_perf_opt/reports/sections/greeting.py")
    copy.add_documented("llm_perf_opt/importing/importers/notes.py")
    copy.add("llm_perf_opt/analysis/advice/rules/staged.py", ADVICE)
    (copy.folder / "notes").write_text("NOTES of a capture\n")
    copy.succeeds("import", "notes", "--output", "run")
    text = (copy.folder / "run" / "report.md").read_text()
    assert "## Greeting\n\nhello 1" in text and "notes of an engineer" in text
    assert [found["rule"] for found in read_json(copy.folder / "run" / "summary.json")["advice"]] == ["a-stage"]
    assert "- There is a stage. Nothing to change. What it can bring is not known: nothing is gained." in text
    assert (copy.folder / "run" / "nsys" / "notes.txt").read_text() == "NOTES of a capture\n"
    refused = copy.run("import", "configs/config.yaml")
    assert refused.returncode == 2 and "notes of an engineer" in refused.stderr


def test_a_family_a_gpu_a_preset_and_an_adapter_are_one_file_each(copy: Copy) -> None:
    copy.add_documented("llm_perf_opt/analysis/static/families/brandnew.py")
    gpu = (copy.folder / "llm_perf_opt/hardware/gpus/a10.yaml").read_text()
    mine = gpu.replace("id: a10", "id: mine").replace("NVIDIA A10", "My Own GPU")
    copy.add("llm_perf_opt/hardware/gpus/mine.yaml", mine)
    model = {"model_type": "brandnew", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
    model |= {"num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 100}
    (copy.folder / "config.json").write_text(json.dumps(model))
    found = json.loads(copy.succeeds("static", "config.json", "--gpu", "mine", "--json"))
    assert found["method"] == "analytic" and found["gpus"][0]["title"] == "My Own GPU"
    copy.add("configs/profiling/nsys/nsys.mine.yaml", "# Mine.\nsample: process-tree\n")
    assert "sample: process-tree" in copy.succeeds("config", "show", "profiling/nsys@pipeline.nsys=nsys.mine")
    assert "nsys.mine" in copy.succeeds("config", "presets")
    copy.add("llm_perf_opt/workload/adapters/own.py", ADAPTER)
    planned = ("run", "model.name=own", "dataset.prompt=hi", "model.preprocess.enable=false", "--dry-run")
    assert "samples: 1" in copy.succeeds(*planned)
