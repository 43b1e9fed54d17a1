"""Admission, simulated: which gangs of a stack Kueue would admit, where they stand, who waits and why. Pure."""

from ome_iac.planning.admission.model import (
    Block,
    Flavor,
    Gang,
    Preemption,
    Queue,
    Quota,
    Topology,
    Verdict,
)
from ome_iac.planning.admission.simulate import Admission, admit

__all__ = [
    "Admission",
    "Block",
    "Flavor",
    "Gang",
    "Preemption",
    "Queue",
    "Quota",
    "Topology",
    "Verdict",
    "admit",
]
