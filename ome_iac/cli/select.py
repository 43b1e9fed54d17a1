"""`ome-iac select`: which runtime a model gets, outside any stack."""

from __future__ import annotations

import difflib
import json as json_format
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Protocol, TypeVar

import typer
from rich.console import Console

from ome_iac.cli.options import Json
from ome_iac.models.lock import FILE_NAME, Lock
from ome_iac.models.metadata import ModelMetadata
from ome_iac.planning import ome_profile
from ome_iac.planning.declared import contradictions
from ome_iac.planning.ome_profile.documents import MODELS, RUNTIMES, SERVICES, LooseService
from ome_iac.problems import Problem, ProblemsError
from ome_iac.spec.document import Document
from ome_iac.spec.models import ModelDocument, Storage
from ome_iac.spec.runtimes import RuntimeDocument, ServingRuntime
from ome_iac.spec.validation import KINDS, parse_as_written
from ome_iac.spec.yaml_documents import read_documents

SUFFIXES = (".yaml", ".yml", ".json")
SHOWN = 10
"""Rejected runtimes that the text names; the JSON has all of them."""

D = TypeVar("D", bound=Document)


class Answer(Protocol):
    """What either profile says."""

    @property
    def error(self) -> str | None:
        """Why the answer is no."""

    def as_json(self) -> dict[str, Any]:
        """What `--json` prints."""


class Profile(Enum):
    """Whose rules decide."""

    DEFAULT = "default"
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
        typer.Option(help="default: what fits, our own engines included; ome: OME's exact rules."),
    ] = Profile.DEFAULT,
    lock: Annotated[
        Path | None,
        typer.Option(help="A lock that holds the model; left out: ome.lock beside its document.", exists=True),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="The model's config.json: counts are derived from it.", exists=True)
    ] = None,
    metadata: Annotated[
        Path | None, typer.Option(help="What `ome-iac model inspect MODEL --json` printed.", exists=True)
    ] = None,
    json: Json = False,
) -> None:
    """Choose a runtime for a model outside any stack, or check one; exit code 1 where the answer is no."""
    try:
        asked, known, stated = _documents(model, runtimes, service, profile)
        found = _metadata(asked, model.parent, lock, config, metadata) if profile is Profile.DEFAULT else (None, None)
    except ProblemsError as error:
        if not json or profile is Profile.OME:
            raise
        _print_json(_refusal(error, runtime))
        raise typer.Exit(1) from None
    if found[0] is not None:
        for contradiction in contradictions(asked.spec, found[0]):
            typer.echo(f"note: {asked.label} {contradiction}", err=True)
    if runtime is None and stated and stated.spec.runtime:
        runtime = stated.spec.runtime.name
    answer = _answer(profile, asked, known, stated, runtime, found)
    if json:
        _print_json(answer.as_json())
    else:
        console = Console()
        for line in _lines(answer, runtime):
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    if answer.error:
        raise typer.Exit(1)


def _documents(
    model: Path, runtimes: Path, service: Path | None, profile: Profile
) -> tuple[ModelDocument, list[RuntimeDocument], LooseService | None]:
    """What the files hold; raises ProblemsError. In the `ome` profile values that OME misreads are only noted."""
    problems: list[Problem] = []
    models = _read(model, MODELS, ModelDocument, problems)
    services = _read(service, SERVICES, LooseService, problems) if service else []
    known = _read(runtimes, RUNTIMES, RuntimeDocument, problems)
    asked = _only(models, model, MODELS, problems)
    stated = _only(services, service, SERVICES, problems) if service else None
    notes = list(_repeats(known))
    documents: list[ModelDocument | RuntimeDocument] = [*models, *known]
    for document in documents:
        if profile is Profile.OME:
            notes += [str(fault) for fault in document.faults()]
        else:
            problems += document.faults()
            problems += _container_faults(document) if isinstance(document, RuntimeDocument) else ()
    if problems or asked is None:
        raise ProblemsError(problems)
    for note in notes:
        typer.echo(f"note: {note}", err=True)
    return asked, ome_profile.as_applied(known), stated


def _container_faults(document: RuntimeDocument) -> Iterator[Problem]:
    # Imported here because the `ome` profile looks at no container.
    from ome_iac.runtimes.engines.custom_faults import container_faults

    return container_faults(document)


def _metadata(
    document: ModelDocument, folder: Path, lock: Path | None, config: Path | None, inspected: Path | None
) -> tuple[ModelMetadata | None, str | None]:
    """What is known of the model without a network, or the command that reads it.

    Neither where the document names no files to read: then its declarations are all there is.
    """
    from ome_iac.models.read import read_config, read_model

    storage: Storage | None = getattr(document.spec, "storage", None)
    uri = storage.storage_uri if storage else ""
    if inspected is not None:
        try:
            return ModelMetadata.model_validate_json(inspected.read_text(encoding="utf-8")), None
        except (ValueError, OSError):
            what, remedy = "is not what `ome-iac model inspect MODEL --json` prints", "write that into the file"
            raise ProblemsError([Problem(str(inspected), "", what, remedy)]) from None
    if config is not None:
        return read_config(config, uri), None
    locked = Lock.load(lock or folder / FILE_NAME).get(uri)
    if locked is not None or storage is None or uri.startswith("vendor://"):
        return locked, None
    scheme, _, path = uri.partition("://")
    base = document.folder or folder
    if scheme == "local" and (base / path).is_dir():
        return read_model(uri, base, where=document.problem("spec.storage.storageUri", "").where), None
    target = path if scheme == "local" else "FOLDER" if scheme == "pvc" else uri
    where = {"local": " on a node that holds it,", "pvc": " with FOLDER the claim's mount,"}.get(scheme, "")
    file = f"{document.name}.json"
    return None, f"`ome-iac model inspect {target} --json > {file}`{where} then add `--metadata {file}`"


def _answer(
    profile: Profile,
    asked: ModelDocument,
    known: list[RuntimeDocument],
    stated: LooseService | None,
    runtime: str | None,
    found: tuple[ModelMetadata | None, str | None],
) -> Answer:
    namespace = _namespace(asked, known)
    if profile is Profile.OME:
        if runtime is None:
            return ome_profile.select(asked.spec, known, stated, namespace)
        return ome_profile.check(asked.spec, runtime, known, stated, namespace)
    # Imported here because the `ome` profile needs neither planner nor engines.
    from ome_iac.planning import default_profile

    question = default_profile.Question(asked, *found, stated, namespace)
    if runtime is None:
        return default_profile.select(question, known)
    return default_profile.check(question, runtime, known)


def _print_json(data: Mapping[str, Any]) -> None:
    typer.echo(json_format.dumps(data, indent=2, ensure_ascii=False))


def _refusal(error: ProblemsError, runtime: str | None) -> dict[str, Any]:
    """Wrong input, in the form of an answer: whoever asked for JSON gets JSON."""
    reasons = [str(problem) for problem in error.problems]
    if runtime is None:
        return {"selected": None, "candidates": [], "rejected": [], "error": "\n".join(reasons)}
    return {"valid": False, "reasons": reasons, "error": "\n".join(reasons), "fit": None, "notes": []}


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


def _repeats(runtimes: Sequence[RuntimeDocument]) -> Iterator[str]:
    """Runtimes that are declared more than once."""
    times = Counter((runtime.label, runtime.metadata.namespace or "") for runtime in runtimes)
    for (label, _), count in sorted(times.items()):
        if count > 1:
            yield f"{label} is declared {count} times; the last one counts, as in a cluster they are applied to"


def _lines(answer: Answer, name: str | None) -> Iterator[str]:
    data = answer.as_json()
    if "valid" in data:
        yield f"{'valid' if data['valid'] else 'refused':<10}{name}"
        beside = [data["fit"]] if data.get("fit") else []
        for reason in (*data["reasons"], *beside, *data.get("notes", ())):
            yield f"{'':<10}{reason}"
        return
    if data["error"]:
        yield f"{'none':<10}{data['error'].partition('. Excluded runtimes: ')[0]}"
    for index, candidate in enumerate(data["candidates"]):
        score = candidate["score"] if isinstance(candidate["score"], str) else f"score {candidate['score']}"
        yield f"{'also' if index else 'selected':<10}{candidate['name']}, {score}"
    for rejection in data["rejected"][:SHOWN]:
        yield f"{'not':<10}{rejection['name']}: {'; '.join(rejection['reasons'])}"
    if len(data["rejected"]) > SHOWN:
        yield f"{'':<10}and {len(data['rejected']) - SHOWN} more: --json lists all"
