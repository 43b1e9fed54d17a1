"""Choosing among OME's own runtimes, in its profile, on one core. Aims: 1 s for 207 models, 500 MB.

The models are OME's catalogue, of which 166 declare no format and are refused at once, and beside it one model for each
of the runtimes, declared as the runtime asks for it, so that all rules are gone through.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from benchmarks.report import Aim, Report
from ome_iac.planning.ome_profile import as_applied, select
from ome_iac.planning.ome_profile.documents import MODELS, RUNTIMES
from ome_iac.problems import Problem
from ome_iac.spec.document import Document
from ome_iac.spec.models import ModelDeclaration, ModelDocument
from ome_iac.spec.runtimes import RuntimeDocument
from ome_iac.spec.validation import parse_as_written
from ome_iac.spec.yaml_documents import read_documents

OME = Path(__file__).parents[2] / "shared" / "data" / "ome"
SECONDS = 1.0
MEGABYTES = 500.0

D = TypeVar("D", bound=Document)


def run(quick: bool = False) -> Report:
    """CPU seconds of all selections; `quick` leaves nothing out, it takes seconds as it is."""
    del quick
    if not OME.is_dir():
        sys.exit("../shared/data/ome is absent: there is nothing to choose among")
    runtimes = as_applied(_read(OME / "runtimes", RUNTIMES, RuntimeDocument))
    catalogue = [document.spec for document in _read(OME / "models", MODELS, ModelDocument)]
    rows: list[dict[str, float | int | str]] = []
    for name, models in (("OME's catalogue", catalogue), ("one for each runtime", _asked_for(runtimes))):
        start = time.process_time()
        answers = [select(model, runtimes) for model in models]
        rows.append(
            {
                "models": name,
                "number": len(models),
                "runtimes": len(runtimes),
                "with a runtime": sum(answer.selected is not None for answer in answers),
                "CPU s": time.process_time() - start,
            }
        )
    slowest = max(float(row["CPU s"]) for row in rows)
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    aims = [Aim("CPU s", slowest, SECONDS), Aim("MB", megabytes, MEGABYTES)]
    return Report("selection in the ome profile", rows, aims)


def _read(folder: Path, kinds: Mapping[str, type[Document]], wanted: type[D]) -> list[D]:
    problems: list[Problem] = []
    documents = [
        parse_as_written(raw, problems, kinds)
        for path in sorted(folder.rglob("*.yaml"))
        for raw in read_documents(path, path.name, problems)
        if raw.data.get("kind") in kinds
    ]
    if problems:
        sys.exit("\n".join(map(str, problems)))
    return [document for document in documents if isinstance(document, wanted)]


def _asked_for(runtimes: Sequence[RuntimeDocument]) -> list[ModelDeclaration]:
    models = []
    for runtime in runtimes:
        entry, sizes = runtime.spec.supported_model_formats[0], runtime.spec.model_size_range
        models.append(
            ModelDeclaration(
                model_format=entry.model_format,
                model_framework=entry.model_framework,
                model_architecture=entry.model_architecture,
                quantization=entry.quantization,
                model_parameter_size=sizes.min if sizes else None,
            )
        )
    return models
