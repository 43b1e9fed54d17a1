import importlib.metadata
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


def test_a_built_engine_is_in_the_cache_with_a_language_host_beside_it(engine: Engine) -> None:
    if engine.origin != "built":
        pytest.skip("the engine here was not built by us")
    assert engine.pulumi == PULUMI.path
    assert engine.pulumi.is_relative_to(toolchain.cache_folder())
    assert (engine.root / "bin" / "pulumi-language-python").exists()


def test_the_engine_and_the_installed_sdk_have_one_version() -> None:
    assert importlib.metadata.version("pulumi") == PULUMI.version
