"""What the walk keeps of an architecture, and where.

An answer is a word of `OUTCOMES`, followed by `: ` and what was said where there is more to say.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

RECORDS = Path(__file__).parents[2] / "docs" / "models.json"
YES, NONE = "yes", "none"
REASONS = ("package", "no generation", "upstream")
"""A package is missing, the model generates no text from its prompt, transformers itself raises."""
FAULTS = ("differs", "refused")
"""Of ours: another answer than the right one, and none where transformers has one."""
OUTCOMES = (YES, NONE, *REASONS, *FAULTS)


@dataclass(frozen=True)
class Architecture:
    """The answers for one model type."""

    transformers: str
    """Its version."""
    closed_form: str
    """`none` where there is no closed form."""
    traced: str
    exact: str
    """By one of the two."""
    run: str
    """Of one prompt."""
    infer: str
    """Of a padded batch."""
    static_cache: str
    """Of both."""

    @property
    def answers(self) -> dict[str, str]:
        """Question -> answer."""
        return {name: answer for name, answer in asdict(self).items() if name != "transformers"}


def outcome(answer: str) -> str:
    """The word of an answer."""
    return answer.partition(": ")[0]


def read() -> dict[str, Architecture]:
    """All records, by model type."""
    found = json.loads(RECORDS.read_text(encoding="utf-8")) if RECORDS.is_file() else {}
    return {model_type: Architecture(**record) for model_type, record in found.items()}


def write(records: Mapping[str, Architecture]) -> None:
    """Keep the records, one a line."""
    lines = (
        f"  {json.dumps(name)}: {json.dumps(asdict(records[name]), ensure_ascii=False)}" for name in sorted(records)
    )
    partial = RECORDS.with_suffix(".partial")
    partial.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    partial.replace(RECORDS)
