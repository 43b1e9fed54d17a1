"""Renews the command outputs in README.md: each `$ ome-iac ...` block shows what the command prints today.

python docs/generate_readme.py [--check]
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
BLOCK = re.compile(r"```console\n\$ (ome-iac [^\n]*)\n.*?```\n", re.DOTALL)


def shown(match: re.Match[str]) -> str:
    """The block with the command's output of today."""
    command = [str(Path(sys.executable).parent / "ome-iac"), *match[1].split()[1:]]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    return f"```console\n$ {match[1]}\n{done.stdout}{done.stderr}```\n"


def main() -> int:
    """Write README.md, or with --check say whether it is up to date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    text = README.read_text()
    renewed = BLOCK.sub(shown, text)
    if arguments.check and renewed != text:
        print("README.md shows other output than the commands: run python docs/generate_readme.py", file=sys.stderr)
        return 1
    if not arguments.check:
        README.write_text(renewed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
