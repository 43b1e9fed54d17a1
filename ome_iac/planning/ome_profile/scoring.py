"""OME's score of a runtime for a model, and the order of runtimes.

The score of an entry is (weight of its format + weight of its framework) x priority. It asks for names and versions
only, so that an entry which does not match by architecture or quantization can still give the runtime its score.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cmp_to_key
from typing import Any

from ome_iac.planning.ome_profile.sizes import parse_size
from ome_iac.planning.ome_profile.versions import accepts
from ome_iac.spec.models import ModelDeclaration, Versioned
from ome_iac.spec.runtimes import RuntimeDocument, ServingRuntimeSpec, SupportedFormat

FORMAT_WEIGHT = 10
FRAMEWORK_WEIGHT = 5
"""Where an entry gives no weight, or 0. (OME's full CRDs fill in 1 when a runtime is stored without one.)"""
_INT64 = 2**63


def score(runtime: ServingRuntimeSpec, model: ModelDeclaration) -> int:
    """The best entry's score; entries with `autoSelect: false` do not count, those that leave it out do."""
    entries = (entry for entry in runtime.supported_model_formats if entry.auto_select is not False)
    return max((_entry_score(entry, model) for entry in entries), default=0)


def _entry_score(entry: SupportedFormat, model: ModelDeclaration) -> int:
    """0 where format or framework do not agree; a version that only one side gives does not disagree here."""
    if entry.model_format is None or not _agree(entry.model_format, model.model_format):
        return 0
    weight = entry.model_format.weight or FORMAT_WEIGHT
    if entry.model_framework is not None or model.model_framework is not None:
        if entry.model_framework is None or not _agree(entry.model_framework, model.model_framework):
            return 0
        weight += entry.model_framework.weight or FRAMEWORK_WEIGHT
    return weight * (1 if entry.priority is None else entry.priority)


def _agree(ours: Versioned, theirs: Versioned | None) -> bool:
    if theirs is None or ours.name != theirs.name:
        return False
    if ours.version is None or theirs.version is None:
        return True
    return accepts(ours.version, ours.operator, theirs.version)


def best_first(model: ModelDeclaration) -> Callable[[tuple[int, RuntimeDocument]], Any]:
    """A sort key for (score, runtime), runtimes of one scope: higher score, nearer size range, name.

    The distance of a range is |min - size| + |max - size|, which for a size within it is the range's width; a runtime
    without a range has distance 0 and goes first. Distances that differ by less than one parameter, or by more than
    64 bits hold, are no difference, and the name does not decide then: runtimes stay in the order they come in.
    """
    size = None if model.model_parameter_size is None else parse_size(model.model_parameter_size)

    def compare(one: tuple[int, RuntimeDocument], other: tuple[int, RuntimeDocument]) -> int:
        if one[0] != other[0]:
            return other[0] - one[0]
        if size is not None:
            here, there = _distance(one[1].spec, size), _distance(other[1].spec, size)
            if here != there:
                return -_as_int64(there - here)
        return (one[1].name > other[1].name) - (one[1].name < other[1].name)

    return cmp_to_key(compare)


def _distance(runtime: ServingRuntimeSpec, size: float) -> float:
    bounds = runtime.model_size_range
    if bounds is None or bounds.min is None or bounds.max is None:
        return 0.0
    return abs(parse_size(bounds.min) - size) + abs(parse_size(bounds.max) - size)


def _as_int64(number: float) -> int:
    """Go's conversion on amd64: towards zero, and the smallest integer for what has no place in 64 bits."""
    if math.isnan(number) or not -_INT64 <= number < _INT64:
        return -_INT64
    return int(number)
