"""Runs one Pulumi program, or one plugin written in Python, for the language host (host.py beside it).

    python -u host_program.py program '{"monitor": …}' ENTRY [ARGUMENT …]
    python -u host_program.py module NAME [ARGUMENT …]
    python -u host_program.py path FOLDER [ARGUMENT …]

It runs in the project's own environment, ends when the host is gone, and ends without a word when it is interrupted.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import runpy
import signal
import sys
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any

# The language host takes this status as: the person has been told, add nothing.
MESSAGE_SHOWN = 32
INTERRUPTED = 130


def end_with_parent() -> None:
    """End this process as soon as the process that started it is gone."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(INTERRUPTED)

    threading.Thread(target=watch, name="end-with-parent", daemon=True).start()


def run_program(values: str, entry: str, arguments: list[str]) -> int:
    """Run a program against the engine that `values` (JSON) describe; return the exit status."""
    try:
        import pulumi
        import pulumi.runtime
    except ImportError as missing:
        remedy = "install the project's requirements there"
        print(f"error: {sys.executable} cannot import the Pulumi SDK ({missing}); {remedy}", file=sys.stderr)
        return MESSAGE_SHOWN
    settings = json.loads(values)
    parallel = max(int(settings.pop("parallel")), 1)
    pulumi.runtime.set_all_config(pulumi.runtime.get_config_env(), pulumi.runtime.get_config_secret_keys_env())
    pulumi.runtime.configure(pulumi.runtime.Settings(**settings, parallel=parallel))

    main = os.path.join(entry, "__main__.py") if os.path.isdir(entry) else entry
    if not os.path.exists(main):
        pulumi.log.error(f"{main}: no such file, and it is the program that Pulumi.yaml (main) names")
        return MESSAGE_SHOWN
    sys.argv = [entry, *arguments]
    # What Python itself does for `python entry`: a folder puts itself on the path (runpy), a file its folder.
    sys.path[0] = entry if os.path.isdir(entry) else os.path.dirname(entry)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    # The SDK waits for each of the engine's answers in a thread of the loop's executor.
    executor = ThreadPoolExecutor(max_workers=parallel * 4)
    loop.set_default_executor(executor)
    tracebacks = Tracebacks()
    loop.set_task_factory(tracebacks.task)
    # A program that fails leaves futures behind that nobody awaits; asyncio would complain about each.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    wait = True
    try:
        loop.run_until_complete(pulumi.runtime.run_in_stack(lambda: void(runpy.run_path(entry, run_name="__main__"))))
    except pulumi.RunError as error:
        pulumi.log.error(str(error))
        return MESSAGE_SHOWN
    except Exception as error:
        pulumi.log.error("Program failed with an unhandled exception:\n" + tracebacks.text(error))
        return MESSAGE_SHOWN
    except KeyboardInterrupt:
        # The engine will not answer any more what the executor's threads wait for.
        wait = False
        raise
    finally:
        executor.shutdown(wait=wait)
        loop.close()
    return 0


def void(_: object) -> None:
    """Drop a value: the SDK would await what a program function returns."""


class Tracebacks:
    """Where the program's exceptions were raised first.

    asyncio (3.11 at least) gives an exception's traceback to the first that awaits a failed task, and none to the
    others. An Output has many that await it, so that an error in an `apply` would often be shown without its place.
    """

    def __init__(self) -> None:
        self._first: dict[int, tuple[BaseException, TracebackType | None]] = {}

    def task(self, loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
        """A task factory for the loop: notes a failed task's traceback before anyone awaits it."""
        task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, **options)
        task.add_done_callback(self._note)
        return task

    def _note(self, task: asyncio.Task[Any]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._first.setdefault(id(error), (error, error.__traceback__))

    def text(self, error: BaseException) -> str:
        """The traceback of `error` and of whatever caused it, each from the program's first own frame on."""
        pending, seen = [error], set()
        while pending:
            current = pending.pop()
            if id(current) in seen:
                continue
            seen.add(id(current))
            _, first = self._first.get(id(current), (current, None))
            kept = own_part(current.__traceback__) or own_part(first)
            # A fault in finding or reading the program itself needs no frame; of one inside the SDK every frame helps.
            if kept is not None or isinstance(current, SyntaxError | ImportError):
                current.__traceback__ = kept
            pending += [linked for linked in (current.__cause__, current.__context__) if linked is not None]
        return "".join(traceback.format_exception(error)).rstrip()


def own_part(trace: TracebackType | None) -> TracebackType | None:
    """A traceback from the first frame on that is neither ours nor Python's machinery nor the SDK's; None: no such."""
    packages = [os.path.dirname(sys.modules[name].__file__ or "") for name in ("asyncio", "pulumi")]
    machinery = (__file__, runpy.__file__, "<frozen runpy>", "<frozen importlib._bootstrap", *packages)
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(machinery):
        trace = trace.tb_next
    return trace


def run_plugin(kind: str, what: str, arguments: list[str]) -> int:
    """Run a module or a folder with a `__main__.py` as `python -m what` or `python what` would."""
    sys.argv = [what, *arguments]
    if kind == "module":
        sys.path[0] = os.getcwd()
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        del sys.path[0]
        runpy.run_path(what, run_name="__main__")
    return 0


def main() -> int:
    """Do what the command line says; see the top of this file."""
    kind, what, *rest = sys.argv[1:]
    # A shell's background job starts with SIGINT ignored, and so would we: we are interrupted by it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    end_with_parent()
    return run_program(what, rest[0], rest[1:]) if kind == "program" else run_plugin(kind, what, rest)


if __name__ == "__main__":
    try:
        status = main()
    except KeyboardInterrupt:
        # The engine gave up on us; it has told the person why, and nobody waits for our answer.
        sys.stdout.flush()
        os._exit(INTERRUPTED)
    sys.exit(status)
