"""The families' published defaults, read once from `defaults.yaml`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

import yaml


@cache
def _table() -> dict[str, dict[str, Any]]:
    text = resources.files(__package__).joinpath("defaults.yaml").read_text(encoding="utf-8")
    table: dict[str, dict[str, Any]] = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return table


def defaults_of(model_type: str) -> Mapping[str, Any]:
    """What the family's configuration class puts for missing keys; empty for a family the table does not hold."""
    return _table().get(model_type, {})
