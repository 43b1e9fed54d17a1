"""OME's versions, operators and sizes, case by case."""

from __future__ import annotations

import math

import pytest

from ome_iac.planning.ome_profile.sizes import parse_size
from ome_iac.planning.ome_profile.versions import Version, accepts, parse_version


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("4", Version((4, 0, 0), precision=1)),
        ("v4", Version((4, 0, 0), prefix="v", precision=1)),
        ("4.51", Version((4, 51, 0), precision=2)),
        ("v4.51.3", Version((4, 51, 3), prefix="v")),
        ("4.51.0.dev0", Version((4, 51, 0), dev=("dev0",))),
        ("4.51.3-SAM-HQ-preview", Version((4, 51, 3), pre=("SAM-HQ-preview",))),
        ("4.51.3-rc.1", Version((4, 51, 3), pre=("rc", "1"))),
        ("4.51.3+cu12.8", Version((4, 51, 3), build=("cu12", "8"))),
        ("4.51.3.dev0-rc1+b", Version((4, 51, 3), pre=("rc1",), build=("b",), dev=("dev0",))),
        ("18446744073709551615", Version((2**64 - 1, 0, 0), precision=1)),
    ],
)
def test_what_is_a_version(text: str, version: Version) -> None:
    assert parse_version(text) == version


@pytest.mark.parametrize(
    "text",
    [
        *("", ".", "v", "vv1", "V1", "4.", "4..1", "4.x", "x", "-1", "+1", " 4", "4 ", "\uff14"),
        *("04", "4.05", "4.5.00", "4.51.0rc1", "4.51-rc1", "4.51.", "4.51.-rc", "4.51.0-", "4.51.0+", "4.51.0."),
        *("4.51.0-a..b", "18446744073709551616", "9" * 5000),
    ],
)
def test_what_is_none(text: str) -> None:
    assert parse_version(text) is None


@pytest.mark.parametrize(
    ("runtime", "operator", "model", "accepted"),
    [
        ("4.51.0", None, "4.51.0", True),
        ("4.51.0", "Equal", "4.51.0", True),
        ("4.51.0", "Equal", "4.51.1", False),
        ("1.0.0", "Equal", "1", True),
        ("1.0.0", "Equal", "v1", True),
        ("4.51.0", "GreaterThan", "4.40.0", True),
        ("4.51.0", "GreaterThan", "4.51.0", False),
        ("4.51.0", "GreaterThan", "4.57.0", False),
        ("4.51.0", "GreaterThanOrEqual", "4.40.0", True),
        ("4.51.0", "GreaterThanOrEqual", "4.51.0", True),
        ("4.51.0", "GreaterThanOrEqual", "4.57.0", False),
        # Numbers, not text.
        ("4.100.0", "GreaterThan", "4.51.0", True),
        ("10.0.0", "GreaterThan", "9.9.9", True),
        # Written unlike: never greater, and an unknown operator is not quite Equal.
        ("4.51.0", "GreaterThanOrEqual", "4.40", False),
        ("v4.51.0", "GreaterThanOrEqual", "4.40.0", False),
        ("4.51.0", "LessThan", "4.51.0", True),
        ("4.51.0", "LessThan", "4.40.0", False),
        ("1.0.0", "LessThan", "1", False),
        ("1.0.0", "", "1", False),
        # Unofficial on either side: only the same will do, whatever the operator.
        ("4.51.0", "GreaterThanOrEqual", "4.40.0.dev0", False),
        ("4.51.0.dev0", "GreaterThan", "4.40.0", False),
        ("4.51.0.dev0", "GreaterThan", "4.51.0.dev0", True),
        ("4.51.0-rc1", "Equal", "4.51.0", False),
        ("4.51.0-rc.1", "Equal", "4.51.0-rc.1", True),
        ("v4.51.0+b", "GreaterThan", "4.51.0+b", True),
        # Unreadable on either side.
        ("4.51.0", None, "4.x", False),
        ("4.x", None, "4.x", False),
        ("", "Equal", "", False),
    ],
)
def test_which_models_versions_a_runtime_accepts(
    runtime: str, operator: str | None, model: str, accepted: bool
) -> None:
    assert accepts(runtime, operator, model) is accepted


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("7B", 7e9),
        ("0.6B", 0.6e9),
        ("1.5T", 1.5e12),
        ("7000M", 7e9),
        ("7000000000", 7e9),
        ("-7B", -7e9),
        # Go's numbers.
        ("7.B", 7e9),
        (".5B", 5e8),
        ("1e3B", 1e12),
        ("1_000B", 1e12),
        ("0x1p3B", 8e9),
        ("infB", math.inf),
        ("-Infinity", -math.inf),
        # Everything else is nothing.
        ("7b", 0),
        ("7 B", 0),
        (" 7B", 0),
        ("8x7B", 0),
        ("629.15K", 0),
        ("abc", 0),
        ("", 0),
        ("B", 0),
        ("7BB", 0),
        ("7MB", 0),
        ("1__0B", 0),
        ("0x8B", 0),
        ("1e400B", 0),
        ("\uff17B", 0),
        ("7,5B", 0),
    ],
)
def test_sizes(text: str, size: float) -> None:
    assert parse_size(text) == size


def test_not_a_number_is_one() -> None:
    assert math.isnan(parse_size("nanB"))
