"""A rehearsal: the environment in which the real Pulumi engine deploys to this machine and nowhere else."""

from __future__ import annotations

import logging
import os
import secrets
import threading
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from filelock import FileLock, Timeout

from ome_iac.problems import Problem, ProblemsError
from ome_iac.rehearsal.attached import run_attached
from ome_iac.rehearsal.credentials import write_private
from ome_iac.rehearsal.state_repair import repair

if TYPE_CHECKING:
    from ome_iac.rehearsal.engine import Engine
    from ome_iac.rehearsal.providers.api_client import ApiClient
    from ome_iac.rehearsal.providers.object_store import ObjectStore
    from ome_iac.rehearsal.providers.server import Server

_PASSPHRASE_VARIABLES: Final = ("PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE")
# The plain checkpoint is what known_state.py reads; its backup would double the time of every step.
_STATE_VARIABLES: Final = {
    "PULUMI_DIY_BACKEND_GZIP": "false",
    "PULUMI_DIY_BACKEND_ZSTD": "false",
    "PULUMI_DIY_BACKEND_LEGACY_LAYOUT": "false",
    "PULUMI_DIY_BACKEND_DISABLE_CHECKPOINT_BACKUPS": "true",
}


class Rehearsal:
    """Providers attached to an engine, state and objects kept below `root`; a context manager.

    Without `cluster_kubeconfig` Kubernetes objects go to folders, one for each cluster that the program's providers
    name. With it all of them go to that one cluster, whatever kubeconfig the program gives its providers: a rehearsal
    never reaches another. The two keep separate state. One rehearsal runs in a root and mode at a time; entering a
    second one raises ProblemsError that names the first. `faults` is a file of errors to inject (providers/faults.py).
    """

    def __init__(
        self, root: Path, cluster_kubeconfig: Path | None = None, *, engine: Engine, faults: Path | None = None
    ) -> None:
        self.folder = root.absolute() / ("on-cluster" if cluster_kubeconfig else "on-folder")
        self._kubeconfig = cluster_kubeconfig.absolute() if cluster_kubeconfig else None
        self._engine = engine
        self._faults = faults
        self._servers: list[Server] = []
        self._client: ApiClient | None = None
        self._lock = FileLock(self.folder / "lock")
        self._log = logging.FileHandler(self.folder / "providers.log", delay=True)

    @property
    def kubernetes_folder(self) -> Path:
        """Where objects lie, as `<cluster>/<namespace or _cluster>/<Kind.group>/<name>.yaml`; unused on a cluster."""
        return self.folder / "kubernetes"

    @property
    def oci_folder(self) -> Path:
        """Where the OCI resources are, as `<kind>/<ocid>.json`."""
        return self.folder / "oci"

    @property
    def state_folder(self) -> Path:
        """The file backend with the stacks' state."""
        return self.folder / "state"

    @property
    def where(self) -> str:
        """For people: where Kubernetes objects go."""
        return f"the cluster of {self._kubeconfig}" if self._kubeconfig else f"the folder {self.kubernetes_folder}"

    def __enter__(self) -> Rehearsal:
        self._prepare_folder()
        self._acquire()
        try:
            repair(self.state_folder)
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def environment(self) -> dict[str, str]:
        """The variables that attach an engine to this rehearsal, to be laid over the process's own."""
        variables = {
            "PULUMI_HOME": str(self.folder / "home"),
            "PULUMI_BACKEND_URL": self.state_folder.as_uri(),
            **_STATE_VARIABLES,
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            "PULUMI_DEBUG_PROVIDERS": ",".join(f"{server.package}:{server.port}" for server in self._servers),
            "PATH": os.pathsep.join([str(self._engine.pulumi.parent), os.environ.get("PATH", os.defpath)]),
        }
        if not any(name in os.environ for name in _PASSPHRASE_VARIABLES):
            passphrase = self._kept("passphrase", lambda: secrets.token_urlsafe(32))
            variables["PULUMI_CONFIG_PASSPHRASE"] = passphrase
        if self._kubeconfig:
            variables["KUBECONFIG"] = str(self._kubeconfig)
        return variables

    def run(self, command: list[str], extra: Mapping[str, str] | None = None, cwd: Path | None = None) -> int:
        """Runs a command in this environment and returns its exit code, 128 + n when signal n ended it.

        `extra` are more variables. SIGINT, SIGTERM and SIGHUP go to the command, which decides when to end. Raises
        ProblemsError where there is no such command.
        """
        return run_attached(command, {**os.environ, **self.environment(), **(extra or {})}, cwd)

    def _prepare_folder(self) -> None:
        for folder in (self.folder, self.folder / "home", self.state_folder):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Whatever project the root lies in: state, objects and secrets are nobody else's.
        ignore = self.folder.parent / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n", "utf-8")

    def _acquire(self) -> None:
        holder = self.folder / "holder"
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            who = holder.read_text("utf-8") if holder.exists() else "another process"
            raise ProblemsError(
                [
                    Problem(
                        str(self.folder),
                        "",
                        f"a rehearsal is running here already ({who})",
                        "wait until it ends, or end it",
                    )
                ]
            ) from None
        holder.write_text(f"process {os.getpid()}", "utf-8")

    def _start(self) -> None:
        from ome_iac.rehearsal.providers.faults import Faults
        from ome_iac.rehearsal.providers.kubernetes import KubernetesPackage
        from ome_iac.rehearsal.providers.oci import OciPackage
        from ome_iac.rehearsal.providers.oci_records import Records
        from ome_iac.rehearsal.providers.server import Server

        logging.getLogger("ome_iac.rehearsal.providers").addHandler(self._log)
        faults = Faults.load(self._faults) if self._faults else Faults()
        identity = self._kept("identity", lambda: str(uuid.uuid4()))
        kubernetes = KubernetesPackage(self._stores(), identity, one_cluster=self._kubeconfig is not None)
        for package in (kubernetes, OciPackage(Records(self.oci_folder))):
            self._servers.append(Server(package, self.state_folder, faults))

    def _stores(self) -> _Stores:
        from ome_iac.rehearsal.providers.api_client import ApiClient

        if self._kubeconfig:
            self._client = ApiClient(self._kubeconfig)
        return _Stores(self.kubernetes_folder, self._client)

    def _stop(self) -> None:
        for server in self._servers:
            server.stop()
        self._servers.clear()
        if self._client is not None:
            self._client.close()
            self._client = None
        logging.getLogger("ome_iac.rehearsal.providers").removeHandler(self._log)
        self._log.close()
        (self.folder / "holder").unlink(missing_ok=True)
        self._lock.release()

    def _kept(self, name: str, make: Callable[[], str]) -> str:
        """A value made once for this folder, readable by its owner only."""
        path = self.folder / name
        if not path.exists():
            write_private(path, make())
        return path.read_text("utf-8")


class _Stores:
    """The store of each cluster that a program names: the one API server, or a folder each."""

    def __init__(self, root: Path, client: ApiClient | None) -> None:
        from ome_iac.rehearsal.providers.api_server_store import ApiServerStore

        self._root = root
        self._only = ApiServerStore(client) if client else None
        self._folders: dict[str, ObjectStore] = {}
        self._lock = threading.Lock()

    def __call__(self, cluster: str) -> ObjectStore:
        from ome_iac.rehearsal.providers.folder_store import FolderStore

        if self._only is not None:
            return self._only
        with self._lock:
            if cluster not in self._folders:
                self._folders[cluster] = FolderStore(self._root / _folder_name(cluster))
            return self._folders[cluster]


def _folder_name(cluster: str) -> str:
    """A cluster's name as a folder: characters that folders do not like, and only they, are written as %XX."""
    return quote(cluster, safe="@:+=") if cluster.strip(".") else quote(cluster).replace(".", "%2E")
