"""A sample of the campaign for every run of the tests, and the whole of it: `pytest -m campaign tests/campaign`."""

from __future__ import annotations

import gzip
import json
import os
import random
import sys
from pathlib import Path

import pytest

from tests.campaign import corpus
from tests.campaign.faults import KINDS, all_faults
from tests.campaign.inputs import all_inputs
from tests.campaign.judge import Findings, check_output, check_run
from tests.campaign.mutations import HOSTILE_VALUES, OF_FORMAT, damaged, tree
from tests.campaign.page import PAGE, START
from tests.conftest import REPOSITORY

FAULTS = int(os.environ.get("CAMPAIGN_FAULTS", "300"))
INPUTS = int(os.environ.get("CAMPAIGN_INPUTS", "10000"))
SEED = int(os.environ.get("CAMPAIGN_SEED", "16"))
SAMPLE, SMALL_BYTES = 40, 40_000
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds processes in /proc")


def harm(count: int, jobs: int, most_bytes: int = corpus.MOST_BYTES) -> dict[str, Findings]:
    """What went wrong, by case."""
    found = all_inputs(REPOSITORY, count, SEED, jobs, most_bytes=most_bytes)
    return {f"{ended.case.number} {ended.case.seed.name}": ended.found for ended in found if ended.found.wrong}


@pytest.mark.integration
def test_a_sample_of_damaged_files() -> None:
    assert not harm(SAMPLE, 1, SMALL_BYTES)


@linux
@pytest.mark.campaign
@pytest.mark.timeout(7200)
def test_faults() -> None:
    found = list(all_faults(REPOSITORY, FAULTS, SEED))
    assert {fault.kind for fault in found if fault.injected} == set(KINDS)
    wrong = [fault for fault in found if fault.found.wrong]
    assert not wrong


@pytest.mark.campaign
@pytest.mark.timeout(7200)
def test_damaged_files() -> None:
    assert not harm(INPUTS, 2)


@pytest.mark.parametrize("kind", OF_FORMAT)
def test_the_same_seed_does_the_same_damage_and_leaves_no_file_as_it_was(kind: str, tmp_path: Path) -> None:
    texts = {"json": b'{"a": [1, "b"]}', "jsonl": b'{"a": 1}\n', "csv": b"a,b\n1,2\n", "yaml": b"a: [1, b]\n"}
    texts["json.gz"] = gzip.compress(texts["json"], mtime=0)
    data = texts.get(kind, bytes(range(256)))
    made = [[damaged(kind, data, random.Random(seed), tmp_path) for seed in range(20)] for _ in range(2)]
    assert made[0] == made[1]
    assert sum(one != data for one in made[0]) >= 15


@pytest.mark.parametrize(
    ("code", "output", "kind"),
    [
        (1, "Traceback (most recent call last):\nerror: x", "tracebacks"),
        (1, "error: KeyError: 'a'\n  remedy: run again with --debug to see where this comes from", "tracebacks"),
        (-11, "", "wrong exit codes"),
        (130, "interrupted", "wrong exit codes"),
        (2, "", "wrong exit codes"),
    ],
)
def test_what_is_wrong_is_found(code: int, output: str, kind: str) -> None:
    found = Findings()
    check_output(found, code, output, (0, 1, 2, 3))
    assert kind in found.wrong


RUN = '{"status": "%s", "exit_code": %s, "stages": {"a": {"status": "%s", "ended": "t"}}, "artifacts": {%s}}'
A = '"a/x": "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"'  # of an x


@pytest.mark.parametrize(
    ("manifest", "code", "kind"),
    [
        (RUN % ("completed", 0, "completed", A), 0, None),
        (RUN % ("completed", 0, "completed", A), 1, "untruthful manifests"),
        (RUN % ("completed", 0, "failed", A), 0, "untruthful manifests"),
        (RUN % ("running", "null", "running", A), 0, "untruthful manifests"),
        (RUN % ("completed", 0, "completed", ""), 0, "untruthful manifests"),
        (RUN % ("completed", 0, "completed", A + ', "a/y": "0"'), 0, "lost"),
        (RUN % ("completed", 0, "completed", A.replace("2", "3")), 0, "lost"),
        ("{", 0, "untruthful manifests"),
    ],
)
def test_a_run_is_held_against_its_manifest(tmp_path: Path, manifest: str, code: int, kind: str | None) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_text("x")
    (tmp_path / "run.json").write_text(manifest)
    found = Findings()
    check_run(found, tmp_path, code)
    assert (kind in found.wrong) if kind else not found.wrong


def test_the_page_has_a_place_for_the_figures() -> None:
    assert START in PAGE.read_text(encoding="utf-8")


def test_what_is_put_into_a_tree_is_not_put_into_itself() -> None:
    before = repr(HOSTILE_VALUES)
    for seed in range(2000):
        json.dumps(tree({"a": [{}], "b": {"c": [1]}}, random.Random(seed)), default=str)
    assert repr(HOSTILE_VALUES) == before
