"""docs/models.md is made from its records, which say of every architecture what holds or why not."""

from __future__ import annotations

from llm_perf_opt.analysis.static.auto_classes import auto_classes
from llm_perf_opt.workload.kinds import IMAGE_TEXT, TEXT
from tests.walk.page import PAGE, count, page
from tests.walk.record import FAULTS, NONE, OUTCOMES, REASONS, YES, outcome, read

RECORDS = read()
# Known faults. How much is multiplied is decided by the router, or no token is decoded alone.
# The positions of its later layers are pooled. It looks into its values (longformer), or keeps a past of its own class.
FIGURES = ("diffusion_gemma", "funnel", "longcat_flash", "longformer", "reformer", "xlnet")
# No path that is called apart, no default processor, or more time than a test has.
IMAGES = (
    "aria",
    "blip",
    "diffusion_gemma",
    "florence2",
    "gemma4",
    "git",
    "glm_ocr",
    "idefics",
    "instructblipvideo",
    "kosmos-2",
    "kosmos-2.5",
    "mllama",
    "pix2struct",
    "pp_formulanet",
    "qwen2_5_omni_thinker",
    "qwen3_omni_moe_thinker",
)
FAULTY = {
    name: {*(("traced", "exact") if name in FIGURES else ()), *(("images",) if name in IMAGES else ())}
    for name in (*FIGURES, *IMAGES)
}
TWO_STACKS = (
    "encoder-decoder",
    "fsmt",
    "led",
    "longt5",
    "m2m_100",
    "mt5",
    "nllb-moe",
    "pegasus_x",
    "seamless_m4t",
    "seamless_m4t_v2",
    "switch_transformers",
    "t5",
    "t5gemma",
    "umt5",
)
"""Encoder-decoders that are no language models by another name."""


def test_the_page_is_that_of_the_records() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(RECORDS), "run: uv run python -m tests.walk.page"


def test_every_architecture_has_a_record() -> None:
    known = auto_classes()
    assert set(RECORDS) == {*known[TEXT], *known[IMAGE_TEXT], *known["MASKED_LM"], *TWO_STACKS}


def test_what_is_not_so_has_a_reason() -> None:
    for name, record in RECORDS.items():
        for question, answer in record.answers.items():
            word, _, why = answer.partition(": ")
            assert word in OUTCOMES, (name, question)
            assert bool(why) == (word not in (YES, NONE)), (name, question)
            assert (word == NONE) <= (question in ("closed_form", "images")), (name, question)


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
    assert count(RECORDS, "exact") >= 270
    assert count(RECORDS, "images") >= 40
