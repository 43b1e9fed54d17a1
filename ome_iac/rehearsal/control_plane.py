"""A Kubernetes control plane on this machine, without containers: the real API server, controllers and scheduler, the
real LeaderWorkerSet and JobSet controllers, the custom resources of what else a stack uses, and nodes and pods played
by kwok.

It listens on loopback only and is opened by its own token. What is in it stays in its data folder when it is stopped,
and its ports stay the same, so that a stack deployed to it is still there after the next start.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from filelock import FileLock
from platformdirs import user_state_path

from ome_iac.problems import Problem, ProblemsError
from ome_iac.rehearsal import crds, module_manifests, toolchain
from ome_iac.rehearsal.components import COMPONENTS, PORTS, Component, Place
from ome_iac.rehearsal.controllers import CONTROLLERS
from ome_iac.rehearsal.credentials import USERS, Credentials, write_private
from ome_iac.rehearsal.processes import ProcessId, process_id
from ome_iac.report.progress import step

if TYPE_CHECKING:
    import httpx

WHY = "the local control plane runs it; once per version, for all your projects"
# A start takes seconds. This bound is for a machine that is busy with something else.
READY_SECONDS = 180.0
FIELD_MANAGER = "ome-iac-rehearsal"
EVERY_COMPONENT = (*COMPONENTS, *(controller.component for controller in CONTROLLERS))


@dataclass(frozen=True)
class Status:
    """`running` when every component runs; `components` tells each one's state, `server` is the API server's URL."""

    running: bool
    server: str
    kubeconfig: Path
    data_dir: Path
    components: Mapping[str, bool]


def default_data_dir() -> Path:
    """The data folder of this project's control plane: in the user's state folder, one per checkout.

    The checkout is the nearest folder from the current one up that holds a Pulumi.yaml, or else the current one.
    """
    here = Path.cwd()
    project = next((folder for folder in (here, *here.parents) if (folder / "Pulumi.yaml").exists()), here)
    digest = hashlib.sha256(bytes(project)).hexdigest()[:8]
    return user_state_path("ome-iac") / "clusters" / f"{project.name}-{digest}"


class ControlPlane:
    """A control plane in `data_dir`. Several of them run beside each other.

    With `bound_to_parent` it ends with the process that started it, however that ends; otherwise it runs on until
    `stop`, from any process. As a context manager it is started and stopped.
    """

    def __init__(self, data_dir: Path | None = None, *, bound_to_parent: bool = False) -> None:
        self.data_dir = (data_dir or default_data_dir()).absolute()
        self.bound_to_parent = bound_to_parent
        self._state_file = self.data_dir / "state.json"
        self._watcher: subprocess.Popen[bytes] | None = None
        self._children: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> ControlPlane:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig, there from the first start on; its context is `ome-iac-rehearsal`."""
        return self.data_dir / "admin.kubeconfig"

    def status(self) -> Status:
        """What runs now."""
        ports, processes = self._state()
        components = {
            component.name: component.name in processes and processes[component.name].is_running()
            for component in EVERY_COMPONENT
        }
        server = f"https://127.0.0.1:{ports['kube-apiserver']}" if ports else ""
        return Status(all(components.values()), server, self.kubeconfig, self.data_dir, components)

    def start(self) -> Status:
        """Start what is needed and return when the API server, every controller and the scheduler are ready.

        One that runs already is left alone. Raises ProblemsError, with the last lines of the failing component's log,
        and leaves nothing running then.
        """
        for component in EVERY_COMPONENT:
            toolchain.ensure(component.tool, WHY)
        module_manifests.ensure(crds.SOURCES)
        self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            with FileLock(self.data_dir / "lock"):
                if not self.status().running:
                    with step("starting the local control plane"):
                        self._start_components()
        except BaseException:
            self._end_watcher()
            raise
        return self.status()

    def stop(self) -> None:
        """End every process of it, whoever started it; what is in it stays for the next start."""
        # Without a state file nothing was ever started, and the folder may be gone.
        if self._state_file.exists():
            with FileLock(self.data_dir / "lock"):
                self._stop_components()
        self._end_watcher()

    def delete(self) -> None:
        """Stop it and remove everything it ever held."""
        self.stop()
        shutil.rmtree(self.data_dir, ignore_errors=True)

    def client(self) -> httpx.Client:
        """An HTTP client of the API server, with the administrator's token. The caller closes it.

        Raises ProblemsError where it was never started.
        """
        import ssl

        import httpx

        ports, _ = self._state()
        if not ports:
            remedy = "start it: ome-iac cluster start"
            raise ProblemsError([Problem(str(self.data_dir), "", "no local control plane was started here", remedy)])
        credentials = Credentials(self.data_dir / "credentials")
        return httpx.Client(
            base_url=self.status().server,
            headers={"Authorization": f"Bearer {credentials.token('admin')}"},
            verify=ssl.create_default_context(cafile=str(credentials.authority)),
            timeout=60.0,
            # A proxy of the user's has no business with a loopback address.
            trust_env=False,
        )

    def add_nodes(self, nodes: Iterable[Mapping[str, Any]]) -> None:
        """Make or change these Nodes (see `ome_iac.rehearsal.nodes`) and return when all are ready for pods.

        Raises ProblemsError where the API server refuses one.
        """
        wanted = list(nodes)
        with self.client() as client:
            for node in wanted:
                path = f"/api/v1/nodes/{node['metadata']['name']}"
                # The capacity is part of the status, which a change of the node itself leaves alone.
                for target in (path, f"{path}/status"):
                    self._apply(client, target, node)
            names = {node["metadata"]["name"] for node in wanted}
            self._wait_until(lambda: names <= _ready_nodes(client), f"nodes ready: {', '.join(sorted(names))}")

    def add_crds(self, definitions: Iterable[Mapping[str, Any]]) -> None:
        """Make or change these CustomResourceDefinitions and return when the API server serves all of them.

        Raises ProblemsError where it refuses one.
        """
        paths = {f"{crds.CRDS_PATH}/{definition['metadata']['name']}": definition for definition in definitions}
        with self.client() as client:
            for path, definition in paths.items():
                self._apply(client, path, definition)
            for path in paths:
                self._wait_until(partial(_is_served, client, path), f"use of {path.rpartition('/')[2]}")

    def _apply(self, client: httpx.Client, path: str, wanted: Mapping[str, Any]) -> None:
        answer = client.patch(
            path,
            params={"fieldManager": FIELD_MANAGER, "force": "true"},
            headers={"Content-Type": "application/apply-patch+yaml"},
            json=dict(wanted),
        )
        if answer.is_error:
            refusal = f"refused: {answer.json().get('message', answer.text)}"
            raise ProblemsError([Problem(str(self.kubeconfig), wanted["metadata"]["name"], refusal)])

    def _start_components(self) -> None:
        # Of one that runs in part only, the rest has nothing to work with.
        self._stop_components()
        credentials = Credentials(self.data_dir / "credentials")
        (self.data_dir / "logs").mkdir(exist_ok=True)
        ports = {name: port for name, port in self._state()[0].items() if name in PORTS}
        for _attempt in range(3):
            # The ports of the last time, so that a kubeconfig in a stack stays valid; others where they are taken.
            ports = {**_free_ports(), **ports} if all(map(_is_free, ports.values())) else _free_ports()
            place = Place(self.data_dir, credentials, ports)
            for user in USERS:
                write_private(place.kubeconfig(user), credentials.kubeconfig(user, place.server))
            self._write_state(ports, {})
            if self.bound_to_parent:
                self._start_watcher()
            try:
                self._start_in_order(place)
                return
            except _PortTakenError:
                # Someone was faster between our look at the port and the component's use of it.
                self._stop_components()
            except BaseException:
                self._stop_components()
                raise
        raise ProblemsError([Problem("local control plane", "ports", "found no free loopback ports in three attempts")])

    def _start_in_order(self, place: Place) -> None:
        for component in COMPONENTS:
            if not component.needs_server:
                self._start_component(component, place)
        with self.client() as client:
            self._wait_until(lambda: _answers(client, "/readyz"), "an answer of kube-apiserver")
            for component in COMPONENTS:
                if component.needs_server:
                    self._start_component(component, place)
            # Controllers end where they do not find the kinds they work on.
            self.add_crds(crds.definitions())
            for controller in CONTROLLERS:
                self._start_component(controller.component, place)
            for controller in CONTROLLERS:
                self._wait_until(partial(controller.serves, place), f"answer of {controller.component.name}'s webhooks")
                for path, configuration in controller.webhook_configurations(place).items():
                    self._apply(client, path, configuration)
            # Made by the controller manager; before it is there no pod is admitted.
            account = "/api/v1/namespaces/default/serviceaccounts/default"
            self._wait_until(lambda: _answers(client, account), "kube-controller-manager's first work")

    def _start_component(self, component: Component, place: Place) -> None:
        # Its own session: neither Ctrl-C in the terminal nor its closing ends it.
        with (self.data_dir / "logs" / f"{component.name}.log").open("wb") as log:
            child = subprocess.Popen(
                [component.tool.path, *component.arguments(place)],
                cwd=self.data_dir,
                env={"HOME": str(self.data_dir), "PATH": os.defpath},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._children.append(child)
        ports, processes = self._state()
        self._write_state(ports, {**processes, component.name: process_id(child.pid)})

    def _wait_until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not condition():
            self._raise_for_dead_component()
            if time.monotonic() > deadline:
                problem = f"no {what} within {READY_SECONDS:.0f} s"
                raise ProblemsError([Problem("local control plane", "", problem, f"see {self.data_dir / 'logs'}")])
            time.sleep(0.05)

    def _raise_for_dead_component(self) -> None:
        _, processes = self._state()
        for name, process in processes.items():
            if not process.is_running():
                log = self.data_dir / "logs" / f"{name}.log"
                taken = "address already in use" in log.read_text(errors="replace")
                raise (_PortTakenError if taken else ProblemsError)([self._death(name)])

    def deaths(self) -> list[Problem]:
        """Every component that was started and ended by itself, with the last lines that it wrote."""
        _, processes = self._state()
        return [self._death(name) for name, process in processes.items() if not process.is_running()]

    def _death(self, name: str) -> Problem:
        log = self.data_dir / "logs" / f"{name}.log"
        lines = log.read_text(errors="replace").splitlines()
        last = "\n    ".join(line[:400] for line in lines[-8:]) or "it said nothing"
        said = f"ended by itself. Its last lines:\n    {last}"
        return Problem("local control plane", name, said, f"the whole log: {log}")

    def _stop_components(self) -> None:
        ports, processes = self._state()
        # Only etcd has anything to put in order; what the others hold is in etcd.
        for name, process in processes.items():
            process.signal(signal.SIGTERM if name == "etcd" else signal.SIGKILL)
        for process in processes.values():
            if not process.wait(10.0):
                process.signal(signal.SIGKILL)
                process.wait(10.0)
        for child in self._children:
            child.wait()
        self._children.clear()
        if processes:
            self._write_state(ports, {})

    def _start_watcher(self) -> None:
        """A process that stops the control plane when our end of its stdin is closed, which our death does too."""
        if self._watcher is None:
            self._watcher = subprocess.Popen(
                [sys.executable, "-m", "ome_iac.rehearsal.control_plane", str(self.data_dir)],
                stdin=subprocess.PIPE,
                start_new_session=True,
            )

    def _end_watcher(self) -> None:
        if self._watcher is not None:
            self._watcher.communicate()
            self._watcher = None

    def _state(self) -> tuple[dict[str, int], dict[str, ProcessId]]:
        """The ports (empty before the first start) and the processes that were started and not yet stopped."""
        try:
            state = json.loads(self._state_file.read_text())
        except FileNotFoundError:
            return {}, {}
        return state["ports"], {name: ProcessId(*process) for name, process in state["processes"].items()}

    def _write_state(self, ports: dict[str, int], processes: Mapping[str, ProcessId]) -> None:
        write_private(self._state_file, json.dumps({"ports": ports, "processes": processes}, indent=2))


class _PortTakenError(ProblemsError):
    """A component found its port in use."""


def _is_free(port: int) -> bool:
    with socket.socket() as candidate:
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _free_ports() -> dict[str, int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in PORTS]
    try:
        return {name: opened.getsockname()[1] for name, opened in zip(PORTS, sockets, strict=True)}
    finally:
        for opened in sockets:
            opened.close()


def _answers(client: httpx.Client, path: str) -> bool:
    import httpx

    try:
        # A server that lost its etcd accepts the call and does not answer.
        return client.get(path, timeout=1.0).is_success
    except httpx.TransportError:
        return False


def _is_served(client: httpx.Client, path: str) -> bool:
    return crds.is_established(client.get(path).raise_for_status().json())


def _ready_nodes(client: httpx.Client) -> set[str]:
    """Nodes that are ready and no longer carry the taint of a node that is not."""
    return {
        node["metadata"]["name"]
        for node in client.get("/api/v1/nodes").json()["items"]
        if any(c["type"] == "Ready" and c["status"] == "True" for c in node["status"].get("conditions", []))
        and all(taint["key"] != "node.kubernetes.io/not-ready" for taint in node["spec"].get("taints", []))
    }


if __name__ == "__main__":
    sys.stdin.buffer.read()
    ControlPlane(Path(sys.argv[1])).stop()
