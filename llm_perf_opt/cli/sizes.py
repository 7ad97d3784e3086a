"""Options that say what a model is run on, in the words people use for it; each stands for a setting."""

from __future__ import annotations

import glob
import inspect
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from llm_perf_opt.errors import ConfigError, MissingError

F = TypeVar("F", bound=Callable[..., None])
PANEL = "The work"
_SIZE = re.compile(r"[1-9]\d*[xX][1-9]\d*")


def _option(*names: str, metavar: str, text: str, least: int | None = None) -> Any:
    return typer.Option(*names, metavar=metavar, help=text, min=least, show_default=False, rich_help_panel=PANEL)


_OPTIONS: dict[str, Any] = {
    "prompt": Annotated[
        str | None,
        _option("--prompt", metavar="TEXT", text="The prompt, or the instruction that goes with the image."),
    ],
    "prompt_tokens": Annotated[
        int | None,
        _option(
            "--prompt-tokens",
            metavar="N",
            least=1,
            text="A made-up prompt of N text tokens; needs no tokenizer. Those of images come on top.",
        ),
    ],
    "image": Annotated[
        list[str] | None,
        _option(
            "--image",
            metavar="FILE|WxH",
            text="An image file, or the size of a made-up image in pixels; repeatable.",
        ),
    ],
    "batch": Annotated[int | None, _option("--batch", metavar="N", least=1, text="Samples per forward pass.")],
    "max_new_tokens": Annotated[
        int | None, _option("--max-new-tokens", metavar="N", least=1, text="Most tokens to generate per sample.")
    ],
}


def with_sizes(command: F) -> F:
    """The command with these options in place of its `**given`."""
    signature = inspect.signature(command, eval_str=True)
    own = [found for found in signature.parameters.values() if found.kind is not found.VAR_KEYWORD]
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in _OPTIONS.items()
    ]
    command.__signature__ = signature.replace(parameters=[*own, *added])  # type: ignore[attr-defined]
    command.__annotations__ = {found.name: found.annotation for found in (*own, *added)}
    return command


def sizes_given(given: dict[str, Any]) -> dict[str, object]:
    """What these options set: dotted path → value; they are taken out of `given`.

    Raises:
        ConfigError: two of them contradict each other.
        MissingError: an image file does not exist.
    """
    values = {name: given.pop(name, None) for name in _OPTIONS}
    if values["prompt"] is not None and values["prompt_tokens"] is not None:
        raise ConfigError("--prompt and --prompt-tokens both say what the prompt is", "give one of them")
    prompt: dict[str, Any] = {}
    if values["prompt"] is not None:
        prompt = {"prompt": values["prompt"], "synthetic": {"prompt_tokens": None}}
    elif values["prompt_tokens"] is not None:
        prompt = {"synthetic": {"prompt_tokens": values["prompt_tokens"]}}
    images = _images(values["image"] or (), made_up=values["prompt_tokens"] is not None)
    # A map, in which null takes away what the configuration says; an option alone that is null was not given.
    dataset = {**prompt, **images, "synthetic": {**prompt.get("synthetic", {}), **images.get("synthetic", {})}}
    given_sizes = {
        "dataset": dataset if prompt or images else None,
        "infer.batch_size": values["batch"],
        "infer.max_new_tokens": values["max_new_tokens"],
    }
    return {path: value for path, value in given_sizes.items() if value is not None}


def _images(images: Sequence[str], *, made_up: bool) -> dict[str, Any]:
    """Keys of `dataset`."""
    sizes = [text.lower() for text in images if _SIZE.fullmatch(text) and not Path(text).exists()]
    if len(sizes) == len(images):
        return {"synthetic": {"images": sizes}} if sizes else {}
    if sizes or made_up:
        raise ConfigError(
            "--image names a file, and other options ask for a made-up sample",
            "give files with --prompt TEXT, or sizes (--image WIDTHxHEIGHT) with --prompt-tokens N",
        )
    for text in images:
        if not Path(text).is_file():
            raise MissingError(f"--image {text}: no such file", "give an image file, or WIDTHxHEIGHT in pixels")
    files = [Path(text).resolve() for text in images]
    root = Path(os.path.commonpath([file.parent for file in files]))
    return {
        "root": str(root),
        "subset_filelist": None,
        "fallback_patterns": [glob.escape(str(file.relative_to(root))) for file in files],
        "synthetic": {"prompt_tokens": None, "images": []},
    }
