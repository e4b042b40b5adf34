"""The auction house: asking prices, shares, and the sale of a share to a bidder.

A bidder takes a slice of the account (`slices`): its positions move at the mark, with its share f of the account's
equity in each currency, debts included, and the bidder pays f x price. What a negative price costs is paid by the fund,
out of a lease.
"""

from collections.abc import Callable
from typing import Any

from exchange.config import Liquidation as Parameters
from exchange.events import EventKind
from exchange.liquidation.insurance import Leases
from exchange.liquidation.slices import Path, Seller, terms_of
from exchange.reasons import Reason
from exchange.views import AuctionView

PPM = 1_000_000
SOLVENT, INSOLVENT = 1, 2
OWNERS_PER_BATCH = 16
"""One owner may hold this part of an auction's standing bids, at least one."""


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
        "equity_minor",
        "last_ns",
        "lease_id",
        "opened_ns",
        "other_ns",
        "phase",
        "reason",
        "retained_asked",
        "sold_ppm",
        "terms",
        "terms_version",
    )

    def __init__(
        self, auction_id: int, account_id: int, entity: int, currency: int, phase: int, now: int, terms: Parameters
    ) -> None:
        self.terms = terms
        self.terms_version = 0
        self.retained_asked = False  # retained bidders have had their turn
        self.auction_id = auction_id
        self.account_id = account_id
        self.entity = entity
        self.currency = currency
        self.phase = phase
        self.opened_ns = now
        self.last_ns = now
        self.clock_ns = 0
        self.other_ns = 0  # the clock of the phase that is not running
        self.batch_ns = now
        self.bids: list[Bid] = []
        self.reason = int(Reason.AWAITING_BIDS)
        self.lease_id = 0
        self.equity_minor = 0  # when it opened
        self.sold_ppm = 0

    def export(self) -> list[Any]:
        """Canonical state."""
        bids = [[bid.bid_id, bid.account_id, bid.limit, bid.share_ppm] for bid in self.bids]
        later = ("bids", "retained_asked", "terms", "terms_version")
        fields = [getattr(self, name) for name in self.__slots__ if name not in later]
        more = [self.retained_asked, self.terms_version] if self.retained_asked or self.terms_version else []
        return [*fields, bids, *more]


class AuctionHouse:
    """Prices and sells; holds the leases. `desk` is exchange.liquidation.desk.Desk."""

    def __init__(self, desk: Any, parameters: Parameters) -> None:
        self.desk = desk
        self.parameters = parameters
        self.leases = Leases(desk, parameters)
        self.stressed: Callable[[Auction], int] = lambda auction: 0
        """What an auction's entity lacks under joint stress, minor units."""

    def price(self, auction: Auction) -> int:
        """What a bidder would pay for 100 % of what remains; cross accounts reckon in 1e-4 USD."""
        value: int = self.desk.robust_value(auction.account_id, auction.entity)
        p = auction.terms
        if auction.phase == SOLVENT:
            return value * self._discount_ppm(auction) // PPM
        maintenance: int = self.desk.margins(auction.account_id, auction.entity)[2]
        cap = maintenance * p.compensation_cap_ppm // PPM
        return min(value, 0) - cap * min(auction.clock_ns, p.insolvent_ns) // p.insolvent_ns

    def _discount_ppm(self, auction: Auction) -> int:
        p, clock_ns = auction.terms, auction.clock_ns
        if clock_ns < p.fast_ns:
            return p.discount_start_ppm - (p.discount_start_ppm - p.discount_cutoff_ppm) * clock_ns // p.fast_ns
        left = max(0, p.slow_ns - (clock_ns - p.fast_ns))
        return p.discount_cutoff_ppm * left // p.slow_ns

    def seller(self, auction: Auction, price: int) -> Seller:
        """The account as slices of it are sought at a price for all that remains."""
        terms = terms_of(auction.terms, price)
        return Seller(self.desk, auction.account_id, auction.entity, auction.currency, terms)

    def path(self, auction: Auction, unwind: int) -> Path | None:
        """What is sold first at the current price: the path of the smallest slice; None for a share of everything."""
        price = self.price(auction)
        if auction.phase != SOLVENT or price <= 0:
            return None
        return self.seller(auction, price).choose(unwind)

    def minor(self, auction: Auction, amount: int) -> int:
        """An amount in the auction's unit as minor units of its currency (cross accounts reckon in 1e-4 USD)."""
        if self.desk.is_cross(auction.account_id):
            return int(self.desk.to_currency(auction.currency, amount))
        return amount

    def emit(self, kind: EventKind, auction: Auction) -> None:
        """An event of the auction as it stands."""
        self.desk.emit_auction(
            kind,
            auction.account_id,
            auction.auction_id,
            auction.phase,
            auction.reason,
            auction.currency,
            self.minor(auction, self.desk.robust_value(auction.account_id, auction.entity)),
            self.minor(auction, self.desk.margins(auction.account_id, auction.entity)[2]),
            self.minor(auction, self.price(auction)),
        )

    def bid_reason(self, auction: Auction | None, account_id: int, phase: int, share_ppm: int) -> Reason:
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
        if self.desk.bidder_stopped(account_id, auction.account_id):
            return Reason.TRADING_STOPPED
        owner = self.desk.owner(account_id)
        standing = sum(self.desk.owner(bid.account_id) == owner for bid in auction.bids)
        if standing >= max(1, self.parameters.max_bids_per_batch // OWNERS_PER_BATCH):
            return Reason.BATCH_FULL
        return Reason.NONE

    def crowd_out(self, auction: Auction, limit: int) -> Bid | None:
        """The bid that a new one at `limit` displaces from a full batch; None where none is worse.

        Without it bids that are never to be filled could keep everybody else out.
        """
        worst = min(auction.bids, key=lambda bid: (bid.limit, -bid.bid_id))
        return worst if worst.limit < limit else None

    def sell(self, auction: Auction, bid: Bid, path: Path | None) -> tuple[Reason, int, int]:
        """Move a slice to a bidder in one piece, or change nothing and say why: (reason, share in ppm, proceeds)."""
        price = self.price(auction)
        seller = self.seller(auction, price)
        part = seller.cut(path or seller.everything(), bid.share_ppm, auction.phase == SOLVENT and price > 0)
        if part is None:
            return Reason.SHARE_OUT_OF_RANGE, 0, 0
        legs, share = part
        payments = seller.payments(share)
        draw = -self.minor(auction, min(price, 0) * share // PPM)
        if self.desk.in_liquidation(bid.account_id):
            return Reason.ACCOUNT_IN_LIQUIDATION, 0, 0
        if self.desk.bidder_stopped(bid.account_id, auction.account_id):
            return Reason.TRADING_STOPPED, 0, 0
        if self.desk.bidder_isolated(bid.account_id, legs):
            return Reason.ISOLATED_POSITION, 0, 0
        if draw and draw > self.leases.free(auction.lease_id):
            return self.leases.short(auction.lease_id), 0, 0
        if not self.desk.row_budget(bid.account_id, legs):
            return Reason.ROW_LIMIT, 0, 0
        if not self.desk.bidder_stands(bid.account_id, legs, payments):
            return Reason.BIDDER_MARGIN, 0, 0
        for instrument, lots in legs:
            self.desk.transfer(auction.account_id, bid.account_id, instrument, lots, auction.auction_id)
        if draw:
            self.leases.draw(auction.lease_id, auction.account_id, draw)
        for currency, amount in sorted(payments.items()):
            self.desk.pay(auction.account_id, bid.account_id, currency, amount)
        fee = seller.fee(share)
        if fee:
            self.desk.pay_fund(auction.account_id, auction.currency, fee)
            self.desk.emit_fund_credit(auction.currency, fee, bid.bid_id)
        paid = self.minor(auction, price * share // PPM)
        auction.sold_ppm += (PPM - auction.sold_ppm) * share // PPM
        self.desk.emit_sold(
            auction.account_id,
            auction.auction_id,
            bid.bid_id,
            bid.account_id,
            share,
            paid,
            fee,
            draw,
            auction.currency,
            auction.phase,
        )
        self.desk.after(auction.account_id)
        self.desk.after(bid.account_id)
        return Reason.NONE, share, paid - fee

    # ------------------------------------------------------------------ leases

    def ask(self, auction: Auction, now: int) -> bool:
        """Ask for what the insolvent phase may cost: the deficit, now or under joint stress (`sizing`), and the capped
        compensation."""
        value: int = self.desk.robust_value(auction.account_id, auction.entity)
        maintenance: int = self.desk.margins(auction.account_id, auction.entity)[2]
        cap = maintenance * auction.terms.compensation_cap_ppm // PPM
        lacked = self.minor(auction, max(-value, 0))
        amount = max(lacked, self.stressed(auction)) - lacked + self.minor(auction, max(-value, 0) + cap)
        if amount <= 0:
            return False
        if auction.lease_id == 0:
            auction.lease_id = self.leases.open(auction.auction_id, auction.account_id, auction.currency)
        return self.leases.request(auction.lease_id, amount, now)

    def watch(self, auction: Auction, now: int) -> Reason:
        """Ask again when a lease was cut short or no longer covers the deficit; what the auction waits for."""
        value: int = self.desk.robust_value(auction.account_id, auction.entity)
        lease = self.leases.get(auction.lease_id)
        if lease is None:
            asked = value < 0 and self.ask(auction, now)
            return Reason.AWAITING_LEASE if asked else Reason(auction.reason)
        short = self.minor(auction, max(-value, 0)) > self.leases.free(auction.lease_id)
        if lease.state == "requested":
            return Reason.AWAITING_LEASE
        if lease.state != "exhausted" and not short:
            return Reason.AWAITING_BIDS
        shown = self.leases.short(auction.lease_id)
        if now - lease.asked_ns >= self.parameters.lease_wait_ns or lease.state == "granted":
            return Reason.AWAITING_LEASE if self.ask(auction, now) else shown
        return shown

    def views(self, auctions: dict[int, Auction]) -> list[AuctionView]:
        """Running auctions, ascending id; amounts in minor units of `currency`."""
        out = []
        for auction_id in sorted(auctions):
            auction = auctions[auction_id]
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
                    value_minor=self.minor(auction, value),
                    requirement_minor=self.minor(auction, maintenance),
                    price_minor=self.minor(auction, self.price(auction)),
                    remaining_ppm=PPM - auction.sold_ppm,
                    bids=len(auction.bids),
                    lease_id=auction.lease_id,
                    lease_currency=self.desk.currency_name(auction.currency) if lease else "",
                    lease_minor=lease.granted_minor if lease else 0,
                    terms_version=auction.terms_version,
                )
            )
        return out
