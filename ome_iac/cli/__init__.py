"""The `ome-iac` command."""

from __future__ import annotations

import sys

import click
import typer
from rich.console import Console

from ome_iac.problems import ProblemsError


def main() -> None:
    """Run the command; a user's mistakes become one line each and exit code 1, never a traceback."""
    from ome_iac.cli.app import app

    try:
        code = app(standalone_mode=False)
    except ProblemsError as error:
        from ome_iac.report.terminal import print_problems

        print_problems(Console(stderr=True), error.problems)
        code = 1
    except click.exceptions.Abort:
        code = 130
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except typer.Exit as leave:
        code = leave.exit_code
    sys.exit(code if isinstance(code, int) else 0)
