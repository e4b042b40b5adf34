"""Layouts of events around orders: protection, kill switches, auctions, blocks, margin modes, transfers, offers.

Their kinds stand in `exchange/events.py`.
"""

from enum import IntEnum
from typing import Any

import numpy as np

from exchange.commands import HEADER

PROTECTION = np.dtype(
    [
        *HEADER,
        ("underlying", "<u2"),
        ("protection_group", "<u2"),
        ("cause", "<u2"),
        ("cancelled", "<u2"),
        ("frozen_until_ns", "<i8"),
        ("quantity_e8", "<i8"),
        ("delta_e8", "<i8"),
        ("vega_e8", "<i8"),
    ]
)
"""PROTECTION_CHANGED: configured, removed or reset; PROTECTION_TRIGGERED: the sums of the interval that passed a limit,
quantity and delta in coins, vega in USD per vol point. frozen_until_ns: 0 not frozen, -1 until it is reset."""
TRADING_STOPPED = np.dtype(
    [
        *HEADER,
        ("scope", "u1"),
        ("on", "u1"),
        ("reserved0", "V2"),
        ("target", "<u4"),
        ("cancelled", "<u4"),
        ("reserved", "V28"),
    ]
)
"""The kill switch was thrown (on 1) or released (0). target: underlying, owner or account; 0 for the venue."""
AUCTION_UNCROSSED = np.dtype(
    [
        *HEADER,
        ("instrument", "<u4"),
        ("reserved0", "<u4"),
        ("price_units", "<i8"),
        ("quantity_lots", "<i8"),
        ("surplus_lots", "<i8"),
        ("reserved", "V8"),
    ]
)
"""Before the trades of an uncrossing: its price, the lots that cross there, and buy less sell lots at that price."""
BLOCK_TRADE_EXECUTED = np.dtype(
    [
        *HEADER,
        ("block_id", "<u8"),
        ("maker_account_id", "<u4"),
        ("trade_count", "<u2"),
        ("reserved0", "<u2"),
        ("timestamp_ms", "<i8"),
        ("reserved", "V16"),
    ]
)
"""Before its TRADE_EXECUTED (order ids 0); account_id is the taker's."""
MARGIN_MODE_CHANGED = np.dtype(
    [
        *HEADER,
        ("instrument", "<u4"),
        ("bucket_account_id", "<u4"),
        ("leverage_e2", "<u4"),
        ("isolated", "u1"),
        ("reserved", "V27"),
    ]
)
"""isolated 0: the bucket is free for another instrument. Orders and positions of an isolated instrument belong to the
bucket's account; `account_id` is the account that the bucket belongs to."""
AUCTION_TERMS_CHANGED = np.dtype(
    [
        *HEADER,
        ("underlying", "<u2"),
        ("reserved0", "<u2"),
        ("version", "<u4"),
        ("buffer_ppm", "<u4"),
        ("discount_start_ppm", "<u4"),
        ("discount_cutoff_ppm", "<u4"),
        ("compensation_cap_ppm", "<u4"),
        ("fee_ppm", "<u4"),
        ("reserved1", "<u4"),
        ("fast_ns", "<i8"),
        ("slow_ns", "<i8"),
        ("insolvent_ns", "<i8"),
        ("batch_ns", "<i8"),
        ("reserved", "V40"),
    ]
)
"""Terms of liquidation auctions that open from now on in an underlying."""
FUNDS_TRANSFERRED = np.dtype(
    [
        *HEADER,
        ("transfer_id", "<u8"),
        ("to_account_id", "<u4"),
        ("currency", "<u2"),
        ("nonce_bytes", "<u2"),
        ("amount_minor", "<i8"),
        ("submitted_by", "<u4"),
        ("reserved", "V12"),
    ]
)
"""Before its two BALANCE_CHANGED; account_id gives. submitted_by: the account whose command it was. The nonce of the
client, where it gave one, is the tail (`nonce`)."""


class OfferOutcome(IntEnum):
    """What became of an offered portfolio, or of a bid for one."""

    STANDS = 0
    WITHDRAWN = 1
    EXPIRED = 2
    SOLD = 3
    GONE = 4
    """One of its contracts is no more."""


PORTFOLIO_OFFER = np.dtype(
    [
        *HEADER,
        ("offer_id", "<u8"),
        ("bid_id", "<u8"),
        ("expires_ns", "<i8"),
        ("other_account_id", "<u4"),
        ("leg_count", "<u2"),
        ("outcome", "u1"),
        ("reserved0", "u1"),
        ("reserved", "V8"),
    ]
)
"""An offer, its end, or a bid for it. account_id: the owner, of a bid the bidder; other_account_id: of a bid the owner,
of a sale the buyer."""


def nonce(fields: Any, tail: bytes | memoryview) -> bytes:
    """The nonce of FUNDS_TRANSFERRED, from the record's tail; empty where the client gave none."""
    return bytes(tail[: int(fields["nonce_bytes"])])
