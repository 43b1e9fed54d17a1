"""The Python language host beside a built engine, as a person sees it: through `pulumi`."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ome_iac.rehearsal import host
from ome_iac.rehearsal.engine import Engine
from ome_iac.rehearsal.processes import process_id

pytestmark = pytest.mark.engine


class Project:
    """A small project in a folder of its own, with the stack `dev` in a backend of its own."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.engine, self.folder = engine, folder
        self.environment = {
            **os.environ,
            "PULUMI_HOME": str(folder / "home"),
            "PULUMI_BACKEND_URL": f"file://{folder / 'state'}",
            "PULUMI_CONFIG_PASSPHRASE": "",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        }
        self.environment.pop("VIRTUAL_ENV", None)
        (folder / "state").mkdir(parents=True)
        (folder / "stacks").mkdir()
        (folder / "environment").symlink_to(sys.prefix)
        (folder / "Pulumi.yaml").write_text(
            "name: small\nmain: stacks\nstackConfigDir: stacks\n"
            "runtime:\n  name: python\n  options:\n    virtualenv: environment\n"
        )
        self.run("stack", "init", "dev")

    def program(self, text: str) -> None:
        (self.folder / "stacks" / "__main__.py").write_text(text)

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [self.engine.pulumi, *arguments, "--non-interactive"],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str, fails: bool = False) -> str:
        process = self.start(*arguments)
        said = process.communicate()[0]
        assert (process.returncode != 0) is fails, said
        return said

    def diagnostics(self) -> str:
        """What a failing preview tells at its end, without the running commentary before it."""
        return self.run("preview", "--stack", "dev", "--color", "never", fails=True).partition("Diagnostics:")[2]


@pytest.fixture
def project(engine: Engine, tmp_path: Path) -> Project:
    if engine.origin != "built":
        pytest.skip("the engine on PATH brings its own language host")
    return Project(engine, tmp_path / "project")


def test_config_secrets_output_and_place_are_the_projects(project: Project) -> None:
    project.run("config", "set", "--stack", "dev", "greeting", "hello")
    project.run("config", "set", "--stack", "dev", "--secret", "password", "hunter2")
    project.run("config", "set", "--stack", "dev", "--path", "pools[0].name", "h100")
    project.program(
        "import os, sys, pulumi\n"
        "config = pulumi.Config()\n"
        "print('printed to stdout'); print('printed to stderr', file=sys.stderr)\n"
        "pulumi.export('greeting', config.require('greeting'))\n"
        "pulumi.export('password', config.require_secret('password'))\n"
        "pulumi.export('pools', config.require_object('pools'))\n"
        "pulumi.export('place', [os.getcwd(), sys.prefix, os.environ['VIRTUAL_ENV'], sys.path[0]])\n"
        "pulumi.export('stack', [pulumi.get_project(), pulumi.get_stack(), pulumi.get_organization()])\n"
        "pulumi.export('root', pulumi.get_root_directory())\n"
        "pulumi.export('dry', pulumi.runtime.is_dry_run())\n"
    )
    said = project.run("up", "--yes", "--stack", "dev")
    assert "printed to stdout" in said
    assert "printed to stderr" in said
    assert "hunter2" not in said
    outputs = json.loads(project.run("stack", "output", "--stack", "dev", "--json"))
    stacks, environment = str(project.folder / "stacks"), str(project.folder / "environment")
    assert outputs == {
        "greeting": "hello",
        "password": "[secret]",
        "pools": [{"name": "h100"}],
        "place": [stacks, environment, environment, stacks],
        "stack": ["small", "dev", "organization"],
        "root": str(project.folder),
        "dry": False,
    }
    assert "hunter2" not in project.run("stack", "export", "--stack", "dev")


def test_modules_beside_the_program_are_found(project: Project) -> None:
    (project.folder / "stacks" / "beside.py").write_text("VALUE = 3\n")
    project.program("import pulumi, beside\npulumi.export('value', beside.VALUE)\n")
    assert "value: 3" in project.run("preview", "--stack", "dev")


def test_a_single_file_program_in_the_active_environment(project: Project) -> None:
    (project.folder / "single.py").write_text("import pulumi, sys\npulumi.export('prefix', sys.prefix)\n")
    (project.folder / "Pulumi.yaml").write_text("name: small\nmain: single.py\nruntime: python\n")
    project.environment["VIRTUAL_ENV"] = sys.prefix
    assert sys.prefix in project.run("preview", "--stack", "dev")


def test_an_exception_is_shown_once_from_the_programs_first_line_on(project: Project) -> None:
    project.program("def size(pool):\n    return pool['size']\n\nsize({})\n")
    said = project.diagnostics()
    assert said.count("KeyError: 'size'") == 1
    assert said.count("Traceback") == 1
    assert "line 4, in <module>" in said
    assert "return pool['size']" in said
    assert "runpy" not in said
    assert "host_program" not in said
    assert "unhandled error occurred" not in said


def test_an_exception_in_an_apply_is_shown_without_the_sdks_frames(project: Project) -> None:
    project.program("import pulumi\npulumi.export('x', pulumi.Output.from_input(0).apply(lambda x: 1 / x))\n")
    said = project.diagnostics()
    assert said.count("ZeroDivisionError: division by zero") == 1
    assert "in <lambda>" in said
    assert "asyncio" not in said


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (
            "import pulumi, sys\npulumi.log.error('stacks/dev.yaml:3 is wrong')\nsys.exit(32)\n",
            "stacks/dev.yaml:3 is wrong",
        ),
        ("import pulumi\nraise pulumi.RunError('size is missing')\n", "size is missing"),
        ("import sys\nsys.exit(7)\n", "the program exited with status 7"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n", "the program was ended by SIGKILL"),
        ("def f(:\n", "SyntaxError: invalid syntax"),
    ],
)
def test_one_failure_is_one_message(project: Project, program: str, message: str) -> None:
    project.program(program)
    said = project.diagnostics()
    assert said.count(message) == 1
    assert said.count("error: ") == 1
    assert "Traceback" not in said


def test_no_program_and_no_environment_are_told(project: Project) -> None:
    assert "__main__.py: no such file" in project.diagnostics()
    project.program("")
    (project.folder / "environment").unlink()
    project.environment["VIRTUAL_ENV"] = sys.prefix
    said = project.diagnostics()
    assert f"{project.folder / 'environment'} is no virtual environment" in said


def descendants(process: "subprocess.Popen[str]", wanted: str) -> list[int]:
    """The process ids below `process` whose command line holds `wanted`."""
    listed = subprocess.run(["ps", "-ww", "-eo", "pid=,ppid=,args="], capture_output=True, text=True, check=True).stdout
    rows = [
        (int(pid), int(parent), args) for pid, parent, args in re.findall(r"^\s*(\d+)\s+(\d+)\s+(.*)$", listed, re.M)
    ]
    below = {process.pid}
    while grown := {pid for pid, parent, _ in rows if parent in below} - below:
        below |= grown
    return [pid for pid, _, args in rows if pid in below and wanted in args]


SLEEPS = """\
import pathlib, time
try:
    pathlib.Path('running').touch()
    time.sleep(3600)
finally:
    pathlib.Path('tidied').touch()
"""


def start_sleeping(project: Project) -> "subprocess.Popen[str]":
    project.program(SLEEPS)
    process = project.start("up", "--yes", "--stack", "dev", "--color", "never")
    while not (project.folder / "stacks" / "running").exists():
        assert process.poll() is None
        time.sleep(0.05)
    return process


def test_killing_the_engine_ends_host_and_program(project: Project) -> None:
    process = start_sleeping(project)
    below = [process_id(pid) for pid in descendants(process, "host")]
    assert len(below) >= 2
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    for left in below:
        while left.is_running():
            time.sleep(0.05)


def test_cancelling_is_quiet_and_lets_the_program_tidy_up(project: Project) -> None:
    process = start_sleeping(project)
    below = [process_id(pid) for pid in descendants(process, "host")]
    os.kill(process.pid, signal.SIGINT)
    said = process.communicate()[0]
    assert process.returncode != 0
    assert "Traceback" not in said
    assert "KeyboardInterrupt" not in said
    for _ in range(200):  # the engine does not wait for what it told to stop
        if not any(left.is_running() for left in below):
            break
        time.sleep(0.05)
    assert not any(left.is_running() for left in below)
    assert (project.folder / "stacks" / "tidied").exists()


def test_killing_the_host_ends_the_program(project: Project) -> None:
    process = start_sleeping(project)
    (program,) = [process_id(pid) for pid in descendants(process, "host_program.py")]
    for pid in descendants(process, "/host.py"):
        os.kill(pid, signal.SIGKILL)
    while program.is_running():
        time.sleep(0.05)
    assert process.wait() != 0
    process.communicate()


def test_a_policy_pack_is_started_in_its_folder(project: Project) -> None:
    pack = project.folder / "policies"
    pack.mkdir()
    (pack / "PulumiPolicy.yaml").write_text("runtime: python\n")
    # It does not answer the engine, which takes the policy SDK: that it runs, and where, is the host's part.
    (pack / "__main__.py").write_text(
        "import os, sys\n"
        "print('started in', os.getcwd(), 'with', len(sys.argv), file=sys.stderr, flush=True)\n"
        "sys.exit(5)\n"
    )
    project.program("")
    project.environment["VIRTUAL_ENV"] = sys.prefix
    said = project.run("preview", "--stack", "dev", "--policy-pack", str(pack), fails=True)
    assert f"started in {pack}" in said


def test_a_component_package_answers_with_its_schema(project: Project) -> None:
    package = project.folder / "package"
    package.mkdir()
    (package / "PulumiPlugin.yaml").write_text("runtime:\n  name: python\n  options:\n    virtualenv: ../environment\n")
    (package / "__main__.py").write_text(
        "from typing import TypedDict\nimport pulumi\n"
        "from pulumi.provider.experimental import component_provider_host\n"
        "class PoolArgs(TypedDict):\n    size: pulumi.Input[int]\n"
        "class Pool(pulumi.ComponentResource):\n"
        "    def __init__(self, name: str, args: PoolArgs, opts: pulumi.ResourceOptions | None = None) -> None:\n"
        "        super().__init__('small:index:Pool', name, {}, opts)\n"
        "component_provider_host(name='small', components=[Pool])\n"
    )
    said = project.run("package", "get-schema", str(package))
    schema = json.loads(said[said.index("{") :])
    assert list(schema["resources"]) == ["small:index:Pool"]


def test_install_makes_the_environment_it_lacks(project: Project) -> None:
    (project.folder / "environment").unlink()
    project.environment["VIRTUAL_ENV"] = sys.prefix
    (project.folder / "requirements.txt").write_text("# nothing\n")
    project.program("")
    project.run("install")
    assert (project.folder / "environment" / "bin" / "python").exists()


def test_about_tells_the_projects_interpreter(project: Project) -> None:
    project.program("")
    said = json.loads(project.run("about", "--json"))
    assert said["runtime"]["executable"] == str(project.folder / "environment" / "bin" / "python")
    assert said["runtime"]["version"].startswith("3.")


def test_the_host_imports_the_protocol_only() -> None:
    code = (
        f"import runpy, sys\nhost = runpy.run_path({host.__file__!r})\nhost['load_messages']()\n"
        "print('pulumi.runtime.proto.language_pb2' in sys.modules, 'pulumi.output' in sys.modules)\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said == "True False\n"
