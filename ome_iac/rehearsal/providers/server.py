"""Rehearsed packages on the wire: Pulumi's ResourceProvider service over gRPC, on loopback."""

# ruff: noqa: N802 - the methods are named by the protocol

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import grpc  # type: ignore[import-untyped]
from google.protobuf import empty_pb2  # type: ignore[import-untyped]
from pulumi.runtime.proto import (
    engine_pb2,
    engine_pb2_grpc,
    plugin_pb2,
    provider_pb2,
    provider_pb2_grpc,
)

from ome_iac.rehearsal.providers import diffing, messages
from ome_iac.rehearsal.providers.faults import Faults, Operation
from ome_iac.rehearsal.providers.known_state import ids_in_checkpoint
from ome_iac.rehearsal.providers.package import (
    Connection,
    Existing,
    NotReadyError,
    Package,
    ProviderError,
    Resource,
)
from ome_iac.rehearsal.providers.values import decode, encode

_log = logging.getLogger(__name__)
_Result = TypeVar("_Result")

# The engine's own limit for a message, and more threads than it ever has operations under way, so that its Cancel
# finds one free while all others wait for pods.
_MESSAGE_BYTES = 400 * 1024 * 1024
_THREADS = 256


class Servicer(provider_pb2_grpc.ResourceProviderServicer):
    """One package's side of the protocol; every connected engine process has its own `Connection`."""

    def __init__(self, package: Package, state: Path, faults: Faults) -> None:
        self._package = package
        self._state = state
        self._faults = faults
        self._connections: dict[str, Connection] = {}
        self._lock = threading.Lock()

    # Connecting

    def Handshake(self, request: provider_pb2.ProviderHandshakeRequest, context: Any) -> Any:
        """Opens a connection. Resource references are left to the engine (they arrive as ids)."""
        connection = Connection(tell=_teller(request.engine_address))
        with self._lock:
            self._connections[context.peer()] = connection
        return provider_pb2.ProviderHandshakeResponse(
            accept_secrets=True, accept_outputs=True, supports_autonaming_configuration=True
        )

    def Attach(self, request: plugin_pb2.PluginAttach, context: Any) -> empty_pb2.Empty:
        """Sent to providers that run already; the handshake has told all there is to know."""
        return empty_pb2.Empty()

    def GetPluginInfo(self, request: empty_pb2.Empty, context: Any) -> plugin_pb2.PluginInfo:
        """The version of the SDK, which programs ask for."""
        return plugin_pb2.PluginInfo(version=self._package.version)

    def CheckConfig(self, request: provider_pb2.CheckRequest, context: Any) -> Any:
        """A provider's own inputs."""
        failures = self._guard(context, lambda: self._package.check_config(decode(request.news)))
        return provider_pb2.CheckResponse(inputs=request.news, failures=messages.failures(failures))

    def DiffConfig(self, request: provider_pb2.DiffRequest, context: Any) -> Any:
        """Whether a changed provider is another place."""
        return messages.diff_response(
            self._guard(context, lambda: self._package.diff_config(decode(request.old_inputs), decode(request.news)))
        )

    def Configure(self, request: provider_pb2.ConfigureRequest, context: Any) -> Any:
        """The provider's inputs for this connection."""
        connection = self._connection(context)
        connection.config = decode(request.args)
        connection.ids_in_state = _ids_in_state(self._state, request.urn)
        self._guard(context, lambda: self._package.configure(connection))
        return provider_pb2.ConfigureResponse(
            acceptSecrets=True, supportsPreview=True, acceptOutputs=True, supports_autonaming_configuration=True
        )

    def Cancel(self, request: empty_pb2.Empty, context: Any) -> empty_pb2.Empty:
        """Ends all waiting on this connection."""
        self._connection(context).cancelled.set()
        return empty_pb2.Empty()

    # Resources

    def Check(self, request: provider_pb2.CheckRequest, context: Any) -> Any:
        """Inputs with defaults, and what is wrong with them."""
        connection, resource = self._connection(context), messages.resource(request)
        naming = messages.naming(request)
        inputs, failures = self._run(
            context,
            "check",
            resource,
            lambda: self._package.check(connection, resource, decode(request.olds), decode(request.news), naming),
        )
        return provider_pb2.CheckResponse(inputs=encode(inputs), failures=messages.failures(failures))

    def Diff(self, request: provider_pb2.DiffRequest, context: Any) -> Any:
        """Checked inputs against those last deployed."""
        connection, resource = self._connection(context), messages.resource(request)
        ignored = [diffing.parse(text) for text in request.ignoreChanges]
        difference = self._guard(
            context,
            lambda: self._package.diff(
                connection, resource, request.id, decode(request.old_inputs), decode(request.news)
            ),
        )
        return messages.diff_response(difference.without(ignored))

    def Create(self, request: provider_pb2.CreateRequest, context: Any) -> Any:
        """Makes a resource."""
        connection, resource = self._connection(context), messages.resource(request)

        def act() -> Existing:
            return self._package.create(
                connection, resource, decode(request.properties), request.timeout, request.preview
            )

        made = self._guard(context, act) if request.preview else self._run(context, "create", resource, act)
        return provider_pb2.CreateResponse(id=made.id, properties=encode(made.outputs))

    def Read(self, request: provider_pb2.ReadRequest, context: Any) -> Any:
        """A resource as it lives, for refresh and import; an empty answer says it is gone."""
        connection, resource = self._connection(context), messages.resource(request)
        found = self._run(
            context,
            "read",
            resource,
            lambda: self._package.read(
                connection, resource, request.id, decode(request.inputs), decode(request.properties)
            ),
        )
        if found is None:
            return provider_pb2.ReadResponse()
        return provider_pb2.ReadResponse(id=found.id, properties=encode(found.outputs), inputs=encode(found.inputs))

    def Update(self, request: provider_pb2.UpdateRequest, context: Any) -> Any:
        """Changes a resource in place."""
        connection, resource = self._connection(context), messages.resource(request)
        current = Existing(request.id, decode(request.olds), decode(request.old_inputs))

        def act() -> dict[str, Any]:
            return self._package.update(
                connection, resource, current, decode(request.news), request.timeout, request.preview
            )

        outputs = self._guard(context, act) if request.preview else self._run(context, "update", resource, act)
        return provider_pb2.UpdateResponse(properties=encode(outputs))

    def Delete(self, request: provider_pb2.DeleteRequest, context: Any) -> empty_pb2.Empty:
        """Removes a resource."""
        connection, resource = self._connection(context), messages.resource(request)
        current = Existing(request.id, decode(request.properties), decode(request.old_inputs))
        self._run(
            context,
            "delete",
            resource,
            lambda: self._package.delete(connection, resource, current, request.timeout),
        )
        return empty_pb2.Empty()

    def Invoke(self, request: provider_pb2.InvokeRequest, context: Any) -> Any:
        """A function of the package."""
        connection = self._connection(context)
        result = self._guard(context, lambda: self._package.invoke(connection, request.tok, decode(request.args)))
        return provider_pb2.InvokeResponse(**{"return": encode(result)})

    def Construct(self, request: provider_pb2.ConstructRequest, context: Any) -> NoReturn:
        """Components that live inside the official plugin."""
        _refuse(
            context,
            f"{request.type} is a component of the official plugin and is not rehearsed; register its "
            "resources one by one",
        )

    # Plumbing

    def _connection(self, context: Any) -> Connection:
        with self._lock:
            connection = self._connections.get(context.peer())
        if connection is None:  # an engine that was idle for half an hour may dial anew, without a handshake
            _refuse(context, f"the connection to the {self._package.name} rehearsal provider was renewed; run it again")
        return connection

    def _run(self, context: Any, operation: Operation, resource: Resource, act: Callable[[], _Result]) -> _Result:
        cancelled = self._connection(context).cancelled
        return self._guard(context, lambda: self._faults.around(resource.type, operation, cancelled, act))

    def _guard(self, context: Any, act: Callable[[], _Result]) -> _Result:
        """Answers errors as the engine shows them best; a bug of ours is logged with its traceback."""
        try:
            return act()
        except NotReadyError as error:
            status = messages.not_ready_status(error, grpc.StatusCode.UNKNOWN.value[0])
            context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
            _refuse(context, str(error))
        except ProviderError as error:
            _refuse(context, str(error))
        except Exception as error:
            _log.exception("the %s rehearsal provider failed", self._package.name)
            context.abort(
                grpc.StatusCode.INTERNAL,
                f"the {self._package.name} rehearsal provider has a bug ({type(error).__name__}: {error}); "
                "its log has the traceback",
            )
            raise AssertionError("abort raises") from error


class Server:
    """A package served on a loopback port until `stop`."""

    def __init__(self, package: Package, state: Path, faults: Faults) -> None:
        self._server = grpc.server(
            ThreadPoolExecutor(max_workers=_THREADS, thread_name_prefix=package.name),
            options=[
                ("grpc.max_receive_message_length", _MESSAGE_BYTES),
                ("grpc.max_send_message_length", _MESSAGE_BYTES),
                ("grpc.so_reuseport", 0),
            ],
        )
        provider_pb2_grpc.add_ResourceProviderServicer_to_server(Servicer(package, state, faults), self._server)
        self.package = package.name
        self.port: int = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    def stop(self) -> None:
        """Ends the service; requests under way are cut off."""
        self._server.stop(grace=None).wait()


def _ids_in_state(state: Path, provider_urn: str) -> Callable[[str], frozenset[str]]:
    ids = ids_in_checkpoint(state, provider_urn)
    return lambda urn: ids.get(urn, frozenset())


def _teller(engine_address: str) -> Callable[[str, str], None]:
    def tell(urn: str, message: str) -> None:
        request = engine_pb2.LogRequest(severity=engine_pb2.INFO, urn=urn, message=message, ephemeral=True)
        try:
            with grpc.insecure_channel(engine_address) as channel:
                engine_pb2_grpc.EngineStub(channel).Log(request)
        except grpc.RpcError:
            _log.debug("the engine at %s no longer listens", engine_address)

    return tell


def _refuse(context: Any, message: str) -> NoReturn:
    context.abort(grpc.StatusCode.UNKNOWN, message)
    raise AssertionError("abort raises")
