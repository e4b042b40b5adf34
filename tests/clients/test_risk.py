"""An account's own risk over the wire: distance to liquidation, warnings with it, out of everything in one call."""

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from websockets.sync.client import ClientConnection, connect

from exchange.commands import VOL_ENTRY, CommandKind, record, update_marks
from exchange.payloads import AuctionTerms
from gateway.admin_liquidation import Backstop, set_auction_terms, set_backstop
from gateway.admin_operations import AdminError
from gateway.distance import nearest
from gateway.settings import Settings
from tests.clients.test_websocket import Client
from tests.clients.venue import CALL, EXPIRY_NS, LINEAR, PERPETUAL, PUT, Account, Venue

INDEX = 100_000
CONNECTIONS: list[ClientConnection] = []


@pytest.fixture
def venue(tmp_path: Any) -> Iterator[Venue]:
    with Venue(tmp_path / "venue") as opened:
        yield opened
        while CONNECTIONS:
            CONNECTIONS.pop().close()


def opened(venue: Venue, account: Account | None) -> Client:
    """A client, logged in or nobody."""
    connection = connect(venue.ws, compression=None)
    CONNECTIONS.append(connection)
    return Client(connection) if account is None else Client(connection).login(account)


def trade(maker: Client, taker: Client, name: str, side: str, amount: float, price: float) -> None:
    """The taker trades at a price, whole."""
    other = "sell" if side == "buy" else "buy"
    maker.result(f"private/{other}", instrument_name=name, amount=amount, price=price)
    done = taker.result(f"private/{side}", instrument_name=name, amount=amount, price=price)
    assert done["order"]["filled_amount"] == amount


def marks(venue: Venue, index: float, vol: float = 0.6) -> None:
    """A whole surface, in the venue's own thread."""

    def give() -> None:
        gateway, price = venue.gateway, round(index * 1e8)
        vols = np.array([(slot, round(vol * 1e6)) for slot, _, _ in gateway.engine.pairs(0)], dtype=VOL_ENTRY)
        gateway.submit(update_marks(0, price, gateway.sequencer.clock(), [(EXPIRY_NS, price)], vols))

    venue.run(give)


def health(venue: Venue, account: Account, entity: int) -> tuple[int, int]:
    equity, _, maintenance = venue.run(lambda: venue.gateway.engine.desk.margins(account.account_id, entity))
    return equity, maintenance


@pytest.mark.parametrize("model", ["segregated_pm", "cross_pm", "segregated_sm", "cross_sm"])
def test_at_the_distance_equity_is_the_requirement_of_before(venue: Venue, model: str) -> None:
    """The marks are moved to the distance: equity there is the maintenance margin that was needed before."""
    weak = venue.account("weak", btc="2", usdc="40000")
    bob, mine = opened(venue, venue.bob), opened(venue, weak)
    mine.result("private/change_margin_model", margin_model=model)
    trade(bob, mine, PERPETUAL, "buy", 300_000, INDEX)
    call = mine.result("public/ticker", instrument_name=CALL)["mark_price"]
    trade(bob, mine, CALL, "sell", 2, round(call, 4) // 0.0005 * 0.0005)
    own = mine.result("private/get_liquidation_map")
    entity = next(one for one in own if one["currency"] in ("BTC", "USD"))
    number = 0
    before, needed = health(venue, weak, number)
    assert entity["ratio"] == pytest.approx(before / needed, abs=1e-6)
    (distance,) = entity["distance"]
    rungs = {rung["move"]: rung["equity"] for rung in distance["map"]}
    assert rungs[0.0] == pytest.approx(entity["equity"], rel=1e-9)
    down = distance["price"]["down"]
    assert down is not None and -0.6 < down < 0 and distance["price_level"]["down"] == pytest.approx(INDEX * (1 + down))
    # in steps, so that no jump is held back
    index = float(INDEX)
    while index > INDEX * (1 + down) * 1.0001:
        index = max(index * 0.93, INDEX * (1 + down))
        marks(venue, index)
    there, _ = health(venue, weak, number)
    price = index if model.startswith("segregated") else 1.0
    unit = 1e10 if model.startswith("segregated") else 1e4
    assert there / unit * price == pytest.approx(entity["maintenance_margin"], rel=2e-3)
    marks(venue, index * 0.98)
    assert mine.result("private/get_liquidation_map")[0]["ratio"] < entity["ratio"]


def test_vol_is_a_distance_of_its_own(venue: Venue) -> None:
    weak = venue.account("weak", btc="0.9", usdc="0")
    bob, mine = opened(venue, venue.bob), opened(venue, weak)
    put = mine.result("public/ticker", instrument_name=PUT)["mark_price"]
    trade(bob, mine, PUT, "sell", 2, put // 0.0005 * 0.0005)
    (entity,) = mine.result("private/get_liquidation_map")
    (distance,) = entity["distance"]
    up = distance["vol"]["up"]
    assert distance["vol"]["down"] is None and 0 < up < 4
    vol = 0.6
    while vol < 0.6 * (1 + up) * 0.9999:
        vol = min(vol * 1.2, 0.6 * (1 + up))
        marks(venue, INDEX, vol)
    equity, _ = health(venue, weak, 0)
    assert equity / 1e10 * INDEX == pytest.approx(entity["maintenance_margin"], rel=5e-3)


def test_a_warning_says_how_far_it_is_and_what_would_help(venue: Venue) -> None:
    weak = venue.account("weak", btc="1", usdc="0")
    bob, mine = opened(venue, venue.bob), opened(venue, weak)
    trade(bob, mine, PERPETUAL, "buy", 400_000, INDEX)
    mine.result("private/subscribe", channels=["user.liquidation"])
    bob.result("private/buy", instrument_name=PERPETUAL, amount=1_000_000, price=93_000)
    marks(venue, 95_500)
    for index in range(95_000, 90_000, -500):
        marks(venue, index)
        if mine.result("private/get_liquidation_map")[0]["ratio"] < 1.25:
            break
    told = mine.wait_for("user.liquidation")
    assert told["type"] == "level_changed" and told["warning_ppm"] == 1_250_000
    (entity,) = told["outlook"]
    (distance,) = entity["distance"]
    assert -0.2 < distance["price"]["down"] < 0 and 1.0 < entity["ratio"] < 1.25
    assert entity["trades"][0]["restores"]
    # the marks have moved on since
    (entity,) = mine.result("private/get_liquidation_map")
    (first, *_) = entity["trades"]
    assert first["instrument_name"] in (PERPETUAL, LINEAR) and first["direction"] == "sell" and first["restores"]
    assert first["price"] == 93_000 and 0 < first["amount"] < 400_000 and first["cost"] > 0
    # the trade does what it says: the account stands at or above the outermost warning afterwards
    done = mine.result("private/sell", instrument_name=first["instrument_name"], amount=first["amount"],
                       price=first["price"], time_in_force="immediate_or_cancel")  # fmt: skip
    assert done["order"]["filled_amount"] == first["amount"]
    (after,) = mine.result("private/get_liquidation_map")
    assert after["ratio"] == pytest.approx(first["ratio"], rel=2e-3) and after["ratio"] >= 1.25
    assert after["trades"] == []


def test_out_of_everything_in_one_call(venue: Venue) -> None:
    hedger = venue.account("hedger", btc="2", usdc="20000")
    bob, mine = opened(venue, venue.bob), opened(venue, hedger)
    mine.result("private/change_margin_model", margin_model="cross_pm")
    call = mine.result("public/ticker", instrument_name=CALL)["mark_price"] // 0.0005 * 0.0005
    trade(bob, mine, CALL, "sell", 3, call)
    trade(bob, mine, LINEAR, "buy", 2, INDEX)
    mine.result("private/buy", instrument_name=PERPETUAL, amount=1_000, price=90_000)
    # nobody sells calls yet
    bob.result("private/buy", instrument_name=LINEAR, amount=5, price=99_500)
    part = mine.result("private/flatten_portfolio")
    assert part["cancelled"] == 1 and part["flat"] is False
    rows = {row["instrument_name"]: row for row in part["positions"]}
    assert rows[CALL]["remaining"] == 3 and rows[CALL]["closed"] == 0 and rows[CALL]["reason"]
    bob.result("private/sell", instrument_name=CALL, amount=5, price=call + 0.001)
    bob.result("private/buy", instrument_name=LINEAR, amount=5, price=99_500)
    whole = mine.result("private/flatten_portfolio")
    assert whole["flat"] is True and whole["cancelled"] == 0
    assert all(row["remaining"] == 0 and row["reason"] == "" for row in whole["positions"])
    assert sum(t["amount"] for row in whole["positions"] for t in row["trades"]) == sum(
        row["closed"] for row in whole["positions"]
    )
    assert [p for p in mine.result("private/get_positions", currency="any") if p["size"]] == []
    assert mine.result("private/flatten_portfolio") == {"cancelled": 0, "flat": True, "positions": []}


def test_who_may_ask(venue: Venue) -> None:
    reader = opened(venue, venue.account("reader", scopes=("trade:read",)))
    client = opened(venue, None)
    assert reader.call("private/flatten_portfolio")["error"]["code"] == 13021
    assert reader.call("private/get_liquidation_map")["error"]["code"] == 13021
    for method in ("private/get_liquidation_map", "private/flatten_portfolio"):
        assert client.call(method)["error"]["code"] == 13009


def test_the_nearest_crossing_in_each_direction() -> None:
    def dip(move: float) -> float:
        return (move - 0.1) * (move - 0.3)

    assert nearest(dip, 1, (0.05, 0.2, 0.4)) == pytest.approx(0.1, abs=1e-6)
    assert nearest(dip, -1, (0.05, 0.2, 0.9)) is None
    assert nearest(lambda move: -1.0, 1, (0.1,)) == 0.0
    assert nearest(lambda move: 1 + move * 2, -1, (0.2, 0.9, 2.0)) == pytest.approx(-0.5, abs=1e-6)


def test_terms_are_public_and_their_change_is_told(venue: Venue) -> None:
    mine = opened(venue, venue.alice)
    (terms,) = mine.result("public/get_auction_terms")
    assert (terms["underlying"], terms["version"], terms["fee"], terms["fast_seconds"]) == ("BTC", 0, 0.02, 60.0)
    mine.result("public/subscribe", channels=["auctions"])
    venue.run(lambda: set_auction_terms(venue.gateway, AuctionTerms("BTC", fee_ppm=10_000, fast_ns=30 * 10**9)))
    told = mine.wait_for("auctions")
    assert (told["type"], told["underlying"], told["version"]) == ("auction_terms_changed", "BTC", 1)
    (after,) = mine.result("public/get_auction_terms", underlying="BTC")
    assert (after["version"], after["fee"], after["fast_seconds"]) == (1, 0.01, 30.0)
    assert {k: v for k, v in after.items() if k not in ("version", "fee", "fast_seconds")} == {
        k: v for k, v in terms.items() if k not in ("version", "fee", "fast_seconds")
    }
    assert mine.call("public/get_auction_terms", underlying="DOGE")["error"]["code"] == -32602
    assert venue.run(lambda: set_backstop(venue.gateway, Backstop(account="bob", most_usd=10**6))) == {"retained": 1}
    assert mine.result("public/get_auction_terms")[0]["retained_bidders"] == 1
    with pytest.raises(AdminError, match="bad_configuration"):
        venue.run(lambda: set_auction_terms(venue.gateway, AuctionTerms("BTC", fee_ppm=10**6)))


def test_the_owner_says_what_goes_first(venue: Venue) -> None:
    mine = opened(venue, venue.alice)
    assert mine.result("private/get_unwind_preference") == {"preference": "smallest"}
    for word in ("futures_first", "options_first", "proportional"):
        assert mine.result("private/set_unwind_preference", preference=word) == {"preference": word}
        assert mine.result("private/get_unwind_preference") == {"preference": word}
    assert mine.call("private/set_unwind_preference", preference="never")["error"]["code"] == -32602
    assert opened(venue, venue.bob).result("private/get_unwind_preference") == {"preference": "smallest"}


def test_a_client_out_of_credits_can_still_lower_its_risk(tmp_path: Any) -> None:
    with Venue(tmp_path / "limited", Settings(rate_profile="deribit")) as venue:
        mine = opened(venue, venue.alice)
        bob = opened(venue, venue.bob)
        bob.result("private/buy", instrument_name=PERPETUAL, amount=5_000, price=99_900)
        bob.result("private/sell", instrument_name=PERPETUAL, amount=1_000, price=100_000)
        mine.result("private/buy", instrument_name=PERPETUAL, amount=1_000, price=100_000)
        ids = [
            mine.result("private/buy", instrument_name=PERPETUAL, amount=10, price=90_000)["order"]["order_id"]
            for _ in range(19)
        ]
        assert mine.result("private/cancel", order_id=ids[0])["order_state"] == "cancelled"
        sold = mine.result("private/sell", instrument_name=PERPETUAL, amount=500, price=99_900, reduce_only=True)
        assert sold["order"]["filled_amount"] == 500
        assert mine.result("private/flatten_portfolio")["flat"] is True
        assert mine.call("private/buy", instrument_name=PERPETUAL, amount=10, price=90_000)["error"]["code"] == 10028
        while CONNECTIONS:
            CONNECTIONS.pop().close()


def test_auctions_have_a_history(venue: Venue) -> None:
    weak = venue.account("weak", btc="1", usdc="0")
    bob, buyer, mine = opened(venue, venue.bob), opened(venue, venue.alice), opened(venue, weak)
    trade(bob, mine, PERPETUAL, "buy", 400_000, INDEX)
    buyer.result("public/subscribe", channels=["auctions"])
    assert buyer.result("public/get_auction_history") == {"steps": [], "continuation": "none"}
    index = float(INDEX)
    while not buyer.result("public/get_auctions"):
        index -= 500
        marks(venue, index)
        venue.run(lambda: venue.gateway.submit(record(CommandKind.TICK)))
    (auction,) = buyer.result("public/get_auctions")
    terms = {"auction_id": auction["auction_id"], "phase": auction["phase"]}
    buyer.result("private/place_bid", **terms, limit=auction["value"], share=1.0)
    while buyer.result("public/get_auctions"):
        time.sleep(0.1)
        venue.run(lambda: venue.gateway.submit(record(CommandKind.TICK)))
    time.sleep(0.5)
    told = buyer.result("public/get_auction_history")
    assert [step["step"] for step in told["steps"]] == ["closed", "sold", "opened"]
    closed, sold, first = told["steps"]
    assert closed["reason"] == "restored" and first["reason"] == "awaiting_bids"
    steps = [buyer.wait_for("auctions") for _ in range(4)]
    assert [(one["type"], one.get("reason")) for one in steps] == [
        ("liquidation_started", "none"), ("auction_opened", "awaiting_bids"), ("auction_lot_sold", None),
        ("auction_closed", "restored"),
    ]  # fmt: skip
    assert 0 < sold["share"] < 1 and sold["fee"] == pytest.approx(0.02 * sold["price"], abs=1e-9)
    assert sold["price"] / sold["share"] == pytest.approx(0.95 * auction["value"], rel=0.01)
    assert first["value"] == auction["value"] and not any("account_id" in step for step in told["steps"])
    # page by page, and by auction
    page = buyer.result("public/get_auction_history", count=2, auction_id=auction["auction_id"])
    rest = buyer.result("public/get_auction_history", count=2, continuation=page["continuation"])
    assert page["steps"] + rest["steps"] == told["steps"] and rest["continuation"] == "none"
    assert buyer.result("public/get_auction_history", auction_id=99)["steps"] == []
    assert buyer.call("public/get_auction_history", auction_id=0)["error"]["code"] == -32602
