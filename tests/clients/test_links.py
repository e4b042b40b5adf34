"""Icebergs and linked orders over the wire, edits of waiting orders, and the history of waiting orders in the store."""

from collections.abc import Iterator
from typing import Any

import pytest
from websockets.sync.client import connect

from tests.clients.test_history import settle
from tests.clients.test_order_types import STOP, logged_in, order, quote, state
from tests.clients.test_websocket import Client
from tests.clients.venue import INDEX, PERPETUAL, Venue

ORDERS = "user.orders.any.any.raw"
LIMIT = {"instrument_name": PERPETUAL, "amount": 100}
TARGET = {"direction": "sell", "price": 104_000}
GUARD = {"direction": "sell", "type": "stop_market", "trigger": "index_price", "trigger_price": 97_000}


@pytest.fixture(autouse=True)
def calm(venue: Venue) -> None:
    venue.publish(INDEX)


@pytest.fixture
def alice(venue: Venue) -> Iterator[Client]:
    yield from logged_in(venue, venue.alice)


@pytest.fixture
def bob(venue: Venue) -> Iterator[Client]:
    yield from logged_in(venue, venue.bob)


def linked(client: Client, kind: str, *others: dict[str, Any], **params: Any) -> dict[str, Any]:
    return order(client, "buy", **LIMIT | params, linked_order_type=kind, otoco_config=list(others))


def book(client: Client) -> dict[str, Any]:
    return client.result("public/get_order_book", instrument_name=PERPETUAL, depth=5)


# icebergs


def test_an_iceberg_shows_a_tranche_to_the_market_and_the_whole_to_its_owner(
    venue: Venue, alice: Client, bob: Client
) -> None:
    levels, orders = f"book.{PERPETUAL}.raw", f"orders.{PERPETUAL}"
    bob.result("public/subscribe", channels=[levels, orders])
    bob.wait_for(levels), bob.wait_for(orders)
    placed = order(alice, "sell", **LIMIT, price=101_000, display_amount=30)
    expected = {"display_amount": 30.0, "refresh_amount": 30.0, "amount": 100.0, "order_state": "open"}
    assert placed | expected == placed
    assert bob.wait_for(levels)["asks"] == [["new", 101_000.0, 30.0]]
    assert bob.wait_for(orders)["changes"] == [["add", placed["order_id"], 101_000.0, 30.0, "sell"]]
    trades = bob.result("private/buy", instrument_name=PERPETUAL, amount=40, price=101_000)["trades"]
    assert [one["amount"] for one in trades] == [30.0, 10.0]
    shown = state(alice, placed["order_id"])
    assert (shown["display_amount"], shown["filled_amount"]) == (20.0, 40.0)
    assert book(bob)["asks"] == [[101_000.0, 20.0]]
    assert bob.wait_for(levels)["asks"] == [["change", 101_000.0, 20.0]]
    changes = [line[:2] for line in bob.wait_for(orders)["changes"]]
    assert changes == [["remove", placed["order_id"]], ["add", placed["order_id"]]]
    edited = alice.result("private/edit", order_id=placed["order_id"], amount=90, display_amount=10)["order"]
    assert (edited["display_amount"], edited["refresh_amount"], edited["amount"]) == (20.0, 10.0, 90.0)
    alice.result("private/cancel", order_id=placed["order_id"])
    assert book(bob)["asks"] == []


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"display_amount": 100}, 11047),
        ({"display_amount": 15}, -32602),
        ({"display_amount": 10, "type": "market"}, 11047),
        ({"display_amount": 10, "time_in_force": "immediate_or_cancel"}, 11047),
        ({"display_amount": -10}, -32602),
    ],
)
def test_what_cannot_be_an_iceberg(alice: Client, params: dict[str, Any], code: int) -> None:
    price = {} if params.get("type") == "market" else {"price": 99_000}
    assert alice.call("private/buy", **LIMIT | price | params)["error"]["code"] == code


# linked orders


def test_one_cancels_other(venue: Venue, alice: Client, bob: Client) -> None:
    first = linked(alice, "one_cancels_other", TARGET, price=98_000)
    both = alice.result("private/get_open_orders")
    assert both[0] == first
    assert [one["order_state"] for one in both] == ["open", "open"]
    assert both[0]["oco_ref"] == both[1]["oco_ref"] == f"OCO-{first['order_id']}"
    assert both[1]["trigger_fill_condition"] == "first_hit"
    alice.result("private/subscribe", channels=[ORDERS])
    bob.result("private/buy", instrument_name=PERPETUAL, amount=10, price=104_000)
    notes = {one["order_id"]: one for one in (alice.wait_for(ORDERS), alice.wait_for(ORDERS))}
    gone = notes[first["order_id"]]
    assert (gone["order_state"], gone["cancel_reason"]) == ("cancelled", "oco_other_closed")
    assert notes[both[1]["order_id"]]["filled_amount"] == 10.0


def test_an_edit_is_answered_with_its_own_order_whatever_links_follow(alice: Client, bob: Client) -> None:
    """A fill shrinks the other of somebody else's two: that order is not the editor's to see."""
    incremental = {"trigger_fill_condition": "incremental"}
    linked(alice, "one_cancels_other", TARGET, price=98_000, **incremental)
    mine = order(bob, "buy", instrument_name=PERPETUAL, amount=40, price=90_000)
    answer = bob.result("private/edit", order_id=mine["order_id"], price=104_000)
    assert (answer["order"]["order_id"], answer["order"]["filled_amount"]) == (mine["order_id"], 40.0)
    assert [one["order_id"] for one in answer["trades"]] == [mine["order_id"]]
    assert [one["amount"] for one in alice.result("private/get_open_orders")] == [60.0, 100.0]


def test_a_stop_that_fires_takes_its_place_in_the_link(venue: Venue, alice: Client, bob: Client) -> None:
    quote(bob)
    guard = GUARD | {"type": "stop_limit", "price": 96_000}
    first = linked(alice, "one_cancels_other", guard, price=95_000, trigger_fill_condition="complete_fill")
    waiting = next(one for one in alice.result("private/get_open_orders") if one["order_state"] == "untriggered")
    assert waiting["oco_ref"] == first["oco_ref"]
    bob.result("private/cancel_all")
    venue.publish(96_900)
    fired = next(one for one in alice.result("private/get_open_orders") if one["direction"] == "sell")
    assert (fired["trigger_order_id"], fired["oco_ref"]) == (waiting["order_id"], first["oco_ref"])
    alice.result("private/cancel", order_id=fired["order_id"])
    assert alice.result("private/get_open_orders") == []


def test_a_bracket_from_entry_to_exit(venue: Venue, alice: Client, bob: Client) -> None:
    quote(bob, 96_000, 106_000)
    entry = linked(
        alice, "one_triggers_one_cancels_other", TARGET, GUARD, price=99_000, trigger_fill_condition="incremental"
    )
    assert entry["is_primary_otoco"] is True
    target, guard = (state(alice, one) for one in entry["oto_order_ids"])
    assert target["order_id"].startswith("OTO-")
    for one in (target, guard):
        assert (one["order_state"], one["is_secondary_oto"]) == ("untriggered", True)
        assert one["primary_order_id"] == entry["order_id"]
    assert (target["order_type"], "trigger" in target) == ("limit", False)
    assert (guard["trigger"], guard["trigger_price"]) == ("index_price", 97_000.0)
    bob.result("private/sell", instrument_name=PERPETUAL, amount=40, price=99_000)
    shown = {one["order_id"]: one for one in alice.result("private/get_open_orders")}
    placed = [one for one in shown.values() if one.get("trigger_order_id") == target["order_id"]]
    stops = [one for one in shown.values() if one.get("trigger_order_id") == guard["order_id"]]
    assert [(one["amount"], one["order_state"]) for one in placed] == [(40.0, "open")]
    assert [(one["amount"], one["order_state"]) for one in stops] == [(40.0, "untriggered")]
    assert placed[0]["oco_ref"] == stops[0]["oco_ref"]
    assert shown[target["order_id"]]["order_state"] == "untriggered"
    alice.result("private/cancel", order_id=entry["order_id"])
    ended = state(alice, target["order_id"])
    assert (ended["order_state"], ended["cancel_reason"]) == ("cancelled", "oto_primary_closed")
    venue.publish(96_900)
    assert alice.result("private/get_open_orders") == []
    assert state(alice, placed[0]["order_id"])["cancel_reason"] == "oco_other_closed"


def test_a_market_entry_is_answered_with_its_fills(venue: Venue, alice: Client, bob: Client) -> None:
    quote(bob, 99_000, 101_000)
    answer = alice.result(
        "private/buy", **LIMIT, type="market", linked_order_type="one_triggers_other", otoco_config=[GUARD]
    )
    assert (answer["order"]["order_type"], answer["order"]["order_state"]) == ("market", "filled")
    assert [one["amount"] for one in answer["trades"]] == [100.0]
    (guard,) = alice.result("private/get_open_orders")
    assert (guard["order_type"], guard["amount"], guard["trigger_order_id"][:4]) == ("stop_market", 100.0, "OTO-")


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"linked_order_type": "nonsense", "otoco_config": [TARGET]}, -32602),
        ({"linked_order_type": "one_cancels_other"}, -32602),
        ({"linked_order_type": "one_cancels_other", "otoco_config": [TARGET, GUARD]}, -32602),
        ({"linked_order_type": "one_cancels_other", "otoco_config": [TARGET | {"type": "market"}]}, 11047),
        ({"linked_order_type": "one_cancels_other", "otoco_config": [TARGET | {"direction": "up"}]}, -32602),
        ({"linked_order_type": "one_cancels_other", "otoco_config": [{"amount": 10}]}, -32602),
        ({"linked_order_type": "one_triggers_other", "otoco_config": [TARGET], "trigger_fill_condition": "x"}, -32602),
        ({"linked_order_type": "one_triggers_other", "otoco_config": [TARGET | {"price": 1e9}]}, 10007),
        ({"linked_order_type": "one_triggers_other", "otoco_config": [TARGET], "display_amount": 10}, 11047),
        ({"otoco_config": [TARGET]}, 11047),
        ({"trigger_fill_condition": "first_hit"}, 11047),
        ({"linked_order_type": "one_triggers_other", "otoco_config": "nonsense"}, -32602),
        ({"linked_order_type": "one_triggers_other", "otoco_config": [TARGET | {"amount": 10**15}]}, 10021),
    ],
)
def test_refusals_place_nothing(alice: Client, params: dict[str, Any], code: int) -> None:
    assert alice.call("private/buy", **LIMIT | {"price": 98_000} | params)["error"]["code"] == code
    assert alice.result("private/get_open_orders") == []


# waiting orders


def test_a_trailing_stop_gets_a_new_distance(venue: Venue, alice: Client) -> None:
    placed = order(alice, "sell", **STOP | {"type": "trailing_stop", "trigger_offset": 1_000})
    edited = alice.result("private/edit", order_id=placed["order_id"], amount=50, trigger_offset=2_500)["order"]
    assert (edited["trigger_offset"], edited["trigger_price"], edited["replaced"]) == (2_500.0, 97_500.0, True)
    plain = order(alice, "sell", **STOP | {"trigger_price": 98_000})
    refused = alice.call("private/edit", order_id=plain["order_id"], amount=50, trigger_offset=10)["error"]
    assert refused["code"] == 11047


def test_the_history_of_waiting_orders_is_in_the_store(venue: Venue, alice: Client, bob: Client) -> None:
    quote(bob)
    fired = order(alice, "sell", **STOP | {"trigger_price": 99_000, "label": "fires"})
    hopeless = order(alice, "sell", **STOP | {"trigger_price": 99_000, "reduce_only": True})
    gone = order(alice, "sell", **STOP | {"type": "trailing_stop", "trigger_offset": 4_000})
    moved = order(alice, "sell", **STOP | {"trigger_price": 90_000})
    alice.result("private/edit", order_id=moved["order_id"], amount=70, trigger_price=91_000)
    entry = linked(alice, "one_triggers_other", TARGET, price=94_000)
    alice.result("private/cancel", order_id=gone["order_id"])
    venue.publish(98_900)
    for one in (moved, entry):
        alice.result("private/cancel", order_id=one["order_id"])
    ids = [one["order_id"] for one in (fired, hopeless, gone, moved)] + entry["oto_order_ids"]

    def history() -> Any:
        found = alice.result("private/get_trigger_order_history", currency="BTC", count=5)
        return found["entries"], [state(alice, one) for one in ids]

    settle(venue)
    memory = history()
    venue.run(venue.gateway.projection.waiting._ended.clear)
    venue.run(venue.gateway.projection.waiting._ended_by_account.clear)
    entries, states = history()
    assert [one["trigger_order_id"] for one in entries] == ids[::-1]
    assert [one["order_state"] for one in states] == ["triggered", "rejected", "cancelled", "cancelled", "cancelled"]
    assert (states[3]["trigger_price"], states[3]["amount"]) == (91_000.0, 70.0)
    assert states[4]["cancel_reason"] == "oto_primary_closed"
    volatile = ("is_secondary_oto", "primary_order_id", "trigger_fill_condition")
    for kept, stored in zip(memory[1] + memory[0], states + entries, strict=True):
        assert {k: v for k, v in kept.items() if k not in volatile} == stored
    page = alice.result("private/get_trigger_order_history", currency="BTC", count=2, instrument_name=PERPETUAL)
    assert [one["trigger_order_id"] for one in page["entries"]] == ids[:2:-1]
    rest = alice.result("private/get_trigger_order_history", currency="BTC", count=3, continuation=page["continuation"])
    assert [one["trigger_order_id"] for one in rest["entries"]] == ids[2::-1]
    assert alice.result("private/get_trigger_order_history", currency="USDC")["entries"] == []


def test_links_are_there_after_a_restart_of_the_gateway(venue: Venue, alice: Client) -> None:
    entry = linked(alice, "one_triggers_one_cancels_other", TARGET, GUARD, price=98_000)
    shown = alice.result("private/get_open_orders")

    def again() -> list[Any]:
        from gateway.projection import Projection
        from gateway.render_orders import order as rendered

        old = venue.gateway.projection
        new = Projection(venue.gateway.engine, old._listings, old._settings)
        return [rendered(record) for record in new.live_orders(venue.alice.account_id)]

    assert venue.run(again) == shown
    assert [one["order_id"] for one in shown] == [entry["order_id"], *entry["oto_order_ids"]]


def test_http_takes_linked_orders_as_json(venue: Venue, alice: Client) -> None:
    with connect(venue.ws) as other:
        peer = Client(other).login(venue.alice)
        placed = linked(peer, "one_cancels_other", TARGET | {"amount": 50}, price=98_000)
    amounts = [one["amount"] for one in alice.result("private/get_open_orders")]
    assert amounts == [placed["amount"], 50.0]
