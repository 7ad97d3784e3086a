"""Whether two sides said the same to every sample, by output ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest

from llm_perf_opt.records.comparison import AnswerDifference, Answers
from llm_perf_opt.records.inputs import Sample
from llm_perf_opt.records.launches import Tokens

Said = Mapping[int, tuple[int, ...]]
"""Index of a sample → output ids."""


def said(tokens: Tokens) -> Said:
    return {item.sample: item.tokens for item in tokens.samples}


def compare_answers(a: Sequence[Said], b: Sequence[Said], samples: Sequence[Sample]) -> Answers:
    """Each side from its launches: an answer is another one where no launch of A gave it.

    A model that does not always say the same is not called different for that alone.

    Args:
        samples: of both sides, in the order of the inputs.
    """
    common = sorted(set(a[0]) & set(b[0]))
    if not common:
        return Answers(relation="unknown", reason="no sample was run in both")
    differences = [
        _difference(sample, samples[sample].source, a[0][sample], b[0][sample])
        for sample in common
        if not {run.get(sample) for run in a} & {run.get(sample) for run in b}
    ]
    return Answers(
        relation="different" if differences else "same",
        samples=len(common),
        differing=len(differences),
        differences=tuple(differences),
    )


def _difference(sample: int, source: str, a: tuple[int, ...], b: tuple[int, ...]) -> AnswerDifference:
    pairs = enumerate(zip_longest(a, b))
    position, (token_a, token_b) = next((place, pair) for place, pair in pairs if pair[0] != pair[1])
    return AnswerDifference(
        sample=sample,
        source=source,
        position=position,
        token_a=token_a,
        token_b=token_b,
        tokens_a=len(a),
        tokens_b=len(b),
    )
