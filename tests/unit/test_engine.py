import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ome_iac.problems import Problem, ProblemsError
from ome_iac.rehearsal import engine, toolchain
from ome_iac.rehearsal.engine import PULUMI, ensure_engine, find_engine, place_language_host

# What the SDK's installer does when it can, and when it cannot.
DOWNLOADS = """
import pathlib, sys
program = pathlib.Path(sys.argv[1], "bin", "pulumi")
program.parent.mkdir()
program.write_text("#!/bin/sh")
"""
FAILS = "import sys; sys.exit('URLError: no route to host')"
HANGS = "import time; time.sleep(3600)"


@pytest.fixture(autouse=True)
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing on PATH, nothing in the cache, nothing to be had from outside."""
    monkeypatch.setenv("PATH", str(tmp_path / "programs"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(engine, "INSTALLER", FAILS)
    monkeypatch.setattr(toolchain, "go_problem", lambda tool: Problem("", "go", "not found"))


@pytest.fixture
def go_builds(monkeypatch: pytest.MonkeyPatch) -> None:
    def ensure(tool: toolchain.GoTool, why: str) -> Path:
        tool.path.parent.mkdir(parents=True)
        return write_program(tool.path)

    monkeypatch.setattr(toolchain, "go_problem", lambda tool: None)
    monkeypatch.setattr(toolchain, "ensure", ensure)


def write_program(path: Path, prints: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{'echo ' + prints if prints else ''}\n")
    path.chmod(0o755)
    return path


def on_path(tmp_path: Path, version: str, host: bool = True) -> Path:
    if host:
        write_program(tmp_path / "programs" / "pulumi-language-python")
    return write_program(tmp_path / "programs" / "pulumi", version)


@pytest.mark.parametrize("version", ["v3.259.0", "v3.259.4", "3.300.1", "v3.260.0-alpha.1"])
def test_a_fitting_version_on_path_is_taken(tmp_path: Path, version: str) -> None:
    program = on_path(tmp_path, version)
    found = find_engine()
    assert found is not None
    assert found.origin == "path"
    assert found.pulumi.resolve() == program.resolve()
    assert found.pulumi == found.root / "bin" / "pulumi"


@pytest.mark.parametrize("version", ["v3.258.9", "v2.99.0", "v4.0.0", "nonsense", ""])
def test_another_version_on_path_is_not(tmp_path: Path, version: str) -> None:
    on_path(tmp_path, version)
    assert find_engine() is None


def test_one_that_cannot_run_python_is_not(tmp_path: Path) -> None:
    on_path(tmp_path, "v3.259.0", host=False)
    assert find_engine() is None


def test_a_bin_folder_on_path_is_its_own_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_program(tmp_path / "there" / "bin" / "pulumi", "v3.259.0")
    write_program(tmp_path / "there" / "bin" / "pulumi-language-python")
    monkeypatch.setenv("PATH", str(tmp_path / "there" / "bin"))
    found = find_engine()
    assert found is not None
    assert found.root == tmp_path / "there"


@pytest.mark.usefixtures("go_builds")
def test_path_is_preferred_to_the_cache(tmp_path: Path) -> None:
    assert ensure_engine().origin == "built"
    on_path(tmp_path, "v3.259.0")
    assert ensure_engine().origin == "path"


@pytest.mark.usefixtures("go_builds")
def test_a_download_is_preferred_to_a_build_and_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "INSTALLER", DOWNLOADS)
    first = ensure_engine()
    assert first.origin == "installed"
    assert first.pulumi.exists()
    monkeypatch.setattr(engine, "INSTALLER", FAILS)
    assert ensure_engine() == first


@pytest.mark.usefixtures("go_builds")
def test_a_download_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "INSTALLER", HANGS)
    monkeypatch.setattr(engine, "DOWNLOAD_SECONDS", 0.3)
    assert ensure_engine().origin == "built"


@pytest.mark.usefixtures("go_builds")
def test_a_built_engine_gets_our_language_host_and_is_found_on_path_too(monkeypatch: pytest.MonkeyPatch) -> None:
    built = ensure_engine()
    assert os.access(built.root / "bin" / "pulumi-language-python", os.X_OK)
    monkeypatch.setenv("PATH", str(built.root / "bin"))
    assert find_engine() == built


def test_no_way_is_one_problem_that_names_all_three() -> None:
    with pytest.raises(ProblemsError) as raised:
        ensure_engine()
    (problem,) = raised.value.problems
    said = str(problem)
    assert f"{PULUMI.version} or newer on PATH" in said
    assert "no route to host" in said
    assert "go not found" in said
    assert "install Go" in said
    assert "get.pulumi.com" in said


def test_the_language_host_is_renewed_when_it_has_changed_and_the_engine_is_not_built_again(tmp_path: Path) -> None:
    folder = tmp_path / "bin"
    write_program(folder / "pulumi")
    built = (folder / "pulumi").stat().st_mtime_ns
    place_language_host(folder)
    launcher = folder / "pulumi-language-python"
    current = launcher.read_text()
    launcher.write_text(current.replace("language-host-", "language-host-of-another-checkout-"))
    place_language_host(folder)
    assert launcher.read_text() == current
    assert (folder / "pulumi").stat().st_mtime_ns == built


def test_the_language_host_does_not_need_the_checkout_it_came_from(tmp_path: Path) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    place_language_host(folder)
    checkout = Path(engine.__file__).parents[2]
    for file in folder.rglob("*"):
        if file.is_file():
            text = file.read_text()
            assert str(checkout) not in text
            assert "import ome_iac" not in text
            assert "from ome_iac" not in text


def test_the_launcher_without_any_python_says_where_it_looked(tmp_path: Path) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    place_language_host(folder)
    (tmp_path / "project" / "stacks").mkdir(parents=True)
    (tmp_path / "project" / "Pulumi.yaml").write_text("runtime:\n  name: python\n  options:\n    virtualenv: .venv\n")
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("sh", "dirname", "sed"):
        (programs / name).symlink_to(shutil.which(name, path="/usr/bin:/bin") or sys.exit(f"no {name}"))
    ran = subprocess.run(
        [folder / "pulumi-language-python", "127.0.0.1:1"],
        cwd=tmp_path / "project" / "stacks",
        env={"PATH": str(programs), "VIRTUAL_ENV": str(tmp_path / "active")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 1
    assert ran.stdout == ""
    assert str(tmp_path / "project" / ".venv") in ran.stderr
    assert str(tmp_path / "active") in ran.stderr
    assert "no Python with the Pulumi SDK" in ran.stderr
