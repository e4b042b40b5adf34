"""Two venues on one fund, defaulting at the same time through crashes: each draws on its own, nobody starves nobody."""

import asyncio
import contextlib
from pathlib import Path

import pytest

from persistence.insurance_fund import FundUnavailable, InsuranceFund
from tests.recovery.fund_world import KINDS, World

pytestmark = pytest.mark.redis
OWN_FAULTS = [kind for kind in KINDS if kind not in ("server", "venue and server", "away")]
"""Faults of a venue that has no server of its own."""


async def both(first: World, second: World, looks: int) -> int:
    """Run two worlds beside each other; how often the books of both agreed while money was moving."""
    runs = [asyncio.create_task(one.run()) for one in (first, second)]
    agreed = 0
    for _ in range(looks):
        await asyncio.sleep(0.05)
        if all(run.done() for run in runs):
            break
        agreed += await claims_hold(first, second)
    await asyncio.gather(*runs)
    first.counts, second.counts = await first.check(), await second.check()
    return agreed


async def claims_hold(first: World, second: World) -> bool:
    """The sum of claims is the balance, and no venue leases more than its claim, at any moment."""
    if first.server is None:
        return False
    with contextlib.suppress(FundUnavailable):  # killed meanwhile
        await look(first.server.url, (first, second))
        return True
    return False


async def look(url: str, worlds: tuple[World, World]) -> None:
    async with await InsuranceFund.open(url, "reader", 1) as fund:
        state = await fund.state("BTC")
        assert sum(state.claims_minor.values()) == state.balance_minor == state.free_minor + state.leased_minor
        for world in worlds:
            async with await InsuranceFund.open(url, world.venue_id, 0, attach=False) as own:
                before = await own.state("BTC")
                held = sum(lease.granted_minor for lease in await own.leases())
                if await own.state("BTC") == before:  # nothing moved between the calls
                    assert held <= before.claims_minor.get(world.venue_id, 0)


def play_both(root: Path, faults: tuple[dict[int, str], dict[int, str]]) -> tuple[World, World, int]:
    (root / "a").mkdir(parents=True)
    (root / "b").mkdir()
    first = World(root / "a", faults[0], "venue-a")
    second = World(root / "b", faults[1], "venue-b", shared=first)
    try:
        agreed = asyncio.run(both(first, second, 400))
    finally:
        first.close()
    return first, second, agreed


def test_two_venues_default_beside_each_other(tmp_path: Path) -> None:
    first, second, agreed = play_both(tmp_path, ({}, {}))
    assert first.counts["FUND_DRAWN"] == second.counts["FUND_DRAWN"] >= 2
    assert first.core.engine.ledger("BTC")["fund"] == second.core.engine.ledger("BTC")["fund"]
    assert agreed > 0


@pytest.mark.parametrize("number", range(2))
def test_crashes_of_one_do_not_touch_the_other(tmp_path: Path, rng, number, history_note, seed) -> None:
    places = rng.choice(75, 4, replace=False).tolist()
    faults = {at: str(rng.choice(OWN_FAULTS)) for at in places}
    first, second, _ = play_both(tmp_path, ({}, faults))
    history_note(f"two venues, seed {seed}: {len(second.struck)} faults struck the second")
    assert second.struck and first.struck == []
    assert first.counts["FUND_DRAWN"] >= 2


@pytest.mark.full
def test_many_crashes_of_both_and_of_the_server(tmp_path: Path, rng, history_note, seed) -> None:
    struck = 0
    for number in range(40):
        faults = tuple(
            {at: str(rng.choice(kinds)) for at in rng.choice(100, 5, replace=False).tolist()}
            for kinds in (KINDS, OWN_FAULTS)
        )
        try:
            first, second, _ = play_both(tmp_path / str(number), faults)
        except BaseException:
            history_note(f"two venues, seed {seed}: failed with faults {faults}")
            raise
        struck += len(first.struck) + len(second.struck)
    history_note(f"two venues, seed {seed}: 40 runs, {struck} faults struck")
    assert struck > 150
