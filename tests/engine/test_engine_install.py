from pathlib import Path

import pytest
from pulumi.automation import PulumiCommand

from ome_iac.rehearsal import toolchain
from ome_iac.rehearsal.engine import PULUMI, Engine, ensure_engine, find_engine

pytestmark = pytest.mark.engine


def test_the_engine_is_found_again_and_the_sdk_takes_it(engine: Engine) -> None:
    assert find_engine() == ensure_engine() == engine
    command = PulumiCommand(str(engine.root))
    assert Path(command.command) == engine.pulumi
    assert str(command.version) == engine.version


def test_go_can_build_every_pinned_tool_here_or_it_was_built(engine: Engine) -> None:
    if engine.origin == "built":
        assert engine.pulumi == PULUMI.path
        assert engine.pulumi.is_relative_to(toolchain.cache_folder())


def test_the_engine_and_the_installed_sdk_have_one_version() -> None:
    import importlib.metadata

    assert importlib.metadata.version("pulumi") == PULUMI.version
