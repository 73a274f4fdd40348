"""What keys share, and how often they may call: a greedy key takes its part and no more."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
import sqlalchemy as sa

from wan_flf2v.gateway.batches import Batches
from wan_flf2v.gateway.database import Database
from wan_flf2v.gateway.errors import Unavailable
from wan_flf2v.gateway.jobs import JobStore
from wan_flf2v.gateway.service import FAULTS
from wan_flf2v.gateway.shares import Budget, Places, Rate
from wan_flf2v.gateway.tables import Job

from .local import new_job, run


def test_a_key_has_its_part_at_most_and_the_rest_goes_in_order() -> None:
    async def main() -> None:
        shares, held, order = Places("x", 4, 2), {"a": 0, "b": 0}, []

        async def use(key: str, number: int) -> None:
            async with shares.hold(key):
                held[key] += 1
                order.append((key, number))
                assert held[key] <= 2
                assert sum(held.values()) <= 4
                await asyncio.sleep(0.01)
                held[key] -= 1

        await asyncio.gather(*(use(key, number) for key in "ab" for number in range(20)))
        assert [number for key, number in order if key == "a"] == list(range(20))
        assert {key for key, _ in order[:4]} == {"a", "b"}  # b's first is not behind a's twenty

    run(main)


def test_who_waits_too_long_is_told_to_come_again_and_nothing_is_lost() -> None:
    async def main() -> None:
        shares = Places("x", 1, 1, wait_s=0.05)
        async with shares.hold("a"):
            with pytest.raises(Unavailable) as caught:
                async with shares.hold("b"):
                    pass
            assert caught.value.headers["Retry-After"]
            waiting = asyncio.create_task(shares.hold("c").__aenter__())
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        async with shares.hold("b"):
            pass

    run(main)


def test_who_goes_away_just_when_a_place_comes_free_leaves_it_to_the_next() -> None:
    async def main() -> None:
        shares = Places("x", 1, 1, wait_s=5)
        async with shares.hold("a"):
            coming = asyncio.create_task(shares.hold("b").__aenter__())
            await asyncio.sleep(0)
        coming.cancel()  # its place has come, and it does not know yet
        assert isinstance((await asyncio.gather(coming, return_exceptions=True))[0], asyncio.CancelledError)
        for key in "bc":
            async with shares.hold(key):
                pass

    run(main)


def test_amounts_count_and_one_that_is_larger_than_a_part_still_comes_through() -> None:
    budget = Budget("bytes", 100, 50)
    with budget.hold("a", 70), budget.hold("b", 50):
        for key in "abc":
            with pytest.raises(Unavailable) as caught, budget.hold(key, 1):
                pass
            assert caught.value.headers["Retry-After"]
    with budget.hold("c", 50):
        pass


@pytest.mark.parametrize("offered", [45, 60, 200])
def test_above_its_limit_a_key_still_gets_its_limit(offered: int) -> None:
    rate = Rate(50, 50)
    passed, began = 0, time.monotonic()
    for number in range(offered * 3):
        time.sleep(max(0.0, began + number / offered - time.monotonic()))
        passed += rate.hit("a")
    assert 0.9 * min(offered, 50) * 3 <= passed <= 50 * 4 + 2
    assert rate.hit("b")


def test_what_an_item_brings_about_fails_it_alone_and_what_none_did_fails_all_of_its_batch_at_once() -> None:
    worked: list[list[str]] = []

    async def work(items: list[str]) -> list[str]:
        worked.append(items)
        for name, error in (("bad", ValueError), ("away", OSError)):
            if name in items:
                raise error(name)
        return [item.upper() for item in items]

    async def ask(*items: str) -> list[Any]:
        worked.clear()
        answers = await asyncio.gather(*map(Batches(work, (ValueError,)).ask, items), return_exceptions=True)
        return [type(answer) if isinstance(answer, Exception) else answer for answer in answers]

    async def main() -> None:
        assert await ask("a", "b", "bad", "c") == ["A", "B", ValueError, "C"]
        assert worked == [["a"], ["b", "bad", "c"], ["b"], ["bad"], ["c"]]
        assert await ask("a", "away", "b") == ["A", OSError, OSError]
        assert worked == [["a"], ["away", "b"]]
        assert await ask("bad") == [ValueError]
        assert worked == [["bad"]]

    run(main)


def test_a_rate_of_none_counts_nothing() -> None:
    rate = Rate(0, 1)
    assert all(rate.hit("a") for _ in range(1000))


@pytest.mark.slow
def test_what_a_database_refuses_fails_its_own_submit_alone(postgres_url: str) -> None:
    database = Database(postgres_url)
    stores = [JobStore(database), JobStore(database)]  # as two gateways have them

    def job(number: int, webhook: str = "", key: str = "") -> Job:
        return new_job(f"k{number}", webhook=webhook, idempotency_key=key, digest="d")

    async def main() -> None:
        batches = [
            Batches(lambda jobs, store=store: asyncio.to_thread(store.add, jobs, 10_000, 10_000), FAULTS)
            for store in stores
        ]
        bad = [batches[0].ask(job(0, "https://example.com/\0")) for _ in range(4)]
        good = [batches[0].ask(job(number)) for number in range(1, 40)]
        answers = await asyncio.gather(*bad, *good, return_exceptions=True)
        assert all(isinstance(answer, sa.exc.DataError) for answer in answers[:4])
        assert [answer[0] for answer in answers[4:]] == ["accepted"] * 39
        for turn in range(20):  # one key at two gateways at once, among others
            pairs = [batch.ask(job(turn, key=f"key{turn}")) for batch in batches]
            others = [batch.ask(job(number)) for batch in batches for number in range(10)]
            answers = await asyncio.gather(*pairs, *others)
            assert {answer[0] for answer in answers[:2]} == {"accepted", "repeated"}
            assert {answer[0] for answer in answers[2:]} == {"accepted"}

    run(main)
    database.close()
