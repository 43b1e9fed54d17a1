"""`ome-iac plan`: decide and show, without an engine."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from ome_iac.cli.options import Json, OnCluster, Rehearse, Stack
from ome_iac.project import Project, plan_project
from ome_iac.report.terminal import print_plan


def plan(
    stack: Stack,
    json: Json = False,
    explain: Annotated[
        str | None, typer.Option(help="A service whose every rejected way is shown; `all` for each.", metavar="NAME")
    ] = None,
    rehearse: Rehearse = False,
    cluster: OnCluster = False,
) -> None:
    """What would run where, why, and what it costs; no engine and no cluster is asked, in a rehearsal or not."""
    del rehearse, cluster  # taken so that one command line fits every operation: the plan is the same
    project = Project.find()
    decided = plan_project(project, project.settings(stack))
    if json:
        typer.echo(decided.model_dump_json(by_alias=True, indent=2))
    else:
        print_plan(Console(), decided, explain)
