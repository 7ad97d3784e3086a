"""The generated part of docs/advice.md; `python -m llm_perf_opt.analysis.advice.page FILE` rewrites it in place."""

from __future__ import annotations

import sys
from pathlib import Path

from llm_perf_opt.analysis.advice.advise import all_rules
from llm_perf_opt.analysis.advice.rule import Rule

BEGIN = "<!-- generated from llm_perf_opt/analysis/advice/rules/*.py: begin -->"
END = "<!-- generated: end -->"


def generated_part() -> str:
    """Every rule, as Markdown."""
    return "\n\n".join([BEGIN, *(_entry(rule) for rule in sorted(all_rules(), key=lambda rule: rule.name)), END])


def refreshed(page: str) -> str:
    """The text of the page, which must hold both markers, with the generated part made anew."""
    before, rest = page.split(BEGIN)
    return before + generated_part() + rest.split(END)[1]


def _entry(rule: Rule) -> str:
    return "\n".join(
        [
            f"### {rule.name}",
            "",
            rule.about,
            "",
            f"- Fires on: {rule.figure}, above {rule.above:g}.",
            f"- Seen to fire in: {rule.tried_on}.",
        ]
    )


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(refreshed(path.read_text(encoding="utf-8")), encoding="utf-8")
