"""`margrave scenario`: every script on a small population, the same digest twice, and meters that would notice."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest

from exchange import config
from exchange.commands import CommandKind, cold
from exchange.events import EventKind
from gateway.records import decode
from loadtest.scenarios import __main__ as command
from loadtest.scenarios import plot, run
from loadtest.scenarios.market import COINS, PPM, START_NS, Market, venue_config
from loadtest.scenarios.measure import Meter
from loadtest.scenarios.population import Entry
from loadtest.scenarios.scripts import SCRIPTS, at, recorded
from loadtest.scenarios.venue import Scratch
from tests.driver import Driver, perpetual

pytestmark = pytest.mark.redis
SMALL = 16
TOP = {
    "accounts", "liquidated", "auctions", "deleveraged", "adl_loss", "socialised", "fund_before", "fund_after",
    "conserved", "digest", "volume_liquidated", "slippage", "healthy_loss", "models", "checks", "unfinished",
}  # fmt: skip


def outcome(name: str, seconds: int, models: list[str], accounts: int = SMALL, seed: int = 3) -> list[run.Outcome]:
    script = msgspec.structs.replace(SCRIPTS[name], seconds=min(seconds, SCRIPTS[name].seconds))
    return run.run_all(script, accounts, seed, None, models)


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_every_script_conserves_and_takes_nothing_from_the_healthy(name: str) -> None:
    found = run.report(SCRIPTS[name], outcome(name, 420, ["portfolio"]))
    assert found.keys() >= TOP
    assert all(found["checks"].values()), found
    assert found["socialised"] == 0 and found["conserved"] is True
    if name in ("flash-crash", "thin-book", "fund-empty", "maker-default"):
        assert found["liquidated"] > 0 and found["auctions"] > 0


@pytest.mark.parametrize("name", ["flash-crash", "fund-empty", "cascade"])
def test_isolated_positions_go_through_the_scripts(name: str) -> None:
    (one,) = outcome(name, 420, ["isolated"], accounts=24)
    shown = run.figures(one)
    assert all(shown["checks"].values()), shown
    assert shown["accounts"] < 40  # buckets are not counted


def test_the_same_name_and_seed_give_the_same_digest_twice() -> None:
    first, again = (outcome("flash-crash", 240, list(run.MODELS)) for _ in range(2))
    other = outcome("flash-crash", 240, ["portfolio"], seed=4)
    assert [one.digest for one in first] == [one.digest for one in again]
    assert first[0].tally == again[0].tally and first[0].points == again[0].points
    assert other[0].digest != first[0].digest


def test_the_same_people_hold_the_same_positions_under_each_model() -> None:
    plans, _ = run.calibrate(SCRIPTS["flash-crash"], SMALL, 3)
    again, _ = run.calibrate(SCRIPTS["flash-crash"], SMALL, 3)
    assert plans == again
    assert {plan.kind for plan in plans} >= {"directional", "hedged"}
    assert all(plan.deposit_minor > 0 for plan in plans)


def test_isolated_accounts_hold_the_same_positions_with_the_same_money() -> None:
    script = SCRIPTS["flash-crash"]
    plans, makers = run.calibrate(script, 40, 3)
    scratch = Scratch(venue_config(script.name, script.liquidation))
    market = Market(scratch.engine)
    for coin in COINS:
        scratch.submit(market.marks(coin, PPM, PPM, START_NS))
    engine = scratch.engine
    ids = Entry(engine, scratch.submit, market).all(plans, "cross_sm", makers, isolated=True)
    buckets = 0
    for account_id, plan in zip(ids, plans, strict=True):
        own = [account_id, *engine.bucket_accounts(account_id)]
        held = {p.instrument: p.quantity_lots for number in own for p in engine.positions(number) if p.quantity_lots}
        assert held == {market.slots[name]: lots for name, lots in plan.legs.items()}, plan.name
        worth = sum(
            market.usd_e4(c, minor) for a in own for c in range(3) for minor in [engine.exposure.margins(a, c)[0]]
            if a != account_id
        ) + engine.account(account_id).equity_usd_e4  # fmt: skip
        money = plan.deposit_minor // 100
        if plan.coin:
            money += market.usd_e4(1 + market.number[plan.coin], plan.coin_minor)
        size = sum(market.notional_e4(market.slots[name], lots) for name, lots in plan.legs.items())
        # a taker's fee, and an entry at the nearest tick
        assert money - size // 1_000 <= worth <= money + size // 10_000, plan.name
        buckets += len(engine.buckets(account_id))
    assert buckets > 20
    assert engine.audit() == []


@pytest.mark.full
@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_whole_scripts(name: str) -> None:
    found = run.report(SCRIPTS[name], outcome(name, 10_000, list(run.MODELS), accounts=200, seed=1))
    assert all(found["checks"].values()), found["checks"]


def test_an_empty_fund_ends_in_receipted_deleveraging() -> None:
    script = msgspec.structs.replace(SCRIPTS["fund-empty"], seconds=900, fund_usd=500)
    (one,) = run.run_all(script, 24, 1, None, ["portfolio"])
    assert one.deleveraged > 0 and one.tally.adl_loss > 0 and one.unfinished == 0
    assert one.tally.socialised == 0 and one.fund_after < one.fund_before


def test_the_command_prints_one_object_and_plots(tmp_path: Path) -> None:
    picture = tmp_path / "course.svg"
    arguments = ["flash-crash", "--json", "--accounts", "8", "--seconds", "200", "--plot", str(picture)]
    done = subprocess.run(
        [str(Path(sys.executable).parent / "margrave"), "scenario", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["scenario"] == "flash-crash" and found.keys() >= TOP
    svg = "{http://www.w3.org/2000/svg}"
    root = ElementTree.fromstring(picture.read_text())
    lines = root.findall(f"{svg}polyline")
    assert len(lines) >= len(plot.PANELS) * len(found["models"])
    assert {text.text for text in root.findall(f"{svg}text")} >= set(found["models"])


@pytest.mark.parametrize(
    "arguments",
    [["nothing"], ["cascade", "--accounts", "0"], ["cascade", "--models", "span"], ["cascade", "--data", "x"]],
)
def test_bad_usage(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(arguments)
    assert ended.value.code == 2


def test_a_missing_data_file_is_bad_usage(tmp_path: Path) -> None:
    assert command.main(["oct-2025", "--data", str(tmp_path / "none.zip")]) == 2


def test_a_failed_check_is_exit_status_1(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    def spoiled(*given: Any) -> list[run.Outcome]:
        (one,) = real(*given)
        one.tally.socialised = one.unfinished = 1
        return [one]

    real = run.run_all
    monkeypatch.setattr(run, "run_all", spoiled)
    arguments = ["flash-crash", "--json", "--accounts", "4", "--seconds", "5", "--models", "portfolio"]
    assert command.main(arguments) == 1
    checks = json.loads(capsys.readouterr().out)["checks"]
    assert checks["nothing_socialised"] is False and checks["all_finished"] is False


def test_the_recorded_evening(real_data: Any) -> None:
    script = recorded(SCRIPTS["oct-2025"], real_data("crash/BTCUSD_PERP-1m-2025-10-10.zip"))
    lowest = min(value for _, value in script.index)
    assert 0.85 * PPM < lowest < 0.93 * PPM and len(script.index) > 60
    assert at(script.index, 0) == PPM


def test_knots_are_straight_lines_held_at_the_ends() -> None:
    knots = ((10, 100), (20, 200), (40, 100))
    assert [at(knots, second) for second in (0, 10, 15, 20, 30, 40, 99)] == [100, 100, 150, 200, 150, 100, 100]


class Still:
    """A market of one currency at a dollar a unit."""

    @staticmethod
    def usd_e4(currency: int, minor: int) -> int:
        return minor

    @staticmethod
    def notional_e4(slot: int, lots: int) -> int:
        return abs(lots)


def test_the_meter_notices_what_is_taken_without_a_receipt() -> None:
    venue = Driver([perpetual()])
    venue.marks(100_000)
    alice, bob = (venue.account(name, usdc=10, model="cross_pm") for name in ("alice", "bob"))
    meter = Meter(venue.engine, Still())
    # a withdrawal nobody asked for, between the two looks at a command of the venue's own
    held, stood = meter._equities(), meter._in_liquidation()
    events = venue.sequencer.submit(cold(CommandKind.WITHDRAW, config.Transfer("USDC", 70), alice))
    meter._after(events, held, stood)
    assert meter.tally.socialised == 70
    assert [(account, amount) for account, _, amount in meter.worst] == [(alice, 70)]
    assert bob not in {account for account, _, _ in meter.worst}
    assert EventKind.BALANCE_CHANGED in [kind for kind, _, _ in decode(events)]
