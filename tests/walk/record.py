"""What the walk keeps of an architecture, and where.

An answer is a word of `OUTCOMES`, followed by `: ` and what was said where there is more to say.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from llm_perf_opt.errors import LlmperfError, MissingError

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
    images: str
    """The image path of one image, by every method that has one."""
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

    @property
    def tokens(self) -> dict[str, str]:
        """The answers that are about tokens."""
        return {"run": self.run, "infer": self.infer, "static_cache": self.static_cache}


def outcome(answer: str) -> str:
    """The word of an answer."""
    return answer.partition(": ")[0]


def blame(error: Exception) -> str:
    """What transformers raised."""
    if isinstance(error, ImportError | MissingError):
        return f"package: {line(error)}"
    return refusal(error) if isinstance(error, LlmperfError) else f"upstream: {line(error)}"


def refusal(error: Exception) -> str:
    """What llmperf raised."""
    return f"refused: {line(error)}"


def line(error: Exception) -> str:
    """What an error says, in one line."""
    said = error.message if isinstance(error, LlmperfError) else f"{type(error).__name__}: {error}"
    return re.sub(r" object at 0x[0-9a-f]+", "", " ".join(said.split()))[:200]


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
