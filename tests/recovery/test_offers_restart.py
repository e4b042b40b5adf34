"""Portfolios offered for sale over a real `kill -9`: what was acknowledged stands afterwards, and is sold once."""

import json
import urllib.error
from pathlib import Path

import pytest

from tests.serving import Served, margrave, small_config

pytestmark = pytest.mark.redis
NAME = "BTC-PERPETUAL"


def held(venue: Served, name: str) -> float:
    return sum(
        one["size"] for one in venue.call("private/get_positions", name, currency="BTC")
        if one["instrument_name"] == NAME
    )  # fmt: skip


def test_offers_and_bids_stand_after_a_kill_and_are_sold_once(tmp_path: Path) -> None:
    words = (tmp_path / "data", "--config", small_config(tmp_path / "venue.toml", "checkpoint_every = 200\n"))
    with Served(*words) as venue:
        mark = round(venue.call("public/ticker", instrument_name=NAME)["mark_price"])
        venue.call("private/sell", "maker", instrument_name=NAME, amount=50_000, price=mark + 5)
        venue.call("private/buy", "demo", instrument_name=NAME, amount=50_000, price=mark + 50)
        assert held(venue, "demo") == 50_000
        offer = venue.call("private/offer_portfolio", "demo", positions={NAME: 50_000}, seconds=300)
        terms = {"offer_id": offer["offer_id"]}
        low, high = (
            venue.call("private/bid_portfolio", name, **terms, prices={NAME: mark - away})
            for name, away in (("taker", 60), ("maker", 20))
        )
        assert venue.call("private/cancel_portfolio_bid", "taker", **terms) == "ok"
        low = venue.call("private/bid_portfolio", "taker", **terms, prices={NAME: mark - 40})
        venue.kill()
    with Served(*words) as venue:
        assert venue.call("public/get_portfolio_offers") == [{**offer, "bids": 2}]
        bids = venue.call("private/get_portfolio_bids", "demo", **terms)
        assert [(one["bid_id"], one["prices"]) for one in bids] == [
            (high["bid_id"], {NAME: mark - 20}), (low["bid_id"], {NAME: mark - 40}),
        ]  # fmt: skip
        before = held(venue, "taker")
        done = venue.call("private/accept_portfolio_bid", "demo", **terms, bid_id=low["bid_id"])
        assert done["id"].startswith("BLOCK-")
        assert (held(venue, "demo"), held(venue, "taker") - before) == (0, 50_000)
        again = venue.call("private/bid_portfolio", "taker", offer_id=_second(venue), prices={NAME: mark - 30})
        assert again["bid_id"] > low["bid_id"]
        venue.kill()
    with Served(*words) as venue:  # sold is sold
        assert [one["offer_id"] for one in venue.call("public/get_portfolio_offers")] == [offer["offer_id"] + 1]
        with pytest.raises(urllib.error.HTTPError, match="unknown_offer"):
            venue.call("private/accept_portfolio_bid", "demo", **terms, bid_id=high["bid_id"])
        assert venue.stop()[0] == 0
    verified = margrave("verify", words[0], "--json")
    assert verified.returncode == 0 and json.loads(verified.stdout)["conserved"], verified.stderr


def _second(venue: Served) -> int:
    """The maker offers what it is short of."""
    size = held(venue, "maker")
    offer = venue.call("private/offer_portfolio", "maker", positions={NAME: abs(size)}, seconds=300)
    return offer["offer_id"]
