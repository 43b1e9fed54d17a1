"""The Pulumi engine's language host for Python: a gRPC server that runs the project's program and its plugins.

Pulumi's own host (`pulumi-language-python`) is a Go program that neither the SDK's wheel nor a Go module carries, so
that an engine built from the module proxy has none. This file is copied beside such an engine and started by
`host_launcher.sh`: it imports nothing of ome_iac and, for the sake of its start-up time (the engine starts it twice per
preview), of the SDK only the messages of the protocol (pulumi/language.proto).
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import platform
import queue
import signal
import subprocess
import sys
import threading
import time
import tomllib
import types
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pulumi.runtime.proto import language_pb2, plugin_pb2

grpc: Any  # imported by load_messages; it has no types

# The program has told the person what is wrong already: the engine is to add nothing. (Pulumi's own host uses 32 too.)
MESSAGE_SHOWN = 32
RUNNER = Path(__file__).with_name("host_program.py")


def load_messages() -> None:
    """Import the protocol's messages without the `pulumi` package around them, which takes three times as long."""
    global grpc, language_pb2, plugin_pb2
    found = importlib.util.find_spec("pulumi")
    assert found is not None, "the launcher looks for a Python with the SDK"
    assert found.submodule_search_locations, "pulumi is a package"
    folder = Path(found.submodule_search_locations[0])
    for name in ("pulumi", "pulumi.runtime", "pulumi.runtime.proto"):
        package = types.ModuleType(name)
        package.__path__ = [str(folder.joinpath(*name.split(".")[1:]))]
        sys.modules[name] = package
    grpc = importlib.import_module("grpc")
    from pulumi.runtime.proto import language_pb2, plugin_pb2


class Children:
    """The processes started and not yet ended, so that none outlives the host or the call that started it."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()

    def start(self, command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        """Start `command` in its own process group: the engine's SIGINT to ours at the end must not reach it twice."""
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0, **options)
        with self._lock:
            self._running.add(child)
        return child

    def ended(self, child: subprocess.Popen[bytes]) -> None:
        """Forget a child that was waited for."""
        with self._lock:
            self._running.discard(child)

    def stop(self, patience: float = 2.0) -> None:
        """Interrupt every child, and kill what is still there after `patience` seconds."""
        with self._lock:
            running = [child for child in self._running if child.poll() is None]
        for child in running:
            interrupt(child)
        deadline = time.monotonic() + patience
        for child in running:
            try:
                child.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.kill()


def interrupt(child: subprocess.Popen[bytes]) -> None:
    """Ask a child to end, unless it has (send_signal looks first, so that no other process is hit)."""
    child.send_signal(signal.SIGINT)


class Interpreter:
    """The Python of a project: its virtual environment where one is named, else the active one, else the host's."""

    def __init__(self, info: language_pb2.ProgramInfo) -> None:
        named = dict(info.options).get("virtualenv", "")
        self.environment: Path | None = None
        if named:
            self.environment = Path(info.root_directory, str(named))
        elif active := os.environ.get("VIRTUAL_ENV"):
            self.environment = Path(active)
        self.path = self.environment / "bin" / "python" if self.environment else Path(sys.executable)
        self.is_ours = self.path == Path(sys.executable)
        self.problem = ""
        if not self.path.exists():
            origin = f"virtualenv: {named} in Pulumi.yaml" if named else "VIRTUAL_ENV"
            self.problem = f"{origin}: {self.environment} is no virtual environment; create it (pulumi install does)"

    def variables(self) -> dict[str, str]:
        """Our environment variables, as activating the virtual environment would change them."""
        variables = dict(os.environ)
        if self.environment:
            variables.pop("PYTHONHOME", None)
            variables["VIRTUAL_ENV"] = str(self.environment)
            variables["PATH"] = f"{self.environment / 'bin'}{os.pathsep}{variables.get('PATH', '')}"
        return variables

    def run(self, code: str) -> str:
        """What `code` prints there; "" where the interpreter is missing or fails."""
        if self.problem:
            return ""
        command = [str(self.path), "-c", code]
        done = subprocess.run(command, capture_output=True, text=True, env=self.variables(), check=False)
        return done.stdout if done.returncode == 0 else ""


class LanguageHost:
    """The methods of pulumirpc.LanguageRuntime that running programs, policy packs and components needs."""

    def __init__(self, engine_address: str) -> None:
        self.engine_address = engine_address
        self.children = Children()

    def methods(self) -> dict[str, Any]:
        """Handlers by method name; the server answers UNIMPLEMENTED for every other one, which the engine tolerates."""
        unary, stream = grpc.unary_unary_rpc_method_handler, grpc.unary_stream_rpc_method_handler
        known: dict[str, tuple[Callable[..., Any], Any, Any]] = {
            "Handshake": (unary, self.handshake, language_pb2.LanguageHandshakeRequest),
            "GetPluginInfo": (unary, self.plugin_info, None),
            "About": (unary, self.about, language_pb2.AboutRequest),
            "GetRequiredPackages": (unary, self.required_packages, language_pb2.GetRequiredPackagesRequest),
            "Run": (unary, self.run, language_pb2.RunRequest),
            "RunPlugin": (stream, self.run_plugin, language_pb2.RunPluginRequest),
            "InstallDependencies": (stream, self.install_dependencies, language_pb2.InstallDependenciesRequest),
        }
        return {
            name: handler(
                method,
                request_deserializer=message.FromString if message else None,
                response_serializer=lambda answer: answer.SerializeToString(),
            )
            for name, (handler, method, message) in known.items()
        }

    def handshake(self, request: language_pb2.LanguageHandshakeRequest, context: Any) -> Any:
        """An engine attached by PULUMI_DEBUG_LANGUAGES tells its address here, not on the command line."""
        self.engine_address = request.engine_address
        return language_pb2.LanguageHandshakeResponse()

    def plugin_info(self, request: bytes, context: Any) -> Any:
        """No version of its own: it belongs to the engine beside it."""
        return plugin_pb2.PluginInfo()

    def about(self, request: language_pb2.AboutRequest, context: Any) -> Any:
        """The interpreter, for `pulumi about` and an update's metadata."""
        interpreter = Interpreter(request.info)
        version = platform.python_version()
        if not interpreter.is_ours:
            version = interpreter.run("import platform; print(platform.python_version())").strip()
        return language_pb2.AboutResponse(executable=str(interpreter.path), version=version)

    def required_packages(self, request: language_pb2.GetRequiredPackagesRequest, context: Any) -> Any:
        """The provider of each installed SDK, from the `pulumi-plugin.json` that it carries.

        None where the person has switched off their acquisition: the engine would fetch what is told here even so.
        """
        if os.environ.get("PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION", "").lower() in ("1", "true"):
            return language_pb2.GetRequiredPackagesResponse()
        interpreter = Interpreter(request.info)
        folders = sys.path
        if not interpreter.is_ours:
            folders = json.loads(interpreter.run("import json, sys; print(json.dumps(sys.path))") or "[]")
        packages = []
        for found in sorted({file for folder in folders for file in Path(folder).glob("*/pulumi-plugin.json")}):
            plugin = json.loads(found.read_text())
            if plugin.get("resource"):
                packages.append(
                    plugin_pb2.PackageDependency(
                        name=plugin.get("name", ""),
                        kind="resource",
                        version=plugin.get("version", ""),
                        server=plugin.get("server", ""),
                    )
                )
        return language_pb2.GetRequiredPackagesResponse(packages=packages)

    def run(self, request: language_pb2.RunRequest, context: Any) -> Any:
        """Run the program to its end; what it prints goes to the engine through our own stdout and stderr."""
        interpreter = Interpreter(request.info)
        if interpreter.problem:
            return language_pb2.RunResponse(error=interpreter.problem)
        values = {
            "monitor": request.monitor_address,
            "engine": self.engine_address,
            "project": request.project,
            "root_directory": request.info.root_directory,
            "stack": request.stack,
            "parallel": request.parallel,
            "dry_run": request.dryRun,
            "organization": request.organization,
        }
        entry = Path(request.info.program_directory, request.info.entry_point)
        command = [str(interpreter.path), "-u", str(RUNNER), "program", json.dumps(values), str(entry), *request.args]
        variables = interpreter.variables()
        variables["PULUMI_CONFIG"] = json.dumps(dict(request.config))
        variables["PULUMI_CONFIG_SECRET_KEYS"] = json.dumps(list(request.configSecretKeys))
        child = self.children.start(command, cwd=request.pwd, env=variables)
        context.add_callback(lambda: interrupt(child))
        status = child.wait()
        self.children.ended(child)
        if status == MESSAGE_SHOWN:
            return language_pb2.RunResponse(bail=True)
        if status != 0:
            how = f"exited with status {status}" if status > 0 else f"was ended by {signal.Signals(-status).name}"
            return language_pb2.RunResponse(error=f"the program {how}")
        return language_pb2.RunResponse()

    def run_plugin(self, request: language_pb2.RunPluginRequest, context: Any) -> Iterator[Any]:
        """Run a policy pack (`kind` analyzer) or a component package, streaming what it prints."""
        interpreter = Interpreter(request.info)
        if interpreter.problem:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, interpreter.problem)
        folder = request.info.program_directory
        working_directory = request.pwd
        if request.kind == "analyzer":
            what = ["module", "pulumi.policy", *request.args, folder]
            working_directory = folder
        elif distribution := distribution_name(Path(folder)):
            what = ["module", "pulumi.run.plugin", distribution, *request.args]
        else:
            what = ["path", folder, *request.args]
        variables = {**interpreter.variables(), **dict(item.split("=", 1) for item in request.env)}
        command = [str(interpreter.path), "-u", str(RUNNER), *what]
        child = self.children.start(
            command, cwd=working_directory, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        context.add_callback(lambda: interrupt(child))
        for name, piece in output_of(child):
            yield (
                language_pb2.RunPluginResponse(stdout=piece)
                if name == "stdout"
                else language_pb2.RunPluginResponse(stderr=piece)
            )
        yield language_pb2.RunPluginResponse(exitcode=child.wait())
        self.children.ended(child)

    def install_dependencies(self, request: language_pb2.InstallDependenciesRequest, context: Any) -> Iterator[Any]:
        """Make the virtual environment where it is missing, and install what the project requires into it."""
        interpreter = Interpreter(request.info)
        folders = [Path(request.info.program_directory), Path(request.info.root_directory)]
        commands = []
        if interpreter.problem:
            commands.append([sys.executable, "-m", "venv", str(interpreter.environment)])
        pip = [str(interpreter.path), "-m", "pip", "install", "--disable-pip-version-check"]
        if listed := next((file for folder in folders if (file := folder / "requirements.txt").exists()), None):
            commands.append([*pip, "-r", str(listed)])
        elif packaged := next((folder for folder in folders if (folder / "pyproject.toml").exists()), None):
            commands.append([*pip, "-e", str(packaged)])
        for command in commands:
            child = self.children.start(
                command, cwd=folders[1], env=interpreter.variables(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
            for name, piece in output_of(child):
                yield language_pb2.InstallDependenciesResponse(**{name: piece})
            status = child.wait()
            self.children.ended(child)
            if status != 0:
                context.abort(grpc.StatusCode.INTERNAL, f"{' '.join(command)}: status {status}")


def distribution_name(folder: Path) -> str:
    """The name of the Python distribution in `folder`, or "" where it is a plain folder with a `__main__.py`."""
    try:
        declared = tomllib.loads((folder / "pyproject.toml").read_text())
    except FileNotFoundError:
        return ""
    return str(declared.get("project", {}).get("name", "")) if "build-system" in declared else ""


def output_of(child: subprocess.Popen[bytes]) -> Iterator[tuple[str, bytes]]:
    """Pieces of a child's output in the order in which they arrive: ("stdout" or "stderr", bytes)."""
    pieces: queue.SimpleQueue[tuple[str, bytes]] = queue.SimpleQueue()

    def read(name: str, stream: Any) -> None:
        while piece := stream.read1(65536):
            pieces.put((name, piece))
        pieces.put((name, b""))

    streams = {"stdout": child.stdout, "stderr": child.stderr}
    for name, stream in streams.items():
        threading.Thread(target=read, args=(name, stream), daemon=True).start()
    open_streams = len(streams)
    while open_streams:
        name, piece = pieces.get()
        if piece:
            yield name, piece
        else:
            open_streams -= 1


def serve(arguments: Iterable[str]) -> None:
    """Serve until the engine ends us or is gone. The engine reads the port from our first line."""
    # The engine may put flags before it; its own address is always the last argument.
    addresses = [argument for argument in arguments if not argument.startswith("-")]
    load_messages()
    host = LanguageHost(addresses[-1] if addresses else "")
    # Each running program, policy pack and component holds a thread for as long as it runs.
    server = grpc.server(ThreadPoolExecutor(max_workers=64))
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("pulumirpc.LanguageRuntime", host.methods()),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    print(port, flush=True)
    engine = os.getppid()
    # An engine that was killed cannot end us: the system gives us another parent then.
    while not ended.wait(0.5) and os.getppid() == engine:
        pass
    host.children.stop()
    sys.stdout.flush()
    # Threads that wait in a call must not hold us up.
    os._exit(0)


if __name__ == "__main__":
    serve(sys.argv[1:])
