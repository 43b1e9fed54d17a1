"""`python -m benchmarks NAME [--json] [--check]`."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

HELPERS = {"__init__", "__main__", "report"}


def main() -> int:
    names = sorted(p.stem for p in Path(__file__).parent.glob("*.py") if p.stem not in HELPERS and p.stem[0] != "_")
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", choices=names)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--check", action="store_true", help="exit 1 where an aim is missed")
    parser.add_argument("--quick", action="store_true", help="the small sizes only")
    arguments = parser.parse_args()
    report = importlib.import_module(f"benchmarks.{arguments.name}").run(quick=arguments.quick)
    print(report.as_json()) if arguments.json else report.show()
    return int(arguments.check and not all(aim.met for aim in report.aims))


if __name__ == "__main__":
    sys.exit(main())
