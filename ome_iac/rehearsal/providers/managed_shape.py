"""A live object seen through what was deployed: only the fields that were asked for, to find real drift."""

from __future__ import annotations

import base64
import binascii
import re
from decimal import Decimal
from typing import Final

from ome_iac.rehearsal.providers.values import Secret, Value, plain

_MERGE_KEYS: Final = ("name", "containerPort", "port", "mountPath", "devicePath", "key", "ip", "topologyKey", "type")
"""By which Kubernetes' lists of objects tell their elements apart, the most telling first."""

_QUANTITY_FIELDS: Final = {"requests", "limits", "capacity", "allocatable", "hard", "overhead", "sizeLimit"}
_QUANTITY: Final = re.compile(r"(?P<number>[+-]?(\d+\.?\d*|\.\d+))(?P<suffix>[KMGTPE]i|[numkMGTPE]|[eE][+-]?\d+|)")
_SUFFIXES: Final = {
    "": Decimal(1),
    **{unit: Decimal(1000) ** power for unit, power in zip("numkMGTPE", (-3, -2, -1, 1, 2, 3, 4, 5, 6), strict=True)},
    **{f"{unit}i": Decimal(1024) ** power for power, unit in enumerate("KMGTPE", start=1)},
}


def managed_part(live: Value, deployed: Value) -> Value:
    """`live` reduced, element by element, to the fields that `deployed` has.

    What means the same is returned as it was deployed: quantities (`1000m` and `1`), and empty or zero values that an
    API server leaves out. Elements of lists are matched by name where they have one.
    """
    return _part(live, plain(deployed), quantity=False)


def _part(live: Value, deployed: Value, quantity: bool) -> Value:
    if isinstance(live, dict) and isinstance(deployed, dict):
        part = {}
        for key, wanted in deployed.items():
            if key in live:
                part[key] = _part(live[key], wanted, quantity or key in _QUANTITY_FIELDS)
            elif _is_empty(wanted):
                part[key] = wanted
        return part
    if isinstance(live, list) and isinstance(deployed, list):
        return _list_part(live, deployed, quantity)
    if quantity and _same_quantity(live, deployed):
        return deployed
    return live


def _is_empty(value: Value) -> bool:
    """Whether an API server may drop the field: it is zero, or a map of such fields."""
    if isinstance(value, dict):
        return all(_is_empty(item) for item in value.values())
    return not value


def _list_part(live: list[Value], deployed: list[Value], quantity: bool) -> list[Value]:
    key = _merge_key(live, deployed)
    if key is not None:
        found = {item[key]: item for item in live}
        return [_part(found[item[key]], item, quantity) for item in deployed if item[key] in found]
    pairs = [_part(item, wanted, quantity) for item, wanted in zip(live, deployed, strict=False)]
    return pairs + live[len(deployed) :]


def _merge_key(live: list[Value], deployed: list[Value]) -> str | None:
    if not deployed or not all(isinstance(item, dict) for item in (*live, *deployed)):
        return None
    for key in _MERGE_KEYS:
        if all(
            all(isinstance(item.get(key), (str, int)) for item in items)
            and len({item[key] for item in items}) == len(items)
            for items in (live, deployed)
        ):
            return key
    return None


def _same_quantity(one: Value, other: Value) -> bool:
    first, second = _quantity(one), _quantity(other)
    return first is not None and first == second


def _quantity(value: Value) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    match = _QUANTITY.fullmatch(str(value))
    if match is None:
        return None
    number, suffix = Decimal(match["number"]), match["suffix"]
    return number * _SUFFIXES[suffix] if suffix in _SUFFIXES else number * Decimal(f"1{suffix}")


def with_string_data(live: dict[str, Value], deployed: dict[str, Value]) -> dict[str, Value]:
    """A live Secret with the `stringData` that it was deployed with: API servers keep it encoded, under `data`."""
    wanted = plain(deployed).get("stringData")
    if not wanted or "stringData" in live:
        return live
    data = live.get("data") or {}
    return live | {"stringData": {key: _decoded(data[key]) for key in wanted if key in data}}


def _decoded(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return text


def with_secret_data(properties: dict[str, Value]) -> dict[str, Value]:
    """A Kubernetes Secret's properties, its data marked secret whether or not the program did so."""
    return {key: Secret(plain(value)) if key in ("data", "stringData") else value for key, value in properties.items()}
