"""Numbers as people read them: thousands separated, shares with a sensible number of digits."""

from __future__ import annotations

from collections.abc import Sequence
from math import floor, log10

_BYTE_UNITS = ("bytes", "KB", "MB", "GB", "TB", "PB")


def count(value: int) -> str:
    """``1234567`` as ``1,234,567``."""
    return f"{value:,}"


def share(part: float, whole: float) -> str:
    """``part / whole`` as a percentage; small shares keep a digit that says something, ``-`` where
    there is no whole.
    """
    if not whole:
        return "-"
    percent = 100 * part / whole
    if percent == 0 or percent >= 99.95:
        return f"{percent:.0f} %" if percent in (0, 100) else f"{percent:.2f} %"
    return (
        f"{percent:.1f} %"
        if percent >= 0.1
        else f"{percent:.2g} %"
        if percent >= 0.001
        else "< 0.001 %"
    )


def byte_size(value: float) -> str:
    """Bytes in decimal units with three digits: ``5.42 MB``."""
    for unit in _BYTE_UNITS:
        if value < 999.5 or unit == _BYTE_UNITS[-1]:
            break
        value /= 1000
    if unit == "bytes":
        return f"{value:,.0f} {unit}"
    return f"{_three_digits(value)} {unit}"


def _three_digits(value: float) -> str:
    return f"{value:.2f}" if value < 9.995 else f"{value:.1f}" if value < 99.95 else f"{value:,.0f}"


def duration(seconds: float) -> str:
    """``0.3 s``, ``42 s``, ``3 min 05 s``, ``2 h 07 min``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def ratio(numerator: float, denominator: float, digits: int = 2) -> str:
    """A quotient with fixed digits, ``-`` where the denominator is 0."""
    return f"{numerator / denominator:,.{digits}f}" if denominator else "-"


def quantity(value: float) -> str:
    """Tokens as the field writes them: ``0``, ``512``, ``20.5 K``, ``1.5 M``, ``1.2 B``, at most
    three digits after rounding.
    """
    for unit, suffix in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "K")):
        if abs(value) >= 0.9995 * unit:
            return (
                f"{value / unit:.3g} {suffix}"
                if abs(value) < 999.5 * unit
                else f"{value / unit:,.0f} {suffix}"
            )
    return f"{value:.3g}"


def in_unit(value: float, unit: str) -> str:
    """``value`` in bytes where that is its unit, else as :func:`quantity`; the minus is a minus."""
    spelled = byte_size(abs(value)) if unit == "bytes" else quantity(abs(value))
    return f"\u2212{spelled}" if value < 0 else spelled


def operations(value: float) -> str:
    """Floating-point operations with three digits: ``8.43 TFLOP``."""
    for unit, prefix in ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M")):
        if value >= 0.9995 * unit:
            return f"{_three_digits(value / unit)} {prefix}FLOP"
    return f"{value:,.0f} FLOP"


def signed(value: float, digits: int = 3) -> str:
    """A difference with its sign; the minus is a minus."""
    return f"{value:+.{digits}f}".replace("-", "\u2212")


def decimals(half_width: float | None, most: int = 4) -> int:
    """Decimals that say something of a figure known within ``half_width``: those of its first two
    digits; ``most`` where it is not known.
    """
    if not half_width:
        return most
    return min(most, max(0, 1 - floor(log10(half_width))))


def uncertain(value: float, half_width: float | None, plus: bool = False) -> str:
    """A figure and half of its 95 % interval: ``5.083 ±0.021``; ``plus``: with its sign."""
    digits = decimals(half_width)
    figure = signed(value, digits) if plus else f"{value:.{digits}f}"
    return figure if half_width is None else f"{figure} \u00b1{half_width:.{digits}f}"


def difference(value: int) -> str:
    """A whole number with its sign, ``0`` without one."""
    return f"{value:+,}".replace("-", "\u2212") if value else "0"


def power_of_two(exponent: int) -> str:
    """A short spelling of 2**exponent for axes: ``512``, ``4k``, ``1M``."""
    for unit, suffix in ((30, "G"), (20, "M"), (10, "k")):
        if exponent >= unit:
            return f"{1 << (exponent - unit)}{suffix}"
    return str(1 << exponent)


def listed(items: Sequence[str], most: int) -> str:
    """The first ``most`` items joined by commas, with how many more there are."""
    rest = len(items) - most
    return ", ".join(items[:most]) + (f" and {rest:,} more" if rest > 0 else "")
