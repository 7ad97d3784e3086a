"""The page that lists the model types with a closed form: `python -m llm_perf_opt.analysis.static.family_list FILE`."""

from __future__ import annotations

import sys
from pathlib import Path

from llm_perf_opt.analysis.static.families import every_family

_HEAD = """# Model types with a closed form

Written by `python -m llm_perf_opt.analysis.static.family_list FILE`; a test keeps it equal to the code. Any other type
that the installed transformers can build is traced instead.

"""


def families_page() -> str:
    """The page as Markdown."""
    families = sorted(every_family(), key=lambda family: family.model_type)
    text: list[str] = []
    vision: list[str] = []
    for family in families:
        parts = {"vision_config", "text_config", "language_config"} & set(family.defaults)
        note = " (code beside the weights; sizes from its published source)" if family.remote else ""
        (vision if parts else text).append(f"- `{family.model_type}`{note}")
    lines = [f"## Text ({len(text)})", "", *text, "", f"## Vision and text ({len(vision)})", "", *vision]
    return _HEAD + "\n".join(lines) + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(families_page(), encoding="utf-8")
