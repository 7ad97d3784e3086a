"""What is damaged: real inputs of every format, each with the command lines that read it.

Recorded files come from `LLMPERF_SHARED` where that is; each format has at least one made here besides.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import shutil
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from llm_perf_opt.captures.top_file import to_yaml as to_top_yaml
from llm_perf_opt.captures.top_kernels import top_kernels
from llm_perf_opt.config.dump import to_yaml
from llm_perf_opt.config.load import load_config
from llm_perf_opt.formats.nsys_stats import SUMMARY_COLUMNS
from tests.conftest import REPOSITORY
from tests.unit.formats.test_ncu_rep import SMALL
from tests.unit.timeline.example import EVENTS

MOST_BYTES = 1_200_000
"""Larger recordings take seconds each, undamaged."""
RAW = '"ID","Process ID","Kernel Name","gpu__time_duration.sum"\n"","","","ns"\n"0","7","f","12"\n"1","7","g","1,200"\n'
SUMMARY = (
    ",".join(SUMMARY_COLUMNS) + '\n75.0,120,4,30.0,25.0,10,60,21.6,"f<int, float>"\n25.0,40,1,40.0,40.0,40,40,0.0,g\n'
)
LLAMA = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64, "intermediate_size": 128,
    "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 256,
}  # fmt: skip
IMPORT = ("import", "{file}", "--output", "{out}")
TO_JSON = ("--json",)


@dataclass(frozen=True)
class Seed:
    """A file to damage.

    Attributes:
        kind: its format, as `mutations.OF_FORMAT` names it.
        file: its name in the folder of a case.
        commands: command lines; `{file}` and `{out}` stand for paths, `{folder}` for the folder.
        beside: files that lie beside it, undamaged.
        run: the file is one of a run, whose digest is made to fit in half of the cases.
    """

    name: str
    kind: str
    file: str
    data: bytes
    commands: tuple[tuple[str, ...], ...]
    beside: Path | None = None
    run: bool = False


def shared() -> Path | None:
    folder = Path(os.environ.get("LLMPERF_SHARED") or REPOSITORY.parent / "shared")
    return folder if folder.is_dir() else None


def seeds(work: Path) -> list[Seed]:
    """Everything that can be damaged; `work` has in `runs` runs that were made for it."""
    found = [*made(work), *_presets(), *_of_runs(work / "runs")]
    if (folder := shared()) is not None:
        found += [seed for seed in _recorded(folder) if len(seed.data) <= MOST_BYTES]
    return found


def made(work: Path) -> Iterator[Seed]:
    trace = json.dumps({"traceEvents": EVENTS, "schemaVersion": 1}).encode()
    yield Seed("made trace", "json", "trace.json", trace, (IMPORT,))
    yield Seed("made packed trace", "json.gz", "trace.json.gz", gzip.compress(trace), (IMPORT,))
    yield Seed("made raw page", "csv", "raw.csv", RAW.encode(), (IMPORT, ("kernels", "analyze", "{file}")))
    yield Seed("made kern_sum", "csv", "kern_sum.csv", SUMMARY.encode(), (IMPORT, ("kernels", "top", "{file}")))
    yield Seed("made ncu-rep", "ncu-rep", "made.ncu-rep", SMALL, (IMPORT, ("kernels", "analyze", "{file}")))
    yield _config("made llama", json.dumps(LLAMA).encode())
    tensors = {"a": {"dtype": "BF16", "shape": [4, 8], "data_offsets": [0, 64]}, "__metadata__": {"format": "pt"}}
    header = json.dumps(tensors).encode()
    weights = struct.pack("<Q", len(header)) + header + bytes(64)
    model = work / "model"
    model.mkdir(exist_ok=True)
    (model / "config.json").write_text(json.dumps(LLAMA))
    commands = (("static", "{folder}", "--method", "analytic", *TO_JSON), ("run", "{folder}", "--dry-run"))
    yield Seed("made weights", "safetensors", "model.safetensors", weights, commands, beside=model)
    yield Seed("made settings", "yaml", "my.yaml", to_yaml(load_config(None).config).encode(), _SETTINGS)
    (work / "kern_sum.csv").write_text(SUMMARY)
    top = to_top_yaml(top_kernels(work / "kern_sum.csv", 10))
    yield Seed("made top kernels", "yaml", "top.yaml", top.encode(), (_PROFILE,))


_SETTINGS = (
    ("config", "validate", "{file}"),
    ("config", "show", "{file}", "--origins"),
    ("config", "migrate", "{file}"),
    ("run", "{file}", "--dry-run"),
)
_PROFILE = ("kernels", "profile", "{file}", "--dry-run", "--", "true")


def _config(name: str, data: bytes) -> Seed:
    commands = (
        ("static", "{folder}", "--method", "analytic", "--prompt-tokens", "128"),
        ("static", "{file}", "--method", "analytic", "--gpu", "h100-sxm5", "--sweep", "batch=1,8", *TO_JSON),
        ("run", "{folder}", "--dry-run"),
    )
    return Seed(name, "json", "config.json", data, commands)


def _presets() -> Iterator[Seed]:
    configs = REPOSITORY / "configs"
    for file in sorted(configs.rglob("*.yaml")):
        yield Seed(f"preset {file.stem}", "yaml", "my.yaml", file.read_bytes(), _SETTINGS)


RUN_COMMANDS = (
    ("report", "{folder}"),
    ("report", "{folder}", "--format", "json", "--output", "{out}"),
    ("compare", "{folder}", "{folder}"),
    ("kernels", "top", "{folder}"),
    ("kernels", "analyze", "{folder}"),
    ("run", "--resume", "{folder}", "--dry-run"),
    ("runs", "{folder}"),
    ("trend", "{folder}", "--output", "{out}"),
)


def _of_runs(runs: Path) -> Iterator[Seed]:
    kinds = {".json": "json", ".jsonl": "jsonl", ".yaml": "yaml", ".parquet": "parquet", ".sqlite": "sqlite"}
    for run in sorted(path for path in runs.iterdir() if (path / "run.json").is_file()):
        for file in sorted(run.rglob("*")):
            if file.suffix in kinds and file.is_file():
                name = file.relative_to(run).as_posix()
                yield Seed(
                    f"{run.name}/{name}",
                    kinds[file.suffix],
                    name,
                    file.read_bytes(),
                    RUN_COMMANDS,
                    beside=run,
                    run=True,
                )


def _recorded(folder: Path) -> Iterator[Seed]:
    data, cases = folder / "data", folder / "cases"
    top, analyze = ("kernels", "top", "{file}"), ("kernels", "analyze", "{file}")
    for file in sorted([*(data / "nsys").glob("*.sqlite"), *(cases / "nsys").glob("*.sqlite")]):
        yield Seed(file.name, "sqlite", "run.sqlite", file.read_bytes(), (IMPORT, top))
    for file in sorted([*(data / "torch").glob("*.json.gz"), *(cases / "torch").glob("*.json.gz")]):
        yield Seed(file.name, "json.gz", "trace.json.gz", file.read_bytes(), (IMPORT,))
    for file in sorted((cases / "torch").glob("*.json")):
        yield Seed(file.name, "json", "trace.json", file.read_bytes(), (IMPORT,))
    for file in sorted((data / "ncu").glob("*.ncu-rep")):
        yield Seed(file.name, "ncu-rep", "report.ncu-rep", file.read_bytes(), (IMPORT, analyze))
    for file in sorted([*(cases / "ncu").glob("*.csv"), *(data / "ncu").rglob("*.csv")])[:60:3]:
        yield Seed(f"{file.parent.name}/{file.name}", "csv", "raw.csv", file.read_bytes(), (IMPORT, analyze))
    for file in sorted((data / "nsys").glob("*.csv")):
        yield Seed(file.name, "csv", "kern_sum.csv", file.read_bytes(), (IMPORT, top))
    for file in (data / "nsys" / "dsocr-top-10-kernels.yaml", cases / "config" / "old_top_kernels.yaml"):
        yield Seed(file.name, "yaml", "top.yaml", file.read_bytes(), (_PROFILE,))
    for file in sorted((cases / "config").rglob("*.yaml")):
        yield Seed(f"earlier {file.stem}", "yaml", "my.yaml", file.read_bytes(), _SETTINGS)
    for file in sorted((cases / "gguf").glob("*.gguf")):
        commands = (("static", "{file}", "--method", "analytic", *TO_JSON), ("run", "{file}", "--dry-run"))
        yield Seed(file.name, "gguf", "model.gguf", file.read_bytes()[:MOST_BYTES], commands)
    for file in sorted([*(data / "models").glob("*/config.json"), *(cases / "models").glob("*/config.json")]):
        yield _config(file.parent.name, file.read_bytes())
    for file in sorted((cases / "static").glob("*.json")):
        yield _config(file.stem, file.read_bytes())


def lay_out(seed: Seed, data: bytes, folder: Path, chance: random.Random) -> Path:
    """The case's folder with the damaged file in it; its path."""
    if seed.beside is not None:
        shutil.copytree(seed.beside, folder, dirs_exist_ok=True)
    folder.mkdir(exist_ok=True)
    file = folder / seed.file
    file.write_bytes(data)
    if seed.run and seed.file != "run.json" and chance.random() < 0.7:
        _sign(folder, seed.file, data)
    return file


def _sign(run: Path, name: str, data: bytes) -> None:
    """Make the manifest take the damaged file for its own, so that its readers are reached."""
    import hashlib

    manifest = json.loads((run / "run.json").read_bytes())
    manifest["artifacts"][name] = hashlib.sha256(data).hexdigest()
    (run / "run.json").write_text(json.dumps(manifest))
