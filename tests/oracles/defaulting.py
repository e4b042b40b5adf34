"""Naive liquidations, whole: stages, auctions, the waterfall, tear-up and deleveraging. Rules: docs/liquidation.md."""

from exchange.config import Liquidation
from exchange.events import BalanceCause, EventKind
from exchange.reasons import Reason
from tests.oracles.account import Account
from tests.oracles.auctioning import INSOLVENT, SOLVENT, Auction, Auctioning
from tests.oracles.leasing import AWAITED, SHORT, WHOLE, Leasing
from tests.oracles.preferring import Preferring
from tests.oracles.pretrade import Refused
from tests.oracles.selling import PPM
from tests.oracles.state import BREACHED
from tests.oracles.stressing import Stressing
from tests.oracles.unwinding import Unwinding
from tests.oracles.waiting import Waiting
from tests.oracles.worth import Worth, is_cross


class Defaulting:
    """Everything that a Tick, a bid or an answer of the fund does about defaults."""

    def __init__(self, waiting: Waiting, preferring: Preferring) -> None:
        self.waiting, self.state, self.preferring = waiting, waiting.state, preferring
        self.rules = self.state.config.liquidation
        self.worth = Worth(self.state)
        self.leasing = Leasing(self.state)
        self.auctions = Auctioning(self.state, self.worth, self.leasing)
        self.unwinding = Unwinding(self.auctions)
        self.stressing = Stressing(self.auctions, self.rules.lease_stress_ppm)
        self.opened = 0

    def tick(self) -> None:
        """Some of those that are queued, then every auction."""
        self.stressing.forget()
        queue = self.state.breaches
        for _ in range(min(len(queue), self.rules.work_per_tick)):
            self.begin(self.state.accounts[queue.pop(0)])
        for _, auction in sorted(self.auctions.running.items()):
            self.move_on(auction)

    def queue(self, account: Account) -> None:
        if account.account_id not in self.state.breaches:
            self.state.breaches.append(account.account_id)

    # ------------------------------------------------------------------ beginning

    def fresh(self, account: Account) -> bool:
        return all(self.state.aged[u] == 0 for u in self.auctions.underlyings(account))

    def begin(self, account: Account) -> None:
        if account.in_liquidation or account.level != BREACHED:
            return
        if not self.fresh(account):
            self.queue(account)
            return
        entity = account.breached
        currency = self.worth.dollar() if is_cross(account) else entity
        m = self.worth.margin(account, entity)
        account.in_liquidation = True
        self.say(EventKind.LIQUIDATION_STARTED, account, entity, Reason.NONE)
        self.cancel(account)
        self.settle_debts(account, entity, currency, 0)
        version, terms = self.terms(account, entity)
        if self.restored(account, entity, terms):
            self.end(account, entity, Reason.RESTORED)
            return
        phase = SOLVENT if self.worth.robust(account, entity) > 0 else INSOLVENT
        self.opened += 1
        now = self.state.time_ns
        equity = self.worth.minor(account, currency, m.equity)
        auction = Auction(self.opened, account, entity, currency, phase, terms, version, equity, now, now)
        self.auctions.running[auction.number] = auction
        self.auctions.say(EventKind.AUCTION_OPENED, auction)
        if phase == INSOLVENT and not self.torn_up(auction):
            self.lease(auction)

    def say(self, kind: EventKind, account: Account, entity: int, reason: Reason) -> None:
        m = self.worth.margin(account, entity)
        self.state.emit(
            kind, account.account_id, auction_id=0, phase=0, reason=reason, currency=entity, value_minor=m.equity,
            requirement_minor=m.maintenance, price_minor=0,
        )  # fmt: skip

    def cancel(self, account: Account) -> None:
        """Every order: waiting ones, then live ones, ascending id."""
        for _, waits in sorted(self.state.waiting.items()):
            if waits.account_id == account.account_id:
                self.waiting.withdraw(waits, Reason.AUTO_LIQUIDATION)
        for _, order in sorted(account.orders.items()):
            self.waiting.trading.withdraw(order, Reason.AUTO_LIQUIDATION)

    def terms(self, account: Account, entity: int) -> tuple[int, Liquidation]:
        """Those of the underlying with the largest size."""
        if not self.preferring.terms_of:
            return 0, self.rules
        sizes: dict[int, int] = {}
        for slot, lots in self.worth.held(account, entity).items():
            u = self.state.contracts[slot].underlying
            sizes[u] = sizes.get(u, 0) + self.worth.size_e16(slot, lots)
        largest = min((-size, u) for u, size in sizes.items())[1] if sizes else -1
        return self.preferring.terms_of.get(largest, (0, self.rules))

    def settle_debts(self, account: Account, entity: int, currency: int, auction: int) -> None:
        """Of a cross account without positions: debts in other currencies out of one, what that lacks out of others."""
        if not is_cross(account) or self.worth.held(account, entity):
            return
        cash, before = account.cash, list(account.cash)
        others = [c for c in range(len(cash)) if c != currency]
        if min(cash) < 0 < max(cash):
            for c in others:
                if cash[c] < 0:
                    cash[currency] += self.worth.changed(c, currency, cash[c])
                    cash[c] = 0
            for c in others:
                if cash[c] > 0 > cash[currency]:
                    spent = min(cash[c], self.worth.changed(currency, c, -cash[currency], True))
                    cash[currency] += self.worth.changed(c, currency, spent)
                    cash[c] -= spent
        for c, then in enumerate(before):
            if cash[c] != then:
                self.state.post("outside", 0, c, then - cash[c])
                self.state.emit(
                    EventKind.BALANCE_CHANGED, account.account_id, currency=c, cause=BalanceCause.CONVERSION,
                    instrument=0xFFFFFFFF, amount_minor=cash[c] - then, balance_minor=cash[c], reference=auction,
                )  # fmt: skip
        self.state.check_level(account)

    def restored(self, account: Account, entity: int, terms: Liquidation) -> bool:
        return self.worth.margin(account, entity).equity >= self.worth.target(account, entity, terms)

    # ------------------------------------------------------------------ a Tick of an auction

    def held_back(self, account: Account) -> Reason:
        depends = self.auctions.underlyings(account)
        if self.state.switches & ({("venue", 0)} | {("underlying", u) for u in depends}):
            return Reason.TRADING_STOPPED
        return Reason.NONE if self.fresh(account) else Reason.STALE_MARKS

    def move_on(self, auction: Auction) -> None:
        now, before, account = self.state.time_ns, auction.last_ns, auction.account
        auction.last_ns = now
        if why := self.held_back(account):
            self.show(auction, why)
            return
        live = [self.state.live_since_ns[u] for u in self.auctions.underlyings(account)]
        auction.clock += max(0, now - max(before, *live, 0))
        if self.over(auction, Reason.CLOSED_OUT) or self.turned(auction):
            return
        if auction.phase == INSOLVENT:
            self.show(auction, self.waits_for(auction))
        if now - auction.batch_ns >= auction.terms.batch_ns:
            auction.batch_ns = now
            self.clear(auction)
        if auction.number not in self.auctions.running or not self.unwinding.due(auction):
            return
        if not self.retained(auction) and self.unwinding.deleverage(auction):
            self.over(auction, Reason.DELEVERAGED)

    def turned(self, auction: Auction) -> bool:
        """Phases that change, and tear-ups of the insolvent one; whether that was the end."""
        value, solvent_ns = self.auctions.value(auction), auction.terms.fast_ns + auction.terms.slow_ns
        if auction.phase == SOLVENT:
            if value > 0 and auction.clock < solvent_ns:
                return False
            self.turn(auction)
            if self.torn_up(auction):
                return True
            self.lease(auction)
        elif value > 0 and auction.other < solvent_ns:
            self.turn(auction)
            return False
        elif value > 0 and auction.lease is None:
            self.lease(auction)
        return self.torn_up(auction)

    def turn(self, auction: Auction) -> None:
        """To the other phase; bids were for this one."""
        bids, auction.bids = auction.bids, []
        for bid in bids:
            self.auctions.refuse(auction.number, bid, auction.phase, Reason.WRONG_PHASE)
        auction.phase = SOLVENT + INSOLVENT - auction.phase
        auction.clock, auction.other = auction.other, auction.clock
        self.auctions.say(EventKind.AUCTION_PHASE_CHANGED, auction)

    def torn_up(self, auction: Auction) -> bool:
        return self.unwinding.tear_up(auction) and self.over(auction, Reason.TORN_UP)

    def show(self, auction: Auction, reason: Reason) -> None:
        """Why it waits, where that is another reason than before."""
        if auction.reason != reason:
            auction.reason = reason
            self.auctions.say(EventKind.AUCTION_PHASE_CHANGED, auction)

    # ------------------------------------------------------------------ leases

    def lacking(self, auction: Auction) -> int:
        """In minor units."""
        return self.auctions.minor(auction, max(0, -self.auctions.value(auction)))

    def stressed(self, auction: Auction) -> int:
        """What is lacking in the worst joint scenario."""
        return self.stressing.lacked(auction)

    def ask(self, auction: Auction) -> bool:
        lacked = self.lacking(auction)
        lacking = max(0, -self.auctions.value(auction)) + self.auctions.cap(auction)
        amount = self.auctions.minor(auction, lacking) + max(0, self.stressed(auction) - lacked)
        if amount <= 0:
            return False
        if auction.lease is None:
            auction.lease = self.leasing.open(auction.number, auction.account.account_id, auction.currency)
        return self.leasing.ask(auction.lease, amount)

    def lease(self, auction: Auction) -> None:
        if self.ask(auction):
            self.show(auction, Reason.AWAITING_LEASE)

    def waits_for(self, auction: Auction) -> Reason:
        """Leases that were cut short are asked for again after a while, those that no longer do at once."""
        lease = auction.lease
        if lease is None:
            asked = self.auctions.value(auction) < 0 and self.ask(auction)
            return Reason.AWAITING_LEASE if asked else Reason(auction.reason)
        if lease.answer == AWAITED:
            return Reason.AWAITING_LEASE
        if lease.answer == WHOLE and self.lacking(auction) <= self.leasing.free(lease):
            return Reason.AWAITING_BIDS
        shown = self.leasing.why_short(lease)
        waited = self.state.time_ns - lease.asked_ns >= self.rules.lease_wait_ns
        if (waited or lease.answer != SHORT) and self.ask(auction):
            return Reason.AWAITING_LEASE
        return shown

    # ------------------------------------------------------------------ batches

    def limit(self, auction: Auction) -> int:
        """The lowest that is served now."""
        return self.auctions.minor(auction, self.auctions.price(auction))

    def clear(self, auction: Auction) -> None:
        """One batch, the highest limit first; of the others' limits a share is gone and the proceeds come on top."""
        served = sorted(
            (b for b in auction.bids if b.limit >= self.limit(auction)), key=lambda b: (-b.limit, b.number)
        )  # fmt: skip
        path = None
        if served and auction.phase == SOLVENT and self.auctions.price(auction) > 0:
            preference = self.preferring.preference.get(auction.account.account_id, 0)
            path = self.auctions.selling(auction).choose(preference)
        for bid in served:
            if bid.limit < self.limit(auction):
                continue
            auction.bids.remove(bid)
            try:
                share, proceeds = self.auctions.sell(auction, bid, path)
            except Refused as refused:
                self.auctions.refuse(auction.number, bid, auction.phase, refused.reason)
                continue
            for other in auction.bids:
                other.limit = other.limit * (PPM - share) // PPM + proceeds
            if self.over(auction, Reason.CLOSED_OUT):
                return

    def retained(self, auction: Auction) -> bool:
        """Retained bidders, asked once; whether nothing was left for others."""
        if auction.asked_retained or not self.preferring.retained:
            return False
        auction.asked_retained = True
        held = self.worth.held(auction.account, auction.entity)
        size = sum(self.worth.size_e16(slot, lots) for slot, lots in held.items())
        for account_id, most_usd in sorted(self.preferring.retained.items()):
            if size > most_usd * 10**16:
                continue
            self.auctions.bid(account_id, auction.number, auction.phase, self.limit(auction), PPM)
            self.clear(auction)
            if auction.number not in self.auctions.running:
                return True
        return False

    # ------------------------------------------------------------------ ends

    def over(self, auction: Auction, reason: Reason) -> bool:
        """Whether the account stands again, or has nothing left and what it lacks could be paid."""
        account, entity = auction.account, auction.entity
        if self.worth.held(account, entity):
            if not self.restored(account, entity, auction.terms):
                return False
            reason = Reason.RESTORED
        else:
            self.settle_debts(account, entity, auction.currency, auction.number)
            lacked = -self.worth.remainder(account, entity, auction.currency)
            if lacked > self.leasing.free(auction.lease) and lacked > 0:
                return False
            if lacked > 0:
                self.leasing.draw(auction.lease, lacked)
                self.state.check_level(account)
        bids, auction.bids = auction.bids, []
        for bid in bids:
            self.auctions.refuse(auction.number, bid, auction.phase, Reason.AUCTION_CLOSED)
        auction.reason = reason
        self.auctions.say(EventKind.AUCTION_CLOSED, auction)
        del self.auctions.running[auction.number]
        self.leasing.over(auction.lease, auction.equity, reason)
        self.end(account, entity, reason)
        return True

    def end(self, account: Account, entity: int, reason: Reason) -> None:
        account.in_liquidation = False
        self.state.touched.add(account.account_id)
        self.say(EventKind.LIQUIDATION_ENDED, account, entity, reason)
        self.state.check_level(account)
        if account.level == BREACHED:
            self.queue(account)
