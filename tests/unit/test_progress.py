import io
import sys
import time

import pytest

from ome_iac.report import progress
from ome_iac.report.progress import elapsed, step


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_lines_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with step("building", why="it is needed"):
        pass
    printed = capsys.readouterr()
    first, last = printed.err.splitlines()
    assert first == "building (it is needed)"
    assert last.startswith("building: done in ")
    assert printed.out == ""


def test_a_long_step_repeats_itself_with_the_latest_detail(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "REPEAT_SECONDS", 0.01)
    said = ""
    with step("building") as running:
        running.detail("the first\n")
        running.detail("the second\n")
        while said.count("the second") < 2:
            time.sleep(0.01)
            said += capsys.readouterr().err
    assert "the first" not in said
    assert said.splitlines()[1].startswith("building: ")


def test_a_failure_is_not_called_done_and_passes_through(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZeroDivisionError), step("building"):
        _ = 1 / 0
    assert capsys.readouterr().err.splitlines()[-1].startswith("building: failed after ")


@pytest.mark.parametrize(("fails", "mark"), [(False, "✓"), (True, "✗")])
def test_on_a_terminal_one_line_remains(monkeypatch: pytest.MonkeyPatch, fails: bool, mark: str) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    try:
        with step("building [x]", why="it is needed") as running:
            running.detail("[not markup]")
            if fails:
                raise ValueError
    except ValueError:
        assert fails
    last = terminal.getvalue().rstrip().rpartition("\n")[2]
    assert mark in last
    assert "building [x]" in last
    assert "it is needed" in last


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0 ms"), (0.85, "850 ms"), (0.9999, "1.0 s"), (7.24, "7.2 s"), (59.97, "1 min 0 s"), (220.4, "3 min 40 s")],
)
def test_elapsed(seconds: float, text: str) -> None:
    assert elapsed(seconds) == text
