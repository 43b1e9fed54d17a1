"""The cloud-init of nodes: complete, valid shell, and nothing fetched but the node's own metadata."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from ome_iac.planning.oci.cloud_init import METADATA, ON_NVME, render

PLAIN: dict[str, Any] = {
    "kubernetes": "v1.34.1",
    "nvme_drives": 0,
    "taints": (),
    "rdma": False,
    "gpu_memory_cluster": False,
    "self_managed": False,
}
EVERYTHING = {
    **PLAIN,
    "nvme_drives": 16,
    "taints": ("reserved=training:NoSchedule", "b=:NoExecute"),
    "rdma": True,
    "gpu_memory_cluster": True,
    "self_managed": True,
}


def script(**changes: Any) -> str:
    document = yaml.safe_load(render(**{**PLAIN, **changes}))
    [file] = document["write_files"]
    assert document["runcmd"] == [[file["path"]]]
    return str(file["content"])


@pytest.mark.parametrize("settings", [PLAIN, EVERYTHING])
def test_it_is_a_cloud_config_whose_script_is_valid_shell(settings: dict[str, Any]) -> None:
    text = render(**settings)
    assert text.startswith("#cloud-config\n")
    assert render(**settings) == text
    assert len(text) < 16_000  # of the 32 KB that OCI allows all of an instance's metadata
    subprocess.run(["bash", "-n"], input=script(**settings), text=True, check=True)


def test_nothing_is_downloaded_at_boot() -> None:
    everything = script(**EVERYTHING)
    assert set(re.findall(r"\w+://[^\s\"';]+", everything)) <= {f"{METADATA}/$1", "file://$local_repository"}
    assert not re.search(r"\b(wget|git|pip|snap)\b", everything)


def test_the_order_is_disk_then_drives_then_cluster() -> None:
    everything = script(**EVERYTHING)
    steps = ["growpart", "mdadm --create", "12-memlock.conf", "nvidia-imex", "apiserver_host", "join && exit 0"]
    places = [everything.index(step) for step in steps]
    assert places == sorted(places)


def test_a_node_without_drives_is_not_told_of_any() -> None:
    plain = script()
    for word in ("mdadm", "memlock", "imex", "ca.crt", "--kubelet-extra-args"):
        assert word not in plain


def test_taints_are_registered_by_the_kubelet() -> None:
    assert "'--register-with-taints=reserved=training:NoSchedule,b=:NoExecute'" in script(**EVERYTHING)


def boot(
    tmp_path: Path, drives: int, expected: int, **stubs: str
) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Run the boot script in a folder that plays the root, with every tool replaced by one that notes its call."""
    log, tools, root = tmp_path / "calls", tmp_path / "bin", tmp_path / "root"
    tools.mkdir()
    (root / "dev").mkdir(parents=True)
    (root / "etc").mkdir()
    for number in range(drives):
        (root / f"dev/nvme{number}n1").touch()
    answers = {
        "findmnt": "echo /dev/sda1",
        "lsblk": "echo sda",
        "blkid": 'if [ "$1" = -s ]; then echo uuid; else false; fi',
    }
    for name in ("growpart", "resize2fs", "mdadm", "mkfs.ext4", "mount", "systemctl", "curl", "sleep", "oke", "sed"):
        answers.setdefault(name, "")
    for name, action in {**answers, **stubs}.items():
        (tools / name).write_text(f'#!/bin/bash\necho "{name} $*" >> {log}\n{action}\n')
        (tools / name).chmod(0o755)
    text = script(nvme_drives=expected, rdma=True)
    for folder in ("/dev/", "/etc/", "/var/", "/mnt/", "/run/", "/sys/", "/opt/", "/usr/libexec"):
        text = re.sub(rf"(?<![\w.]){folder}(?!null)", f"{root}{folder}", text)
    (root / "sys/class/block/sda1").mkdir(parents=True)
    (root / "sys/class/block/sda1/partition").write_text("1\n")
    path = f"{tools}:{Path(shutil.which('bash') or '/bin/bash').parent}:/usr/bin:/bin"
    done = subprocess.run(["bash"], input=text, text=True, capture_output=True, env={"PATH": path})
    return done, log.read_text().splitlines() if log.exists() else []


def test_a_boot_makes_one_array_moves_the_folders_and_joins(tmp_path: Path) -> None:
    done, calls = boot(tmp_path, drives=4, expected=4)
    assert done.returncode == 0, done.stderr
    [made] = [call for call in calls if "--create" in call]
    assert "--level=0" in made
    assert "--raid-devices=4" in made
    assert made.count("nvme") == 5  # the array's name and four drives
    mounts = [call.rpartition(f"{tmp_path}/root")[2] for call in calls if call.startswith("mount")]
    assert mounts == ["/mnt/nvme", *ON_NVME]
    assert calls[-1].startswith("oke bootstrap")
    table = (tmp_path / "root/etc/fstab").read_text()
    assert table.count("bind") == len(ON_NVME)


def test_a_node_with_a_drive_missing_does_not_join(tmp_path: Path) -> None:
    done, calls = boot(tmp_path, drives=3, expected=4)
    assert done.returncode != 0
    assert "expected 4 NVMe drives, found 3" in done.stderr
    assert not any(call.startswith("oke") for call in calls)


def test_joining_is_tried_again_and_its_failure_is_the_boots(tmp_path: Path) -> None:
    done, calls = boot(tmp_path, drives=1, expected=1, oke="exit 1")
    assert done.returncode == 1
    assert "could not join" in done.stderr
    assert len([call for call in calls if call.startswith("oke bootstrap")]) == 20


def test_a_root_that_cannot_grow_any_more_is_no_failure(tmp_path: Path) -> None:
    done, _ = boot(tmp_path, drives=1, expected=1, growpart="exit 1")
    assert done.returncode == 0, done.stderr
