"""One script under one margin model, and the report over all models."""

import tempfile
from pathlib import Path
from typing import Any

import msgspec

from exchange import config, invariants
from exchange.commands import CommandKind, record
from loadtest.report import progress
from loadtest.scenarios import actors, population
from loadtest.scenarios.market import COINS, PPM, SECOND_NS, START_NS, Market, venue_config
from loadtest.scenarios.measure import Meter, Point, Tally
from loadtest.scenarios.population import CALIBRATION_USD, USDC_UNIT, Entry, Plan
from loadtest.scenarios.scripts import Script, at
from loadtest.scenarios.venue import ScenarioVenue, Scratch, fund_total_usd_e4
from persistence.embedded_redis import EmbeddedRedis

MODELS = {"portfolio": "cross_pm", "cross": "cross_sm", "isolated": "cross_sm"}
"""The compared models by the names of the report; the first is the one whose figures stand at its top. Isolated: the
population's perpetuals stand in buckets, everything else is margined as in cross."""
ISOLATED = "isolated"
QUIET_TICKS, BUSY_TICKS = 1, 4
TAKES_PER_SECOND = 2
QUOTE_SECONDS = 3
PREDATOR_USD = 4_000_000
LINGER_SECONDS = 900
"""How long a script's last second lasts on where accounts are still in liquidation."""


class Outcome(msgspec.Struct):
    """A finished run."""

    model: str
    accounts: int
    tally: Tally
    liquidated: dict[str, int]
    """Accounts by kind."""
    deleveraged: int
    fund_before: float
    fund_after: float
    fund_difference: dict[str, int]
    faults: list[str]
    digest: str
    commands: int
    unfinished: int
    """Accounts still in liquidation at the end."""
    taken: list[tuple[int, int, int]]
    points: list[Point]
    predator_profit: float | None


def calibrate(script: Script, count: int, seed: int) -> tuple[list[Plan], list[int]]:
    """The population with its money, and what the makers need in whole USD: the largest over all models."""
    plans: list[Plan] = []
    makers: list[int] = [0] * population.MAKERS
    deposits: list[int] = []
    for model in dict.fromkeys(MODELS.values()):
        scratch = Scratch(venue_config(script.name, script.liquidation))
        market = Market(scratch.engine)
        for coin in COINS:
            scratch.submit(market.marks(coin, PPM, PPM, START_NS))
        if not plans:
            plans = population.draw_plans(market, count, seed, script.weak_maker)
            deposits = [0] * len(plans)
        for plan in plans:
            plan.deposit_minor = CALIBRATION_USD * USDC_UNIT
        entry = Entry(scratch.engine, scratch.submit, market)
        ids = entry.all(plans, model, [CALIBRATION_USD] * population.MAKERS)
        whole = CALIBRATION_USD * USDC_UNIT
        needed = population.money_needed(scratch.engine, ids, [whole] * len(ids), [plan.use_ppm for plan in plans])
        deposits = [max(a, b) for a, b in zip(deposits, needed, strict=True)]
        uses = [population.MAKER_USE_PPM] * population.MAKERS
        stock = population.money_needed(scratch.engine, entry.makers, [whole] * population.MAKERS, uses)
        makers = [max(a, b // USDC_UNIT + 2_000_000) for a, b in zip(makers, stock, strict=True)]
    for plan, deposit in zip(plans, deposits, strict=True):
        plan.deposit_minor = deposit
    return plans, makers


class Run:
    """A script in one venue."""

    def __init__(self, script: Script, model: str, plans: list[Plan], makers: list[int], seed: int, root: Path) -> None:
        self.script, self.model, self.plans, self.seed = script, model, plans, seed
        self.server = EmbeddedRedis.start(root / "redis")
        try:
            settings = venue_config(script.name, script.liquidation)
            self.venue = ScenarioVenue(root, settings, self.server)
        except BaseException:
            self.server.stop()
            raise
        self.engine = self.venue.engine
        self.market = Market(self.engine)
        self.displaced_ppm = 0
        self.sold_before = 0
        self._enter(makers)

    def _enter(self, makers: list[int]) -> None:
        script, venue, margin_model = self.script, self.venue, MODELS[self.model]
        self._marks(0)
        entry = Entry(self.engine, venue.submit, self.market)
        self.ids = entry.all(self.plans, margin_model, makers, isolated=self.model == ISOLATED)
        self.makers = entry.makers
        bidders = [
            (entry.account(f"bidder-{number}", margin_model, bidder.capital_usd * USDC_UNIT), bidder)
            for number, bidder in enumerate(script.bidders, 1)
        ]
        self.predator_id = 0
        self.desk = actors.Desk(self.engine, venue.submit, self.market)
        self.predator: actors.Predator | None = None
        if script.predator:
            self.predator_id = entry.account("predator", margin_model, PREDATOR_USD * USDC_UNIT)
            self.predator = actors.Predator(self.desk, self.predator_id, script.seconds)
            bidders.append((self.predator_id, script.bidders[0]))
        entry.cold(CommandKind.ENDOW_FUND, config.Transfer("USDC", script.fund_usd * USDC_UNIT))
        self.bidding = actors.Bidding(self.engine, venue.submit, bidders)
        self.takers = actors.Takers(self.desk, self.ids, self.seed)
        self.meter = Meter(self.engine, self.market)
        self.meter.listeners.append(self.bidding.observe)
        venue.on_command = self.meter.before
        venue.settle()
        self.fund_before = fund_total_usd_e4(self.engine, self.market.usd_e4) / 1e4

    def _factor(self, second: int) -> int:
        """The scripted index with what liquidations have pushed it by."""
        script = self.script
        scripted = at(script.index, second)
        if not script.impact_ppm_per_million:
            return scripted
        fresh = self.meter.tally.sold_notional - self.sold_before if second else 0
        self.sold_before += fresh
        down = 1 if at(script.index, script.seconds) <= PPM else -1
        self.displaced_ppm += down * fresh * script.impact_ppm_per_million // 10**10
        self.displaced_ppm -= self.displaced_ppm * script.recovery_ppm // PPM
        return scripted * (PPM - self.displaced_ppm) // PPM

    def _marks(self, second: int) -> None:
        factor, vol = self._factor(second) if second else PPM, at(self.script.vol, second)
        for coin in COINS:
            self.venue.submit(self.market.marks(coin, factor, vol, self.venue.now_ns))

    def _second(self, second: int) -> None:
        """Marks, then ticks with bids between, then the makers, the takers and the predator."""
        venue = self.venue
        self._marks(second)
        counters = self.engine.counters()
        ticks = BUSY_TICKS if counters.auctions_open or counters.below_maintenance else QUIET_TICKS
        for tick in range(ticks):
            venue.now_ns = START_NS + second * SECOND_NS + tick * (SECOND_NS // ticks)
            venue.submit(record(CommandKind.TICK))
            venue.settle()
            if self.engine.counters().auctions_open:
                self.bidding.act(second)
        if second % QUOTE_SECONDS == 0 or self.predator is not None:
            for maker in self.makers:
                self.desk.quote(maker, self.script)
        for _ in range(TAKES_PER_SECOND):
            self.takers.act()
        if self.predator is not None:
            self.predator.act(second)

    def run(self) -> Outcome:
        """The whole script."""
        stake = self._worth(self.predator_id) if self.predator_id else 0
        for second in range(1, self.script.seconds + 1):
            self.venue.now_ns = START_NS + second * SECOND_NS
            self._second(second)
            if second % 5 == 0 or second == self.script.seconds:
                self.meter.point(second)
        second = self.script.seconds
        while self._unfinished() and second < self.script.seconds + LINGER_SECONDS:
            second += 1
            self.venue.now_ns = START_NS + second * SECOND_NS
            self._second(second)
        self.venue.settle()
        return self._outcome(stake)

    def _unfinished(self) -> int:
        """Accounts in liquidation."""
        return sum(bool(self.engine.desk.in_liquidation(a)) for a in self.engine.account_ids())

    def _fund_difference(self) -> dict[str, int]:
        """The fund's record less ledger and what open leases have used (the fund hears of it when they are settled)."""
        found = self.venue.fund_difference()
        for lease in self.engine.leases():
            found[lease.currency] -= lease.used_minor
        return found

    def _worth(self, account_id: int) -> int:
        """Equity with perpetuals at the index, 1e-4 USD."""
        return int(self.engine.desk.robust_value(account_id, 0))

    def _outcome(self, stake: int) -> Outcome:
        engine, meter = self.engine, self.meter
        kinds = {account_id: plan.kind for account_id, plan in zip(self.ids, self.plans, strict=True)}
        kinds |= dict.fromkeys(self.makers, "maker")
        liquidated: dict[str, int] = {}
        for account_id in sorted(meter.liquidated):
            kind = kinds.get(account_id, "other")
            liquidated[kind] = liquidated.get(kind, 0) + 1
        return Outcome(
            model=self.model,
            accounts=int(engine.counters().accounts - engine.bucket_count),
            tally=meter.tally,
            liquidated=liquidated,
            deleveraged=len(meter.deleveraged),
            fund_before=self.fund_before,
            fund_after=fund_total_usd_e4(engine, self.market.usd_e4) / 1e4,
            fund_difference=self._fund_difference(),
            faults=invariants.audit(engine),
            digest=engine.state_digest().hex(),
            commands=int(engine.seq),
            unfinished=self._unfinished(),
            taken=meter.worst[:20],
            points=meter.points,
            predator_profit=(self._worth(self.predator_id) - stake) / 1e4 if self.predator_id else None,
        )

    def close(self) -> None:
        """End the venue and its fund."""
        try:
            self.venue.close()
        finally:
            self.server.stop()


def run_all(script: Script, accounts: int, seed: int, directory: Path | None, models: list[str]) -> list[Outcome]:
    """The script under each model on the same population; with `directory` each venue's data stays there."""
    plans, makers = calibrate(script, accounts, seed)
    outcomes = []
    for model in models:
        progress(f"{script.name}: {model} margin, {len(plans)} accounts, {script.seconds} seconds of venue time")
        with tempfile.TemporaryDirectory(prefix="margrave-scenario-") as temporary:
            root = (directory or Path(temporary)) / model
            root.mkdir(parents=True, exist_ok=True)
            run = Run(script, model, plans, makers, seed, root)
            try:
                outcomes.append(run.run())
            finally:
                run.close()
    return outcomes


def report(script: Script, outcomes: list[Outcome]) -> dict[str, Any]:
    """The JSON object: the first model's figures, then every model's."""
    shown = {outcome.model: figures(outcome) for outcome in outcomes}
    checks = {name: all(one["checks"][name] for one in shown.values()) for name in shown[outcomes[0].model]["checks"]}
    first = shown[outcomes[0].model]
    top = {name: value for name, value in first.items() if name not in ("checks", "taken")}
    return {"scenario": script.name, "what": script.what, **top, "checks": checks, "models": shown}


def figures(one: Outcome) -> dict[str, Any]:
    """A model's figures, sums in USD."""
    tally = one.tally
    found: dict[str, Any] = {
        "accounts": one.accounts,
        "liquidated": sum(one.liquidated.values()),
        "liquidated_by_kind": one.liquidated,
        "liquidations": tally.liquidations,
        "auctions": tally.auctions,
        "unfinished": one.unfinished,
        "volume_liquidated": tally.sold_notional / 1e4,
        "slippage": tally.slippage / 1e4,
        "slippage_ppm": tally.slippage * PPM // tally.sold_notional if tally.sold_notional else 0,
        "compensation": tally.compensation / 1e4,
        "fees": tally.fees / 1e4,
        "deleveraged": one.deleveraged,
        "deleveraged_volume": tally.deleveraged_notional / 1e4,
        "adl_loss": tally.adl_loss / 1e4,
        "torn_up_volume": tally.torn_up_notional / 1e4,
        "torn_up_loss": tally.torn_up_loss / 1e4,
        "socialised": tally.socialised / 1e4,
        "healthy_loss": tally.socialised / 1e4,
        "fund_before": one.fund_before,
        "fund_after": one.fund_after,
        "fund_drawn": tally.drawn / 1e4,
        "trades": tally.trades,
        "commands": one.commands,
        "conserved": not one.faults,
        "digest": one.digest,
    }
    checks = {
        "conserved": not one.faults,
        "nothing_socialised": tally.socialised == 0,
        "fund_agrees_with_ledger": not any(one.fund_difference.values()),
        "all_finished": one.unfinished == 0,
    }
    if one.predator_profit is not None:
        found["predator_profit"] = one.predator_profit
        checks["predator_does_not_profit"] = one.predator_profit <= 0
    return found | {"checks": checks, "faults": one.faults[:10], "taken": one.taken}
