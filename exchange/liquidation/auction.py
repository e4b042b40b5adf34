"""Liquidation, minimal but real: breach -> orders cancelled -> auction of the whole portfolio -> insolvent phase.

Stages of one account (all in venue time, driven by Ticks; the clock stands still while marks are stale):

1. A breach on fresh marks starts the liquidation; open orders are cancelled; the account is looked at again.
2. SOLVENT auction. The asking price for the whole remaining portfolio is d(t) x its robust value; d falls from
   `discount_start` to `discount_cutoff` (fast), then to zero (slow). Bidders take shares: positions move at the mark and
   the account pays the difference between value V and price P, so the bidder has bought at the price. Just as much is
   sold as restores the buffer, the fee counted: f = (T - E) / (T - (V - P) - fee), T = maintenance x (1 + buffer).
3. INSOLVENT phase, at once where the robust value is not positive: the price falls from min(V, 0) to
   -compensation cap; what lies below zero is paid by the fund, from a lease taken by the worker.
4. It ends when the account is above its buffer or holds nothing; what is left of the lease is settled.

No bids or no fund: the account stays in liquidation, with the reason shown; nothing is socialised.
"""

from typing import Any

from exchange.config import Liquidation as Parameters
from exchange.events import EventKind, Level
from exchange.liquidation.insurance import Leases
from exchange.reasons import Reason
from exchange.views import AuctionView, LeaseView

PPM = 1_000_000
SOLVENT, INSOLVENT = 1, 2


class Bid:
    """A standing bid for a share of what remains: filled when the asking price has fallen to its limit."""

    __slots__ = ("account_id", "bid_id", "limit", "share_ppm")

    def __init__(self, bid_id: int, account_id: int, limit: int, share_ppm: int) -> None:
        self.bid_id = bid_id
        self.account_id = account_id
        self.limit = limit
        self.share_ppm = share_ppm


class Auction:
    """One account's portfolio under the hammer; `entity` is the margin currency (0 for a cross account)."""

    __slots__ = (
        "account_id",
        "auction_id",
        "batch_ns",
        "bids",
        "clock_ns",
        "currency",
        "entity",
        "last_ns",
        "lease_id",
        "opened_ns",
        "phase",
        "reason",
        "sold_ppm",
    )

    def __init__(self, auction_id: int, account_id: int, entity: int, currency: int, phase: int, now: int) -> None:
        self.auction_id = auction_id
        self.account_id = account_id
        self.entity = entity
        self.currency = currency
        self.phase = phase
        self.opened_ns = now
        self.last_ns = now
        self.clock_ns = 0
        self.batch_ns = now
        self.bids: list[Bid] = []
        self.reason = int(Reason.AWAITING_BIDS)
        self.lease_id = 0
        self.sold_ppm = 0

    def export(self) -> list[Any]:
        """Canonical state."""
        bids = [[bid.bid_id, bid.account_id, bid.limit, bid.share_ppm] for bid in self.bids]
        fields = [getattr(self, name) for name in self.__slots__ if name != "bids"]
        return [*fields, bids]


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
        self.leases = Leases(desk)

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
        if self._healthy(account_id, entity):
            self._end(account_id, entity, Reason.RESTORED)
            return
        value = self.desk.robust_value(account_id, entity)
        phase = SOLVENT if value > 0 and self.desk.held(account_id, entity) else INSOLVENT
        auction = Auction(self.next_auction_id, account_id, entity, currency, phase, now)
        self.next_auction_id += 1
        self.auctions[auction.auction_id] = auction
        self.by_account[account_id] = auction.auction_id
        self._emit(EventKind.AUCTION_OPENED, auction)
        if phase == INSOLVENT:
            self._lease(auction, now)

    def advance(self, auction: Auction, now: int) -> None:
        """One Tick of one auction."""
        elapsed = now - auction.last_ns
        auction.last_ns = now
        if not self.desk.marks_fresh(auction.account_id, now):
            self._say(auction, Reason.STALE_MARKS)
            return
        auction.clock_ns += elapsed
        if self._finished(auction):
            return
        timeout = self.parameters.fast_ns + self.parameters.slow_ns
        value = self.desk.robust_value(auction.account_id, auction.entity)
        if auction.phase == SOLVENT and (value <= 0 or auction.clock_ns >= timeout):
            self._turn_insolvent(auction, now)
        elif auction.phase == INSOLVENT and value > 0 and auction.lease_id == 0:
            self._lease(auction, now)
        if auction.phase == INSOLVENT:
            self._watch_lease(auction, now)
        if now - auction.batch_ns >= self.parameters.batch_ns:
            auction.batch_ns = now
            self._clear(auction)

    def _turn_insolvent(self, auction: Auction, now: int) -> None:
        for bid in auction.bids:
            self._refuse(auction.auction_id, bid, auction.phase, Reason.WRONG_PHASE)
        auction.bids = []
        auction.phase = INSOLVENT
        auction.clock_ns = 0
        self._emit(EventKind.AUCTION_PHASE_CHANGED, auction)
        self._lease(auction, now)

    # ------------------------------------------------------------------ prices

    def price(self, auction: Auction) -> int:
        """Asking price for 100 % of what remains, in the auction's unit (see `_unit`): what a bidder would pay."""
        value: int = self.desk.robust_value(auction.account_id, auction.entity)
        p = self.parameters
        if auction.phase == SOLVENT:
            return value * self._discount_ppm(auction.clock_ns) // PPM
        _, _, maintenance = self.desk.margins(auction.account_id, auction.entity)
        cap = maintenance * p.compensation_cap_ppm // PPM
        return min(value, 0) - cap * min(auction.clock_ns, p.insolvent_ns) // p.insolvent_ns

    def _discount_ppm(self, clock_ns: int) -> int:
        p = self.parameters
        if clock_ns < p.fast_ns:
            return p.discount_start_ppm - (p.discount_start_ppm - p.discount_cutoff_ppm) * clock_ns // p.fast_ns
        left = max(0, p.slow_ns - (clock_ns - p.fast_ns))
        return p.discount_cutoff_ppm * left // p.slow_ns

    def _needed_ppm(self, auction: Auction, value: int, price: int) -> int:
        """Share that restores the buffer at a price, rounded up; everything where no share does."""
        equity, _, maintenance = self.desk.margins(auction.account_id, auction.entity)
        target = maintenance * (PPM + self.parameters.buffer_ppm) // PPM
        kept = target - (value - price) - max(price, 0) * self.parameters.fee_ppm // PPM
        if auction.phase != SOLVENT or kept <= 0:
            return PPM
        return max(1, min(PPM, -(-(target - equity) * PPM // kept)))

    def _minor(self, auction: Auction, amount: int) -> int:
        """An amount in the auction's unit as minor units of its currency (cross accounts reckon in 1e-4 USD)."""
        if self.desk.is_cross(auction.account_id):
            return int(self.desk.to_currency(auction.currency, amount))
        return amount

    # ------------------------------------------------------------------ bids

    def bid(self, account_id: int, auction_id: int, phase: int, limit: int, share_ppm: int) -> None:
        """Take a bid or refuse it with a reason; it pins auction, phase and limit."""
        auction = self.auctions.get(auction_id)
        bid = Bid(self.next_bid_id, account_id, limit, share_ppm)
        reason = self._bid_reason(auction, account_id, phase, share_ppm)
        if reason or auction is None:
            self._refuse(auction_id, bid, phase, reason)
            return
        self.next_bid_id += 1
        auction.bids.append(bid)
        self.desk.emit_bid(
            EventKind.BID_ACCEPTED, account_id, auction_id, bid.bid_id, limit, share_ppm, phase, Reason.NONE
        )

    def _bid_reason(self, auction: Auction | None, account_id: int, phase: int, share_ppm: int) -> Reason:
        if not self.desk.exists(account_id):
            return Reason.UNKNOWN_ACCOUNT
        if auction is None:
            return Reason.UNKNOWN_AUCTION
        if phase != auction.phase:
            return Reason.WRONG_PHASE
        if not 0 < share_ppm <= PPM:
            return Reason.SHARE_OUT_OF_RANGE
        if self.desk.owner(account_id) == self.desk.owner(auction.account_id):
            return Reason.OWN_GROUP
        if self.desk.in_liquidation(account_id):
            return Reason.ACCOUNT_IN_LIQUIDATION
        if len(auction.bids) >= self.parameters.max_bids_per_batch:
            return Reason.BATCH_FULL
        return Reason.NONE

    def _refuse(self, auction_id: int, bid: Bid, phase: int, reason: Reason) -> None:
        self.desk.emit_bid(
            EventKind.BID_REJECTED,
            bid.account_id,
            auction_id,
            bid.bid_id,
            bid.limit,
            bid.share_ppm,
            phase,
            reason,
        )

    def _clear(self, auction: Auction) -> None:
        """One uniform-price batch: every bid at or above the asking price, best limit first, then first come."""
        price = self.price(auction)
        ready = sorted(
            (bid for bid in auction.bids if bid.limit >= self._minor(auction, price)),
            key=lambda bid: (-bid.limit, bid.bid_id),
        )
        for bid in ready:
            if auction.auction_id not in self.auctions:
                return
            auction.bids.remove(bid)
            reason = self._sell(auction, bid)
            if reason:
                self._refuse(auction.auction_id, bid, auction.phase, reason)
            elif self._finished(auction):
                return

    def _legs(self, auction: Auction, share_ppm: int) -> list[tuple[int, int]]:
        """Signed lots per instrument of a share, to the nearest lot; upwards where that would leave nothing."""
        held = self.desk.held(auction.account_id, auction.entity)
        for bias in (PPM // 2, PPM - 1):
            legs = []
            for instrument, lots in held:
                part = (abs(lots) * share_ppm + bias) // PPM
                if part:
                    legs.append((instrument, part if lots > 0 else -part))
            if legs:
                return legs
        return []

    def _sell(self, auction: Auction, bid: Bid) -> Reason:
        """Move a share to a bidder in one piece, or change nothing and say why."""
        value = self.desk.robust_value(auction.account_id, auction.entity)
        price = self.price(auction)
        share = min(bid.share_ppm, self._needed_ppm(auction, value, price))
        legs = self._legs(auction, share)
        if not legs or self.desk.in_liquidation(bid.account_id):
            return Reason.SHARE_OUT_OF_RANGE
        payment = self._minor(auction, (value - price) * share // PPM)
        draw = self._minor(auction, -(min(price, 0) * share // PPM))
        if draw and draw > self.leases.free(auction.lease_id):
            return Reason.FUND_EXHAUSTED if self.leases.exhausted(auction.lease_id) else Reason.AWAITING_LEASE
        if not self.desk.row_budget(bid.account_id, legs):
            return Reason.ROW_LIMIT
        if not self.desk.bidder_stands(bid.account_id, legs, auction.currency, payment):
            return Reason.BIDDER_MARGIN
        for instrument, lots in legs:
            self.desk.transfer(auction.account_id, bid.account_id, instrument, lots, auction.auction_id)
        if draw:
            self.leases.draw(auction.lease_id, auction.account_id, draw)
        self.desk.pay(auction.account_id, bid.account_id, auction.currency, payment)
        fee = self._minor(auction, max(price, 0) * share // PPM * self.parameters.fee_ppm // PPM)
        if fee:
            self.desk.pay_fund(auction.account_id, auction.currency, fee)
            self.desk.emit_fund_credit(auction.currency, fee, bid.bid_id)
        auction.sold_ppm += (PPM - auction.sold_ppm) * share // PPM
        self.desk.emit_sold(
            auction.account_id,
            auction.auction_id,
            bid.bid_id,
            bid.account_id,
            share,
            self._minor(auction, price * share // PPM),
            fee,
            draw,
            auction.currency,
            auction.phase,
        )
        self.desk.after(auction.account_id)
        self.desk.after(bid.account_id)
        return Reason.NONE

    # ------------------------------------------------------------------ leases

    def _lease(self, auction: Auction, now: int) -> None:
        """Ask for what the insolvent phase may cost at most: the deficit and the capped compensation."""
        value = self.desk.robust_value(auction.account_id, auction.entity)
        _, _, maintenance = self.desk.margins(auction.account_id, auction.entity)
        cap = maintenance * self.parameters.compensation_cap_ppm // PPM
        amount = self._minor(auction, max(-value, 0) + cap)
        if amount <= 0:
            return
        if auction.lease_id == 0:
            auction.lease_id = self.leases.open(auction.auction_id, auction.account_id, auction.currency)
        self.leases.request(auction.lease_id, amount, now)
        self._say(auction, Reason.AWAITING_LEASE)

    def _watch_lease(self, auction: Auction, now: int) -> None:
        """Ask again when a lease was cut short or no longer covers the deficit; show which it is."""
        value = self.desk.robust_value(auction.account_id, auction.entity)
        lease = self.leases.get(auction.lease_id)
        if lease is None:
            if value < 0:
                self._lease(auction, now)
            return
        short = self._minor(auction, max(-value, 0)) > self.leases.free(auction.lease_id)
        if lease.state == "requested":
            self._say(auction, Reason.AWAITING_LEASE)
        elif lease.state == "exhausted" or short:
            self._say(auction, Reason.FUND_EXHAUSTED if lease.state == "exhausted" else Reason.AWAITING_LEASE)
            if now - lease.asked_ns >= self.parameters.lease_wait_ns or lease.state == "granted":
                self._lease(auction, now)
        else:
            self._say(auction, Reason.AWAITING_BIDS)

    def grant(self, lease_id: int, amount: int, exhausted: bool) -> Reason:
        """The worker's answer to a request; `amount` is the total now held."""
        return self.leases.grant(lease_id, amount, exhausted)

    def lease_settled(self, lease_id: int, used: int) -> Reason:
        """The worker has given the rest back."""
        return self.leases.settled(lease_id, used)

    # ------------------------------------------------------------------ ends

    def _healthy(self, account_id: int, entity: int) -> bool:
        equity, _, maintenance = self.desk.margins(account_id, entity)
        target = maintenance * (PPM + self.parameters.buffer_ppm) // PPM
        return bool(equity >= target)

    def _finished(self, auction: Auction) -> bool:
        """Close the auction where the account stands again or holds nothing."""
        account_id, entity = auction.account_id, auction.entity
        if self.desk.held(account_id, entity):
            if not self._healthy(account_id, entity):
                return False
            self._close(auction, Reason.RESTORED)
            return True
        equity = self.desk.margins(account_id, entity)[0]
        if equity < 0:
            deficit = self._minor(auction, -equity)
            if deficit > self.leases.free(auction.lease_id):
                return False
            self.leases.draw(auction.lease_id, account_id, deficit)
            self.desk.after(account_id)
        self._close(auction, Reason.CLOSED_OUT)
        return True

    def _close(self, auction: Auction, reason: Reason) -> None:
        for bid in auction.bids:
            self._refuse(auction.auction_id, bid, auction.phase, Reason.AUCTION_CLOSED)
        auction.bids = []
        auction.reason = int(reason)
        self._emit(EventKind.AUCTION_CLOSED, auction)
        del self.auctions[auction.auction_id]
        del self.by_account[auction.account_id]
        self.auctions_closed += 1
        self.leases.close(auction.lease_id)
        self._end(auction.account_id, auction.entity, reason)

    def _end(self, account_id: int, entity: int, reason: Reason) -> None:
        equity, _, maintenance = self.desk.margins(account_id, entity)
        self.desk.set_liquidation(account_id, False, Reason.NONE)
        self.desk.emit_auction(
            EventKind.LIQUIDATION_ENDED, account_id, 0, 0, reason, entity, equity, maintenance, 0
        )
        # another currency of a segregated account may be below as well
        if self.desk.after(account_id) == Level.MAINTENANCE_BREACHED:
            self.desk.monitor.put_back(account_id)

    def _emit(self, kind: EventKind, auction: Auction) -> None:
        value = self.desk.robust_value(auction.account_id, auction.entity)
        _, _, maintenance = self.desk.margins(auction.account_id, auction.entity)
        self.desk.emit_auction(
            kind,
            auction.account_id,
            auction.auction_id,
            auction.phase,
            auction.reason,
            auction.currency,
            self._minor(auction, value),
            self._minor(auction, maintenance),
            self._minor(auction, self.price(auction)),
        )

    def _say(self, auction: Auction, reason: Reason) -> None:
        """Show why an auction waits, on change."""
        if auction.reason != reason:
            auction.reason = int(reason)
            self.desk.set_liquidation(auction.account_id, True, reason)
            self._emit(EventKind.AUCTION_PHASE_CHANGED, auction)

    # ------------------------------------------------------------------ reads

    def views(self) -> list[AuctionView]:
        """Running auctions, ascending id; amounts in minor units of `currency`."""
        out = []
        for auction_id in sorted(self.auctions):
            auction = self.auctions[auction_id]
            lease = self.leases.get(auction.lease_id)
            _, _, maintenance = self.desk.margins(auction.account_id, auction.entity)
            value = self.desk.robust_value(auction.account_id, auction.entity)
            out.append(
                AuctionView(
                    auction_id=auction_id,
                    account_id=auction.account_id,
                    currency=self.desk.currency_name(auction.currency),
                    phase=auction.phase,
                    reason=auction.reason,
                    opened_ns=auction.opened_ns,
                    phase_ns=auction.clock_ns,
                    value_minor=self._minor(auction, value),
                    requirement_minor=self._minor(auction, maintenance),
                    price_minor=self._minor(auction, self.price(auction)),
                    remaining_ppm=PPM - auction.sold_ppm,
                    bids=len(auction.bids),
                    lease_id=auction.lease_id,
                    lease_currency=self.desk.currency_name(auction.currency) if lease else "",
                    lease_minor=lease.granted_minor if lease else 0,
                )
            )
        return out

    def lease_views(self) -> list[LeaseView]:
        """Leases that are not settled yet."""
        return self.leases.views()

    def export(self) -> list[Any]:
        """Canonical state."""
        return [
            self.next_auction_id,
            self.next_bid_id,
            self.auctions_closed,
            self.liquidations,
            [self.auctions[auction_id].export() for auction_id in sorted(self.auctions)],
            self.leases.export(),
        ]


