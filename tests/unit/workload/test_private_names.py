"""Names that typer, torch and transformers do not promise to keep: where they are, and what happens without them."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers
import typer
from transformers.generation import GenerationMixin

import llm_perf_opt
from llm_perf_opt.config.schema import Infer
from llm_perf_opt.errors import StageError
from llm_perf_opt.workload.measure import compilation_of
from llm_perf_opt.workload.selection import Selector
from llm_perf_opt.workload.torch_private import EVENT_METHODS, compile_history, profiler_events
from llm_perf_opt.workload.transformers_private import DECODING, NAMES, PROCESSORS, TOKENS, Private, missing
from tests.tiny_models import write_text_model
from tests.unit.workload.models import PROMPTS, load, measuring, prompt

PACKAGE = Path(llm_perf_opt.__file__).parent
HOMES = {
    "cli/vendored_click.py": ("typer._", "_click", "._add_completion"),
    "workload/transformers_private.py": (*(private.name for private in NAMES), "._from_config", "._model_mapping"),
    "workload/torch_private.py": (
        "torch._C",
        "torch._dynamo",
        "torch._inductor",
        "kineto_results",
        "._cdata",
        "_dump_snapshot",
    ),
    "analysis/traced/dispatch.py": ("fx.experimental", "_python_dispatch", "_pytree"),
    "analysis/traced/counter.py": ("_overloadpacket",),
}


@pytest.mark.parametrize("home", HOMES)
def test_a_private_name_stands_in_one_module(home: str) -> None:
    assert any(name in (PACKAGE / home).read_text(encoding="utf-8") for name in HOMES[home])
    others = [path for path in PACKAGE.rglob("*.py") if path != PACKAGE / home]
    found = [
        f"{path.relative_to(PACKAGE)}: {name}"
        for path in others
        for name in HOMES[home]
        if re.search(rf"(?<![\w]){re.escape(name)}", path.read_text(encoding="utf-8"))
    ]
    assert not found, f"belongs into {home}"


@pytest.mark.parametrize("package", ["typer", "torch", "transformers"])
def test_a_package_whose_private_names_are_used_has_an_upper_bound(package: str) -> None:
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (wanted,) = [entry for entry in project["dependencies"] if re.match(rf"{package}[>=<]", entry)]
    assert "<" in wanted


def test_typer_has_its_click_where_we_look() -> None:
    try:
        from llm_perf_opt.cli import vendored_click as click
    except ImportError as error:
        pytest.fail(f"typer {typer.__version__} has moved the click inside it, see cli/vendored_click.py: {error}")
    assert issubclass(typer.core.TyperCommand, click.Command)
    assert issubclass(typer.Context, click.Context)
    assert issubclass(click.NoSuchOption, click.UsageError)
    app = typer.Typer()
    assert app._add_completion is True, "typer.Typer keeps add_completion elsewhere, see cli/vendored_click.py"
    click.without_completion_options(app)
    app.command()(lambda: None)
    options = [name for param in typer.main.get_command(app).params for name in param.opts]
    assert "--install-completion" not in options


@pytest.mark.parametrize("private", NAMES, ids=lambda private: private.name)
def test_transformers_has_its_names_where_we_look(private: Private) -> None:
    assert private.is_there, (
        f"transformers {transformers.__version__} has no GenerationMixin.{private.name} with the parameters "
        f"{private.parameters}: see workload/transformers_private.py"
    )


def test_torch_counts_compiled_graphs_where_we_look() -> None:
    def broken(x: torch.Tensor, factor: int) -> torch.Tensor:
        return x * factor if x.sum().item() > 0 else x

    before = compile_history()
    assert before is not None, f"torch {torch.__version__} has no torch._dynamo.utils.counters: see torch_private.py"
    compiled = torch.compile(broken, backend="eager")
    compiled(torch.ones(3), 2)
    between = compile_history()
    compiled(torch.ones(3), 3)
    after = compile_history()
    assert between is not None and after is not None
    why = f"torch {torch.__version__} counts elsewhere: see workload/torch_private.py"
    assert between.graphs == before.graphs + 2, why
    found = compilation_of(between, after)
    assert found.late_graphs == len(found.late) >= 1, why
    assert all(item.seconds > 0 for item in found.late)
    assert any("factor == 2" in (item.reason or "") for item in found.late), why
    assert any("Tensor.item()" in item.reason and item.count >= 1 for item in found.breaks), why
    assert all("\n" not in item.reason for item in found.breaks)


def test_torch_gives_the_events_of_the_profiler_where_we_look() -> None:
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        torch.zeros(3) + 1
    (add,) = [event for event in profiler_events(profiler) if event.name() == "aten::add"]
    assert all(callable(getattr(add, name)) for name in EVENT_METHODS)
    assert add.duration_ns() > 0


@pytest.mark.parametrize("private", NAMES, ids=lambda private: private.name)
def test_without_one_a_run_goes_on_and_says_so(
    private: Private, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    infer = Infer(max_new_tokens=6, stop_on_eos=False, no_repeat_ngram_size=2)
    usual = measuring(tmp_path, infer, PROMPTS[:1]).measure().work[0].generation.tokens
    monkeypatch.delattr(GenerationMixin, private.name)
    found = measuring(tmp_path, infer, PROMPTS[:1])
    assert found.measure().work[0].generation.tokens == usual
    assert [private.name in note and private.without in note for note in found.notes] == [True]


def test_a_name_with_other_parameters_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert missing() == ()
    monkeypatch.setattr(GenerationMixin, PROCESSORS.name, lambda _self, generation_config: [generation_config])
    assert [PROCESSORS.name in note for note in missing()] == [True]


@pytest.mark.parametrize("private", [PROCESSORS, TOKENS], ids=lambda private: private.name)
def test_without_them_what_was_asked_for_is_still_applied(
    private: Private, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    infer = Infer(do_sample=True, temperature=0.7, top_p=0.9, no_repeat_ngram_size=3)
    loaded = load(write_text_model(tmp_path, "llama"), infer)
    batch = loaded.prepare([prompt(PROMPTS[0])])
    asked = Selector(loaded.model, infer).for_batch(batch).processors
    monkeypatch.delattr(GenerationMixin, private.name)
    own = Selector(loaded.model, infer).for_batch(batch).processors
    assert [vars(item) for item in own] == [vars(item) for item in asked if type(item).__name__ != "TopKLogitsWarper"]


@pytest.mark.parametrize("inside", [None, SimpleNamespace(), SimpleNamespace(kineto_results=None)])
def test_events_that_are_not_there_are_an_error_with_a_remedy(inside: Any) -> None:
    with pytest.raises(StageError, match="kineto_results is missing") as caught:
        profiler_events(SimpleNamespace(profiler=inside))  # type: ignore[arg-type]
    assert caught.value.remedy


def test_graphs_that_are_not_counted_are_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch._dynamo.utils

    monkeypatch.delattr(torch._dynamo.utils, "counters")
    assert compile_history() is None
    assert DECODING.is_there
