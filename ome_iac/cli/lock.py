"""`ome-iac lock`: read what a stack's models are, and write it down."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from ome_iac.models.lock import FILE_NAME, Lock
from ome_iac.models.locking import Change, DeclaredModel, check, refresh
from ome_iac.problems import Problem, ProblemsError
from ome_iac.project import Project
from ome_iac.spec.services import InferenceService
from ome_iac.spec.stack import load_stack

_STYLES = {"unchanged": "dim", "added": "green", "removed": "dim", "unused": "yellow"}


def lock(
    stack: Annotated[
        str | None, typer.Option("--stack", "-s", help="The stack; left out: every stack of the project.")
    ] = None,
    check_only: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit 1 where upstream moved or the lock is incomplete.")
    ] = False,
    update: Annotated[
        list[str] | None,
        typer.Option(help="Read only this model anew, by name or URI (and what the lock lacks).", metavar="MODEL"),
    ] = None,
    mirror: Annotated[
        list[str] | None, typer.Option(help="Read this model from a folder: for pvc:// URIs.", metavar="URI=FOLDER")
    ] = None,
) -> None:
    """Read the models that the stack's services name, and show what changed since they were locked."""
    project = Project.find()
    console, late = Console(), False
    for name in [stack] if stack else project.stack_names():
        if not stack:
            console.print(f"stack {name}", style="bold")
        path, models, uris = _models(project, name)
        wanted = [uris.get(text, text) for text in update or ()]
        if not stack and wanted and not {model.uri for model in models} & set(wanted):
            continue
        late |= run(Lock.load(path), models, check_only, wanted, mirror or [], console)
    if late:
        console.print("the lock is not up to date; run ome-iac lock", style="yellow")
        raise typer.Exit(1)


def _models(project: Project, stack: str) -> tuple[Path, list[DeclaredModel], dict[str, str]]:
    """The stack's lock file, the models its services name, and each declared model's URI by its name."""
    settings = project.settings(stack)
    folder = project.stacks / settings.folder
    documents, problems = load_stack(settings.stack, folder, project.shown(folder))
    if problems:
        raise ProblemsError(problems)
    models = []
    for service in documents.of(InferenceService):
        model = documents.model_of(service)
        if model is not None:
            where = model.problem("spec.storage.storageUri", "").where
            models.append(DeclaredModel(model.spec.storage.storage_uri, model.folder or project.root, where))
    uris = {model.name: model.spec.storage.storage_uri for model in documents.models}
    return folder / FILE_NAME, models, uris


def run(
    current: Lock, models: list[DeclaredModel], check_only: bool, update: list[str], mirror: list[str], console: Console
) -> bool:
    """Check or refresh `current`, show each model, and write; whether a check found something."""
    if check_only:
        changes = check(current, models)
    else:
        fresh, changes = refresh(current, models, datetime.now(UTC), only=update, mirrors=_mirrors(mirror))
        if fresh.render() != current.render() or not current.path.exists():
            fresh.write()
    for change in changes:
        _show(change, console)
    return check_only and not all(change.in_order for change in changes)


def _show(change: Change, console: Console) -> None:
    style = _STYLES.get(change.kind, "bold yellow")
    console.print(f"[{style}]{change.kind:<9}[/] {escape(change.uri)}", soft_wrap=True, highlight=False)
    for detail in change.details:
        console.print(f"          {escape(detail)}", soft_wrap=True, highlight=False)


def _mirrors(texts: list[str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for text in texts:
        uri, _, folder = text.rpartition("=")
        if not uri:
            raise ProblemsError([Problem("--mirror", "", f'"{text}" names no folder', "the form is URI=FOLDER")])
        found[uri] = Path(folder)
    return found
