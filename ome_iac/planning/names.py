"""Names of objects and labels of pods, which queries and selectors use: legal whatever a service is called, unique, the
same in every run."""

from __future__ import annotations

import hashlib
import re

LIMIT = 63
"""Characters of a DNS label: what a Service's name and a label's value may have."""
GROUP_LIMIT = 48
"""Of a LeaderWorkerSet: its pods are called <name>-<group>-<worker>, and their names are labels and hostnames too."""
HASH = 8

NAME = "app.kubernetes.io/name"
COMPONENT = "app.kubernetes.io/component"


def object_name(service: str, suffix: str = "", limit: int = LIMIT) -> str:
    """A DNS-1035 label: the name itself where it is one, else what is left of it and a hash of the whole."""
    ending = f"-{suffix}" if suffix else ""
    if len(service) + len(ending) <= limit and re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", service):
        return service + ending
    digest = hashlib.sha256(service.encode()).hexdigest()[:HASH]
    plain = re.sub(r"[^-a-z0-9]+", "-", service.lower()).strip("-")
    plain = plain if plain[:1].isalpha() else f"s-{plain}"
    room = limit - len(ending) - HASH - 1
    return f"{plain[:room].rstrip('-')}-{digest}{ending}"
