"""The pure packages stay clear of the Pulumi SDK, and of each other's downstream."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

PURE = [
    "ome_iac",
    "ome_iac.project",
    "ome_iac.spec.stack",
    "ome_iac.models.read",
    "ome_iac.models.lock",
    "ome_iac.planning.planner",
    "ome_iac.manifests",
    "ome_iac.report.terminal",
    "ome_iac.cli.app",
]


def modules_after(statement: str) -> set[str]:
    code = f"import json, sys\n{statement}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


@pytest.mark.parametrize("module", PURE)
def test_no_pulumi_package_is_imported(module: str) -> None:
    loaded = modules_after(f"import {module}")
    assert not {name for name in loaded if name.split(".")[0] in ("pulumi", "pulumi_kubernetes", "pulumi_oci")}


def test_import_ome_iac_alone_loads_no_third_party() -> None:
    extra = modules_after("import ome_iac") - modules_after("pass")
    assert extra == {"ome_iac"}


@pytest.mark.parametrize("module", ["ome_iac.planning.planner", "ome_iac.manifests"])
def test_deciding_and_rendering_touch_no_network_library(module: str) -> None:
    loaded = modules_after(f"import {module}")
    assert not {name for name in loaded if name.split(".")[0] in ("httpx", "huggingface_hub", "oci", "ssl")}


def test_downstream_is_never_imported_upstream() -> None:
    for module, forbidden in {
        "ome_iac.spec.stack": ("ome_iac.planning", "ome_iac.manifests", "ome_iac.runtimes"),
        "ome_iac.planning.planner": ("ome_iac.manifests", "ome_iac.report", "ome_iac.cli"),
        "ome_iac.manifests": ("ome_iac.report", "ome_iac.cli", "ome_iac.rehearsal"),
    }.items():
        loaded = modules_after(f"import {module}")
        assert not {name for name in loaded if name.startswith(forbidden)}, module
