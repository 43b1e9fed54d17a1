"""`ome-iac select`: which runtime a model gets, from documents alone."""

from __future__ import annotations

import difflib
import json as json_format
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.console import Console

from ome_iac.cli.options import Json
from ome_iac.planning import ome_profile
from ome_iac.planning.ome_profile.documents import MODELS, RUNTIMES, SERVICES, LooseService
from ome_iac.problems import Problem, ProblemsError
from ome_iac.spec.document import Document
from ome_iac.spec.models import ModelDocument
from ome_iac.spec.runtimes import RuntimeDocument, ServingRuntime
from ome_iac.spec.validation import KINDS, parse_as_written
from ome_iac.spec.yaml_documents import read_documents

SUFFIXES = (".yaml", ".yml", ".json")
SHOWN = 10
"""Rejected runtimes that the text names; the JSON has all of them."""

D = TypeVar("D", bound=Document)


class Profile(Enum):
    """Whose rules decide."""

    OME = "ome"


def select(
    model: Annotated[
        Path, typer.Option(help="A BaseModel or ClusterBaseModel, in YAML or JSON.", exists=True, dir_okay=False)
    ],
    runtimes: Annotated[
        Path, typer.Option(help="The folder, or file, of ServingRuntimes and ClusterServingRuntimes.", exists=True)
    ],
    service: Annotated[
        Path | None,
        typer.Option(
            help="The InferenceService: its namespace, accelerators and runtime.", exists=True, dir_okay=False
        ),
    ] = None,
    runtime: Annotated[
        str | None, typer.Option(help="Check this runtime; a service that names one asks the same.", metavar="NAME")
    ] = None,
    profile: Annotated[
        Profile,
        typer.Option(help="ome: OME's exact rules. Our own choose within a stack: `ome-iac plan`."),
    ] = Profile.OME,
    json: Json = False,
) -> None:
    """Choose a runtime for a model outside any stack, or check one; exit code 1 where the answer is no."""
    problems: list[Problem] = []
    models = _read(model, MODELS, ModelDocument, problems)
    services = _read(service, SERVICES, LooseService, problems) if service else []
    known = _read(runtimes, RUNTIMES, RuntimeDocument, problems)
    asked = _only(models, model, MODELS, problems)
    stated = _only(services, service, SERVICES, problems) if service else None
    if problems or asked is None:
        raise ProblemsError(problems)
    for note in _notes(asked, known):
        typer.echo(f"note: {note}", err=True)
    known = ome_profile.as_applied(known)
    if runtime is None and stated and stated.spec.runtime:
        runtime = stated.spec.runtime.name
    namespace = _namespace(asked, known)
    answer = (
        ome_profile.select(asked.spec, known, stated, namespace)
        if runtime is None
        else ome_profile.check(asked.spec, runtime, known, stated, namespace)
    )
    if json:
        typer.echo(json_format.dumps(answer.as_json(), indent=2, ensure_ascii=False))
    else:
        console = Console()
        for line in _lines(answer, runtime):
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    if answer.error:
        raise typer.Exit(1)


def _read(path: Path, kinds: Mapping[str, type[Document]], wanted: type[D], problems: list[Problem]) -> list[D]:
    """The documents of these kinds in the file, or in all files below the folder; others are passed over."""
    below = (file for file in path.rglob("*") if file.suffix in SUFFIXES and file.is_file())
    documents: list[D] = []
    for file in sorted(below) if path.is_dir() else [path]:
        for raw in read_documents(file, str(file), problems):
            kind = str(raw.data.get("kind")) if isinstance(raw.data, dict) else ""
            misspelt = kind not in KINDS and difflib.get_close_matches(kind, kinds, cutoff=0.8)
            if kind in kinds or misspelt or not isinstance(raw.data, dict):
                document = parse_as_written(raw, problems, kinds)
                if isinstance(document, wanted):
                    documents.append(document)
    return documents


def _only(found: Sequence[D], path: Path, kinds: Iterable[str], problems: list[Problem]) -> D | None:
    """The one document of the file; none or several are a problem, unless what is in it is one already."""
    if len(found) == 1:
        return found[0]
    if found or not problems:
        names = ", ".join(document.label for document in found) or "none"
        problems.append(Problem(str(path), "", f"holds {names}", f"one {' or '.join(kinds)} is asked for"))
    return None


def _namespace(model: ModelDocument, runtimes: Sequence[RuntimeDocument]) -> str:
    """Where a service that names no namespace stands: with its model, else with the runtimes, else in `default`."""
    named = {
        runtime.metadata.namespace
        for runtime in runtimes
        if isinstance(runtime, ServingRuntime) and runtime.metadata.namespace
    }
    return model.metadata.namespace or (named.pop() if len(named) == 1 else "default")


def _notes(model: ModelDocument, runtimes: Sequence[RuntimeDocument]) -> Iterator[str]:
    """What the profile takes as OME does, and a person would want to know."""
    documents: list[ModelDocument | RuntimeDocument] = [model, *runtimes]
    for document in documents:
        for fault in document.faults():
            yield str(fault)
    times = Counter((runtime.label, runtime.metadata.namespace or "") for runtime in runtimes)
    for (label, _), count in sorted(times.items()):
        if count > 1:
            yield f"{label} is declared {count} times; the last one counts, as in a cluster they are applied to"


def _lines(answer: ome_profile.Selection | ome_profile.Check, name: str | None) -> Iterator[str]:
    if isinstance(answer, ome_profile.Check):
        yield f"{'valid' if answer.valid else 'refused':<10}{name}"
        for reason in answer.reasons:
            yield f"{'':<10}{reason}"
        return
    if answer.error:
        yield f"{'none':<10}{answer.error.partition('. Excluded runtimes: ')[0]}"
    for index, candidate in enumerate(answer.candidates):
        yield f"{'also' if index else 'selected':<10}{candidate.name}, score {candidate.score}"
    for rejection in answer.rejected[:SHOWN]:
        yield f"{'not':<10}{rejection.name}: {'; '.join(rejection.reasons)}"
    if len(answer.rejected) > SHOWN:
        yield f"{'':<10}and {len(answer.rejected) - SHOWN} more: --json lists all"
