"""Naive auctions: asking prices, bids, uniform-price batches, sales. Rules: docs/liquidation.md."""

from dataclasses import dataclass, field

from exchange.commands import NO_INSTRUMENT
from exchange.config import Liquidation
from exchange.events import BalanceCause, EventKind
from exchange.reasons import Reason
from tests.oracles.account import Account
from tests.oracles.leasing import Lease, Leasing
from tests.oracles.pretrade import Refused, require
from tests.oracles.selling import PPM, Part, Path, Selling
from tests.oracles.state import State
from tests.oracles.worth import Worth, is_cross

SOLVENT, INSOLVENT = 1, 2
PART_OF_A_BATCH = 16


@dataclass
class Bid:
    """`limit` is for all that remains."""

    number: int
    account_id: int
    limit: int
    share: int


@dataclass
class Auction:
    """One entity's; `clock` is of its phase, `other` of the phase that does not run."""

    number: int
    account: Account
    entity: int
    currency: int
    phase: int
    terms: Liquidation
    version: int
    equity: int
    last_ns: int
    batch_ns: int
    clock: int = 0
    other: int = 0
    reason: int = Reason.AWAITING_BIDS
    lease: Lease | None = None
    asked_retained: bool = False
    bids: list[Bid] = field(default_factory=list)


class Auctioning:
    """Prices and sales over a State."""

    def __init__(self, state: State, worth: Worth, leasing: Leasing) -> None:
        self.state, self.worth, self.leasing = state, worth, leasing
        self.running: dict[int, Auction] = {}
        self.accepted = 0
        """Bids."""

    # ------------------------------------------------------------------ prices

    def value(self, auction: Auction) -> int:
        return self.worth.robust(auction.account, auction.entity)

    def need(self, auction: Auction) -> int:
        return self.worth.margin(auction.account, auction.entity).maintenance

    def cap(self, auction: Auction) -> int:
        """The most that the fund adds to what is lacking."""
        return self.need(auction) * auction.terms.compensation_cap_ppm // PPM

    def price(self, auction: Auction) -> int:
        """For all that remains."""
        p, clock = auction.terms, auction.clock
        value = self.value(auction)
        if auction.phase == INSOLVENT:
            return min(0, value) - self.cap(auction) * min(clock, p.insolvent_ns) // p.insolvent_ns
        if clock < p.fast_ns:
            fallen = (p.discount_start_ppm - p.discount_cutoff_ppm) * clock // p.fast_ns
            return value * (p.discount_start_ppm - fallen) // PPM
        left = max(0, p.fast_ns + p.slow_ns - clock)
        return value * (p.discount_cutoff_ppm * left // p.slow_ns) // PPM

    def minor(self, auction: Auction, amount: int) -> int:
        return self.worth.minor(auction.account, auction.currency, amount)

    def say(self, kind: EventKind, auction: Auction) -> None:
        self.state.emit(
            kind, auction.account.account_id, auction_id=auction.number, phase=auction.phase, reason=auction.reason,
            currency=auction.currency, value_minor=self.minor(auction, self.value(auction)),
            requirement_minor=self.minor(auction, self.need(auction)),
            price_minor=self.minor(auction, self.price(auction)),
        )  # fmt: skip

    # ------------------------------------------------------------------ who may trade

    def underlyings(self, account: Account) -> set[int]:
        """What the account depends on."""
        found = {self.state.contracts[slot].underlying for slot in account.holdings}
        if is_cross(account):
            found |= {coin for c, coin in enumerate(self.worth.model.coin_of) if coin is not None and account.cash[c]}
        return found

    def stopped(self, account: Account, seller: Account) -> bool:
        """Whether a kill switch keeps an account from taking what the seller has."""
        on = self.state.switches
        mine = {("venue", 0), ("owner", account.owner_id), ("account", account.account_id)}
        return bool(on & (mine | {("underlying", u) for u in self.underlyings(seller)}))

    def may_buy(self, account: Account, seller: Account) -> None:
        require(not account.in_liquidation, Reason.ACCOUNT_IN_LIQUIDATION)
        require(not self.stopped(account, seller), Reason.TRADING_STOPPED)

    # ------------------------------------------------------------------ bids

    def refuse(self, number: int, bid: Bid, phase: int, reason: Reason) -> None:
        self.tell(EventKind.BID_REJECTED, number, bid, phase, reason)

    def tell(self, kind: EventKind, number: int, bid: Bid, phase: int, reason: Reason = Reason.NONE) -> None:
        self.state.emit(
            kind, bid.account_id, auction_id=number, bid_id=bid.number, limit_minor=bid.limit, share_ppm=bid.share,
            phase=phase, reason=reason,
        )  # fmt: skip

    def bid(self, account_id: int, number: int, phase: int, limit: int, share: int) -> None:
        auction = self.running.get(number)
        bid = Bid(self.accepted + 1, account_id, limit, share)
        try:
            self.check(bid, auction, phase)
        except Refused as refused:
            self.refuse(number, bid, phase, refused.reason)
            return
        self.accepted += 1
        auction.bids.append(bid)
        self.tell(EventKind.BID_ACCEPTED, number, bid, phase)

    def check(self, bid: Bid, auction: Auction | None, phase: int) -> None:
        """Whether a bid may stand; a full batch lets the lowest go for a higher one."""
        accounts, most = self.state.accounts, self.state.config.liquidation.max_bids_per_batch
        account = accounts.get(bid.account_id)
        require(account is not None, Reason.UNKNOWN_ACCOUNT)
        require(auction is not None, Reason.UNKNOWN_AUCTION)
        require(phase == auction.phase, Reason.WRONG_PHASE)
        require(1 <= bid.share <= PPM, Reason.SHARE_OUT_OF_RANGE)
        require(account.owner_id != auction.account.owner_id, Reason.OWN_GROUP)
        self.may_buy(account, auction.account)
        owned = [b for b in auction.bids if accounts[b.account_id].owner_id == account.owner_id]
        require(len(owned) < max(1, most // PART_OF_A_BATCH), Reason.BATCH_FULL)
        if len(auction.bids) < most:
            return
        lowest = min(auction.bids, key=lambda b: (b.limit, -b.number))
        require(lowest.limit < bid.limit, Reason.BATCH_FULL)
        auction.bids.remove(lowest)
        self.refuse(auction.number, lowest, auction.phase, Reason.BATCH_FULL)

    # ------------------------------------------------------------------ sales

    def selling(self, auction: Auction) -> Selling:
        price = self.price(auction)
        return Selling(self.worth, auction.account, auction.entity, auction.currency, price, auction.terms)

    def sell(self, auction: Auction, bid: Bid, path: Path | None) -> tuple[int, int]:
        """One bid's slice; (share, proceeds less fee), or Refused with nothing changed."""
        selling, price = self.selling(auction), self.price(auction)
        part = selling.cut(path, bid.share, auction.phase == SOLVENT and price > 0)
        require(part is not None, Reason.SHARE_OUT_OF_RANGE)
        buyer, seller = self.state.accounts[bid.account_id], auction.account
        drawn = max(0, -self.minor(auction, min(0, price) * part.share // PPM))
        self.may_buy(buyer, seller)
        beside = [slot for slot in part.legs if self.state.bucket_of(buyer.account_id, slot)]
        require(not beside, Reason.ISOLATED_POSITION)
        if drawn > 0:
            enough = drawn <= self.leasing.free(auction.lease)
            require(enough, self.leasing.why_short(auction.lease))
        payments, fee = selling.payments(part.share), selling.fee(part.share)
        require(self.stands(buyer, part, payments), Reason.BIDDER_MARGIN)
        self.hand_over(auction, buyer, part)
        if drawn > 0:
            self.leasing.draw(auction.lease, drawn)
        for currency, amount in payments.items():
            seller.cash[currency] -= amount
            buyer.cash[currency] += amount
        if fee:
            self.charge(auction, fee, bid.number)
        paid = self.minor(auction, price * part.share // PPM)
        self.state.emit(
            EventKind.AUCTION_LOT_SOLD, seller.account_id, auction_id=auction.number, bid_id=bid.number,
            buyer_account_id=buyer.account_id, share_ppm=part.share, price_minor=paid, fee_minor=fee,
            compensation_minor=drawn, currency=auction.currency, phase=auction.phase,
        )  # fmt: skip
        self.state.check_level(seller)
        self.state.check_level(buyer)
        return part.share, paid - fee

    def stands(self, buyer: Account, part: Part, payments: dict[int, int]) -> bool:
        """Initial margin, open orders counted, in every entity touched; or no more of it and no less equity."""
        settled = {self.state.contracts[slot].currency for slot in part.legs} | set(payments)
        after = self.worth.supposing(buyer, part.legs, payments)
        for entity in {0} if is_cross(buyer) else settled:
            then, now = (self.worth.model.margin(a, entity, True) for a in (buyer, after))
            worse = now.initial > then.initial or now.equity < then.equity
            if now.equity < now.initial and worse:
                return False
        return True

    def hand_over(self, auction: Auction, buyer: Account, part: Part) -> None:
        """Lots at the mark."""
        for slot, lots in part.legs.items():
            c = self.state.contracts[slot]
            self.state.book_fill(auction.account, c, -lots, -lots * c.mark_minor, 0)
            self.state.book_fill(buyer, c, lots, lots * c.mark_minor, 0)
            self.state.emit(
                EventKind.POSITION_TRANSFERRED, auction.account.account_id, instrument=slot,
                to_account_id=buyer.account_id, quantity_lots=lots, cost_minor=lots * c.mark_minor,
                auction_id=auction.number,
            )  # fmt: skip

    def charge(self, auction: Auction, fee: int, bid: int) -> None:
        """The disclosed fee, to the fund."""
        self.state.pay(auction.account, "fund", 0, auction.currency, -fee)
        self.state.emit(
            EventKind.BALANCE_CHANGED, 0, currency=auction.currency, cause=BalanceCause.LIQUIDATION_FEE,
            instrument=NO_INSTRUMENT, amount_minor=fee, reference=bid,
            balance_minor=self.leasing.purse("fund", auction.currency),
        )  # fmt: skip
