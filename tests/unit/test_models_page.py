"""docs/models.md is made from its records, which say of every architecture what holds or why not."""

from __future__ import annotations

from llm_perf_opt.workload.kinds import IMAGE_TEXT, TEXT, _tables
from tests.walk.page import PAGE, count, page
from tests.walk.record import FAULTS, NONE, OUTCOMES, REASONS, YES, outcome, read

RECORDS = read()
# Known faults: tracing refuses what looks into its values, and counts that follow neither tokens nor positions.
REFUSED = (
    "deepseek_v4",
    "diffusion_gemma",
    "dots3_note",
    "dots3_note_text",
    "glm5_next",
    "jetmoe",
    "longcat_flash",
    "openai-gpt",
    "qwen4_exp",
    "qwen4_exp_text",
    "recurrent_gemma",
    "zaya",
)
FAULTY = {name: {"traced", "exact"} for name in REFUSED}


def test_the_page_is_that_of_the_records() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(RECORDS), "run: uv run python -m tests.walk.page"


def test_every_architecture_has_a_record() -> None:
    known = _tables()
    assert set(RECORDS) == {*known[TEXT], *known[IMAGE_TEXT]}


def test_what_is_not_so_has_a_reason() -> None:
    for name, record in RECORDS.items():
        for question, answer in record.answers.items():
            word, _, why = answer.partition(": ")
            assert word in OUTCOMES, (name, question)
            assert bool(why) == (word not in (YES, NONE)), (name, question)
            assert (word == NONE) <= (question == "closed_form"), (name, question)


def test_faults_are_the_known_ones() -> None:
    found = {
        name: faults
        for name, record in RECORDS.items()
        if (faults := {question for question, answer in record.answers.items() if outcome(answer) in FAULTS})
    }
    assert found == FAULTY


def test_reach() -> None:
    explained = sum(outcome(record.run) in (YES, *REASONS) for record in RECORDS.values())
    assert explained >= 260
    assert count(RECORDS, "run") >= 190
    assert count(RECORDS, "closed_form") >= 70
    assert count(RECORDS, "exact") >= 190
