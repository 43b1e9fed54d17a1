"""Processes that outlive the command which started them, told from a stranger's that got the same number later."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple


class ProcessId(NamedTuple):
    """A process: its number and when it started, in whatever unit the system tells it."""

    number: int
    started: str

    def is_running(self) -> bool:
        """Whether this very process runs (one that ended and was not yet waited for does not)."""
        return _started(self.number) == self.started

    def signal(self, which: signal.Signals) -> None:
        """Send a signal to it, if it runs."""
        if self.is_running():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.number, which)

    def wait(self, seconds: float) -> bool:
        """Wait for its end; False when it still runs after `seconds`."""
        deadline = time.monotonic() + seconds
        while self.is_running():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True


def process_id(number: int) -> ProcessId:
    """The identity of a process that runs now."""
    return ProcessId(number, _started(number))


def _started(number: int) -> str:
    """When a running process started; "" where there is none of that number."""
    if sys.platform == "linux":
        try:
            # "number (name) state …" (proc(5)); the name may hold blanks and brackets. After it come the state, as
            # 18th the threads and as 20th the start, in clock ticks.
            fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return ""
        # A process that was killed keeps its ports until its last thread is gone.
        ended = fields[0] in "ZX" and int(fields[17]) <= 1
        return "" if ended else fields[19]
    answer = subprocess.run(
        ["ps", "-o", "state=,lstart=", "-p", str(number)], capture_output=True, text=True, check=False
    )
    state, _, started = answer.stdout.strip().partition(" ")
    return "" if state.startswith("Z") else started.strip()
