"""Isolated positions as wire objects."""

from collections.abc import Iterable
from typing import Any

from exchange.bucket_views import BucketView
from gateway.listing import Listing, Listings
from gateway.units import E8, money


def _price(price_e8: int) -> float | None:
    """A price, None where none does it."""
    return price_e8 / E8 if price_e8 else None


def bucket(listing: Listing, view: BucketView) -> dict[str, Any]:
    """An instrument in isolated mode, with a position or without."""
    exponent = listing.exponent
    return {
        "instrument_name": listing.name,
        "margin_mode": "isolated",
        "leverage": view.leverage_e2 / 100,
        "currency": listing.currency,
        "collateral": money(view.collateral_minor, exponent),
        "collateral_of_orders": money(view.drawn_minor, exponent),
        "equity": money(view.equity_minor, exponent),
        "initial_margin": money(view.initial_margin_minor, exponent),
        "maintenance_margin": money(view.maintenance_margin_minor, exponent),
        "available_collateral": money(available_minor(view), exponent),
        "estimated_liquidation_price": _price(view.liquidation_price_e8),
        "bankruptcy_price": _price(view.bankruptcy_price_e8),
        "in_liquidation": view.in_liquidation,
    }


def available_minor(view: BucketView) -> int:
    """What may be taken out."""
    if view.in_liquidation:
        return 0
    return max(0, min(view.equity_minor - view.initial_margin_minor, view.collateral_minor))


def of_position(listing: Listing, view: BucketView) -> dict[str, Any]:
    """What an isolated position shows beside or instead of the common fields."""
    own = bucket(listing, view)
    names = ("margin_mode", "leverage", "collateral", "equity", "estimated_liquidation_price", "bankruptcy_price")
    return {name: own[name] for name in names} | {"user_id": view.account_id}


def totals(listings: Listings, views: Iterable[BucketView]) -> dict[str, dict[str, Any]]:
    """By currency: sums over the isolated positions, which stand beside the account's own figures."""
    sums = {name: [0, 0, 0, 0] for name in listings.exponents}
    for view in views:
        own = sums[listings.by_slot[view.instrument].currency]
        figures = (
            view.collateral_minor, view.equity_minor, view.initial_margin_minor, view.maintenance_margin_minor
        )  # fmt: skip
        for place, minor in enumerate(figures):
            own[place] += minor
    names = ("isolated_collateral", "isolated_equity", "isolated_initial_margin", "isolated_maintenance_margin")
    return {
        currency: {name: money(minor, listings.exponents[currency]) for name, minor in zip(names, own, strict=True)}
        for currency, own in sums.items()
    }
