"""The arguments that we emit, given to the real router, with stub engines behind it.

Service discovery is left out here: workers are named on the command line (see test_discovery.py); every other flag is
as it stands in the Deployment.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from ome_iac.planning.plan import ServicePlan
from ome_iac.planning.serving.decisions import Router as RouterDecision
from ome_iac.planning.serving.routing import POLICIES, sglang_router
from tests.routers.plans import one
from tests.routers.program import CURRENT, FORMER, Release, running, without
from tests.routers.workers import Worker, started

DISCOVERY = ("--service-discovery", "--service-discovery-namespace", "--service-discovery-port")


def static(router: RouterDecision, *workers: Worker) -> list[str]:
    """For replicas that do both."""
    named = without(router.command, *DISCOVERY, "--selector")
    return [*named, "--worker-urls", *(worker.url for worker in workers)]


def static_pair(router: RouterDecision, prefill: list[Worker], decode: list[Worker]) -> list[str]:
    named = without(router.command, *DISCOVERY, "--prefill-selector", "--decode-selector")
    for worker in prefill:
        named += ["--prefill", worker.url, "8998"]
    for worker in decode:
        named += ["--decode", worker.url]
    return named


def workers(prefix: str, count: int, sglang: bool = True) -> list[Worker]:
    return [Worker(f"{prefix}{number}", sglang=sglang) for number in range(count)]


def apart(service: ServicePlan) -> ServicePlan:
    """The same service, as if prefill and decode were apart."""
    roles = tuple(service.engine.model_copy(update={"role": role, "replicas": 2}) for role in ("prefill", "decode"))
    return service.model_copy(update={"pattern": "prefill-decode", "roles": roles})


@pytest.fixture(params=[CURRENT, FORMER], ids=lambda release: release.package)
def release(request: pytest.FixtureRequest) -> Release:
    found: Release = request.param
    return found


@pytest.fixture
def replicated(tmp_path: Path) -> ServicePlan:
    return one(tmp_path / "stack", engine={"minReplicas": 3})


def different(count: int) -> list[str]:
    return [f"{chr(65 + number) * 400} {number}" for number in range(count)]


PREFIX = "You are a helpful assistant of the harbour office and answer questions about tides and berths. " * 20


def test_shared_prefixes_stick_to_one_worker_and_a_crowd_spreads(
    tmp_path: Path, replicated: ServicePlan, release: Release
) -> None:
    three = workers("w", 3)
    with (
        started(*three),
        running(static(sglang_router(replicated, None), *three), tmp_path / "log", release=release) as router,
    ):
        router.wait_for(3)
        same = {router.answered_by(f"{PREFIX} Question {number}?") for number in range(12)}
        for worker in three:
            worker.seconds = 0.5
        crowd = Counter(router.answered_at_once(different(24)))
    assert len(same) == 1
    assert len(crowd) == 3


@pytest.mark.parametrize("sglang", [True, False], ids=["sglang", "other-engines"])
@pytest.mark.parametrize("policy", POLICIES)
def test_requests_flow_with_every_policy(
    tmp_path: Path, replicated: ServicePlan, release: Release, policy: str, sglang: bool
) -> None:
    three = workers("w", 3, sglang)
    with (
        started(*three),
        running(static(sglang_router(replicated, policy), *three), tmp_path / "log", release=release) as router,
    ):
        router.wait_for(3)
        for worker in three:
            worker.seconds = 0.2
        names = Counter(router.answered_at_once(different(18)))
    assert names == Counter({worker.name: len(worker.asked) for worker in three})
    assert len(names) == 3


def test_a_worker_that_dies_is_survived(tmp_path: Path, replicated: ServicePlan, release: Release) -> None:
    three = workers("w", 3)
    with (
        started(*three),
        running(static(sglang_router(replicated, None), *three), tmp_path / "log", release=release) as router,
    ):
        router.wait_for(3)
        first = router.answered_by(PREFIX)
        next(worker for worker in three if worker.name == first).stop()
        after = [router.answered_by(f"{PREFIX} {number}") for number in range(10)]
    assert first not in after


def test_prefill_and_decode_go_to_the_right_workers(tmp_path: Path, replicated: ServicePlan, release: Release) -> None:
    prefill, decode = workers("p", 2), workers("d", 2)
    decision = sglang_router(apart(replicated), None)
    with (
        started(*prefill, *decode),
        running(static_pair(decision, prefill, decode), tmp_path / "log", release=release) as router,
    ):
        router.wait_for(4)
        answered = [router.answered_by(f"{PREFIX} {number}") for number in range(10)]
    assert set(answered) <= {"d0", "d1"}
    # Both sides saw every request, and were told where they find each other.
    asked = [body for worker in prefill for body in worker.asked]
    assert len(asked) == sum(len(worker.asked) for worker in decode) == 10
    assert {body["bootstrap_port"] for body in asked} == {8998}
    rooms = {body["bootstrap_room"] for body in asked}
    assert rooms == {body["bootstrap_room"] for worker in decode for body in worker.asked}
    assert len(rooms) == 10


def prefill_share(folder: Path, service: ServicePlan, release: Release) -> list[int]:
    """Of 24 requests with one prefix, how many each of two prefill workers was sent; fewest first."""
    prefill, decode = workers("p", 2), workers("d", 2)
    with started(*prefill, *decode):
        command = static_pair(sglang_router(apart(service), None), prefill, decode)
        with running(command, folder / "log", release=release) as router:
            router.wait_for(4)
            for number in range(24):
                router.answered_by(f"{PREFIX} {number}")
    return sorted(len(worker.asked) for worker in prefill)


def test_shared_prefixes_are_prefilled_by_one_worker(tmp_path: Path, replicated: ServicePlan) -> None:
    assert prefill_share(tmp_path, replicated, CURRENT) == [0, 24]


def test_the_former_release_prefilled_them_anywhere(tmp_path: Path, replicated: ServicePlan) -> None:
    # Why it is not the one that is deployed.
    fewer, _ = prefill_share(tmp_path, replicated, FORMER)
    assert fewer > 2


def test_the_death_of_a_decode_worker_is_survived(tmp_path: Path, replicated: ServicePlan, release: Release) -> None:
    prefill, decode = workers("p", 2), workers("d", 2)
    decision = sglang_router(apart(replicated), None)
    with (
        started(*prefill, *decode),
        running(static_pair(decision, prefill, decode), tmp_path / "log", release=release) as router,
    ):
        router.wait_for(4)
        router.answered_by("first")
        decode[0].stop()
        answered = {router.answered_by(f"{PREFIX} {number}") for number in range(10)}
    assert answered == {"d1"}
