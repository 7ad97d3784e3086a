"""Refresh the generated parts of the configuration pages from the code.

    uv run python docs/configuration/generate.py

A generated part stands between `<!-- generated: NAME -->` and `<!-- end -->`. Tests fail where a page and
the code differ.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
PAGES = (*sorted(HERE.glob("*.md")), HERE.parent / "migration.md")
SCHEMA = HERE / "llmperf.schema.json"
_PART = re.compile(r"(<!-- generated: (?P<name>[^\n]*?) -->\n).*?(<!-- end -->)", re.DOTALL)


def refreshed(page: str) -> str:
    """The text of a page with its generated parts made anew."""

    def fill(match: re.Match[str]) -> str:
        name, _, argument = match["name"].partition(": ")
        return f"{match[1]}\n{PARTS[name](argument).strip()}\n\n{match[3]}"

    return _PART.sub(fill, page)


def schema_text() -> str:
    from llm_perf_opt.config.json_schema import config_schema

    return json.dumps(config_schema(), indent=2, ensure_ascii=False) + "\n"


def _help(command: str) -> str:
    """The help of a command."""
    return _fenced("console", f"$ llmperf {command} --help\n{_output([*command.split(), '--help'])}")


def _run(command: str) -> str:
    """A command and what it prints."""
    return _fenced("console", f"$ llmperf {command}\n{_output(command.split())}")


def _output(arguments: list[str]) -> str:
    from typer.testing import CliRunner

    from llm_perf_opt.cli.app import app

    os.environ["COLUMNS"] = "100"
    result = CliRunner().invoke(app, arguments, prog_name="llmperf", env={"COLUMNS": "100"})
    return result.stdout


def _errors(_: str) -> str:
    """A file with mistakes, and the answer."""
    from llm_perf_opt.config.load import load_config
    from llm_perf_opt.config.problems import InvalidConfig

    text = (HERE / "mistakes.yaml").read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "mistakes.yaml"
        file.write_text(text, encoding="utf-8")
        try:
            load_config(file, environ={})
        except InvalidConfig as error:
            shown = error.message.replace(str(file), file.name)
    return "\n\n".join(
        [_fenced("yaml", text), _fenced("console", f"$ llmperf config validate mistakes.yaml\nerror: {shown}")]
    )


def _settings(_: str) -> str:
    """Every setting: a table for each section."""
    from llm_perf_opt.config.describe import descriptions
    from llm_perf_opt.config.emit import flow

    lines: list[str] = []
    section: tuple[str, ...] | None = None
    items = descriptions()
    texts = {item.path: item.text for item in items}
    for item in sorted((item for item in items if not item.is_section), key=lambda item: _order(item.path)):
        if item.path[:-1] != section:
            section = item.path[:-1]
            title = f"`{'.'.join(section)}`" if section else "Top level"
            lines += ["", f"## {title}", "", texts.get(section, "One run."), ""]
            lines += ["| key | type | default | meaning |", "|---|---|---|---|"]
        cells = (f"`{item.path[-1]}`", item.type, f"`{flow(item.default)}`", item.text)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def _order(path: tuple[str, ...]) -> tuple[int, ...]:
    """The schema's order, but the settings of a section before its sub-sections."""
    from llm_perf_opt.config.describe import descriptions

    places = {item.path: number for number, item in enumerate(descriptions())}
    return (*(places[path[:depth]] for depth in range(1, len(path))), -1, places[path])


def _presets(_: str) -> str:
    """Every preset and what it sets."""
    from llm_perf_opt.config.catalogue import catalogue
    from llm_perf_opt.config.emit import flow
    from llm_perf_opt.config.presets import presets

    lines: list[str] = []
    group = ""
    for preset in catalogue(presets((), {})):
        if preset.group != group:
            group = preset.group
            entry = group if preset.mount == group.replace("/", ".") else f"{group}@{preset.mount}"
            lines += ["", f"## `{group}`", "", f"`- {entry}: …`"]
        lines += ["", f"### `{preset.option}`", "", preset.text, ""]
        lines += [f"- `{key}`: `{flow(value)}`" for key, value in preset.settings.items()]
    return "\n".join(lines)


def _moved(_: str) -> str:
    """Keys of the earlier system and where they live now."""
    from llm_perf_opt.config.remedies import MOVED, OUTPUT_ROOTS, OUTPUTS, REMOVED, UNDER_PIPELINE

    rows = [*MOVED.items(), *((f"{OUTPUT_ROOTS[0]}.{old}", new) for old, new in OUTPUTS.items())]
    rows += [(f"{root}.…", f"pipeline.{root}.…") for root in UNDER_PIPELINE]
    lines = ["| earlier | now |", "|---|---|", *(f"| `{old}` | `{new}` |" for old, new in rows)]
    return "\n".join([*lines, *(f"| `{old}` | {text} |" for old, text in REMOVED.items())])


def _window(_: str) -> str:
    from llm_perf_opt.config.legacy import READ_UNTIL

    return f"They are read until **{READ_UNTIL}**."


def _environment(_: str) -> str:
    from llm_perf_opt.config.load import RESERVED

    lines = ["| variable | meaning |", "|---|---|"]
    return "\n".join([*lines, *(f"| `{name}` | {RESERVED[name]} |" for name in RESERVED)])


def _fenced(language: str, text: str) -> str:
    return f"```{language}\n{text.rstrip()}\n```"


PARTS: dict[str, Callable[[str], str]] = {
    "help": _help,
    "run": _run,
    "errors": _errors,
    "settings": _settings,
    "presets": _presets,
    "moved": _moved,
    "window": _window,
    "environment": _environment,
}


def main() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        new = refreshed(text)
        if new != text:
            page.write_text(new, encoding="utf-8")
            print(f"refreshed {page}")
    SCHEMA.write_text(schema_text(), encoding="utf-8")


if __name__ == "__main__":
    main()
