"""Finding the samples of a run, before any child starts."""

from __future__ import annotations

import functools
import hashlib
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from llm_perf_opt.artifacts.files import sha256_of
from llm_perf_opt.config.presets import shipped_dir
from llm_perf_opt.config.schema import Dataset, Sampling
from llm_perf_opt.errors import ConfigError, MissingError
from llm_perf_opt.opening import read_file
from llm_perf_opt.records.inputs import Inputs, MadeUp, Sample

Modality = Literal["image", "text"]

SUFFIXES: dict[Modality, frozenset[str]] = {
    "image": frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"}),
    "text": frozenset({".txt", ".md"}),
}


class BadSampleError(ValueError):
    """A sample that cannot be used; the message names it and what is wrong. The others go on."""


INSTRUCTION_TOKENS = 32
"""Of a made-up prompt that goes with an image, where no length is given."""


def find_inputs(dataset: Dataset, modality: Modality, *, rows: int = 1) -> Inputs:
    """The samples of `dataset` for a model that reads `modality`, and the order to run them in.

    Args:
        rows: samples of a batch; one sample alone is taken as often as fills it.

    Raises:
        MissingError: the root, the file list or a file it names does not exist (with list and line).
        ConfigError: nothing matches, or a text model has neither dataset nor prompt.
    """
    if dataset.synthetic.wanted:
        samples = tuple(_made_up(dataset, modality, row) for row in range(rows))
        return Inputs(samples=samples, epochs=tuple(_epochs(len(samples), dataset.sampling)))
    root = _root(dataset)
    if root is None or (modality == "text" and _is_demo(dataset)):
        samples = (_prompt_sample(dataset, modality),)
    else:
        paths = _listed(dataset, root) if dataset.subset_filelist is not None else _matching(dataset, root, modality)
        samples = tuple(_file_sample(path, modality) for path in paths)
    samples = samples * rows if len(samples) == 1 else samples
    return Inputs(samples=samples, epochs=tuple(_epochs(len(samples), dataset.sampling)))


def _made_up(dataset: Dataset, modality: Modality, row: int) -> Sample:
    wanted = dataset.synthetic
    if wanted.images and modality == "text":
        raise ConfigError("this model reads no images", "leave out dataset.synthetic.images (--image)")
    images = tuple((int(width), int(height)) for width, height in (size.split("x") for size in wanted.images))
    tokens = wanted.prompt_tokens
    text = dataset.prompt if tokens is None else None
    if tokens is None and text is None:
        tokens = INSTRUCTION_TOKENS
    seed = (dataset.sampling.seed or 0) + row
    made = MadeUp(prompt_tokens=tokens, images=images, seed=seed)
    return Sample(
        kind="made_up",
        path=None,
        text=text,
        made_up=made,
        size_bytes=0,
        sha256=hashlib.sha256(f"{made.model_dump_json()}{text}".encode()).hexdigest(),
    )


def _is_demo(dataset: Dataset) -> bool:
    return dataset.name == "demo_pages" and dataset.root is None


def _root(dataset: Dataset) -> Path | None:
    if _is_demo(dataset):
        return shipped_dir() / "dataset" / "demo_pages"
    if dataset.root is None:
        return None
    root = Path(dataset.root)
    if not root.is_dir():
        raise MissingError(f"dataset.root {root} is not a directory", "correct dataset.root")
    return root


def _prompt_sample(dataset: Dataset, modality: Modality) -> Sample:
    if modality == "image":
        raise ConfigError(
            "this model reads images and there is no dataset",
            "set dataset.root to a folder of images, or give --image FILE or WIDTHxHEIGHT",
        )
    if not dataset.prompt:
        raise ConfigError(
            "there is nothing to generate from",
            "set dataset.prompt (--prompt TEXT), dataset.synthetic.prompt_tokens (--prompt-tokens N), or "
            "dataset.root to a folder of .txt or .md prompts",
        )
    data = dataset.prompt.encode()
    return Sample(
        kind="prompt", path=None, text=dataset.prompt, size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest()
    )


def _file_sample(path: Path, modality: Modality) -> Sample:
    kind: Literal["image", "prompt_file"] = "image" if modality == "image" else "prompt_file"
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise ConfigError(f"the name of {str(path)!a} is not UTF-8", "rename the file") from error
    try:
        status = path.stat()
        digest = _digest_of(path, status.st_size, status.st_mtime_ns)
        return Sample(kind=kind, path=str(path), size_bytes=status.st_size, sha256=digest)
    except OSError as error:
        raise MissingError(f"{path} cannot be read: {error.strerror}", "repair it, or take it out") from error


@functools.lru_cache(maxsize=100_000)
def _digest_of(path: Path, _size: int, _time_ns: int) -> str:
    """Read once for all points of a sweep."""
    return sha256_of(path)


def _listed(dataset: Dataset, root: Path) -> list[Path]:
    assert dataset.subset_filelist is not None
    given = Path(dataset.subset_filelist)
    listing = next((path for path in (given, root / given.name, root / given) if path.is_file()), None)
    if listing is None:
        what = _what_is_there(given)
        raise MissingError(f"dataset.subset_filelist {given} {what}", "correct dataset.subset_filelist")
    try:
        lines = read_file(listing).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ConfigError(f"dataset.subset_filelist {listing} is not UTF-8 text: {error}") from error
    paths = []
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        path = root / line.strip()
        if not path.is_file():
            what = _what_is_there(path)
            raise MissingError(f"{listing}:{number}: {path} {what}", "correct that line, or dataset.root")
        paths.append(path)
    if not paths:
        raise ConfigError(f"dataset.subset_filelist {listing} names no file", "write one path a line")
    return paths


def _what_is_there(path: Path) -> str:
    """Of a path that is no file."""
    if path.is_dir():
        return "is a directory"
    return "is a device, a pipe or a socket, not a file" if path.exists() else "does not exist"


def _matching(dataset: Dataset, root: Path, modality: Modality) -> list[Path]:
    matches = {path for pattern in dataset.fallback_patterns for path in root.glob(pattern) if path.is_file()}
    paths = sorted(path for path in matches if path.suffix.lower() in SUFFIXES[modality])
    if not paths:
        wanted = "images" if modality == "image" else "prompts (.txt or .md)"
        raise MissingError(
            f"dataset.root {root} holds no {wanted} matching {', '.join(dataset.fallback_patterns)}",
            "correct dataset.root or dataset.fallback_patterns, or name the files in dataset.subset_filelist",
        )
    return paths


def _epochs(count: int, sampling: Sampling) -> Iterator[tuple[int, ...]]:
    generator = random.Random(sampling.seed or 0)
    for _ in range(sampling.num_epochs):
        order = list(range(count))
        if sampling.randomize:
            generator.shuffle(order)
        yield tuple(order[: sampling.num_samples_per_epoch])
