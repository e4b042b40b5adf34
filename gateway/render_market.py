"""Instruments, tickers and summaries as wire objects, field for field as Deribit's API v2 has them."""

from typing import Any

from exchange.views import MarketView
from gateway.implied import implied_vol
from gateway.listing import Listing
from gateway.units import E8, from_e8, ms

_YEAR_NS = 365 * 86_400 * 1_000_000_000
WIRE_STATES = {"close_only": "open", "settling": "settlement", "settled": "delivered", "free": "archivized"}


def wire_state(state: str) -> str:
    """The wire's word for a lifecycle state of the engine."""
    return WIRE_STATES.get(state, state)


def instrument(listing: Listing, market: MarketView) -> dict[str, Any]:
    """An instrument object."""
    active = market.state in ("open", "close_only", "halted", "auction")
    return listing.wire | {"is_active": active, "state": wire_state(market.state)}


def iv_percent(listing: Listing, price: float | None, forward: float, now_ns: int, guess: float = 0.6) -> float:
    """Implied volatility of an option price in percent, 0.0 where there is none."""
    if price is None:
        return 0.0
    view = listing.view
    usd = price * forward if view.inverse else price
    years = (view.expiry_ns - now_ns) / _YEAR_NS
    vol = implied_vol(usd, forward, view.strike_e8 / E8, years, view.option_type == "call", guess)
    return round(100.0 * vol, 2)


def best(listing: Listing, market: MarketView) -> dict[str, Any]:
    """Best bid and ask; a missing side is null with amount 0."""
    return {
        "best_bid_price": listing.price(market.best_bid_units),
        "best_bid_amount": listing.amount(market.best_bid_lots),
        "best_ask_price": listing.price(market.best_ask_units),
        "best_ask_amount": listing.amount(market.best_ask_lots),
    }


def auction(listing: Listing, market: MarketView) -> dict[str, Any]:
    """Our own members of an instrument in an auction: where it would uncross now, and until when it lasts."""
    if market.state != "auction":
        return {}
    return {
        "indicative_price": listing.price(market.indicative_price_units),
        "indicative_amount": listing.amount(market.indicative_lots),
        "auction_until": ms(market.auction_until_ns) if market.auction_until_ns else None,
    }


def ticker(
    listing: Listing, market: MarketView, stats: dict[str, Any], greeks: tuple[float, ...], now_ns: int
) -> dict[str, Any]:
    """A ticker."""
    index = market.index_price_e8 / E8
    found: dict[str, Any] = {
        "instrument_name": listing.name,
        "timestamp": ms(now_ns),
        "state": wire_state(market.state),
        "stats": stats,
        "open_interest": listing.amount(market.open_interest_lots),
        **best(listing, market),
        "index_price": index,
        "mark_price": market.mark_price_e8 / E8,
        "last_price": listing.price(market.last_price_units),
        "min_price": listing.price(market.min_price_units or listing.zero_units),
        "max_price": listing.price(market.max_price_units or listing.zero_units),
        "estimated_delivery_price": index,
        "settlement_price": from_e8(market.settlement_price_e8 or market.mark_price_e8),
    }
    found |= auction(listing, market)
    if listing.is_option:
        forward, guess = market.forward_e8 / E8, market.mark_vol_e6 / 1_000_000
        names = ("delta", "gamma", "vega", "theta", "rho")
        found |= {
            "greeks": {name: round(value, 8) for name, value in zip(names, greeks, strict=True)},
            "mark_iv": market.mark_vol_e6 / 10_000,
            "bid_iv": iv_percent(listing, found["best_bid_price"], forward, now_ns, guess),
            "ask_iv": iv_percent(listing, found["best_ask_price"], forward, now_ns, guess),
            "underlying_price": forward,
            "underlying_index": underlying_index(listing),
            "interest_rate": 0.0,
        }
    elif listing.is_combo:
        found["combo_state"] = "active"
        if listing.is_premium:
            names = ("delta", "gamma", "vega", "theta", "rho")
            found["greeks"] = {name: round(value, 8) for name, value in zip(names, greeks, strict=True)}
    elif listing.view.kind == "perpetual":
        rate = market.funding_rate_e12 / 10**12
        found |= {"funding_8h": rate, "current_funding": rate, "interest_value": rate}
    return found


def underlying_index(listing: Listing) -> str:
    """Name of the forward that an option is priced on."""
    expiry = listing.name.split("-")[1]
    return f"{listing.name.split('-')[0]}-{expiry}"


def book_summary(listing: Listing, market: MarketView, stats: dict[str, Any], now_ns: int) -> dict[str, Any]:
    """A line of the book summary."""
    bid, ask = listing.price(market.best_bid_units), listing.price(market.best_ask_units)
    found = {
        "instrument_name": listing.name,
        "base_currency": listing.base,
        "quote_currency": listing.quote,
        "high": stats["high"],
        "low": stats["low"],
        "last": listing.price(market.last_price_units),
        "volume": stats["volume"],
        "volume_usd": stats["volume_usd"],
        "volume_notional": stats["volume_notional"],
        "price_change": stats["price_change"],
        "bid_price": bid,
        "ask_price": ask,
        "mid_price": None if bid is None or ask is None else (bid + ask) / 2,
        "mark_price": market.mark_price_e8 / E8,
        "open_interest": listing.amount(market.open_interest_lots),
        "creation_timestamp": ms(now_ns),
        "estimated_delivery_price": market.index_price_e8 / E8,
    }
    if listing.is_option:
        found |= {
            "mark_iv": market.mark_vol_e6 / 10_000,
            "underlying_price": market.forward_e8 / E8,
            "underlying_index": underlying_index(listing),
            "interest_rate": 0.0,
        }
    elif listing.view.kind == "perpetual":
        rate = market.funding_rate_e12 / 10**12
        found |= {"funding_8h": rate, "current_funding": rate}
    return found
