"""Progress of the few things that take long: what, why, for how long already. The only place that prints it.

On a terminal a spinner with the elapsed time and the latest detail; otherwise (CI, a pipe) plain lines: one at the
start, one every 15 seconds, one at the end. Everything goes to stderr, so that stdout stays the command's result.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TextIO

REPEAT_SECONDS = 15.0


class Step:
    """One running step; `detail` says what it is at now."""

    def __init__(self, show: Callable[[str], None] = lambda _: None) -> None:
        self.latest = ""
        self._show = show

    def detail(self, text: str) -> None:
        """Replace the latest detail: one short line."""
        self.latest = text.strip()
        self._show(self.latest)


def step(title: str, why: str = "") -> AbstractContextManager[Step]:
    """Show that `title` runs for as long as the block does; `why` tells the person what it is good for."""
    stream = sys.stderr
    return _on_terminal(title, why, stream) if stream.isatty() else _as_lines(title, why, stream)


def elapsed(seconds: float) -> str:
    """`850 ms`, `7.2 s`, `3 min 40 s`."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    return f"{whole // 60} min {whole % 60} s"


@contextmanager
def _on_terminal(title: str, why: str, stream: TextIO) -> Iterator[Step]:
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(file=stream)
    heading = escape(title) + (f" [dim]({escape(why)})[/]" if why else "")
    detail = TextColumn("{task.fields[detail]}", style="dim", markup=False)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), detail)
    started = time.monotonic()
    outcome = "[red]✗[/]"
    try:
        with Progress(*columns, console=console, transient=True) as progress:
            task = progress.add_task(heading, total=None, detail="")
            yield Step(lambda text: progress.update(task, detail=text))
        outcome = "[green]✓[/]"
    finally:
        console.print(f"{outcome} {heading} [dim]{elapsed(time.monotonic() - started)}[/]", highlight=False)


@contextmanager
def _as_lines(title: str, why: str, stream: TextIO) -> Iterator[Step]:
    running = Step()
    started = time.monotonic()
    ended = threading.Event()

    def say(text: str) -> None:
        print(text, file=stream, flush=True)

    def repeat() -> None:
        while not ended.wait(REPEAT_SECONDS):
            detail = f", {running.latest}" if running.latest else ""
            say(f"{title}: {elapsed(time.monotonic() - started)}{detail}")

    say(f"{title} ({why})" if why else title)
    ticker = threading.Thread(target=repeat, name="progress", daemon=True)
    ticker.start()
    outcome = "failed after"
    try:
        yield running
        outcome = "done in"
    finally:
        ended.set()
        ticker.join()
        say(f"{title}: {outcome} {elapsed(time.monotonic() - started)}")
