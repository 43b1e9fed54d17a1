"""How many parameters a model has, as OME's documents write it: a number and T, B or M."""

from __future__ import annotations

import re

UNITS = {"T": 1e12, "B": 1e9, "M": 1e6, "": 1.0}
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)([TBM]?)")
_NEARLY = re.compile(r"(?:([0-9]+)\s*[xX]\s*)?([0-9]+(?:\.[0-9]+)?)\s*([tbmkTBMK]?)")


def parameters(text: str) -> float | None:
    """`7B`, `0.6B`, `7000M`, `7000000000` as a number; None where the form is wrong."""
    found = _SIZE.fullmatch(text)
    return float(found[1]) * UNITS[found[2]] if found else None


def nearest_size(text: str) -> str:
    """The remedy for a size of the wrong form."""
    found = _NEARLY.fullmatch(text.strip())
    if found is None:
        return 'write a number and T, B or M, as in "7B"'
    times, number, unit = found[1], found[2], found[3].upper()
    if times:
        most = float(number) * int(times)
        return f'write all parameters, experts included, as one number: "{most:g}{unit}" at most'
    if unit == "K":
        return f'write "{float(number) / 1000:g}M"'
    return f'write "{number}{unit}"'
