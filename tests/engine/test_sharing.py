"""Studies on one cluster share it."""

from __future__ import annotations

import socket
import time

import pytest

from tune_seeds.engine import cluster, sharing
from tune_seeds.engine.sharing import Shared, fair_part


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ([], 1.0),
        ([1.0], 0.5),
        ([0.5], 0.5),
        ([0.25], 0.75),
        ([1.0, 1.0], 1 / 3),
        ([1.0, 0.1], 0.45),
        ([0.1, 0.1], 0.8),
        ([0.3, 0.4], 0.35),
        ([0.0], 1.0),
    ],
)
def test_what_is_left_is_divided_equally(others: list[float], expected: float):
    assert fair_part(others) == pytest.approx(expected)
    assert fair_part(others[::-1]) == pytest.approx(expected)


@pytest.mark.usefixtures("ray_session")
def test_two_studies_know_of_each_other_and_one_that_ended_or_fell_silent_counts_no_more(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(cluster, "_COUNT_AGAIN_S", 0.0)
    first = cluster.LiveSlots({"cpu": 0.25}, None, Shared())
    second = cluster.LiveSlots({"cpu": 0.5}, None, Shared())
    alone = first()
    assert alone == 8
    assert second() == 2, "half of four"
    assert first() == 4
    assert second(1) == 2 and first() == 6, "the second can use a quarter only"
    assert second(1) == 2, "yet may have more, as soon as it can use it"
    second.leave()
    assert first() == 8
    first.leave()

    silent, seen = Shared(), Shared()
    silent.part(1.0)
    assert seen.part(1.0) == 0.5
    monkeypatch.setattr(sharing, "GONE_AFTER_S", 0.0)
    time.sleep(0.01)
    assert seen.part(1.0) == 1.0
    seen.leave()
    silent.leave()


def test_an_address_where_nothing_answers_is_told_at_once(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cluster.ray, "is_initialized", lambda: False)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for address in (f"127.0.0.1:{port}", f"no-such-host.invalid:{port}"):
        with pytest.raises(ConnectionError, match=rf"no Ray cluster answers at {address}"):
            cluster.start_ray(address)
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
    with pytest.raises(ConnectionError, match=f"no Ray cluster answers at 127.0.0.1:{port}"):
        cluster.start_ray()
    for malformed in ("head", "head:", "head:port"):
        with pytest.raises(ValueError, match="host:port or auto"):
            cluster.start_ray(malformed)
    # A machine that is not there does not even refuse (TEST-NET-1, RFC 5737).
    monkeypatch.setattr(cluster, "_ANSWER_S", 0.2)
    with pytest.raises(ConnectionError, match=r"at 192.0.2.1:6379"):
        cluster.start_ray("192.0.2.1:6379")


def test_ray_client_is_refused_with_the_reason(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(ValueError, match=r"Ray Client.*ray job submit"):
        cluster.start_ray("ray://head:10001")
    monkeypatch.setenv("RAY_ADDRESS", "ray://head:10001")
    with pytest.raises(ValueError, match="Ray Client"):
        cluster.start_ray()
