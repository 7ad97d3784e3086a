"""The page of the walk, made from its records alone."""

from __future__ import annotations

from collections.abc import Mapping

from tests.walk.record import FAULTS, NONE, RECORDS, YES, Architecture, outcome, read

PAGE = RECORDS.with_suffix(".md")
_TITLES = {
    "closed_form": "closed form",
    "traced": "traced",
    "exact": "exact",
    "images": "images",
    "run": "run",
    "infer": "infer",
    "static_cache": "static cache",
}
_SIGNS = {YES: "✓", NONE: "–", "no generation": "no text", "upstream": "upstream", "package": "package"}
_HEAD = """# Every architecture of transformers

Made by `uv run python -m tests.walk --write` from a small model of every type that transformers {version} has a class
for that makes text from text, from images and text, or after an encoder, or that is an encoder of text; random, untied
weights; CPU.
`uv run pytest -m walk` makes all of it again, the suite a sample. The records are in `docs/models.json`.

| column | ✓ means |
| --- | --- |
| closed form, traced | parameters, FLOPs of prefill and of a decode step equal a count by torch's own counter; – none |
| exact | by one of the two at least |
| images | tokens of an image, and FLOPs of its path, equal transformers' own after its image processor; – none |
| run | tokens of one prompt equal those of `generate()`, and differ without what was read before |
| infer | tokens of three prompts of different lengths, padded on the left, equal those of `generate()` |
| static cache | both once more with `infer.cache: static`, as `generate(cache_implementation="static")` |

An encoder-decoder is counted with its encoder reading the prompt, once, and its decoder beginning with one token; an
encoder alone in one pass over the prompt, and has no step.
torch counts transformers' eager code on the meta device, to the integer; recurrences are put in by hand.

What else a cell may say has its reason below: **package**: one is missing; **no text**: the model generates none from a
prompt alone; **upstream**: transformers itself raises, in its own `generate()` or when it builds the model or runs it
without values; **differs** and **refused** are faults of llmperf.

"""


def page(records: Mapping[str, Architecture]) -> str:
    """The page as Markdown."""
    versions = ", ".join(sorted({record.transformers for record in records.values()}))
    return "\n".join(
        [_HEAD.format(version=versions) + _counts(records), "", *_table(records), "", *_reasons(records), ""]
    )


def count(records: Mapping[str, Architecture], question: str) -> int:
    """Architectures of which an answer is yes."""
    return sum(record.answers[question] == YES for record in records.values())


def _counts(records: Mapping[str, Architecture]) -> str:
    parts = [f"{title} {count(records, name)}" for name, title in _TITLES.items()]
    return f"Of {len(records)} architectures: {', '.join(parts)}."


def _table(records: Mapping[str, Architecture]) -> list[str]:
    rows = [
        f"| `{name}` | {' | '.join(_sign(record.answers[question]) for question in _TITLES)} |"
        for name, record in sorted(records.items())
    ]
    return [f"| model type | {' | '.join(_TITLES.values())} |", f"| --- |{' --- |' * len(_TITLES)}", *rows]


def _sign(answer: str) -> str:
    word = outcome(answer)
    return f"**{word}**" if word in FAULTS else _SIGNS[word]


def _reasons(records: Mapping[str, Architecture]) -> list[str]:
    lines = ["## Reasons", ""]
    for name, record in sorted(records.items()):
        by_answer: dict[str, list[str]] = {}
        for question, title in _TITLES.items():
            answer = record.answers[question]
            if answer not in (YES, NONE):
                by_answer.setdefault(answer, []).append(title)
        for answer, titles in by_answer.items():
            word, _, why = answer.partition(": ")
            lines.append(f"- `{name}`, {', '.join(titles)}: {word}: `{why.replace('`', chr(39))}`")
    return lines


if __name__ == "__main__":
    PAGE.write_text(page(read()), encoding="utf-8")
