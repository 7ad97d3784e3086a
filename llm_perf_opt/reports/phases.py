"""Where the time goes: phases over modules, adding up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from llm_perf_opt.records.workload import Instrumented
from llm_perf_opt.reports.answer import WORDS, phase_means_ms
from llm_perf_opt.reports.charts.bars import Bar, Bars, Part, Tone
from llm_perf_opt.reports.facts import Measured

TONES: Mapping[str, Tone] = {"preprocess": "read", "prefill": "prefill", "decode": "decode", "rest": "rest"}
INSIDE: Mapping[str, Tone] = {"prefill": "in-prefill", "decode": "in-decode"}


def phase_bars(measured: Measured, found: Instrumented | None) -> Bars | None:
    """Means of the timed repeats, which add up to the mean end-to-end time; under them the modules of each phase, as
    shares of the one instrumented pass."""
    means = phase_means_ms(measured)
    total = sum(means.values())
    if not total:
        return None
    bars = [Bar("phase", tuple(Part(WORDS[name], value, TONES[name]) for name, value in means.items() if value))]
    note = f"First row: means over {measured.metrics.metrics['e2e.latency_ms'].n:,} unprofiled repeats; they add up to "
    note += "the mean end-to-end time."
    if found is not None and found.modules:
        starts = _starts(means)
        bars.append(Bar("modules", tuple(_modules(found, means, starts, inner=False))))
        inner = tuple(_modules(found, means, starts, inner=True))
        bars += [Bar("inside them", inner)] if inner else []
        note += " Rows below: shares of one instrumented pass, scaled to the phase that they are part of."
    return Bars(
        title="Where the time goes", note=note, unit="ms", total=total, bars=tuple(bars), what="phase or module"
    )


def _starts(means: Mapping[str, float]) -> dict[str, float]:
    starts, at = {}, 0.0
    for name, value in means.items():
        starts[name] = at
        at += value
    return starts


def _modules(
    found: Instrumented, means: Mapping[str, float], starts: Mapping[str, float], *, inner: bool
) -> Iterator[Part]:
    """The direct parts of each phase and what is in none of them; or what is inside the direct parts."""
    for phase, phase_ms in (("prefill", found.prefill_ms), ("decode", found.decode_ms)):
        times = [time for time in found.modules if time.phase == phase]
        if not phase_ms or not means.get(phase) or not times:
            continue
        scale, at = means[phase] / phase_ms, starts[phase]
        for time in (time for time in times if time.within is None):
            long, within = time.total_ms * scale, at
            if not inner:
                yield Part(time.name, long, INSIDE[phase], at, f"{phase}, {time.calls:,} calls")
            for part in (part for part in times if inner and part.within == time.name):
                yield Part(part.name, part.total_ms * scale, INSIDE[phase], within, f"{phase}, in {time.name}")
                within += part.total_ms * scale
            at += long
        left = starts[phase] + means[phase] - at
        if not inner and left > 0:
            yield Part(f"rest of {phase}", left, "rest", at, "in no module that was timed")
