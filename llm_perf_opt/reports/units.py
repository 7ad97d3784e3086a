"""Numbers for people."""

from __future__ import annotations

_SCALES = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def significant(value: float | None, digits: int = 4) -> str:
    """`value` to so many significant digits, with thousands separators; an exponent below 0.0001 only; `—` for None."""
    if value is None:
        return "—"
    if value == 0:
        return "0"
    magnitude = len(str(int(abs(value)))) if abs(value) >= 1 else 0
    if magnitude == 0:
        text = f"{value:#.{digits}g}"
        return text if "e" not in text else f"{value:.{digits - 1}e}"
    return f"{value:,.{max(digits - magnitude, 0)}f}"


def in_bytes(value: float | None) -> str:
    """Bytes with a binary prefix."""
    if value is None:
        return "—"
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(value) < 1024:
            return f"{significant(value, 3)} {unit}"
        value /= 1024
    return f"{significant(value, 3)} TiB"


def scaled(value: float | None, unit: str) -> str:
    """`value` to four digits with a decimal prefix before its unit, as hardware is sold: `4.8 TB/s`."""
    if value is None:
        return "—"
    for factor, prefix in _SCALES:
        if abs(value) >= factor:
            return f"{value / factor:.4g} {prefix}{unit}"
    return f"{value:.4g} {unit}"


def percent(share: float) -> str:
    return f"{share * 100:.1f} %" if share < 0.9995 else f"{share * 100:.0f} %"


def signed_percent(percent: float) -> str:
    """A change in percent, with its sign; more digits where it is small."""
    digits = 1 if abs(percent) >= 9.95 else 2
    if percent == 0:
        return "0 %"
    rounded = round(percent, digits)
    return f"{rounded:+,.{digits}f} %" if rounded else "0.00 %"


def percent_interval(interval: tuple[float, float]) -> str:
    """From low to high, signed, the unit behind both."""
    low, high = map(signed_percent, interval)
    return f"{low.removesuffix(' %')} to {high}"


def signed(value: float, digits: int = 4) -> str:
    """`value` to so many significant digits, with its sign; 0 has none."""
    return f"+{significant(value, digits)}" if value > 0 else significant(value, digits)
