"""The cloud-init of nodes: rendered here, complete, so that a booting node fetches nothing but its own metadata.

The order is: the root file system takes the whole boot volume (OKE's images leave it at some 47 GB), local NVMe drives
become one RAID 0 that carries containers, kubelet and pod logs, containers may pin memory for RDMA, and then the node
joins with OKE's own script. A step that fails ends the boot before the node joins: a node without its disks would take
pods that it cannot hold. The labels `oci.oraclecloud.com/rdma.*` come from OKE, whose script reads them from the
node's metadata (oci-hpc-oke, docs/using-rdma-network-locality).
"""

from __future__ import annotations

from collections.abc import Sequence

import yaml

METADATA = "http://169.254.169.254/opc/v2"
"""OCI's instance metadata service: an address of the link, not of the internet."""
NVME_MOUNT = "/mnt/nvme"
ON_NVME = ("/var/lib/containers", "/var/lib/kubelet", "/var/log/pods")
"""CRI-O's images and layers (OKE's container runtime), kubelet's volumes, logs."""

_HEAD = f"""\
#!/bin/bash
set -euo pipefail
metadata() {{
  curl --silent --show-error --fail --retry 20 --retry-delay 3 -H 'Authorization: Bearer Oracle' "{METADATA}/$1"
}}
"""

_GROW = """\
# The boot volume's last partition and its file system take all of it.
if command -v /usr/libexec/oci-growfs >/dev/null; then
  /usr/libexec/oci-growfs -y
else
  source=$(findmnt --noheadings --output SOURCE /)
  disk=$(lsblk --noheadings --output PKNAME "$source" | head -n 1)
  growpart "/dev/$disk" "$(cat "/sys/class/block/${source##*/}/partition")" || [ $? -eq 1 ]  # 1: nothing to grow
  resize2fs "$source"
fi
"""

_NVME = """\
# One RAID 0 of all local drives; one that an earlier boot volume left is taken up again.
shopt -s nullglob
drives=(/dev/nvme*n1)
[ "${#drives[@]}" -eq %(drives)d ] || { echo "expected %(drives)d NVMe drives, found ${#drives[@]}" >&2; exit 1; }
mdadm --assemble --scan || true
arrays=(/dev/md/* /dev/md[0-9]*)
array=${arrays[0]:-/dev/md/nvme}
[ -e "$array" ] || mdadm --create "$array" --run --level=0 --chunk=256 --force --raid-devices=%(drives)d "${drives[@]}"
blkid "$array" >/dev/null || mkfs.ext4 -F -m 0 -E stride=64,stripe-width=%(stripe)d "$array"
mkdir -p %(mount)s
echo "UUID=$(blkid -s UUID -o value "$array") %(mount)s ext4 noatime,nofail 0 2" >> /etc/fstab
mount %(mount)s
for folder in %(folders)s; do
  mkdir -p "$folder" "%(mount)s$folder"
  cp --archive "$folder/." "%(mount)s$folder/"
  echo "%(mount)s$folder $folder none bind,x-systemd.requires=%(mount)s 0 0" >> /etc/fstab
  mount "$folder"
done
rm -rf /var/lib/kubelet/pki  # an earlier node's certificates
"""

_MEMORY_LOCK = """\
# RDMA pins memory; CRI-O's default limit is 8 MB.
mkdir -p /etc/crio/crio.conf.d
printf '[crio.runtime]\\ndefault_ulimits = ["memlock=-1:-1"]\\n' > /etc/crio/crio.conf.d/12-memlock.conf
"""

_IMEX = """\
# The driver for dynamic resource allocation starts IMEX itself, in every compute domain.
if systemctl list-unit-files nvidia-imex.service --quiet; then systemctl disable --now nvidia-imex.service; fi
"""

_ROUTES = """\
# systemd-networkd would remove the routes of pods and of RDMA interfaces.
mkdir -p /etc/systemd/networkd.conf.d
printf '[Network]\\nManageForeignRoutes=no\\nManageForeignRoutingPolicyRules=no\\n' \\
  > /etc/systemd/networkd.conf.d/oke.conf
systemctl try-restart systemd-networkd
"""

_ENDPOINT = """\
# A self-managed node learns from its metadata which cluster it belongs to.
mkdir -p /etc/oke /etc/kubernetes
metadata instance/metadata/apiserver_host > /etc/oke/oke-apiserver
metadata instance/metadata/cluster_ca_cert | base64 --decode > /etc/kubernetes/ca.crt
"""

_JOIN = """\
# An Ubuntu image has OKE's package installed, or lying in a local repository; Oracle Linux gets the script from OKE.
join() {
  if command -v oke >/dev/null; then oke bootstrap %(kubelet)s
  else
    metadata instance/metadata/oke_init_script | base64 --decode > /run/oke-init.sh || return 1
    bash /run/oke-init.sh %(kubelet)s
  fi
}
local_repository=$(echo /opt/oke-node-client-packages/ubuntu-*/kubernetes-%(minor)s)
if ! command -v oke >/dev/null && [ -d "$local_repository" ]; then
  echo "deb [trusted=yes] file://$local_repository stable main" > /etc/apt/sources.list.d/oke-node.list
  apt-get -o Dir::Etc::sourcelist=sources.list.d/oke-node.list -o Dir::Etc::sourceparts=- update
  apt-get install --yes oci-oke-node-all-%(version)s
fi
for attempt in $(seq 20); do join && exit 0; sleep 15; done
echo "the node could not join its cluster" >&2
exit 1
"""


def render(
    *,
    kubernetes: str,
    nvme_drives: int,
    taints: Sequence[str],
    rdma: bool,
    gpu_memory_cluster: bool,
    self_managed: bool,
) -> str:
    """A `#cloud-config` document. `taints` are `key=value:effect`; without drives the boot volume holds everything."""
    kubelet = f"--kubelet-extra-args '--register-with-taints={','.join(taints)}'" if taints else ""
    parts = [_HEAD, _GROW]
    if nvme_drives:
        stripe = 64 * nvme_drives
        folders = " ".join(ON_NVME)
        parts.append(_NVME % {"drives": nvme_drives, "stripe": stripe, "mount": NVME_MOUNT, "folders": folders})
    if rdma:
        parts += [_ROUTES, _MEMORY_LOCK]
    if gpu_memory_cluster:
        parts.append(_IMEX)
    if self_managed:
        parts.append(_ENDPOINT)
    version = kubernetes.removeprefix("v")
    parts.append(_JOIN % {"kubelet": kubelet, "version": version, "minor": version.rpartition(".")[0]})
    script = "\n".join(parts)
    document = {
        "write_files": [{"path": "/usr/local/sbin/oke-node-boot", "permissions": "0755", "content": script}],
        "runcmd": [["/usr/local/sbin/oke-node-boot"]],
    }
    return "#cloud-config\n" + yaml.dump(document, Dumper=_Literal, sort_keys=False, width=1000)


class _Literal(yaml.SafeDumper):
    """Scripts as they are read, line by line."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Literal.add_representer(str, _text)
