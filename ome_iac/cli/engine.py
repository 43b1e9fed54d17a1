"""`ome-iac engine`: the Pulumi engine that stacks are deployed with."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from ome_iac.problems import Problem, ProblemsError

if TYPE_CHECKING:
    from ome_iac.rehearsal.engine import Engine

app = typer.Typer(no_args_is_help=True, help="The Pulumi engine: find it, or put one into your cache folder.")

AsJson = Annotated[bool, typer.Option("--json", help="Print version, origin and paths as JSON.")]
ORIGINS = {"path": "on PATH", "installed": "downloaded", "built": "built with Go"}


@app.command()
def install(as_json: AsJson = False) -> None:
    """Make sure there is an engine: on PATH, in the cache, downloaded, or built with Go (minutes, once)."""
    from ome_iac.rehearsal.engine import ensure_engine

    engine = ensure_engine()
    if as_json:
        _print_json(engine)
    else:
        typer.echo(f"pulumi {engine.version}, {ORIGINS[engine.origin]}: {engine.pulumi}")


@app.command()
def path(as_json: AsJson = False) -> None:
    """Print the path of the engine's program; fails where there is none yet."""
    from ome_iac.rehearsal.engine import find_engine

    engine = find_engine()
    if engine is None:
        raise ProblemsError([Problem("", "pulumi", "no engine yet", "install one: ome-iac engine install")])
    if as_json:
        _print_json(engine)
    else:
        typer.echo(engine.pulumi)


def _print_json(engine: Engine) -> None:
    typer.echo(json.dumps(asdict(engine), default=str))
