"""Payloads of the cold commands that trade: linked orders, market-maker protection, kill switch, block trades.

Those that set the venue up stand in `exchange/config.py`.
"""

from typing import Literal

from exchange.config import Reference
from exchange.parameters import Struct


class LinkedOrder(Struct, kw_only=True):
    """An order of PLACE_LINKED, in the engine's units (numbers as in PLACE_ORDER and ORDER_TERMS)."""

    instrument: int
    side: int
    quantity_lots: int
    price_units: int = 0
    order_type: int = 0
    time_in_force: int = 0
    flags: int = 0
    label: str = ""
    trigger_price_e8: int = 0
    trigger_offset_e8: int = 0
    trigger_source: int = 0


class PlaceLinked(Struct):
    """Payload of PLACE_LINKED (account in the header): orders[0] is the primary."""

    link_type: int
    fill_condition: int
    key_id: int
    orders: tuple[LinkedOrder, ...]
    valid_until_ns: int = 0


class Protection(Struct):
    """Payload of SET_PROTECTION (account in the header): limits of a market-maker protection group.

    A limit of 0 is no limit. `interval_ns` 0 removes the group and cancels its orders.
    """

    underlying: str
    group: int
    interval_ns: int
    frozen_ns: int = 0
    """How long quotes are refused after a trigger; 0: until the group is reset."""
    quantity_limit_e8: int = 0
    """Coins traded within the interval."""
    delta_limit_e8: int = 0
    """Coins of net delta."""
    vega_limit_e8: int = 0
    """USD per vol point of net vega."""
    max_quote_e8: int = 0
    """Largest single quote, coins."""
    name: str = ""


class ResetProtection(Struct):
    """Payload of RESET_PROTECTION (account in the header)."""

    underlying: str
    group: int


class KillSwitch(Struct):
    """Payload of KILL_SWITCH. `target`: name of the underlying or account, number of the owner, "" for the venue."""

    scope: Literal["venue", "underlying", "owner", "account"]
    target: str = ""
    on: bool = True
    cancel: bool = True
    """Cancel what is open in the scope."""


class BlockLeg(Struct):
    """One trade of a block; `side` is the maker's."""

    instrument: int
    side: int
    price_units: int
    quantity_lots: int


class BlockTrade(Struct):
    """Payload of BLOCK_TRADE: agreed by both accounts outside the book."""

    maker_account_id: int
    taker_account_id: int
    timestamp_ms: int
    nonce: str
    trades: tuple[BlockLeg, ...]


class SubmitTransfer(Struct):
    """Payload of SUBMIT_TRANSFER (account in the header: who asks): money of `source` (0: who asks) to another account
    of the same owner."""

    currency: str
    amount_minor: int
    destination: int
    source: int = 0
    nonce: str = ""
    """The client's own id of the transfer, 8 to 128 bytes; "": none."""


class OfferLeg(Struct):
    """A position offered for sale: what a bidder gets, `quantity_lots` bought, negative sold."""

    instrument: int
    quantity_lots: int


class OfferPortfolio(Struct):
    """Payload of OFFER_PORTFOLIO (account in the header): ask for bids on these positions, ascending instrument."""

    legs: tuple[OfferLeg, ...]
    expires_ns: int


class BidPortfolio(Struct):
    """Payload of BID_PORTFOLIO (account in the header): a price for every leg of an offer, in its order; none: withdraw
    the account's bid."""

    offer_id: Reference
    price_units: tuple[int, ...] = ()


class ClosePortfolioOffer(Struct):
    """Payload of CLOSE_PORTFOLIO_OFFER (account in the header, whose offer it is): sell to the bidder, 0: to nobody."""

    offer_id: Reference
    bid_id: Reference = 0


class AuctionTerms(Struct):
    """Payload of SET_AUCTION_TERMS: terms of new liquidation auctions in an underlying, fields of `config.Liquidation`;
    None as the configuration has it."""

    underlying: str
    buffer_ppm: int | None = None
    discount_start_ppm: int | None = None
    discount_cutoff_ppm: int | None = None
    compensation_cap_ppm: int | None = None
    fee_ppm: int | None = None
    fast_ns: int | None = None
    slow_ns: int | None = None
    insolvent_ns: int | None = None
    batch_ns: int | None = None


class SetUnwind(Struct):
    """Payload of SET_UNWIND (account in the header): what the owner would rather have sold in a liquidation."""

    preference: Literal["smallest", "proportional", "futures_first", "options_first"] = "smallest"


class SetBackstop(Struct):
    """Payload of SET_BACKSTOP (account in the header): take portfolios of at most so much that nobody else has bid for.

    `most_usd` is their size at the index; 0: retained no longer.
    """

    most_usd: int
