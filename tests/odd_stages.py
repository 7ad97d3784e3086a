"""Stages of a third party that misbehave, installed as a package would be."""

from __future__ import annotations

import os
from pathlib import Path

from tests.plugins import write_distribution

SOURCE = """
import os, shutil, sys
from pathlib import Path

from llm_perf_opt.config.base import StageSettings
from llm_perf_opt.records.outcome import Outcome
from llm_perf_opt.stages.base import Stage
from llm_perf_opt.tools.process import run

WAIT = "import pathlib, sys, time; pathlib.Path(sys.argv[1]).write_text(sys.argv[1]); time.sleep(600)"


def fine(context):
    context.output_dir.mkdir(exist_ok=True)
    (context.output_dir / "fine.json").write_text("{}")
    return Outcome.completed()


def generator(context):
    raise GeneratorExit("early")


def waiting(context):
    if "ODD_STAGES_GO_ON" not in os.environ:
        context.scratch_dir.mkdir(parents=True)
        (context.scratch_dir / ".half.json.0a1b2c3d").write_text("half")
        argv = [sys.executable, "-I", "-S", "-c", WAIT, str(context.scratch_dir / "begun")]
        run(argv, log=context.scratch_dir / "log", cwd=Path.cwd(), env=dict(os.environ))
    return Outcome.completed()


def removing(context):
    shutil.rmtree(context.run_path)
    return Outcome.completed()


def rebuilding(context):
    shutil.rmtree(context.run_path)
    context.output_dir.mkdir(parents=True)
    (context.output_dir / "late.json").write_text("{}")
    return Outcome.completed()


def filling(context):
    context.output_dir.mkdir(exist_ok=True)
    for size in (1 << 16, 1 << 12, 1):
        with open(context.output_dir / f"{size}", "wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                pass
    return Outcome.completed()


class Odd(StageSettings):
    pass


def odd(execute):
    return Stage(settings=Odd, needs="nothing", execute=execute)


FINE, GENERATOR, WAITING = odd(fine), odd(generator), odd(waiting)
REMOVING, REBUILDING, FILLING = odd(removing), odd(rebuilding), odd(filling)
EXITING, NOTHING = odd(lambda context: sys.exit(0)), odd(lambda context: None)
UNPRINTABLE = odd(lambda context: (_ for _ in ()).throw(RuntimeError("wrong\\x1b[2J")))
"""
NAMES = ("fine", "generator", "waiting", "removing", "rebuilding", "filling", "exiting", "nothing", "unprintable")


def install(folder: Path) -> str:
    """A value for PYTHONPATH under which `pipeline.plugins` knows these stages."""
    points = {name: name.upper() for name in NAMES}
    write_distribution(folder, SOURCE, entry_points={"llmperf.stages": points}, name="odd-stages", module="odd_stages")
    return os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])


def only(*names: str) -> list[str]:
    """Arguments of `llmperf run` for these stages alone."""
    plugins = ", ".join(f"{name}: {{}}" for name in names)
    return ["run", "--no-static", "--no-torch", f"pipeline.plugins={{{plugins}}}"]
