"""`ome-iac plan`: decide and show, without an engine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Console

from ome_iac.cli.options import Json, OnCluster, Rehearse, Stack
from ome_iac.planning.plan import Plan
from ome_iac.planning.plan_diff import Side, compare
from ome_iac.problems import Problem, ProblemsError
from ome_iac.project import Project, plan_project
from ome_iac.report.plan_diff import print_diff
from ome_iac.report.terminal import print_plan
from ome_iac.revisions import project_at

HERE = "now"


def plan(
    stack: Stack,
    json: Json = False,
    explain: Annotated[
        str | None, typer.Option(help="A service whose every rejected way is shown; `all` for each.", metavar="NAME")
    ] = None,
    diff: Annotated[
        str | None,
        typer.Option(
            help="Show what changed since a commit, whose documents and lock are planned, or a file of plan --json.",
            metavar="REF|FILE",
        ),
    ] = None,
    rehearse: Rehearse = False,
    cluster: OnCluster = False,
) -> None:
    """What would run where, why, and what it costs; no engine and no cluster is asked, in a rehearsal or not."""
    del rehearse, cluster  # taken so that one command line fits every operation: the plan is the same
    project = Project.find()
    if diff is not None:
        _compare(project, stack, diff, json)
        return
    decided = plan_project(project, project.settings(stack))
    if json:
        typer.echo(decided.model_dump_json(by_alias=True, indent=2))
    else:
        print_plan(Console(), decided, explain)


def _compare(project: Project, stack: str, earlier: str, json: bool) -> None:
    """Print the difference; exit code 1 where the stack as it is has no plan."""
    before = _recorded(Path(earlier)) if Path(earlier).is_file() else _at(project, stack, earlier)
    after = _planned(project, stack, HERE)
    found = compare(stack, before, after)
    if json:
        typer.echo(found.model_dump_json(by_alias=True, indent=2))
    else:
        print_diff(Console(), found)
    if after.plan is None:
        raise typer.Exit(1)


def _at(project: Project, stack: str, ref: str) -> Side:
    with project_at(project, ref, "--diff") as earlier:
        return _planned(earlier, stack, ref)


def _planned(project: Project, stack: str, label: str) -> Side:
    try:
        return Side(label, plan_project(project, project.settings(stack)))
    except ProblemsError as error:
        return Side(label, None, error.problems)


def _recorded(path: Path) -> Side:
    try:
        return Side(str(path), Plan.model_validate_json(path.read_bytes()))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        what = f"is no plan of this version of ome-iac: {place} {first['msg']}".replace("  ", " ")
        remedy = "record it anew with plan --json, or compare with a commit"
        raise ProblemsError([Problem(str(path), "", what, remedy)]) from None
