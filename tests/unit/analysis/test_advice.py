"""Rules of advice: each fires on a record made for it, none on its half, and all say where they have it from."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from llm_perf_opt.analysis.advice.advise import advise, all_rules
from llm_perf_opt.analysis.advice.evidence import Evidence
from llm_perf_opt.analysis.advice.page import refreshed
from llm_perf_opt.analysis.advice.rule import Rule, amdahl
from llm_perf_opt.cli.app import COMMANDS
from llm_perf_opt.config.keys import all_settings
from llm_perf_opt.records.advice import Saving
from llm_perf_opt.records.workload import Instrumented
from llm_perf_opt.reports import sections
from llm_perf_opt.reports.sections.advice import evidence as shown_in
from tests import records
from tests.unit.analysis.advice_cases import MADE, evidence, of_rule

RULES = {rule.name: rule for rule in all_rules()}
BY_NAME = pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))


def test_every_rule_has_records_made_for_it() -> None:
    assert set(MADE) == set(RULES)
    assert len(RULES) == len(list(all_rules()))


@BY_NAME
@pytest.mark.parametrize("times", [1.02, 1.5, 1.98])
def test_half_the_figure_makes_its_advice_vanish(rule: Rule, times: float) -> None:
    figure = rule.above * times
    fired = of_rule(advise(MADE[rule.name].with_figure(figure)), rule.name)
    assert fired is not None
    assert fired.figures[0].name == rule.figure
    assert fired.figures[0].value == pytest.approx(figure, rel=0.01)
    assert of_rule(advise(MADE[rule.name].with_figure(figure / 2)), rule.name) is None


@BY_NAME
def test_a_rule_is_silent_where_it_has_nothing_to_say(rule: Rule) -> None:
    assert of_rule(advise(MADE[rule.name].silent), rule.name) is None
    assert of_rule(advise(Evidence(())), rule.name) is None


@BY_NAME
def test_what_is_said_has_its_evidence_and_a_bound_or_a_reason(rule: Rule) -> None:
    said = of_rule(advise(MADE[rule.name].with_figure(rule.above * 1.5)), rule.name)
    assert said is not None
    assert said.above == rule.above
    assert (said.saving is None) != (said.saving_reason is None)
    assert said.sentence.endswith(".") and said.change.endswith(".")
    assert all(": " in figure.source for figure in said.figures)
    assert all(file in said.evidence for file in (figure.source.split(": ")[0] for figure in said.figures))


@BY_NAME
def test_a_page_has_a_section_that_shows_it(rule: Rule) -> None:
    said = of_rule(advise(MADE[rule.name].with_figure(rule.above * 1.5)), rule.name)
    assert said is not None
    found = Path(sections.__file__).parent.glob("*.py")
    titles = {title for file in found for title in re.findall(r'Section\("([^"]+)"', file.read_text(encoding="utf-8"))}
    assert shown_in(said) in titles


@BY_NAME
def test_what_is_to_be_changed_can_be(rule: Rule) -> None:
    """Every key that advice names is one of the configuration, and every command one of llmperf."""
    said = of_rule(advise(MADE[rule.name].with_figure(rule.above * 1.5)), rule.name)
    assert said is not None
    keys = set(re.findall(r"\b((?:infer|model|measure|dataset|hardware|pipeline)\.[a-z_.]*[a-z])", said.change))
    assert keys <= set(all_settings())
    assert set(re.findall(r"llmperf ([a-z]+)", said.change)) <= set(COMMANDS)


def test_the_bound_is_amdahls() -> None:
    assert amdahl(0.75, "it", "") == Saving(of="it", share=0.75, speedup=4.0, where="")
    whole = amdahl(1.0, "it", "")
    assert isinstance(whole, Saving) and whole.speedup is None
    assert amdahl(1.2, "it", "") == "the records do not agree: a part would be 1.2 of the whole"


def test_vision_is_of_the_end_to_end_time() -> None:
    """20 + 5 of 50 ms of prefill are vision, prefill is 39 of 70 ms: were vision nothing, 27.9 % would go."""
    found = records.instrumented().model_copy(update={"prefill_ms": 40.0})
    (said,) = advise(evidence(records.workload(), found))
    assert said.saving is not None
    assert said.saving.share == pytest.approx(25 / 40 * 39 / 70)
    assert said.saving.speedup == pytest.approx(1 / (1 - 25 / 40 * 39 / 70))


def test_records_that_do_not_agree_cost_the_bound_alone() -> None:
    times = (records.module_time("sam", "prefill", 900.0),)
    (said,) = advise(evidence(records.workload(), Instrumented(prefill_ms=100.0, modules=times)))
    assert said.saving is None
    assert "do not agree" in (said.saving_reason or "")


def test_the_most_promising_comes_first() -> None:
    pieces = (*MADE["vision-dominates-prefill"].with_figure(0.9).pieces,)
    far = MADE["far-from-bandwidth"].with_figure(0.9).pieces[1:]
    found = advise(Evidence((*pieces, *far)))
    shares = [advice.saving.share for advice in found if advice.saving is not None]
    assert len(shares) == 2 and shares == sorted(shares, reverse=True)


def test_the_page_of_all_rules_is_made_of_them() -> None:
    page = (Path(__file__).parents[3] / "docs" / "advice.md").read_text(encoding="utf-8")
    assert refreshed(page) == page
