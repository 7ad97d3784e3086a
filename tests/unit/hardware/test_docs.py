"""The pages about hardware say what the code does."""

from __future__ import annotations

from pathlib import Path

from llm_perf_opt.hardware.doctor.checks import REQUIRABLE
from llm_perf_opt.hardware.sampler import CLOCK_EVENTS, NOT_THROTTLING
from llm_perf_opt.hardware.table import BEGIN, END, generated_part, rewrite

DOCS = Path(__file__).resolve().parents[3] / "docs"


def test_the_page_of_gpus_is_generated_from_the_catalogue() -> None:
    page = (DOCS / "hardware/gpus.md").read_text(encoding="utf-8")
    remedy = "run: uv run python -m llm_perf_opt.hardware.table docs/hardware/gpus.md"
    assert generated_part() in page, remedy


def test_rewriting_keeps_what_people_wrote(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# Title\n\n{BEGIN}\nold\n{END}\nthe end\n", encoding="utf-8")
    rewrite(page)
    rewrite(page)
    assert page.read_text(encoding="utf-8") == f"# Title\n\n{generated_part()}\nthe end\n"


def test_every_check_is_on_the_doctors_page() -> None:
    page = (DOCS / "commands/doctor.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in page for name in REQUIRABLE)


def test_every_clock_event_is_explained() -> None:
    page = (DOCS / "hardware/state.md").read_text(encoding="utf-8")
    for event in CLOCK_EVENTS.values():
        assert f"| `{event}` | {'no' if event in NOT_THROTTLING else 'yes'} |" in page
