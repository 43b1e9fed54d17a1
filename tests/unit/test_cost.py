"""Prices by the hour and by the token, and what is paid for nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ome_iac.hardware import gpus, shapes
from ome_iac.planning.cost import full_batch, per_million_tokens, per_month, pool_cost, reservation_cost, service_cost
from ome_iac.planning.roofline import roofline
from ome_iac.planning.speed import BOUND, Lengths, Speed
from ome_iac.runtimes.catalog import Task
from ome_iac.runtimes.splits import Split
from tests.unit.facts import encoder, llama_70b

CHAT = Lengths(input_tokens=1024, output_tokens=256)
H100 = shapes()["BM.GPU.H100.8"]


def speed(tokens_per_second: float, concurrency: int = 1) -> Speed:
    return Speed(
        time_to_first_token_ms=100,
        time_per_output_token_ms=10,
        tokens_per_second=tokens_per_second,
        requests_per_second=tokens_per_second / 256,
        lengths=CHAT,
        concurrency=concurrency,
        source=BOUND,
        detail=(),
    )


def test_a_million_tokens_cost_the_time_they_take() -> None:
    assert per_million_tokens(40.0, speed(1000)) == pytest.approx(40 / 3.6, rel=1e-3)


def test_a_full_replica_is_cheaper_by_the_token() -> None:
    price = 4 * H100.price.per_gpu_hour
    asked = roofline(llama_70b(), gpus()["H100-80GB"], Split(tensor=4), CHAT, 2)
    full = roofline(llama_70b(), gpus()["H100-80GB"], Split(tensor=4), CHAT, 256)
    cost = service_cost(price, 3, asked, full)
    assert cost.per_hour == 3 * price
    assert cost.per_million_tokens is not None
    assert cost.per_million_tokens_full is not None
    assert cost.per_million_tokens_full < cost.per_million_tokens / 20
    assert cost.full_concurrency == 256
    assert (cost.source, cost.full_source) == (BOUND, BOUND)


def test_an_encoder_has_no_price_by_the_token() -> None:
    lengths = Lengths(input_tokens=256, output_tokens=1)
    found = roofline(encoder(), gpus()["A10"], Split(), lengths, 8, task=Task.EMBED)
    cost = service_cost(2.0, 1, found)
    assert cost.per_million_tokens is None
    assert cost.per_hour == 2.0


def test_the_full_batch_is_what_cache_and_engine_both_allow() -> None:
    assert full_batch(held=4.5, longest=32_768, typical=1_280, max_num_seqs=1024) == 115
    assert full_batch(held=4000.0, longest=32_768, typical=1_280, max_num_seqs=1024) == 1024
    assert full_batch(held=None, longest=512, typical=512, max_num_seqs=64) == 64
    assert full_batch(held=0.2, longest=1_000, typical=1_000, max_num_seqs=64) == 1


def test_idle_gpus_are_paid() -> None:
    cost = pool_cost(10.0, nodes=2, gpus_per_node=8, gpus_used=5)
    assert (cost.per_hour, cost.idle_gpus, cost.idle_per_hour) == (160.0, 11, 110.0)


def test_unused_reserved_nodes_cost_85_percent() -> None:
    cost = reservation_cost(10.0, gpus_per_node=8, reserved_nodes=3, used_nodes=1)
    assert (cost.unused_nodes, cost.per_hour) == (2, 136.0)
    assert reservation_cost(10.0, 8, reserved_nodes=2, used_nodes=2).per_hour == 0
    assert reservation_cost(10.0, 8, reserved_nodes=1, used_nodes=2).per_hour == 0


def test_a_month_is_744_hours() -> None:
    assert per_month(10.0) == 7440.0


@given(st.floats(1, 1e5), st.floats(1, 1e5), st.floats(0.1, 1000))
def test_faster_is_never_dearer(one: float, other: float, price: float) -> None:
    slow, fast = sorted((one, other))
    dear, cheap = per_million_tokens(price, speed(slow)), per_million_tokens(price, speed(fast))
    assert dear is not None
    assert cheap is not None
    assert cheap <= dear
