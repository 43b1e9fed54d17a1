"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Stack = Annotated[str, typer.Option("--stack", "-s", help="The stack: stacks/Pulumi.<stack>.yaml.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Rehearse = Annotated[
    bool, typer.Option("--rehearse", help="On this machine, with the real engine and no cloud account.")
]
OnCluster = Annotated[
    bool, typer.Option("--cluster", help="Rehearse on a local Kubernetes control plane instead of a folder.")
]
Faults = Annotated[
    Path | None,
    typer.Option(
        help="A JSON file of errors and delays to rehearse, by resource type and operation.",
        exists=True,
        dir_okay=False,
        metavar="FILE",
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; a rehearsal never does.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Leave the plan out, show what changes only.")]
