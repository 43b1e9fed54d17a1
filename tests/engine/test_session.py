"""A rehearsal as a command's surroundings."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from ome_iac.problems import ProblemsError
from ome_iac.rehearsal.engine import Engine
from ome_iac.rehearsal.session import Rehearsal
from tests.engine.harness import files

ROOT = Path(__file__).parents[2]


@pytest.fixture
def anywhere(tmp_path: Path) -> Engine:
    """An engine that nothing here starts."""
    return Engine(tmp_path / "engine/bin/pulumi", tmp_path / "engine", "3.259.0", "built")


def ports(rehearsal: Rehearsal) -> list[int]:
    return [int(entry.partition(":")[2]) for entry in rehearsal.environment()["PULUMI_DEBUG_PROVIDERS"].split(",")]


def answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def test_the_environment_keeps_everything_below_the_root(
    tmp_path: Path, anywhere: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PULUMI_CONFIG_PASSPHRASE", raising=False)
    monkeypatch.delenv("PULUMI_CONFIG_PASSPHRASE_FILE", raising=False)
    with Rehearsal(tmp_path, engine=anywhere) as rehearsal:
        variables = rehearsal.environment()
        assert variables["PULUMI_BACKEND_URL"] == (tmp_path / "on-folder/state").as_uri()
        assert (tmp_path / "on-folder/state").is_dir()
        assert Path(variables["PULUMI_HOME"]).is_relative_to(tmp_path)
        assert variables["PATH"].split(os.pathsep)[0] == str(anywhere.pulumi.parent)
        assert "KUBECONFIG" not in variables
        names = [entry.partition(":")[0] for entry in variables["PULUMI_DEBUG_PROVIDERS"].split(",")]
        assert names == ["kubernetes", "oci"]
        assert all(answers(port) for port in ports(rehearsal))
        passphrase = variables["PULUMI_CONFIG_PASSPHRASE"]
        assert len(passphrase) >= 32
        kept = tmp_path / "on-folder/passphrase"
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600
        were = ports(rehearsal)
    assert not any(answers(port) for port in were)
    with Rehearsal(tmp_path, engine=anywhere) as again:
        assert again.environment()["PULUMI_CONFIG_PASSPHRASE"] == passphrase


@pytest.mark.parametrize("name", ["PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE"])
def test_the_users_own_passphrase_is_left_alone(
    tmp_path: Path, anywhere: Engine, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "")
    with Rehearsal(tmp_path, engine=anywhere) as rehearsal:
        assert "PULUMI_CONFIG_PASSPHRASE" not in rehearsal.environment()


def test_one_rehearsal_at_a_time_says_who_is_first(tmp_path: Path, anywhere: Engine) -> None:
    with Rehearsal(tmp_path, engine=anywhere):
        with pytest.raises(ProblemsError, match=f"running here already \\(process {os.getpid()}\\)"):
            Rehearsal(tmp_path, engine=anywhere).__enter__()
        with Rehearsal(tmp_path / "other", engine=anywhere):
            pass
    with Rehearsal(tmp_path, engine=anywhere):
        pass


def test_folder_and_cluster_are_kept_apart(tmp_path: Path, anywhere: Engine) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(
        "contexts: [{name: c, context: {cluster: c, user: u}}]\n"
        "clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}]\n"
        "users: [{name: u, user: {token: t}}]\ncurrent-context: c\n"
    )
    with Rehearsal(tmp_path, engine=anywhere) as folder, Rehearsal(tmp_path, kubeconfig, engine=anywhere) as cluster:
        assert folder.state_folder != cluster.state_folder
        assert cluster.environment()["KUBECONFIG"] == str(kubeconfig)
        assert str(kubeconfig) in cluster.where
        assert str(folder.kubernetes_folder) in folder.where


@pytest.mark.parametrize(
    ("name", "text", "wanted"),
    [
        ("faults", "{", "is not JSON"),
        ("faults", '{"a:b:C": {"create": {"time": 1}}}', "a:b:C.create.time: Extra inputs"),
        ("faults", '{"a:b:C": {"make": {}}}', "'create'"),
        ("kubeconfig", "a: b", "is no kubeconfig"),
        ("kubeconfig", None, "cannot be read"),
    ],
)
def test_wrong_files_are_refused_and_leave_nothing(
    tmp_path: Path, anywhere: Engine, name: str, text: str | None, wanted: str
) -> None:
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    given = {"faults": path} if name == "faults" else {"cluster_kubeconfig": path}
    rehearsal = Rehearsal(tmp_path / "root", engine=anywhere, **given)
    with pytest.raises(ProblemsError, match=wanted):
        rehearsal.__enter__()
    with Rehearsal(tmp_path / "root", engine=anywhere):  # the lock is free
        pass


def test_run_gives_the_exit_code(tmp_path: Path, anywhere: Engine, capfd: pytest.CaptureFixture[str]) -> None:
    with Rehearsal(tmp_path, engine=anywhere) as rehearsal:
        assert rehearsal.run(["sh", "-c", "echo $PULUMI_BACKEND_URL $MORE; exit 7"], {"MORE": "more"}) == 7
        assert rehearsal.run(["sh", "-c", "kill -TERM $$"]) == 128 + signal.SIGTERM
        with pytest.raises(ProblemsError, match="no-such-command: cannot be run: No such file"):
            rehearsal.run(["no-such-command"])
    assert capfd.readouterr().out.splitlines() == [f"{rehearsal.state_folder.as_uri()} more"]


def group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


INTERRUPTED = """
    import sys
    from pathlib import Path
    from ome_iac.rehearsal.engine import Engine
    from ome_iac.rehearsal.session import Rehearsal

    root = Path(sys.argv[1])
    with Rehearsal(root, engine=Engine(root / "pulumi", root, "", "built")) as rehearsal:
        (root / "ports").write_text(rehearsal.environment()["PULUMI_DEBUG_PROVIDERS"])
        command = f"trap 'exit 5' INT TERM; touch {root}/ready; while :; do sleep 0.05; done"
        sys.exit(rehearsal.run(["sh", "-c", command]))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_go_to_the_command_and_nothing_is_left(tmp_path: Path, number: signal.Signals) -> None:
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(INTERRUPTED))
    process = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    while not (tmp_path / "ready").exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(number)
    assert process.wait() == (128 + number if number == signal.SIGHUP else 5)
    while group_lives(process.pid):  # the shell's last `sleep 0.05` may outlive it by that much
        time.sleep(0.02)
    for entry in (tmp_path / "ports").read_text().split(","):
        assert not answers(int(entry.partition(":")[2]))


PROGRAM = """
import pulumi, pulumi_kubernetes as k8s, pulumi_oci as oci
cluster = oci.core.ComputeCluster("rdma", availability_domain="AD-1", compartment_id="ocid1.compartment.oc1..c")
k8s.core.v1.ConfigMap("facts", data={"cluster": cluster.id})
pulumi.export("cluster", cluster.id)
"""


@pytest.mark.engine
def test_the_plain_command_line_works_inside_and_is_quiet(
    tmp_path: Path, engine: Engine, capfd: pytest.CaptureFixture[str]
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "Pulumi.yaml").write_text("name: plain\nruntime: python\n")
    (project / "__main__.py").write_text(PROGRAM)
    path = {"PATH": os.pathsep.join([str(engine.pulumi.parent), str(Path(sys.executable).parent), os.environ["PATH"]])}
    quiet = ["--non-interactive", "--color=never", "--stack=dev"]
    with Rehearsal(project / ".rehearsal", engine=engine) as rehearsal:

        def pulumi(*arguments: str) -> str:
            assert rehearsal.run(["pulumi", *arguments], path, project) == 0
            captured = capfd.readouterr()
            text = captured.out + captured.err
            assert "warning" not in text.lower()
            return text

        pulumi("stack", "init", "dev", "--non-interactive")
        assert "+ 3 to create" in pulumi("preview", *quiet)
        assert "+ 3 created" in pulumi("up", "--yes", "--skip-preview", *quiet)
        pulumi("preview", "--expect-no-changes", *quiet)
        pulumi("refresh", "--yes", "--expect-no-changes", *quiet)
        pulumi("destroy", "--yes", "--skip-preview", *quiet)
        assert files(rehearsal.kubernetes_folder) == []
        assert files(rehearsal.oci_folder) == []
    assert (project / ".rehearsal/on-folder/state/.pulumi/stacks/plain/dev.json").exists()
