"""Mass quotes and protection groups on a bare engine: `tests/driver.py` with what market makers send."""

from exchange import commands, payloads
from exchange.commands import CommandKind
from tests.driver import SECOND, Driver

BOTH = 3
COINS = 10**8


def entry(venue: Driver, name, bid=None, ask=None, quote_set=b"", bid_flags=0, ask_flags=0):
    """A slot of QUOTE_ENTRY: bid and ask as (price_units, lots), None where the side is not given."""
    fields = {"sides": (1 if bid else 0) | (2 if ask else 0), "bid_flags": bid_flags, "ask_flags": ask_flags}
    if bid:
        fields["bid_price_units"], fields["bid_lots"] = bid
    if ask:
        fields["ask_price_units"], fields["ask_lots"] = ask
    slot = name if isinstance(name, int) else venue.slot(name)
    return commands.quote_entry(instrument=slot, quote_set=quote_set, **fields)


def mass_quote(venue: Driver, account, *entries, group=1, quote_id=b"q", **fields):
    """Events of one MASS_QUOTE."""
    fields.setdefault("quote_count", len(entries))
    return venue.submit(
        commands.record(
            CommandKind.MASS_QUOTE,
            account,
            tail=b"".join(entries),
            protection_group=group,
            quote_id=quote_id,
            **fields,
        )
    )


def cancel_quotes(venue: Driver, account, quote_set=b"", **fields):
    """Events of one CANCEL_QUOTES; every filter open unless given."""
    base = {
        "instrument": commands.NO_INSTRUMENT,
        "currency": commands.ANY_CURRENCY,
        "instrument_kind": commands.ANY_KIND,
        "protection_group": 0xFFFF,
        "reason": 60,
        "min_delta_e6": 1,
        "max_delta_e6": 0,
        "set_bytes": len(quote_set),
    }
    return venue.submit(commands.record(CommandKind.CANCEL_QUOTES, account, tail=quote_set, **{**base, **fields}))


def protect(venue: Driver, account, group=1, interval_ns=10 * SECOND, **limits):
    """Events of one SET_PROTECTION on BTC."""
    payload = payloads.Protection("BTC", group, interval_ns, **limits)
    return venue.cold(CommandKind.SET_PROTECTION, payload, account)


def reset(venue: Driver, account, group=1):
    return venue.cold(CommandKind.RESET_PROTECTION, payloads.ResetProtection("BTC", group), account)


def in_group(venue: Driver, account, name, side, price_units, lots, group=1, **fields):
    """Place an ordinary order of a group."""
    return venue.submit(
        commands.record(
            CommandKind.PLACE_ORDER,
            account,
            tail=commands.order_terms(protection_group=group),
            terms_slots=1,
            instrument=venue.slot(name),
            side=0 if side == "buy" else 1,
            price_units=price_units,
            quantity_lots=lots,
            **fields,
        )
    )
