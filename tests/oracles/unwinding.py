"""Naive tear-up of isolated positions and deleveraging. Rules: docs/liquidation.md."""

from fractions import Fraction
from math import floor

from exchange.events import EventKind
from tests.oracles.account import Account
from tests.oracles.auctioning import INSOLVENT, Auction, Auctioning
from tests.oracles.leasing import AWAITED
from tests.oracles.selling import PPM
from tests.oracles.worth import is_cross

HIGHEST = 2**32 - 1


def split(total: int, weights: list[int]) -> list[int]:
    """Whole parts of a total, what is given so far always the rounded-down share."""
    parts, passed = [], 0
    for weight in weights:
        passed += weight
        parts.append(floor(Fraction(total * passed, sum(weights))) - sum(parts))
    return parts


class Unwinding:
    """Positions closed against those who hold the other side."""

    def __init__(self, auctions: Auctioning) -> None:
        self.auctions, self.worth, self.leasing = auctions, auctions.worth, auctions.leasing
        self.state = auctions.state
        self.rules = self.state.config.liquidation

    def others(self, account: Account, slot: int, lots: int) -> list[tuple[Account, int]]:
        """(account, lots) on the other side of signed lots, ascending."""
        found = []
        for number, other in sorted(self.state.accounts.items()):
            held = other.holdings[slot].lots if slot in other.holdings else 0
            if number != account.account_id and held * lots < 0:
                found.append((other, abs(held)))
        return found

    def close(
        self, kind: EventKind, auction: Auction, other: Account, slot: int, lots: int, borne: int, rank: int,
        leverage: int = 0, added: int = 0,
    ) -> None:  # fmt: skip
        """Signed lots of the auction's account at the mark, `other` bearing minor units more; with its receipt."""
        c = self.state.contracts[slot]
        cost = lots * c.mark_minor + borne
        self.state.book_fill(auction.account, c, -lots, -cost, 0)
        self.state.book_fill(other, c, lots, cost, 0)
        self.state.touched.add(other.account_id)
        self.state.emit(
            kind, other.account_id, auction_id=auction.number, instrument=slot,
            from_account_id=auction.account.account_id, quantity_lots=lots, cost_minor=cost, loss_minor=borne,
            rank=rank, leverage_ppm=leverage, added_requirement_usd_e4=added, mark_price_e8=c.mark_price_e8,
        )  # fmt: skip

    # ------------------------------------------------------------------ tear-up

    def tear_up(self, auction: Auction) -> bool:
        """An isolated position against the owner's opposite ones, at its bankruptcy price; whether any was."""
        account = auction.account
        closed = False
        for slot, held in self.worth.held(account, auction.entity).items() if account.holder else ():
            lacking = -self.worth.worth(account, auction.entity)
            size = left = abs(held)
            told = rank = 0
            mine = [
                other for other, _ in self.others(account, slot, held)
                if other.holder and other.owner_id == account.owner_id
            ]  # fmt: skip
            for other in sorted(mine, key=lambda a: (a.in_liquidation, a.account_id)):
                lots = min(left, abs(other.holdings[slot].lots))
                if lacking > 0:
                    bears = max(0, self.worth.worth(other, auction.entity) - 1)
                    lots = min(lots, floor(Fraction(bears * size, lacking)))
                if lots <= 0:
                    continue
                left -= lots
                rank += 1
                borne = floor(Fraction(lacking * (size - left), size)) - told
                told += borne
                signed = lots if held > 0 else -lots
                self.close(EventKind.POSITION_TORN_UP, auction, other, slot, signed, borne, rank)
                self.state.check_level(other)
                closed = True
                if not left:
                    break
        if closed:
            self.state.check_level(account)
        return closed

    # ------------------------------------------------------------------ deleveraging

    def due(self, auction: Auction) -> bool:
        """The phase has run its time, and the fund has answered or had its own."""
        if auction.phase != INSOLVENT or auction.clock < auction.terms.insolvent_ns:
            return False
        lease = auction.lease
        awaited = lease is not None and lease.answer == AWAITED
        return not awaited or self.state.time_ns - lease.asked_ns >= self.rules.lease_wait_ns

    def value(self, slot: int, lots: int, currency: int) -> int:
        """At the mark in minor units of a currency."""
        c = self.state.contracts[slot]
        worth = abs(lots * c.mark_minor)
        return worth if c.currency == currency else self.worth.changed(c.currency, currency, worth)

    def deleverage(self, auction: Auction) -> bool:
        """Everything that is left; False, and nothing done, where the bounds do not carry what nobody pays."""
        account, currency = auction.account, auction.currency
        held = self.worth.held(account, auction.entity)
        if not held:
            return False
        lacking = max(0, -self.worth.remainder(account, auction.entity, currency))
        paid = min(lacking, self.leasing.free(auction.lease))
        unfunded = lacking - paid
        values = [self.value(slot, lots, currency) for slot, lots in held.items()]
        if unfunded > sum(value * self.rules.deleverage_shift_ppm // PPM for value in values):
            return False
        shifts = split(unfunded, values) if unfunded else [0] * len(values)
        closed: set[int] = set()
        for (slot, lots), shift in zip(held.items(), shifts, strict=True):
            own = self.state.contracts[slot].currency
            if own != currency:
                shift = self.worth.changed(currency, own, shift, True)
            closed |= self.leg(auction, slot, lots, shift)
        if unfunded:
            if auction.lease is None:
                auction.lease = self.leasing.open(auction.number, account.account_id, currency)
            auction.lease.borne += unfunded
        if paid:
            self.leasing.draw(auction.lease, paid)
        for number in sorted(closed):
            self.state.check_level(self.state.accounts[number])
        self.state.check_level(account)
        return True

    def leg(self, auction: Auction, slot: int, lots: int, shift: int) -> set[int]:
        """One leg against the other side in its order; who was closed."""
        queue = self.ranked(auction.account, slot, lots)
        total, done, told = abs(lots), 0, 0
        closed = set()
        for rank, part in self.parts(queue, slot, total, shift):
            other, _, leverage, added = queue[rank - 1]
            done += part
            borne = shift * done // total - told
            told += borne
            signed = part if lots > 0 else -part
            self.close(EventKind.POSITION_DELEVERAGED, auction, other, slot, signed, borne, rank, leverage, added)
            closed.add(other.account_id)
        return closed

    def parts(
        self, queue: list[tuple[Account, int, int, int]], slot: int, total: int, shift: int
    ) -> list[tuple[int, int]]:
        """(rank, lots): a bucket first no further than it can bear, what nobody else takes once more without bounds."""
        left, taken, found = total, [0] * len(queue), []
        for bounded in (True, False):
            for place, (other, held, _, _) in enumerate(queue):
                lots = min(left, held - taken[place])
                if bounded and shift > 0 and other.holder:
                    bears = max(0, self.worth.worth(other, self.state.contracts[slot].currency) - 1)
                    lots = min(lots, floor(Fraction(bears * total, shift)))
                if lots > 0:
                    taken[place] += lots
                    left -= lots
                    found.append((place + 1, lots))
        return found

    def ranked(self, account: Account, slot: int, lots: int) -> list[tuple[Account, int, int, int]]:
        """(account, lots, leverage, added requirement): the owner's own, those whose requirement does not rise, the
        most leveraged; whoever is in liquidation last."""
        found = []
        for other, held in self.others(account, slot, lots):
            part = min(held, abs(lots))
            added = self.added(other, slot, part if lots > 0 else -part)
            leverage = self.leverage(other.owner_id)
            last = (other.in_liquidation, other.owner_id != account.owner_id, added > 0)
            found.append((*last, -leverage, other.account_id, (other, held, leverage, added)))
        return [one[-1] for one in sorted(found, key=lambda one: one[:-1])]

    def added(self, account: Account, slot: int, lots: int) -> int:
        """Requirement that taking lots adds, 1e-4 USD."""
        currency = self.state.contracts[slot].currency
        entity = 0 if is_cross(account) else currency
        taking = self.worth.supposing(account, {slot: lots}, {})
        then, now = (self.worth.margin(a, entity).maintenance for a in (account, taking))
        return now - then if is_cross(account) else self.worth.model.usd(currency, now - then)

    def leverage(self, owner: int) -> int:
        """Requirement over equity of all the owner's accounts, in ppm."""
        need = equity = 0
        for account in self.state.accounts.values():
            if account.owner_id != owner:
                continue
            for entity in self.state.entities(account):
                figures = (self.worth.margin(account, entity).maintenance, self.worth.worth(account, entity))
                if not is_cross(account):
                    figures = tuple(self.worth.model.usd(entity, figure) for figure in figures)
                need, equity = need + figures[0], equity + figures[1]
        return min(HIGHEST, need * PPM // equity) if equity > 0 else HIGHEST
