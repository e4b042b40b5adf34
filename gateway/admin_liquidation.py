"""Administration of liquidation auctions: their terms per underlying, and retained bidders."""

from typing import Any

import msgspec

from exchange import commands, payloads
from exchange.commands import CommandKind
from exchange.liquidation.terms import DURATIONS
from gateway.admin_operations import Nothing, OfAccount, operation, submit

SHARES = ("buffer_ppm", "discount_start_ppm", "discount_cutoff_ppm", "compensation_cap_ppm", "fee_ppm")


@operation("set_auction_terms", payloads.AuctionTerms)
def set_auction_terms(gateway: Any, params: payloads.AuctionTerms) -> dict[str, int]:
    """Terms of auctions that open from now on in an underlying; what is not named is as the configuration has it."""
    news = submit(gateway, commands.cold(CommandKind.SET_AUCTION_TERMS, params))
    return {"version": news.detail}


class Backstop(OfAccount, kw_only=True):
    most_usd: int


@operation("set_backstop", Backstop)
def set_backstop(gateway: Any, params: Backstop) -> dict[str, int]:
    """Retain an account to take what nobody has bid for, up to a size at the index; 0: no longer."""
    command = commands.cold(CommandKind.SET_BACKSTOP, payloads.SetBackstop(params.most_usd), params.account_id(gateway))
    return {"retained": submit(gateway, command).detail}


@operation("auction_terms", Nothing)
def auction_terms(gateway: Any, params: Nothing) -> dict[str, Any]:
    """Terms by underlying, and who is retained."""
    terms = gateway.engine.liquidation.terms
    return {"terms": shown(gateway.engine), "backstops": {str(a): most for a, most in sorted(terms.backstops.items())}}


def shown(engine: Any) -> list[dict[str, Any]]:
    """Terms of new auctions per underlying, shares as fractions and times in seconds."""
    found = []
    for number, underlying in enumerate(engine.config.underlyings):
        version, terms = engine.liquidation.terms.of(number)
        values = msgspec.structs.asdict(terms)
        found.append(
            {
                "underlying": underlying.name,
                "version": version,
                **{name.removesuffix("_ppm"): values[name] / 1_000_000 for name in SHARES},
                **{name.removesuffix("_ns") + "_seconds": values[name] / 1e9 for name in DURATIONS},
                "retained_bidders": len(engine.liquidation.terms.backstops),
            }
        )
    return found
