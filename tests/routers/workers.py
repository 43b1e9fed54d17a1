"""Stub engines: they answer as OpenAI's API does and remember what they were asked."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


@dataclass
class Worker:
    """An engine; `sglang` decides whether it has SGLang's own endpoints beside OpenAI's."""

    name: str
    host: str = "127.0.0.1"
    port: int = 0
    sglang: bool = True
    seconds: float = 0.0
    """How long an answer takes."""
    asked: list[dict[str, Any]] = field(default_factory=list)
    """Bodies of the requests to generate."""

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def prompts(self) -> list[str]:
        return [body["messages"][0]["content"] for body in self.asked]

    def start(self) -> None:
        worker, self._connections = self, list[socket.socket]()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                worker._connections.append(self.connection)

            def do_GET(self) -> None:
                information = {"is_generation": True, "served_model_name": "m", "model_id": "m"}
                known: dict[str, Any] = {"/health": {}, "/v1/models": {"object": "list", "data": [{"id": "m"}]}}
                if worker.sglang:
                    known |= dict.fromkeys(("/model_info", "/get_model_info", "/server_info"), information)
                self._answer(200 if self.path in known else 404, known.get(self.path, {}))

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                worker.asked.append(body)
                time.sleep(worker.seconds)
                message = {"role": "assistant", "content": worker.name}
                choice = {"index": 0, "message": message, "finish_reason": "stop"}
                self._answer(200, {"id": "x", "object": "chat.completion", "model": "m", "choices": [choice]})

            def _answer(self, status: int, body: dict[str, Any]) -> None:
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer((self.host, self.port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """As a process that is killed: nothing is accepted any more, and what was is cut; twice is once."""
        self._server.shutdown()
        self._server.server_close()
        for connection in self._connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._thread.join()


@contextmanager
def started(*workers: Worker) -> Iterator[None]:
    with ExitStack() as stack:
        for worker in workers:
            worker.start()
            stack.callback(worker.stop)
        yield
