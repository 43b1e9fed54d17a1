"""Property values: what the engine sends, as plain Python data, and back.

The wire format is a protobuf Struct in which special maps stand for secrets, assets and outputs, and one special string
for a value that is not known yet. Here a secret is `Secret(value)`, an unknown is `UNKNOWN`, a number without a
fraction is an int (protobuf knows only doubles), and everything else is what JSON makes of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from google.protobuf import struct_pb2  # type: ignore[import-untyped]

# The sentinels of Pulumi's wire format, defined by its engine and repeated in each of its SDKs.
_UNKNOWN_TEXT: Final = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
_SIGNATURE: Final = "4dabf18193072939515e22adb298388d"
_SECRET: Final = "1b47061264138c4ac30d75fd1eb44270"
_OUTPUT: Final = "d0e6a833031e9bbcd3f4e8bde6ca49a4"

Value: TypeAlias = Any
"""None, bool, int, float, str, list, dict with string keys, Secret or UNKNOWN, nested at will."""


class Unknown:
    """The type of `UNKNOWN`, a value that only a deployment can tell."""

    def __repr__(self) -> str:
        return "UNKNOWN"

    def __deepcopy__(self, memo: dict[int, Any]) -> Unknown:
        return self


UNKNOWN: Final = Unknown()


@dataclass(frozen=True)
class Secret:
    """A value that must not be shown nor stored in clear; its repr hides it."""

    value: Value = field(repr=False)


def decode(struct: struct_pb2.Struct) -> dict[str, Value]:
    """The properties of a request."""
    return {key: _decode_value(value) for key, value in struct.fields.items()}


def encode(properties: Mapping[str, Value]) -> struct_pb2.Struct:
    """The properties of a response."""
    struct = struct_pb2.Struct()
    for key, value in properties.items():
        _encode_into(struct.fields[key], value)
    return struct


def _decode_value(message: struct_pb2.Value) -> Value:
    kind = message.WhichOneof("kind")
    if kind == "string_value":
        return UNKNOWN if message.string_value == _UNKNOWN_TEXT else message.string_value
    if kind == "number_value":
        number = message.number_value
        return int(number) if number.is_integer() else number
    if kind == "bool_value":
        return message.bool_value
    if kind == "list_value":
        return [_decode_value(item) for item in message.list_value.values]
    if kind == "struct_value":
        fields = {key: _decode_value(value) for key, value in message.struct_value.fields.items()}
        signature = fields.get(_SIGNATURE)
        if signature == _SECRET:
            return _secret(fields.get("value"))
        if signature == _OUTPUT:
            value = fields.get("value", UNKNOWN)
            return _secret(value) if fields.get("secret") else value
        return fields
    return None


def _secret(value: Value) -> Secret:
    return value if isinstance(value, Secret) else Secret(value)


def _encode_into(message: struct_pb2.Value, value: Value) -> None:
    if isinstance(value, str):
        message.string_value = value
    elif isinstance(value, bool):
        message.bool_value = value
    elif isinstance(value, (int, float)):
        message.number_value = value
    elif isinstance(value, Mapping):
        message.struct_value.SetInParent()
        for key, item in value.items():
            _encode_into(message.struct_value.fields[key], item)
    elif isinstance(value, (list, tuple)):
        message.list_value.SetInParent()
        for item in value:
            _encode_into(message.list_value.values.add(), item)
    elif isinstance(value, Secret):
        _encode_into(message, {_SIGNATURE: _SECRET, "value": value.value})
    elif isinstance(value, Unknown):
        message.string_value = _UNKNOWN_TEXT
    elif value is None:
        message.null_value = struct_pb2.NULL_VALUE
    else:
        raise TypeError(f"a {type(value).__name__} is not a property value")


def plain(value: Value) -> Value:
    """A copy without secret marks; unknowns stay."""
    if isinstance(value, Secret):
        return plain(value.value)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


def without_nulls(value: Value) -> Value:
    """A copy in which no map has a null: Kubernetes and OCI read a null as an absent field."""
    if isinstance(value, Secret):
        return Secret(without_nulls(value.value))
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    return value


def has_unknown(value: Value) -> bool:
    """Whether anything inside is not known yet."""
    return _any_leaf(value, lambda leaf: isinstance(leaf, Unknown))


def has_secret(value: Value) -> bool:
    """Whether anything inside is marked secret."""
    if isinstance(value, Secret):
        return True
    if isinstance(value, dict):
        return any(has_secret(item) for item in value.values())
    return isinstance(value, list) and any(has_secret(item) for item in value)


def _any_leaf(value: Value, test: Callable[[Value], bool]) -> bool:
    if isinstance(value, Secret):
        return _any_leaf(value.value, test)
    if isinstance(value, dict):
        return any(_any_leaf(item, test) for item in value.values())
    if isinstance(value, list):
        return any(_any_leaf(item, test) for item in value)
    return test(value)


def mark_secrets(value: Value, like: Value) -> Value:
    """`value` with the secret marks of `like`, place by place; errs on the side of secrecy.

    A list whose length differs from the one in `like`, where that one holds a secret, becomes secret as a whole: the
    elements can no longer be told apart. The same holds where the shapes differ.
    """
    if isinstance(like, Secret):
        return value if isinstance(value, Secret) else Secret(plain(value))
    if isinstance(value, dict) and isinstance(like, dict):
        return {key: mark_secrets(item, like.get(key)) for key, item in value.items()}
    if not has_secret(like):
        return value
    if isinstance(value, list) and isinstance(like, list) and len(value) == len(like):
        return [mark_secrets(item, other) for item, other in zip(value, like, strict=True)]
    return value if value is None else Secret(plain(value))
