"""AcceleratorClass documents, and the quantities in them."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ome_iac.spec.accelerators import AcceleratorClass, quantity
from ome_iac.spec.stack import load_stack
from tests.unit.facts import write


def accelerator(**capabilities: Any) -> dict[str, Any]:
    return {
        "apiVersion": "ome.io/v1beta1",
        "kind": "AcceleratorClass",
        "metadata": {"name": "h100"},
        "spec": {
            "vendor": "nvidia",
            "family": "hopper",
            "discovery": {
                "nodeSelector": {"nvidia.com/gpu.product": "H100"},
                "pciVendorID": "10de",
                "deviceIDs": ["2330"],
            },
            "capabilities": {"computeCapability": "9.0", "performance": {"fp16Tflops": 989}, **capabilities},
            "resources": [{"name": "nvidia.com/gpu", "quantity": "1"}],
            "cost": {"perHour": "5.12", "tier": "high"},
        },
    }


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("80Gi", 80 * 2**30),
        ("80G", 80 * 10**9),
        ("80", 80),
        ("0.5Ti", 2**39),
        ("1e3", 1000),
        ("1E3", 1000),
        ("1E", 10**18),
        ("100m", Decimal("0.1")),
        ("5.", 5),
        (".5", Decimal("0.5")),
    ],
)
def test_quantities(text: str, value: Decimal | int) -> None:
    assert quantity(text) == value


@pytest.mark.parametrize("text", ["", "80GB", "80 Gi", "Gi", "1e", "0x10", "80gi"])
def test_no_quantities(text: str) -> None:
    with pytest.raises(ValueError, match="not a Kubernetes quantity"):
        quantity(text)


@pytest.mark.parametrize(
    ("written", "size"), [("80Gi", 80 * 2**30), ("85899345920", 80 * 2**30), (85899345920, 80 * 2**30)]
)
def test_a_class_loads_and_knows_its_memory(tmp_path: Path, written: str | int, size: int) -> None:
    write(tmp_path, accelerator(memoryGB=written, memoryBandwidthGBps=3350, features=["fp8"]))
    stack, problems = load_stack("test", tmp_path)
    assert problems == []
    [found] = stack.of(AcceleratorClass)
    assert found.spec.capabilities.memory_bytes == size


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (80, '"80" is 80 bytes, and OME reads 0 GiB; write "80Gi"'),
        ("80", '"80" is 80 bytes, and OME reads 0 GiB; write "80Gi"'),
        ("80Mi", '"80Mi" is 83886080 bytes, and OME reads 0 GiB; write "80Gi"'),
        ("0", '"0" is 0 bytes, and OME reads 0 GiB; as in "80Gi"'),
        ("80G", '"80G" is decimal, 74.5 GiB, and OME reads 74; write "80Gi"'),
        ("80000M", '"80000M" is decimal, 74.5 GiB, and OME reads 74; write "75Gi"'),
        ("80GB", 'must be a Kubernetes quantity such as "80Gi" or "2.5", not "80GB"'),
        (True, 'must be a Kubernetes quantity such as "80Gi" or "2.5", not true'),
    ],
)
def test_memory_that_ome_misreads(tmp_path: Path, written: object, message: str) -> None:
    write(tmp_path, accelerator(memoryGB=written))
    stack, [problem] = load_stack("test", tmp_path)
    assert str(problem).endswith(f"AcceleratorClass/h100 spec.capabilities.memoryGB: {message}")
    assert stack.documents == ()


def test_a_class_without_discovery_is_refused(tmp_path: Path) -> None:
    wrong = accelerator()
    del wrong["spec"]["discovery"]
    write(tmp_path, wrong)
    _, [problem] = load_stack("test", tmp_path)
    assert "spec.discovery: is missing" in str(problem)
