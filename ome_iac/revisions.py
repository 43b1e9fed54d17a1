"""The project as a commit has it, in a folder of its own: the working tree is neither read nor changed for it."""

from __future__ import annotations

import io
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ome_iac.problems import Problem, ProblemsError
from ome_iac.project import Project

READ_AT_THE_COMMIT = (".yaml", ".yml", ".lock")


@contextmanager
def project_at(project: Project, ref: str, where: str) -> Iterator[Project]:
    """Stacks and settings at a commit. Weights that git does not keep are those that lie here now.

    `where` is the flag that named the commit. Raises ProblemsError where there is no such commit, or no git.
    """
    commit = _git(project, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    if commit is None:
        what = f"{ref} is neither a plan's file nor a commit of this repository"
        raise ProblemsError([Problem(where, "", what, "name a branch, tag or commit, or a file of plan --json")])
    archive = _git(project, "archive", "--format=tar", commit.decode().strip(), "--", "Pulumi.yaml", "stacks")
    if archive is None:
        raise ProblemsError([Problem(where, "", f"the project did not stand here at {ref}", "name a later commit")])
    with tempfile.TemporaryDirectory(prefix="ome-iac-") as folder:
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            tar.extractall(folder, filter="data")
        _link_untracked(project, Path(folder))
        yield Project(Path(folder))


def _link_untracked(project: Project, folder: Path) -> None:
    listed = _git(project, "ls-files", "--others", "--directory", "-z", "--", "stacks") or b""
    for name in filter(None, listed.decode().split("\0")):
        path, target = project.root / name.rstrip("/"), folder / name.rstrip("/")
        wanted = path.is_dir() or path.suffix not in READ_AT_THE_COMMIT
        if wanted and not target.exists() and target.parent.is_dir():
            target.symlink_to(path, target_is_directory=path.is_dir())


def _git(project: Project, *arguments: str) -> bytes | None:
    """What git prints; None where it fails."""
    try:
        found = subprocess.run(["git", "-C", str(project.root), *arguments], capture_output=True, check=False)
    except FileNotFoundError:
        raise ProblemsError([Problem("git", "", "is not installed", "compare with a file of plan --json")]) from None
    return found.stdout if found.returncode == 0 else None
