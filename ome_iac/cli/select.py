"""`ome-iac select`: which runtime a model gets, from documents alone."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from ome_iac.cli.options import Json
from ome_iac.planning import ome_profile
from ome_iac.planning.ome_profile.documents import MODELS, RUNTIMES, SERVICES, LooseService
from ome_iac.problems import Problem, ProblemsError, did_you_mean
from ome_iac.spec.document import Document
from ome_iac.spec.models import ModelDocument
from ome_iac.spec.runtimes import RuntimeDocument, ServingRuntime
from ome_iac.spec.validation import parse_as_written
from ome_iac.spec.yaml_documents import read_documents

SHOWN_REJECTIONS = 10


class Profile(Enum):
    """Whose rules decide."""

    OME = "ome"


def select(
    model: Annotated[
        Path, typer.Option(help="A BaseModel or ClusterBaseModel, YAML or JSON.", exists=True, dir_okay=False)
    ],
    runtimes: Annotated[
        Path, typer.Option(help="A folder (or file) of ServingRuntimes and ClusterServingRuntimes.", exists=True)
    ],
    service: Annotated[
        Path | None, typer.Option(help="The InferenceService: its namespace, accelerators and runtime count.", exists=True)
    ] = None,
    runtime: Annotated[
        str | None, typer.Option(help="Check this one instead of choosing; a service's own spec.runtime does the same.")
    ] = None,
    profile: Annotated[
        Profile, typer.Option(help="ome: OME's exact rules. Ours need a stack to place on: `ome-iac plan`.")
    ] = Profile.OME,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Choose a runtime for a model as OME would, outside any stack; exit code 1 where there is none."""
