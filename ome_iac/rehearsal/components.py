"""The programs of the local control plane: what they are built from and how each is started."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import yaml

from ome_iac.rehearsal.credentials import Credentials
from ome_iac.rehearsal.toolchain import GoTool

KUBERNETES_STAMPS = (
    "k8s.io/component-base/version.gitVersion={version}",
    "k8s.io/component-base/version.gitMajor={major}",
    "k8s.io/component-base/version.gitMinor={minor}",
)
# "lws" and "jobset" are those of the controllers' webhooks.
PORTS = ("etcd", "etcd-peer", "kube-apiserver", "lws", "jobset")
# As in kubeadm's defaults; nothing listens there, since no pod really runs.
SERVICE_RANGE = "10.96.0.0/16"
POD_RANGE = "10.244.0.1/16"


def _kubernetes(name: str) -> GoTool:
    return GoTool(name, "cluster/kubernetes", f"k8s.io/kubernetes/cmd/{name}", "k8s.io/kubernetes", KUBERNETES_STAMPS)


@dataclass(frozen=True)
class Place:
    """Where one control plane lives: its data folder, its credentials, its loopback ports by the names in PORTS."""

    folder: Path
    credentials: Credentials
    ports: dict[str, int]

    @property
    def server(self) -> str:
        """The API server's URL."""
        return f"https://127.0.0.1:{self.ports['kube-apiserver']}"

    def kubeconfig(self, user: str) -> Path:
        """The kubeconfig file of one of the credentials' users."""
        return self.folder / f"{user}.kubeconfig"


@dataclass(frozen=True)
class Component:
    """A program and the arguments it is started with. `needs_server`: only once the API server answers."""

    tool: GoTool
    arguments: Callable[[Place], list[str]]
    needs_server: bool = True

    @property
    def name(self) -> str:
        """The program's name, also that of its log file."""
        return self.tool.name


def _etcd(place: Place) -> list[str]:
    keys = place.credentials
    client = f"https://127.0.0.1:{place.ports['etcd']}"
    peer = f"https://127.0.0.1:{place.ports['etcd-peer']}"
    return [
        f"--data-dir={place.folder / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        f"--cert-file={keys.server}",
        f"--key-file={keys.server_key}",
        f"--trusted-ca-file={keys.authority}",
        "--client-cert-auth",
        f"--peer-cert-file={keys.server}",
        f"--peer-key-file={keys.server_key}",
        f"--peer-trusted-ca-file={keys.authority}",
        "--peer-client-cert-auth",
        # Only a crash of the whole machine could lose writes, and a rehearsal is worth less than a fast disk.
        "--unsafe-no-fsync",
    ]


def _apiserver(place: Place) -> list[str]:
    keys = place.credentials
    return [
        f"--etcd-servers=https://127.0.0.1:{place.ports['etcd']}",
        f"--etcd-cafile={keys.authority}",
        f"--etcd-certfile={keys.server}",
        f"--etcd-keyfile={keys.server_key}",
        "--bind-address=127.0.0.1",
        f"--secure-port={place.ports['kube-apiserver']}",
        # A loopback address is refused as an endpoint of the service "kubernetes", which nothing here uses.
        "--advertise-address=127.0.0.1",
        "--endpoint-reconciler-type=none",
        f"--tls-cert-file={keys.server}",
        f"--tls-private-key-file={keys.server_key}",
        f"--client-ca-file={keys.authority}",
        f"--token-auth-file={keys.tokens}",
        "--authorization-mode=RBAC",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-signing-key-file={keys.service_accounts_key}",
        f"--service-account-key-file={keys.service_accounts_key}",
        f"--service-cluster-ip-range={SERVICE_RANGE}",
        "--allow-privileged=true",
        "--profiling=false",
    ]


def _controller_manager(place: Place) -> list[str]:
    keys = place.credentials
    return [
        f"--kubeconfig={place.kubeconfig('controller-manager')}",
        "--use-service-account-credentials=true",
        f"--root-ca-file={keys.authority}",
        f"--service-account-private-key-file={keys.service_accounts_key}",
        f"--cluster-signing-cert-file={keys.authority}",
        f"--cluster-signing-key-file={keys.authority_key}",
        "--leader-elect=false",
        "--secure-port=0",
        # The defaults spare a shared API server; this one is ours alone.
        "--kube-api-qps=500",
        "--kube-api-burst=1000",
    ]


def _scheduler(place: Place) -> list[str]:
    configuration = {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "leaderElection": {"leaderElect": False},
        "clientConnection": {"kubeconfig": str(place.kubeconfig("scheduler")), "qps": 500, "burst": 1000},
    }
    file = place.folder / "scheduler.yaml"
    file.write_text(yaml.safe_dump(configuration))
    return [f"--config={file}", "--secure-port=0"]


def _kwok(place: Place) -> list[str]:
    # With no stages of ours it plays its own: nodes become ready and keep their leases, pods run as soon as they are
    # placed, those of a Job complete. The config file keeps it from reading one in the user's home.
    config = place.folder / "kwok.yaml"
    config.write_text("apiVersion: config.kwok.x-k8s.io/v1alpha1\nkind: KwokConfiguration\n")
    return [
        f"--kubeconfig={place.kubeconfig('kwok')}",
        f"--config={config}",
        "--manage-all-nodes=true",
        "--node-lease-duration-seconds=40",
        f"--cidr={POD_RANGE}",
    ]


COMPONENTS = (
    Component(
        GoTool("etcd", "cluster/etcd", "go.etcd.io/etcd/server/v3", "go.etcd.io/etcd/server/v3"),
        _etcd,
        needs_server=False,
    ),
    Component(_kubernetes("kube-apiserver"), _apiserver, needs_server=False),
    Component(_kubernetes("kube-controller-manager"), _controller_manager),
    Component(_kubernetes("kube-scheduler"), _scheduler),
    Component(GoTool("kwok", "cluster/kwok", "sigs.k8s.io/kwok/cmd/kwok", "sigs.k8s.io/kwok"), _kwok),
)
