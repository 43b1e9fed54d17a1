"""A command in the foreground, which decides by itself what an interrupt means."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Final

from ome_iac.problems import Problem, ProblemsError

_FORWARDED: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run_attached(command: list[str], environment: Mapping[str, str], cwd: Path | None = None) -> int:
    """Run a command and return its exit code, 128 + n when signal n ended it.

    SIGINT, SIGTERM and SIGHUP go to the command. Raises ProblemsError where there is no such command.
    """
    child: subprocess.Popen[bytes] | None = None

    def forward(number: int, frame: FrameType | None) -> None:
        # A terminal has sent its interrupt to the command already; Pulumi takes a second one for "at once".
        if child is not None and not (number == signal.SIGINT and _in_foreground()):
            child.send_signal(number)

    in_main_thread = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, forward) for number in _FORWARDED} if in_main_thread else {}
    try:
        child = subprocess.Popen(command, env=dict(environment), cwd=cwd)
        code = child.wait()
    except OSError as error:
        raise ProblemsError([Problem(command[0], "", f"cannot be run: {error.strerror}")]) from error
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return code if code >= 0 else 128 - code


def _in_foreground() -> bool:
    """Whether this process group has the terminal, whose Ctrl-C then goes to all of it."""
    try:
        return os.tcgetpgrp(0) == os.getpgrp()
    except OSError:
        return False
