"""Nothing is lost and nothing drawn twice, whatever dies between any two steps of a liquidation.

Each run is a whole default of three owners (`fund_world.py`). A run without faults enumerates its steps; then each kind
of fault strikes at each of them. `make test` takes a seeded sample, `make test-full` all of them.
"""

import asyncio
from pathlib import Path

import pytest
import redis

from gateway.reconcile import audit
from persistence.embedded_redis import EmbeddedRedis
from persistence.insurance_fund import InsuranceFund
from tests.recovery.fund_world import CALLS, KINDS, VENUE_DIES, play

pytestmark = pytest.mark.redis
NEEDED = {
    "LIQUIDATION_STARTED", "AUCTION_OPENED", "FUND_LEASE_REQUESTED", "FUND_LEASE_GRANTED", "BID_ACCEPTED",
    "AUCTION_LOT_SOLD", "CAPITAL_DRAWN", "FUND_DRAWN", "POSITION_DELEVERAGED", "AUCTION_CLOSED", "DEFAULT_COVERED",
    "FUND_LEASE_SETTLED", "LIQUIDATION_ENDED",
}  # fmt: skip
WORKERS_STEPS = {*CALLS, "grant", "settled", "done", "cursor"}


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory):
    """What happens when nothing goes wrong."""
    world = play(tmp_path_factory.mktemp("calm"))
    assert set(world.counts) >= NEEDED
    names = {step.name for step in world.steps}
    assert names >= WORKERS_STEPS, WORKERS_STEPS - names
    assert {word for name in names for word in name.split()} >= NEEDED
    return world.steps


def struck(root: Path, faults: dict[int, str], note, seed: int) -> int:
    """A run with faults; how many struck."""
    try:
        world = play(root, faults)
    except BaseException:
        note(f"fund crashes, seed {seed}: failed with faults {faults}")
        raise
    return len(world.struck)


def distinct(steps, kind: str) -> dict[str, list[int]]:
    """Places of each different step that a fault of a kind can strike."""
    found: dict[str, list[int]] = {}
    for at, step in enumerate(steps):
        if step.bears(kind):
            found.setdefault(str(step), []).append(at)
    return found


def test_sampled_crashes(tmp_path: Path, steps, rng, seed: int, history_note) -> None:
    """Two steps of each kind of fault, drawn among the different ones."""
    hits = runs = 0
    for kind in KINDS:
        places = distinct(steps, kind)
        for name in rng.choice(sorted(places), 2, replace=False).tolist():
            runs += 1
            hits += struck(tmp_path / str(runs), {int(rng.choice(places[name])): kind}, history_note, seed)
    history_note(f"fund crashes, seed {seed}: {runs} runs, {hits} faults struck")
    assert hits >= runs - 2


def test_storms(tmp_path: Path, steps, rng, seed: int, history_note) -> None:
    """Several faults in one run."""
    hits = 0
    for number in range(5):
        places = rng.choice(len(steps), 6, replace=False).tolist()
        hits += struck(tmp_path / str(number), {at: str(rng.choice(KINDS)) for at in places}, history_note, seed)
    history_note(f"fund storms, seed {seed}: 5 runs, {hits} faults struck")
    assert hits >= 10


@pytest.mark.full
@pytest.mark.parametrize("kind", KINDS)
def test_every_step(tmp_path: Path, steps, kind: str, history_note, seed: int) -> None:
    hits = runs = 0
    for at, step in enumerate(steps):
        if step.bears(kind):
            runs += 1
            hits += struck(tmp_path / str(at), {at: kind}, history_note, seed)
    history_note(f"fund crashes of kind {kind}: {runs} runs, {hits} faults struck")
    assert hits >= 0.9 * runs


@pytest.mark.full
def test_many_storms(tmp_path: Path, steps, rng, seed: int, history_note) -> None:
    hits = 0
    for number in range(150):
        places = rng.choice(len(steps) + 40, 8, replace=False).tolist()
        hits += struck(tmp_path / str(number), {at: str(rng.choice(KINDS)) for at in places}, history_note, seed)
    history_note(f"fund storms, seed {seed}: 150 runs, {hits} faults struck")
    assert hits > 300


def test_a_server_that_lost_everything_is_made_whole_from_the_journal(tmp_path: Path) -> None:
    """Without the cursor every operation is done again: money put in, fees, and what leases drew."""
    world = play(tmp_path)

    async def again() -> dict[str, int]:
        with EmbeddedRedis.start(world.redis_root):
            with redis.Redis(unix_socket_path=str(world.redis_root / "valkey.sock")) as raw:
                raw.flushall()
            (world.directory() / "fund.cursor").unlink()
            world.open()
            world.worker.attach(world.core.engine, world.core.sequencer)
            task = asyncio.create_task(world.worker.run())
            assert await world.worker.drained(20.0)
            async with await InsuranceFund.open(f"unix://{world.redis_root / 'valkey.sock'}", "r", 1) as fund:
                assert (await audit(fund)).faults == []
                kinds = [entry.kind async for entry in fund.history()]
            assert kinds.count("debit") == world.counts["FUND_LEASE_SETTLED"] and "reserve" not in kinds
            difference = await world.worker.difference()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            return difference

    assert set(asyncio.run(again()).values()) == {0}
    world.core.close(checkpoint=False)


def test_the_kinds_cover_every_process() -> None:
    assert {"worker", "server", "away", *VENUE_DIES} <= set(KINDS)
