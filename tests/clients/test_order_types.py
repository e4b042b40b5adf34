"""Order types over the wire: waiting orders from placement to fill, market-limit, good-til-day, self-trades, ccxt."""

from collections.abc import Iterator
from typing import Any

import pytest
from websockets.sync.client import connect

from tests.clients.test_websocket import Client
from tests.clients.venue import CALL, INDEX, LINEAR, PERPETUAL, Account, Venue

ORDERS, CHANGES = "user.orders.any.any.raw", "user.changes.any.any.raw"
SYMBOL = "BTC/USD:BTC"
STOP = {"instrument_name": PERPETUAL, "amount": 50, "type": "stop_market", "trigger": "index_price"}


@pytest.fixture(autouse=True)
def calm(venue: Venue) -> None:
    venue.publish(INDEX)


def logged_in(venue: Venue, account: Account) -> Iterator[Client]:
    with connect(venue.ws, compression=None) as connection:
        client = Client(connection).login(account)
        yield client
        client.result("private/cancel_all")


@pytest.fixture
def alice(venue: Venue) -> Iterator[Client]:
    yield from logged_in(venue, venue.alice)


@pytest.fixture
def bob(venue: Venue) -> Iterator[Client]:
    yield from logged_in(venue, venue.bob)


def order(client: Client, side: str, **params: Any) -> dict[str, Any]:
    return client.result(f"private/{side}", **params)["order"]


def quote(maker: Client, bid: float = 95_000, ask: float = 105_000, amount: float = 1_000) -> None:
    order(maker, "buy", instrument_name=PERPETUAL, amount=amount, price=bid)
    order(maker, "sell", instrument_name=PERPETUAL, amount=amount, price=ask)


def state(client: Client, order_id: str) -> dict[str, Any]:
    return client.result("private/get_order_state", order_id=order_id)


@pytest.mark.parametrize(
    ("side", "of_type", "trigger", "prefix", "path"),
    [
        ("sell", "stop_market", "index_price", "SLIS-", 97_900),
        ("buy", "stop_market", "mark_price", "SLMB-", 102_100),
        ("buy", "take_market", "index_price", "TPIB-", 97_900),
        ("sell", "take_market", "mark_price", "TPMS-", 102_100),
        ("sell", "stop_limit", "index_price", "SLIS-", 97_900),
        ("buy", "take_limit", "mark_price", "TPMB-", 97_900),
    ],
)
def test_a_waiting_order_from_placement_to_fill(
    venue: Venue, alice: Client, bob: Client, side: str, of_type: str, trigger: str, prefix: str, path: float
) -> None:
    quote(bob)
    alice.result("private/subscribe", channels=[ORDERS, CHANGES])
    goal = 98_000 if path < INDEX else 102_000
    limit = {"price": 95_000 if side == "sell" else 105_000} if of_type.endswith("limit") else {}
    params = STOP | {"type": of_type, "trigger": trigger, "trigger_price": goal, "label": "guard"} | limit
    placed = order(alice, side, **params)
    assert placed["order_id"].startswith(prefix) and placed["order_id"][len(prefix) :].isdecimal()
    expected = {"order_state": "untriggered", "order_type": of_type, "trigger": trigger, "trigger_price": goal}
    expected |= {"triggered": False, "label": "guard", "filled_amount": 0.0, "amount": 50.0, "direction": side}
    assert placed | expected | {"price": limit.get("price", "market_price")} == placed
    assert alice.wait_for(ORDERS) == placed
    assert alice.wait_for(CHANGES)["orders"] == [placed]
    assert alice.result("private/get_open_orders_by_instrument", instrument_name=PERPETUAL) == [placed]
    assert state(alice, placed["order_id"]) == placed
    venue.publish(path)
    before = alice.wait_for(ORDERS)
    assert (before["order_id"], before["order_state"], before["triggered"]) == (placed["order_id"], "triggered", True)
    after = alice.wait_for(ORDERS)
    assert after["trigger_order_id"] == placed["order_id"] != after["order_id"]
    assert (after["order_state"], after["filled_amount"], after["label"]) == ("filled", 50.0, "guard")
    change = alice.wait_for(CHANGES)
    assert [one["order_state"] for one in change["orders"]] == ["triggered", "filled"]
    assert [one["order_id"] for one in change["trades"]] == [after["order_id"]]
    assert state(alice, placed["order_id"])["order_state"] == "triggered"
    assert state(alice, after["order_id"])["order_state"] == "filled"
    assert alice.call("private/cancel", order_id=placed["order_id"])["error"]["code"] == 11044


def test_last_price_and_trailing_stops(venue: Venue, alice: Client, bob: Client) -> None:
    quote(bob, 99_000, 101_000)
    order(alice, "buy", instrument_name=PERPETUAL, amount=10, price=101_000, type="limit")
    waiting = order(alice, "sell", **STOP | {"trigger": "last_price", "trigger_price": 99_500})
    assert waiting["order_id"].startswith("SLTS-")
    trailing = order(alice, "sell", **STOP | {"type": "trailing_stop", "trigger_offset": 1_000})
    assert trailing["order_id"].startswith("TRIS-")
    assert (trailing["trigger_price"], trailing["trigger_offset"]) == (99_000.0, 1_000.0)
    venue.publish(102_000)
    assert state(alice, trailing["order_id"])["trigger_price"] == 101_000.0
    venue.publish(101_500)
    shown = alice.result("private/get_open_orders", type="trailing_stop")
    assert [(one["order_id"], one["trigger_price"]) for one in shown] == [(trailing["order_id"], 101_000.0)]
    assert state(alice, waiting["order_id"])["order_state"] == "untriggered"
    order(alice, "sell", instrument_name=PERPETUAL, amount=10, price=99_000)
    assert state(alice, waiting["order_id"])["order_state"] == "triggered"
    venue.publish(100_900)
    assert state(alice, trailing["order_id"])["order_state"] == "triggered"


def test_an_options_trigger_is_in_the_currency_of_what_it_watches(venue: Venue, alice: Client, bob: Client) -> None:
    mark = alice.result("public/ticker", instrument_name=CALL)["mark_price"]
    order(bob, "buy", instrument_name=CALL, amount=0.5, price=0.01)
    terms = {"instrument_name": CALL, "amount": 0.1, "type": "stop_market"}
    on_index = order(alice, "sell", **terms, trigger="index_price", trigger_price=99_000.25)
    below = round(mark * 0.999, 8)
    on_mark = order(alice, "sell", **terms, trigger="mark_price", trigger_price=below)
    assert (on_index["trigger_price"], on_mark["trigger_price"]) == (99_000.25, below)
    assert 0 < below < 1
    # a dollar price means nothing where the mark is in coins
    refused = alice.call("private/sell", **terms, trigger="mark_price", trigger_price=99_000)["error"]
    assert refused["code"] == 10034
    venue.publish(99_800)
    assert state(alice, on_mark["order_id"])["order_state"] == "triggered"
    assert state(alice, on_index["order_id"])["order_state"] == "untriggered"
    venue.publish(99_000)
    assert state(alice, on_index["order_id"])["order_state"] == "triggered"


def test_edit_and_cancel(alice: Client) -> None:
    placed = order(alice, "sell", **STOP, trigger_price=98_000)
    alice.result("private/subscribe", channels=[ORDERS])
    edited = alice.result("private/edit", order_id=placed["order_id"], amount=70, trigger_price=97_000)["order"]
    assert (edited["amount"], edited["trigger_price"], edited["replaced"]) == (70.0, 97_000.0, True)
    assert edited["order_id"] == placed["order_id"]
    assert alice.wait_for(ORDERS) == edited
    for params, code in (
        ({"trigger_price": 101_000}, 10034),
        ({"trigger_price": -1}, 11036),
        ({"trigger_price": 97_000.123456789}, 10044),
        ({"trigger_offset": 5}, 11047),
        ({"price": 90_000}, 11047),
        ({"post_only": True}, 11055),
    ):
        assert alice.call("private/edit", order_id=placed["order_id"], **params)["error"]["code"] == code
    assert state(alice, placed["order_id"]) == edited
    cancelled = alice.result("private/cancel", order_id=placed["order_id"])
    assert (cancelled["order_state"], cancelled["cancel_reason"]) == ("cancelled", "user_request")
    assert alice.wait_for(ORDERS) == cancelled
    assert alice.call("private/edit", order_id=placed["order_id"], amount=10)["error"]["code"] == 11044
    plain = order(alice, "buy", instrument_name=PERPETUAL, amount=10, price=90_000)
    assert alice.call("private/edit", order_id=plain["order_id"], trigger_price=1)["error"]["code"] == 11047
    limited = order(alice, "sell", **STOP | {"type": "stop_limit", "price": 97_000}, trigger_price=98_000)
    assert alice.result("private/edit", order_id=limited["order_id"], price=96_000)["order"]["price"] == 96_000.0


def test_an_edit_by_label_needs_one_open_order_of_that_label(alice: Client, bob: Client) -> None:
    label = {"instrument_name": PERPETUAL, "label": "mine"}
    order(bob, "buy", amount=10, price=90_000, **label)
    order(alice, "buy", amount=10, price=80_000, instrument_name=LINEAR, label="mine")
    edit = "private/edit_by_label"
    assert alice.call(edit, amount=20, **label)["error"]["code"] == 10004
    placed = order(alice, "buy", amount=30, price=90_000, **label)
    edited = alice.result(edit, amount=20, price=90_000, **label)["order"]
    assert (edited["order_id"], edited["amount"], edited["replaced"]) == (placed["order_id"], 20.0, True)
    late = {"valid_until": edited["last_update_timestamp"] - 10_000}
    for method, which in ((edit, label), ("private/edit", {"order_id": placed["order_id"]})):
        assert alice.call(method, amount=10, **late, **which)["error"]["code"] == 13888
        soon = {"valid_until": edited["last_update_timestamp"] + 600_000}
        assert alice.result(method, amount=10, **soon, **which)["order"]["amount"] == 10.0
    order(alice, "sell", **STOP, trigger_price=98_000, label="mine")
    refusal = alice.call(edit, amount=20, **label)["error"]
    assert (refusal["code"], refusal["data"]["param"]) == (-32602, "label")
    alice.result("private/cancel", order_id=placed["order_id"])
    assert alice.result(edit, trigger_price=97_000, **label)["order"]["trigger_price"] == 97_000.0
    alice.result("private/cancel_all")
    bob.result("private/cancel_all")


@pytest.fixture
def carol(venue: Venue) -> Iterator[Client]:
    yield from logged_in(venue, venue.account("carol"))


def test_a_reduce_only_order_shrinks_in_every_feed(carol: Client, bob: Client) -> None:
    single = f"orders.{PERPETUAL}"
    quote(bob)
    order(carol, "buy", instrument_name=PERPETUAL, amount=60, price=105_000)
    placed = order(carol, "sell", instrument_name=PERPETUAL, amount=60, price=110_000, reduce_only=True)
    carol.result("private/subscribe", channels=[ORDERS, single])
    carol.wait_for(single)
    sold = order(carol, "sell", instrument_name=PERPETUAL, amount=20, price=95_000)
    assert sold["filled_amount"] == 20.0
    notes = {one["order_id"]: one for one in (carol.wait_for(ORDERS), carol.wait_for(ORDERS))}
    assert (notes[placed["order_id"]]["amount"], notes[placed["order_id"]]["order_state"]) == (40.0, "open")
    assert state(carol, placed["order_id"])["amount"] == 40.0
    line = ["change", placed["order_id"], 110_000.0, 40.0, "sell"]
    assert line in carol.wait_for(single)["changes"]
    order(carol, "sell", instrument_name=PERPETUAL, amount=40, price=95_000)
    gone = state(carol, placed["order_id"])
    assert gone["order_state"] == "cancelled"
    bob.result("private/cancel_all")


def test_a_waiting_order_is_its_owners_alone(alice: Client, bob: Client) -> None:
    placed = order(alice, "sell", **STOP, trigger_price=98_000)
    for method in ("private/cancel", "private/get_order_state", "private/edit"):
        assert bob.call(method, order_id=placed["order_id"], amount=10)["error"]["code"] == 10004
    assert placed["order_id"] not in {one["order_id"] for one in bob.result("private/get_open_orders")}


@pytest.mark.parametrize(
    ("side", "change", "code"),
    [
        ("sell", {"trigger_price": 101_000}, 10034),
        ("buy", {"trigger_price": 99_000}, 10035),
        ("buy", {"trigger_price": 101_000, "type": "take_market"}, 10034),
        ("sell", {"trigger_price": 99_000, "type": "take_limit", "price": 99_000}, 10035),
        ("sell", {"trigger_price": 0}, 11036),
        ("sell", {"trigger_price": 1e300}, 11036),
        ("sell", {"trigger_price": 98_000.000000001}, 10044),
        ("sell", {"trigger_offset": 5, "trigger_price": 98_000}, 11047),
        ("sell", {"type": "trailing_stop", "trigger_offset": 100_000}, 11036),
        ("sell", {"type": "trailing_stop"}, -32602),
        ("sell", {}, -32602),
        ("sell", {"trigger": "moon", "trigger_price": 98_000}, -32602),
        ("sell", {"trigger": None, "trigger_price": 98_000}, -32602),
        ("sell", {"type": "stop_limit", "trigger_price": 98_000}, -32602),
        ("sell", {"post_only": True, "trigger_price": 98_000}, 11055),
        ("sell", {"unique_label": True, "trigger_price": 98_000}, 11047),
        ("sell", {"type": "limit", "price": 101_000}, 11047),
        ("sell", {"type": "stop"}, -32602),
        ("buy", {"type": "market_limit", "trigger": None}, 11030),
        ("sell", {"instrument_name": LINEAR, "amount": 0.01, "trigger": "last_price", "trigger_price": 1}, 11036),
    ],
)
def test_bad_terms_are_refused_and_leave_nothing(
    venue: Venue, alice: Client, side: str, change: dict[str, Any], code: int
) -> None:
    before = venue.run(venue.core.engine.triggers.export)
    answer = alice.call(f"private/{side}", **STOP | change)
    assert answer.get("error", {}).get("code") == code, answer
    assert venue.run(venue.core.engine.triggers.export) == before
    assert alice.result("private/get_open_orders") == []


def test_too_many_waiting_orders(venue: Venue, alice: Client) -> None:
    most = venue.run(lambda: venue.core.engine.config.limits.max_triggers_per_account)
    for _ in range(most):
        order(alice, "sell", **STOP, trigger_price=98_000)
    assert alice.call("private/sell", **STOP, trigger_price=98_000)["error"]["code"] == 11035
    assert alice.result("private/cancel_all") == most


def test_cancelling_by_type_label_and_currency(alice: Client) -> None:
    def ids(**params: Any) -> set[str]:
        found = alice.result("private/get_open_orders_by_currency", currency="BTC", **params)
        return {one["order_id"] for one in found}

    def fill() -> dict[str, str]:
        kinds = {
            "limit": {"type": "limit", "price": 90_000, "trigger": None},
            "stop": {"trigger_price": 102_000, "label": "a"},
            "stop_limit": {"type": "stop_limit", "trigger_price": 102_000, "price": 103_000},
            "take": {"type": "take_market", "trigger_price": 98_000, "label": "a"},
            "trailing_stop": {"type": "trailing_stop", "trigger_offset": 500},
        }
        return {name: order(alice, "buy", **STOP | change)["order_id"] for name, change in kinds.items()}

    for word, gone in (
        ("limit", {"limit"}),
        ("stop", {"stop", "stop_limit"}),
        ("take", {"take"}),
        ("trailing_stop", {"trailing_stop"}),
        ("trigger_all", {"stop", "stop_limit", "take", "trailing_stop"}),
        ("all", {"limit", "stop", "stop_limit", "take", "trailing_stop"}),
    ):
        made = fill()
        doomed = {made[name] for name in gone}
        listed = {"stop": "stop_all", "take": "take_all"}.get(word, word)
        assert ids(type=listed) == doomed
        assert alice.result("private/cancel_all_by_instrument", instrument_name=PERPETUAL, type=word) == len(doomed)
        assert ids() == set(made.values()) - doomed
        alice.result("private/cancel_all")
    made = fill()
    # in a currency in which there are none, then in a list that has theirs
    assert alice.result("private/cancel_by_label", label="a", currency=["USDC"]) == 0
    groups = alice.result("private/cancel_by_label", label="a", currency=["BTC", "USDC", "btc"], detailed=True)
    assert [(group["type"], {one["order_id"] for one in group["result"]}) for group in groups] == [
        ("trigger", {made["stop"], made["take"]})
    ]
    assert alice.result("private/cancel_all_by_currency_pair", currency_pair="btc_usd", type="trigger_all") == 2
    assert alice.result("private/cancel_all_by_kind_or_type", currency="BTC", kind="option") == 0
    assert ids() == {made["limit"]}


def test_market_limit_and_good_til_day(alice: Client, bob: Client) -> None:
    order(bob, "sell", instrument_name=PERPETUAL, amount=30, price=100_500)
    order(bob, "sell", instrument_name=PERPETUAL, amount=30, price=100_600)
    day = {"time_in_force": "good_til_day"}
    taken = order(alice, "buy", instrument_name=PERPETUAL, amount=50, type="market_limit", **day)
    expected = {"order_type": "market_limit", "price": 100_500.0, "filled_amount": 30.0, "order_state": "open", **day}
    assert taken | expected == taken
    (shown,) = alice.result("private/get_open_orders", type="limit")
    assert shown == taken


def test_self_trading_config(alice: Client) -> None:
    def settings() -> tuple[str, bool]:
        shown = alice.result("private/get_account_summary", currency="BTC", extended=True)
        return shown["self_trading_reject_mode"], shown["self_trading_extended_to_subaccounts"]

    assert settings() == ("cancel_maker", True)
    own = order(alice, "sell", instrument_name=PERPETUAL, amount=10, price=100_000)
    chosen = {"mode": "reject_taker", "extended_to_subaccounts": False}
    assert alice.result("private/set_self_trading_config", **chosen) == "ok"
    assert settings() == ("reject_taker", False)
    taker = order(alice, "buy", instrument_name=PERPETUAL, amount=10, price=100_000)
    assert (taker["order_state"], taker["cancel_detail"]) == ("cancelled", "self_trade")
    assert state(alice, own["order_id"])["order_state"] == "open"
    assert alice.result("private/set_self_trading_config", mode="cancel_maker", extended_to_subaccounts=True) == "ok"
    taker = order(alice, "buy", instrument_name=PERPETUAL, amount=10, price=100_000)
    assert (taker["order_state"], state(alice, own["order_id"])["order_state"]) == ("open", "cancelled")
    for bad in ({"mode": "x", "extended_to_subaccounts": True}, {"mode": "cancel_maker"}):
        assert alice.call("private/set_self_trading_config", **bad)["error"]["code"] == -32602
    assert settings() == ("cancel_maker", True)


def test_ccxt_places_shows_and_cancels_waiting_orders(venue: Venue, bob: Client) -> None:
    ccxt = pytest.importorskip("ccxt")
    urls = {"api": {"rest": venue.http, "ws": venue.ws}}
    account = venue.account("ccxt")
    client = ccxt.deribit({"apiKey": account.client_id, "secret": account.secret, "urls": urls})
    quote(bob)
    made = {
        "stop_market": client.create_order(
            SYMBOL, "market", "sell", 50, None, {"stopLossPrice": 98_000, "trigger": "index_price"}
        ),
        "take_market": client.create_order(
            SYMBOL, "take_market", "sell", 50, None, {"takeProfitPrice": 102_000, "trigger": "mark_price"}
        ),
        "stop_limit": client.create_order(
            SYMBOL, "limit", "sell", 50, 96_000, {"stopLossPrice": 97_000, "trigger": "index_price"}
        ),
        "trailing_stop": client.create_order(
            SYMBOL, "market", "sell", 50, None, {"trailingAmount": 9_000, "trigger": "index_price"}
        ),
    }
    for word, shown in made.items():
        assert (shown["status"], shown["info"]["order_type"], shown["amount"]) == ("open", word, 50.0)
    assert [one["id"] for one in client.fetch_open_orders(SYMBOL)] == [one["id"] for one in made.values()]
    assert client.fetch_order(made["stop_limit"]["id"], SYMBOL)["price"] == 96_000.0
    edited = client.edit_order(made["stop_limit"]["id"], SYMBOL, "limit", "sell", 60, 95_500, {"trigger_price": 97_500})
    assert (edited["amount"], edited["price"], edited["info"]["trigger_price"]) == (60.0, 95_500.0, 97_500.0)
    assert client.cancel_order(made["trailing_stop"]["id"], SYMBOL)["status"] == "canceled"
    with pytest.raises(ccxt.ExchangeError):
        client.create_order(SYMBOL, "market", "sell", 50, None, {"stopLossPrice": 101_000, "trigger": "index_price"})
    venue.publish(97_900)
    (fill,) = client.fetch_my_trades(SYMBOL)
    assert (fill["side"], fill["amount"], fill["price"]) == ("sell", 50.0, 95_000.0)
    assert {one["id"] for one in client.fetch_open_orders(SYMBOL)} == {
        made["take_market"]["id"],
        made["stop_limit"]["id"],
    }
    assert client.fetch_order(fill["order"], SYMBOL)["status"] == "closed"
    client.cancel_all_orders(SYMBOL)
    assert client.fetch_open_orders(SYMBOL) == []
