"""Runs one Pulumi program, or one plugin written in Python, for the language host (host.py beside it).

    python -u host_program.py program '{"monitor": …}' ENTRY [ARGUMENT …]
    python -u host_program.py module NAME [ARGUMENT …]
    python -u host_program.py path FOLDER [ARGUMENT …]

It runs in the project's own environment, ends when the host is gone, and ends without a word when it is interrupted.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from types import TracebackType

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
    import asyncio
    import json
    import logging
    import runpy
    from concurrent.futures import ThreadPoolExecutor

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
    # A program that fails leaves futures behind that nobody awaits; asyncio would complain about each.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    try:
        loop.run_until_complete(pulumi.runtime.run_in_stack(lambda: void(runpy.run_path(entry, run_name="__main__"))))
    except pulumi.RunError as error:
        pulumi.log.error(str(error))
        return MESSAGE_SHOWN
    except Exception as error:
        pulumi.log.error("Program failed with an unhandled exception:\n" + program_traceback(error))
        return MESSAGE_SHOWN
    finally:
        executor.shutdown(wait=True)
        loop.close()
    return 0


def void(_: object) -> None:
    """Drop a value: the SDK would await what a program function returns."""


def program_traceback(error: BaseException) -> str:
    """The traceback from the program's first own frame on, for `error` and for whatever caused it."""
    import asyncio
    import runpy
    import traceback

    import pulumi

    packages = [os.path.dirname(package.__file__ or "") for package in (asyncio, pulumi)]
    ours = (__file__, runpy.__file__, "<frozen runpy>", "<frozen importlib._bootstrap", *packages)

    def trimmed(trace: TracebackType | None) -> TracebackType | None:
        first = trace
        while first is not None and first.tb_frame.f_code.co_filename.startswith(ours):
            first = first.tb_next
        # With no frame of the program's at all (a fault inside the SDK) the whole traceback is the best there is;
        # a fault in reading the program itself (SyntaxError, no such file) needs none.
        return first

    pending, seen = [error], set()
    while pending:
        current = pending.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        kept = trimmed(current.__traceback__)
        if kept is not None or isinstance(current, SyntaxError | ImportError | FileNotFoundError):
            current.__traceback__ = kept
        pending += [linked for linked in (current.__cause__, current.__context__) if linked is not None]
    return "".join(traceback.format_exception(error)).rstrip()


def run_plugin(kind: str, what: str, arguments: list[str]) -> int:
    """Run a module or a folder with a `__main__.py` as `python -m what` or `python what` would."""
    import runpy

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
