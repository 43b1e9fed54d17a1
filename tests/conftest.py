"""The real engine and the real control plane, for the tests marked `engine` and `cluster`."""

from collections.abc import Iterator

import pytest
from hypothesis import settings

from ome_iac.rehearsal.control_plane import ControlPlane
from ome_iac.rehearsal.engine import Engine, ensure_engine

# How long an example takes says how busy the machine is, not whether the code is right.
settings.register_profile("no-deadline", deadline=None)
settings.load_profile("no-deadline")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # With pytest-xdist and --dist loadgroup the control plane's tests share one worker, and so one control plane.
    for item in items:
        if item.get_closest_marker("cluster"):
            item.add_marker(pytest.mark.xdist_group("cluster"))


@pytest.fixture(scope="session")
def engine() -> Engine:
    return ensure_engine()


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Running and without nodes; shared by the session: use a namespace of your own, and remove your nodes."""
    with ControlPlane(tmp_path_factory.mktemp("control-plane"), bound_to_parent=True) as plane:
        yield plane
