"""Liquidation: breach -> orders cancelled -> auction of the smallest slice that restores -> insolvent phase.

Stages of one account (all in venue time, driven by Ticks; the clock stands still on stale marks or stopped trading):

1. A breach on fresh marks starts the liquidation; open orders are cancelled; the account is looked at again.
2. SOLVENT auction. The asking price for the whole remaining portfolio is d(t) x its robust value; d falls from
   `discount_start` to `discount_cutoff` (fast), then to zero (slow). A bidder takes a slice, at most the smallest that
   restores the buffer: its positions at the mark, its share f of the equity in each currency, for f x price: `slices`.
3. INSOLVENT phase, at once where the robust value is not positive: the price falls from min(V, 0) to
   -compensation cap; what lies below zero is paid by the fund, from a lease taken by the worker. A book that gains a
   positive value again before its solvent time is used up goes back to the solvent phase; either clock goes on.
4. Without a buyer until that phase has run its time, what is left is deleveraged: see `deleveraging`.
5. It ends when the account is above its buffer or holds nothing; what is left of the lease is settled.

A deficit that neither the fund nor deleveraging can carry keeps the auction open, the reason shown.
"""

from typing import Any

from exchange.config import Liquidation as Parameters
from exchange.events import EventKind, Level
from exchange.liquidation.auction import INSOLVENT, PPM, SOLVENT, Auction, AuctionHouse, Bid
from exchange.liquidation.deleveraging import Deleveraging
from exchange.liquidation.sizing import LeaseSizing
from exchange.liquidation.slices import target_of, terms_of
from exchange.liquidation.tear_up import TearUp
from exchange.liquidation.terms import TermsBook
from exchange.reasons import Reason
from exchange.views import AuctionView, LeaseView


class Liquidation:
    """All liquidations of the venue. `desk` is exchange.liquidation.desk.Desk."""

    def __init__(self, desk: Any, parameters: Parameters) -> None:
        self.desk = desk
        self.parameters = parameters
        self.auctions: dict[int, Auction] = {}
        self.by_account: dict[int, int] = {}
        self.next_auction_id = 1
        self.next_bid_id = 1
        self.auctions_closed = 0
        self.liquidations = 0
        self.house = AuctionHouse(desk, parameters)
        self.terms = TermsBook(desk, parameters)
        self.house.stressed = LeaseSizing(desk, parameters.lease_stress_ppm, self.auctions).stressed
        self.deleveraging = Deleveraging(desk, self.house, parameters)
        self.tear_up = TearUp(desk)

    # ------------------------------------------------------------------ ticks

    def tick(self, now: int) -> None:
        """Start queued liquidations (bounded), then move every auction on."""
        for _ in range(min(self.desk.monitor.pending(), self.parameters.work_per_tick)):
            self.start(self.desk.monitor.take(), now)
        for auction_id in sorted(self.auctions):
            self.advance(self.auctions[auction_id], now)

    def start(self, account_id: int, now: int) -> None:
        """A breach, looked at again on fresh marks."""
        if self.desk.in_liquidation(account_id) or self.desk.level(account_id) != Level.MAINTENANCE_BREACHED:
            return
        if not self.desk.marks_fresh(account_id, now):
            self.desk.monitor.put_back(account_id)
            return
        entity = self.desk.breached_entity(account_id)
        currency = self.desk.usd_currency() if self.desk.is_cross(account_id) else entity
        self.liquidations += 1
        equity, _, maintenance = self.desk.margins(account_id, entity)
        self.desk.set_liquidation(account_id, True, Reason.AWAITING_BIDS)
        self.desk.emit_auction(
            EventKind.LIQUIDATION_STARTED, account_id, 0, 0, Reason.NONE, entity, equity, maintenance, 0
        )
        self.desk.cancel_all(account_id, Reason.AUTO_LIQUIDATION)
        self._convert(account_id, entity, currency, 0)
        _, version, terms = self.terms.pick(account_id, entity)
        if self._healthy(account_id, entity, terms):
            self._end(account_id, entity, Reason.RESTORED)
            return
        value = self.desk.robust_value(account_id, entity)
        phase = SOLVENT if value > 0 else INSOLVENT
        auction = Auction(self.next_auction_id, account_id, entity, currency, phase, now, terms)
        auction.terms_version = version
        self.next_auction_id += 1
        auction.equity_minor = self.house.minor(auction, equity)
        self.auctions[auction.auction_id] = auction
        self.by_account[account_id] = auction.auction_id
        self.house.emit(EventKind.AUCTION_OPENED, auction)
        if phase == INSOLVENT and not self._torn_up(auction):
            self._lease(auction, now)

    def advance(self, auction: Auction, now: int) -> None:
        """One Tick of one auction."""
        last, auction.last_ns = auction.last_ns, now
        if held_back := self.desk.held_back(auction.account_id, now):
            self._say(auction, held_back)
            return
        # a venue that was down with an auction open must not find its price fallen
        auction.clock_ns += max(0, now - max(last, self.desk.marks_since(auction.account_id)))
        if self._finished(auction):
            return
        timeout = auction.terms.fast_ns + auction.terms.slow_ns
        value = self.desk.robust_value(auction.account_id, auction.entity)
        if auction.phase == SOLVENT and (value <= 0 or auction.clock_ns >= timeout):
            self._turn(auction, INSOLVENT)
            if self._torn_up(auction):
                return
            self._lease(auction, now)
        elif auction.phase == INSOLVENT and value > 0 and auction.other_ns < timeout:
            self._turn(auction, SOLVENT)
        elif auction.phase == INSOLVENT and value > 0 and auction.lease_id == 0:
            self._lease(auction, now)
        if auction.phase == INSOLVENT and self._torn_up(auction):
            return
        if auction.phase == INSOLVENT:
            self._say(auction, self.house.watch(auction, now))
        if now - auction.batch_ns >= auction.terms.batch_ns:
            auction.batch_ns = now
            self._clear(auction)
        if auction.auction_id not in self.auctions or not self.deleveraging.due(auction, now):
            return
        if not self._retained(auction) and self.deleveraging.run(auction):
            self._finished(auction, Reason.DELEVERAGED)

    def _retained(self, auction: Auction) -> bool:
        """Once, before deleveraging: retained bidders, by account, take what they can at the asking price; whether that
        was all."""
        if auction.retained_asked or not self.terms.backstops:
            return False
        auction.retained_asked = True
        for account_id in self.terms.retained(auction.account_id, auction.entity):
            price = self.house.minor(auction, self.house.price(auction))
            self.bid(account_id, auction.auction_id, auction.phase, price, PPM)
            self._clear(auction)
            if auction.auction_id not in self.auctions:
                return True
        return False

    def _torn_up(self, auction: Auction) -> bool:
        """Tear an isolated position up against the owner's opposite buckets; whether that ended the auction."""
        return self.tear_up.run(auction) and self._finished(auction, Reason.TORN_UP)

    def _turn(self, auction: Auction, phase: int) -> None:
        """Change the phase: bids were for the other one, each phase's clock stands while the other runs."""
        for bid in auction.bids:
            self._refuse(auction.auction_id, bid, auction.phase, Reason.WRONG_PHASE)
        auction.bids = []
        auction.phase = phase
        auction.clock_ns, auction.other_ns = auction.other_ns, auction.clock_ns
        self.house.emit(EventKind.AUCTION_PHASE_CHANGED, auction)

    # ------------------------------------------------------------------ bids

    def bid(self, account_id: int, auction_id: int, phase: int, limit: int, share_ppm: int) -> None:
        """Take a bid or refuse it with a reason; it pins auction, phase and limit."""
        auction = self.auctions.get(auction_id)
        bid = Bid(self.next_bid_id, account_id, limit, share_ppm)
        reason = self.house.bid_reason(auction, account_id, phase, share_ppm)
        if reason or auction is None:
            self._refuse(auction_id, bid, phase, reason)
            return
        if len(auction.bids) >= self.parameters.max_bids_per_batch:
            worst = self.house.crowd_out(auction, limit)
            if worst is None:
                self._refuse(auction_id, bid, phase, Reason.BATCH_FULL)
                return
            auction.bids.remove(worst)
            self._refuse(auction_id, worst, auction.phase, Reason.BATCH_FULL)
        self.next_bid_id += 1
        auction.bids.append(bid)
        self.desk.emit_bid(
            EventKind.BID_ACCEPTED, account_id, auction_id, bid.bid_id, limit, share_ppm, phase, Reason.NONE
        )

    def _refuse(self, auction_id: int, bid: Bid, phase: int, reason: Reason) -> None:
        self.desk.emit_bid(
            EventKind.BID_REJECTED, bid.account_id, auction_id, bid.bid_id, bid.limit, bid.share_ppm, phase, reason
        )

    def _clear(self, auction: Auction) -> None:
        """One uniform-price batch: every bid at or above the asking price, best limit first, then first come.

        A limit is for all that remains: when a part is sold it shrinks likewise, and grows by the proceeds.
        """
        price = self.house.price(auction)
        ready = sorted(
            (bid for bid in auction.bids if bid.limit >= self.house.minor(auction, price)),
            key=lambda bid: (-bid.limit, bid.bid_id),
        )
        path = self.house.path(auction, self.terms.unwind.get(auction.account_id, 0)) if ready else None
        for bid in ready:
            if auction.auction_id not in self.auctions:
                return
            if bid.limit < self.house.minor(auction, self.house.price(auction)):
                continue
            auction.bids.remove(bid)
            reason, share, proceeds = self.house.sell(auction, bid, path)
            if reason:
                self._refuse(auction.auction_id, bid, auction.phase, reason)
                continue
            for standing in auction.bids:
                standing.limit = standing.limit * (PPM - share) // PPM + proceeds
            if self._finished(auction):
                return

    # ------------------------------------------------------------------ leases

    def _lease(self, auction: Auction, now: int) -> None:
        if self.house.ask(auction, now):
            self._say(auction, Reason.AWAITING_LEASE)

    def grant(self, lease_id: int, amount: int, exhausted: bool) -> Reason:
        """The worker's answer to a request; `amount` is the total now held."""
        return self.house.leases.grant(lease_id, amount, exhausted)

    def lease_settled(self, lease_id: int, used: int) -> Reason:
        """The worker has given the rest back."""
        return self.house.leases.settled(lease_id, used)

    # ------------------------------------------------------------------ ends

    def _convert(self, account_id: int, entity: int, currency: int, auction_id: int) -> None:
        """Without positions nothing is for sale: debts in one currency are settled with money in another."""
        if self.desk.is_cross(account_id) and not self.desk.held(account_id, entity):
            self.desk.convert_debts(account_id, currency, auction_id)
            self.desk.after(account_id)

    def _healthy(self, account_id: int, entity: int, terms: Parameters) -> bool:
        equity, _, maintenance = self.desk.margins(account_id, entity)
        net = self.desk.futures_net(account_id, entity, []) if terms.buffer_move_ppm else 0
        return bool(equity >= target_of(maintenance, net, terms_of(terms, 0)))

    def _finished(self, auction: Auction, closed: Reason = Reason.CLOSED_OUT) -> bool:
        """Close the auction where the account stands again or nothing is left to sell."""
        account_id, entity = auction.account_id, auction.entity
        if self.desk.held(account_id, entity):
            if not self._healthy(account_id, entity, auction.terms):
                return False
            self._close(auction, Reason.RESTORED)
            return True
        self._convert(account_id, entity, auction.currency, auction.auction_id)
        deficit = -self.desk.remainder(account_id, entity, auction.currency)
        if deficit > 0:
            if deficit > self.house.leases.free(auction.lease_id):
                return False
            self.house.leases.draw(auction.lease_id, account_id, deficit)
            self.desk.after(account_id)
        self._close(auction, closed)
        return True

    def _close(self, auction: Auction, reason: Reason) -> None:
        for bid in auction.bids:
            self._refuse(auction.auction_id, bid, auction.phase, Reason.AUCTION_CLOSED)
        auction.bids = []
        auction.reason = int(reason)
        self.house.emit(EventKind.AUCTION_CLOSED, auction)
        del self.auctions[auction.auction_id]
        del self.by_account[auction.account_id]
        self.auctions_closed += 1
        self.house.leases.close(auction.lease_id, auction.equity_minor, reason)
        self._end(auction.account_id, auction.entity, reason)

    def _end(self, account_id: int, entity: int, reason: Reason) -> None:
        equity, _, maintenance = self.desk.margins(account_id, entity)
        self.desk.set_liquidation(account_id, False, Reason.NONE)
        self.desk.emit_auction(EventKind.LIQUIDATION_ENDED, account_id, 0, 0, reason, entity, equity, maintenance, 0)
        # another currency of a segregated account may be below as well
        if self.desk.after(account_id) == Level.MAINTENANCE_BREACHED:
            self.desk.monitor.put_back(account_id)

    def _say(self, auction: Auction, reason: Reason) -> None:
        """Show why an auction waits, on change."""
        if auction.reason != reason:
            auction.reason = int(reason)
            self.desk.set_liquidation(auction.account_id, True, reason)
            self.house.emit(EventKind.AUCTION_PHASE_CHANGED, auction)

    # ------------------------------------------------------------------ reads

    def views(self) -> list[AuctionView]:
        """Running auctions, ascending id; amounts in minor units of `currency`."""
        return self.house.views(self.auctions)

    def lease_views(self) -> list[LeaseView]:
        """Leases that are not settled yet."""
        return self.house.leases.views()

    def export(self) -> list[Any]:
        """Canonical state."""
        return [
            self.next_auction_id,
            self.next_bid_id,
            self.auctions_closed,
            self.liquidations,
            [self.auctions[auction_id].export() for auction_id in sorted(self.auctions)],
            self.house.leases.export(),
            self.deleveraging.export(),
            self.tear_up.export(),
            *self.terms.export(),
        ]
