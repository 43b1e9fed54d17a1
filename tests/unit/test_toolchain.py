import os
import signal
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ome_iac.problems import ProblemsError
from ome_iac.rehearsal import toolchain
from ome_iac.rehearsal.components import COMPONENTS
from ome_iac.rehearsal.engine import PULUMI
from ome_iac.rehearsal.toolchain import GoTool, ensure

TOOL = GoTool("tool", "mine", "example.test/tool/cmd", "example.test/tool", ("example.test/v.Version={version}",))
GO_MOD = (
    "module mine\n\ngo 1.26\n\ntool example.test/tool/cmd\n\nrequire (\n\texample.test/tool v1.2.3 // indirect\n)\n"
)

# Stands for Go: tells a version, notes each build, and "compiles" its own arguments.
FAKE_GO = """\
#!/bin/sh
if [ "$1" = env ]; then echo "${FAKE_GO_VERSION:-go1.26.1}"; exit; fi
echo "$@" >> "$FAKE_GO_LOG"
echo example.test/tool >&2
[ -n "$FAKE_GO_WAITS" ] && sleep "$FAKE_GO_WAITS"
if [ -n "$FAKE_GO_FAILS" ]; then echo 'cmd/main.go:3: undefined: x' >&2; exit 1; fi
while [ "$1" != -o ]; do shift; done
echo '#!/bin/sh' > "$2"
chmod +x "$2"
"""


@pytest.fixture
def go_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    modules = tmp_path / "tools"
    (modules / "mine").mkdir(parents=True)
    (modules / "mine" / "go.mod").write_text(GO_MOD)
    (modules / "mine" / "go.sum").write_text("example.test/tool v1.2.3 h1:abc\n")
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "go").write_text(FAKE_GO)
    (programs / "go").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("FAKE_GO_LOG", str(tmp_path / "go.log"))
    monkeypatch.setattr(toolchain, "module_folder", lambda module: modules / module)
    return tmp_path / "go.log"


def problem_of(tool: GoTool) -> str:
    with pytest.raises(ProblemsError) as raised:
        ensure(tool, "a test")
    (problem,) = raised.value.problems
    return str(problem)


def test_built_once_and_executable(go_log: Path) -> None:
    path = ensure(TOOL, "a test")
    assert ensure(TOOL, "a test") == path
    assert path.stat().st_mode & stat.S_IXUSR
    assert path.is_relative_to(toolchain.cache_folder())
    (build,) = go_log.read_text().splitlines()
    assert "-X example.test/v.Version=v1.2.3" in build
    assert build.endswith(" example.test/tool/cmd")


def test_the_version_is_go_mods(go_log: Path) -> None:
    assert TOOL.version == "1.2.3"
    assert TOOL.key.startswith("tool-1.2.3-")


def test_the_key_follows_everything_that_decides_the_program(go_log: Path) -> None:
    keys = {TOOL.key, GoTool("tool", "mine", TOOL.package, TOOL.versioned_by).key}
    folder = toolchain.module_folder("mine")
    (folder / "go.sum").write_text("example.test/tool v1.2.3 h1:def\n")
    keys.add(TOOL.key)
    (folder / "go.mod").write_text(GO_MOD + "// changed\n")
    keys.add(TOOL.key)
    assert len(keys) == 4


def test_a_changed_pin_builds_anew_and_keeps_the_old(go_log: Path) -> None:
    old = ensure(TOOL, "a test")
    go_mod = toolchain.module_folder("mine") / "go.mod"
    go_mod.write_text(GO_MOD.replace("v1.2.3", "v1.3.0"))
    new = ensure(TOOL, "a test")
    assert new != old
    assert old.exists()
    assert len(go_log.read_text().splitlines()) == 2


def test_a_failed_build_tells_why_and_leaves_nothing(go_log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_GO_FAILS", "1")
    problem = problem_of(TOOL)
    assert "undefined: x" in problem
    assert "example.test/tool/cmd" in problem
    assert not TOOL.path.exists()
    assert list((toolchain.cache_folder() / "tools").iterdir()) == []
    monkeypatch.delenv("FAKE_GO_FAILS")
    assert ensure(TOOL, "a test").exists()


@pytest.mark.parametrize("version", ["go1.25.7", "go1.9", "devel go1.25-abcdef"])
def test_too_old_a_go(go_log: Path, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setenv("FAKE_GO_VERSION", version)
    problem = problem_of(TOOL)
    assert version in problem
    assert "Go 1.26 or newer" in problem
    assert not go_log.exists()


@pytest.mark.parametrize("version", ["go1.26", "go1.27rc1", "go1.100.1", "devel go1.27-abcdef", "go2.0"])
def test_new_enough_a_go(go_log: Path, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setenv("FAKE_GO_VERSION", version)
    assert ensure(TOOL, "a test").exists()


def test_no_go(go_log: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    problem = problem_of(TOOL)
    assert "go: not found" in problem
    assert "tool 1.2.3" in problem


def test_a_cached_program_needs_no_go(go_log: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = ensure(TOOL, "a test")
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert ensure(TOOL, "a test") == path


ENSURE = """
import sys
from pathlib import Path
from ome_iac.rehearsal import toolchain
toolchain.module_folder = lambda module: Path(sys.argv[1]) / module
stamps = ("example.test/v.Version={version}",)
tool = toolchain.GoTool("tool", "mine", "example.test/tool/cmd", "example.test/tool", stamps)
print(toolchain.ensure(tool, "a test"))
"""


def start_ensure() -> "subprocess.Popen[str]":
    modules = toolchain.module_folder("mine").parent
    return subprocess.Popen(
        [sys.executable, "-c", ENSURE, str(modules)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_two_at_once_build_once_and_the_second_says_that_it_waits(
    go_log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_GO_WAITS", "1")
    with ThreadPoolExecutor() as pool:
        answers = list(pool.map(lambda process: process.communicate(), [start_ensure(), start_ensure()]))
    assert len(go_log.read_text().splitlines()) == 1
    assert len({printed for printed, _ in answers}) == 1
    said = sorted(said for _, said in answers)
    assert "building tool 1.2.3 with Go" in said[0]
    assert "waiting: tool 1.2.3 is being built by another process" in said[1]


def test_a_killed_build_leaves_nothing_that_counts(go_log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_GO_WAITS", "1")
    process = start_ensure()
    while not go_log.exists():
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    monkeypatch.delenv("FAKE_GO_WAITS")
    path = ensure(TOOL, "a test")
    assert path.exists()
    assert [folder.name for folder in (toolchain.cache_folder() / "tools").iterdir()] == [TOOL.key]


def test_the_pinned_tools_have_versions_and_keys_of_their_own() -> None:
    tools = [PULUMI, *(component.tool for component in COMPONENTS)]
    assert len({tool.key for tool in tools}) == len(tools)
    assert all(tool.version[0].isdigit() for tool in tools)
