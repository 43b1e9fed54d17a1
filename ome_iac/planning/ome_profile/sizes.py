"""OME's reading of a size: T, B or M at its end, before it whatever Go's `strconv.ParseFloat` takes; all else is 0."""

from __future__ import annotations

import math
import re
from functools import lru_cache

from ome_iac.spec.sizes import UNITS

# Single underscores may stand between digits, in the hexadecimal form also after the 0x.
_DIGITS = r"(?:[0-9]+(?:_[0-9]+)*)"
_HEX_DIGITS = r"(?:[0-9a-fA-F]+(?:_[0-9a-fA-F]+)*)"
_DECIMAL = re.compile(rf"[+-]?(?:{_DIGITS}(?:\.{_DIGITS}?)?|\.{_DIGITS})(?:[eE][+-]?{_DIGITS})?")
_HEXADECIMAL = re.compile(rf"[+-]?0[xX](?:_?{_HEX_DIGITS}(?:\.{_HEX_DIGITS}?)?|\.{_HEX_DIGITS})[pP][+-]?{_DIGITS}")
_SPECIAL = re.compile(r"[+-]?inf(?:inity)?|nan", re.IGNORECASE | re.ASCII)


@lru_cache(maxsize=4096)
def parse_size(text: str) -> float:
    """Parameters; 0.0 for `7b`, `7 B`, `8x7B`, `629.15K` and everything else of the wrong form."""
    suffix = text[-1:] if text[-1:] in ("T", "B", "M") else ""
    return _parse_float(text.removesuffix(suffix)) * UNITS[suffix]


def _parse_float(text: str) -> float:
    """Go's ParseFloat, with 0.0 for its errors; a number too large for 64 bits is one of them."""
    if _SPECIAL.fullmatch(text):
        return float(text)
    try:
        if _DECIMAL.fullmatch(text):
            number = float(text)
        elif _HEXADECIMAL.fullmatch(text):
            number = float.fromhex(text.replace("_", ""))
        else:
            return 0.0
    except OverflowError:
        return 0.0
    return 0.0 if math.isinf(number) else number
