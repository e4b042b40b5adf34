"""Naive sizes of leases: what insolvent entities lack together at moves of the index. Rules: docs/liquidation.md.

Of the scenarios (each underlying alone, then all; moves of the ladder; vols as marked and raised) that one counts in
which the insolvent entities of a currency lack most together; each lease covers its own part there. Kernels are shared
with the engine, as for rows.
"""

from fractions import Fraction
from math import ceil, floor, trunc

import margin_ext
from exchange.risk.stress import MOVES_PPM
from tests.oracles.account import Account
from tests.oracles.auctioning import INSOLVENT, Auction, Auctioning
from tests.oracles.contract import E8, PPM, Contract
from tests.oracles.grid import UP, YEAR_NS

Scenario = tuple[int, int, bool]
"""(underlying that moves or -1 for all, move in ppm, vols raised)."""


class Stressing:
    """Looked at once in a Tick; `forget` before the next."""

    def __init__(self, auctions: Auctioning, most_ppm: int) -> None:
        self.auctions, self.worth, self.state = auctions, auctions.worth, auctions.state
        self.moves = [move for move in MOVES_PPM if abs(move) <= most_ppm] if most_ppm else []
        self.lines: dict[tuple[int, int, bool], int] = {}
        self.rows: dict[int, dict[Scenario, int]] = {}
        self.sums: dict[int, dict[Scenario, int]] = {}

    def forget(self) -> None:
        self.lines, self.rows, self.sums = {}, {}, {}

    def lacked(self, auction: Auction) -> int:
        """By the auction's entity in its currency's worst scenario, minor units; the first of equals."""
        if not self.moves:
            return 0
        if not self.rows:
            for _, other in sorted(self.auctions.running.items()):
                if other.phase == INSOLVENT:
                    self.add(other)
        if auction.number not in self.rows:
            self.add(auction)
        total = self.sums[auction.currency]
        worst = max(total, key=lambda scenario: total[scenario])
        return self.rows[auction.number][worst]

    def add(self, auction: Auction) -> None:
        row = self.rows[auction.number] = {s: self.minor(auction, s) for s in self.scenarios()}
        before = self.sums.get(auction.currency, dict.fromkeys(row, 0))
        self.sums[auction.currency] = {s: before[s] + amount for s, amount in row.items()}

    def scenarios(self) -> list[Scenario]:
        sets = [*range(len(self.state.grids)), -1]
        return [(u, move, raised) for u in sets for move in self.moves for raised in (False, True)]

    def minor(self, auction: Auction, scenario: Scenario) -> int:
        """What is lacking, at the moved index, of which a coin buys that much more or less."""
        u, move, _ = scenario
        worth = self.moved(auction.account, auction.entity, scenario)
        if worth >= 0:
            return 0
        lacking = -worth - (self.carried(auction.account, scenario, -worth) if auction.account.holder else 0)
        amount = self.worth.minor_of_usd(auction.currency, lacking)
        coin = self.worth.model.coin_of[auction.currency]
        return ceil(Fraction(amount * PPM, PPM + move)) if coin is not None and u in (coin, -1) else amount

    # ------------------------------------------------------------------ one entity

    def moved(self, account: Account, entity: int, scenario: Scenario) -> int:
        """Equity at the moved index, 1e-4 USD; 0 where there is nothing."""
        u, move, raised = scenario
        held = self.worth.held(account, entity)
        equities = {c: self.worth.model.equity(account, c) for c in self.worth.currencies(account, entity)}
        if not held and min(equities.values()) >= 0:
            return 0
        total = 0
        for c, minor in equities.items():
            dollars = self.worth.model.usd(c, minor)
            total += dollars + self.along(c, dollars, scenario)
        for slot, lots in held.items():
            if u in (self.state.contracts[slot].underlying, -1):
                total += lots * self.line(slot, move, raised)
        return total

    def along(self, currency: int, dollars: int, scenario: Scenario) -> int:
        """What a coin's own move does to a sum in it, towards zero."""
        u, move, _ = scenario
        coin = self.worth.model.coin_of[currency]
        return trunc(Fraction(dollars * move, PPM)) if coin is not None and u in (coin, -1) else 0

    def carried(self, account: Account, scenario: Scenario, lacking: int) -> int:
        """What opposite isolated positions of the owner would bear in a tear-up."""
        u, move, raised = scenario
        slot = account.slot
        lots = account.holdings[slot].lots if slot in account.holdings else 0
        if not lots:
            return 0
        c = self.state.contracts[slot]
        mine = [a for a in self.state.accounts.values() if a.holder and a.owner_id == account.owner_id]
        held = [(a, a.holdings[slot].lots) for a in mine if slot in a.holdings]
        side = sum(abs(n) for _, n in held if n * lots > 0)
        borne = 0
        for other, against in held:
            if against * lots >= 0:
                continue
            dollars = self.worth.model.usd(c.currency, self.worth.model.equity(other, c.currency))
            value = dollars + self.along(c.currency, dollars, scenario)
            if u in (c.underlying, -1):
                value += against * self.line(slot, move, raised)
            if value > 0:
                part = floor(Fraction(lacking * abs(against), side))
                borne += min(part, floor(Fraction(value * abs(lots), side)))
        return min(lacking, borne)

    # ------------------------------------------------------------------ one lot

    def line(self, slot: int, move: int, raised: bool) -> int:
        """Change of a lot's value in 1e-4 USD at the moved index, against today's value moved along."""
        key = (slot, move, raised)
        if key not in self.lines:
            c = self.state.contracts[slot]
            made = self.option(c, move, raised) if c.is_option else self.future(c, move)
            self.lines[key] = round(made)
        return self.lines[key]

    def future(self, c: Contract, move: int) -> float:
        mark, index = c.mark_price_e8 / 1e8, self.state.index_e8[c.underlying] / 1e8
        if mark <= 0:
            return 0.0
        return 1e4 * (c.spec.lot_size_e8 / E8) * (index / mark if c.spec.inverse else mark) * (move / 1e6)

    def option(self, c: Contract, move: int, raised: bool) -> float:
        if not c.forward_e8 or not c.vol_e6:
            return 0.0
        grid, time_ns = self.state.grids[c.underlying], self.worth.model.time_ns[c.underlying]
        left = c.spec.expiry_ns - time_ns
        years = left / YEAR_NS if left > 0 else 0.0
        forward, vol, growth = c.forward_e8 / 1e8, c.vol_e6 / 1e6, 1.0 + move / 1e6
        shock = vol
        if raised:
            place = next(i for i, column in enumerate(grid.columns) if column.vol == UP)
            multiplier = grid.vol_multipliers(c.spec.expiry_ns, time_ns, vol)[place]
            shock = max(vol * multiplier, float(grid.vol_floor[place]))
        strike, call = c.spec.strike_e8 / 1e8, c.spec.option_type == "call"
        after, before = (
            float(margin_ext.price(f, strike, v, years, call)) for f, v in ((forward * growth, shock), (forward, vol))
        )
        scale = 1e4 * (c.spec.lot_size_e8 / E8)
        if c.spec.inverse:
            index = self.state.index_e8[c.underlying] / 1e8
            return scale * index / forward * (after - before * growth)
        return scale * (after - before)
