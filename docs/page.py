"""What every generator of a page does with it: write it, or with --check say that it is out of date."""

from __future__ import annotations

import sys
from pathlib import Path


def write_or_check(page: Path, text: str, generator: str) -> int:
    """The exit code: 1 where --check finds other text than the generator (docs/NAME) writes."""
    if "--check" not in sys.argv[1:]:
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(text, encoding="utf-8")
        return 0
    if page.exists() and page.read_text(encoding="utf-8") == text:
        return 0
    print(f"{page.name} is out of date; run docs/{generator}", file=sys.stderr)
    return 1
