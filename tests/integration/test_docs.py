"""The docs and the code agree: commands are documented and exist, links lead somewhere, the README's commands run."""

from __future__ import annotations

import itertools
import re
import shlex
from pathlib import Path

import pytest

from llm_perf_opt.cli.app import COMMANDS
from llm_perf_opt.registry import STAGES
from tests.cli_process import llmperf

REPOSITORY = Path(__file__).parents[2]
DOCS = REPOSITORY / "docs"
PAGES = [REPOSITORY / "README.md", *sorted(DOCS.rglob("*.md"))]
CONFIG_PAGES = {"config": DOCS / "configuration" / "index.md", "static": DOCS / "static" / "index.md"}


def console_commands(page: Path) -> list[str]:
    """Every llmperf command line shown in a console block, continuation lines joined."""
    found = []
    for block in re.findall(r"```console\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            command = re.sub(r"\s+#.*$", "", line.removeprefix("$ ").strip())
            command = command.removeprefix("uv run ")
            if line.startswith("$ ") and re.match(r"llmperf\b", command):
                found.append(command)
    return found


def words_of(command: str) -> list[str]:
    """Its words, up to a pipe or a redirection; a quoted > is part of a word."""
    return list(itertools.takewhile(lambda word: word not in ("|", ">"), shlex.split(command)))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_page(name: str) -> None:
    page = CONFIG_PAGES.get(name, DOCS / "commands" / f"{name}.md")
    assert page.is_file(), f"write {page.relative_to(REPOSITORY)}"
    assert f"llmperf {name}" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_every_documented_command_exists(page: Path) -> None:
    for command in console_commands(page):
        words = words_of(command)
        name = next((word for word in words[1:] if not word.startswith("-")), None)
        assert name is None or name in COMMANDS, f"{page.name}: {command}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_every_link_to_a_file_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if not re.match(r"[a-z]+:", target):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_page_is_in_the_navigation_once() -> None:
    named = re.findall(r"[\w/-]+\.md", (REPOSITORY / ".mkdocs.yml").read_text(encoding="utf-8"))
    pages = [page for page in DOCS.rglob("*.md") if "examples" not in page.parts]
    assert sorted(named) == sorted(page.relative_to(DOCS).as_posix() for page in pages)


@pytest.mark.parametrize("stage", STAGES.builtin())
def test_every_stage_is_documented(stage: str) -> None:
    assert stage in (DOCS / "run-directory.md").read_text(encoding="utf-8") + (DOCS / "commands" / "run.md").read_text()


@pytest.mark.integration
def test_the_commands_of_the_readme_run(tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text("experiment: mine\n")
    for command in console_commands(REPOSITORY / "README.md"):
        words = words_of(command)[1:]
        if words[0] in ("run", "infer", "torch", "ab") and "model.path" not in command and "--dry-run" not in words:
            words.append("--dry-run")
        if "model.path" in command or "path/to" in command:
            continue  # needs a model of the reader's; tests/integration/test_real_model.py runs one
        finished = llmperf(words, tmp_path)
        assert finished.returncode == 0, f"{command}\n{finished.stderr}"
