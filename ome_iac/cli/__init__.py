"""The `ome-iac` command."""

from __future__ import annotations

import sys

from rich.console import Console

from ome_iac.problems import ProblemsError


def main() -> None:
    """Run the command; a user's mistakes become one line each and exit code 1, never a traceback."""
    from ome_iac.cli.app import app

    try:
        app()
    except ProblemsError as error:
        from ome_iac.report.terminal import print_problems

        print_problems(Console(stderr=True), error.problems)
        sys.exit(1)
