"""Numbers as people read them. None is ever rounded to 0 (a density of 0.000004 is not)."""

import math

SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def count(number: int) -> str:
    return f"{number:,}"


def significant(number: float | None, digits: int = 3) -> str:
    if number is None or not math.isfinite(number):
        return "–" if number is None else str(number)
    if number == 0 or 1e-4 <= abs(number) < 10**digits:
        return _signed(f"{number:.{digits}g}")
    if 10**digits <= abs(number) < 1e9:
        return _signed(f"{number:,.0f}")
    mantissa, _, exponent = f"{number:.{digits - 1}e}".partition("e")
    return _signed(f"{mantissa}\u00a0×\u00a010{str(int(exponent)).translate(SUPERSCRIPT)}")


def percent(share: float | None) -> str:
    return "–" if share is None else f"{significant(100 * share)}\u00a0%"


def _signed(text: str) -> str:
    return text.replace("-", "\u2212", 1) if text.startswith("-") else text
