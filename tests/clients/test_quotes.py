"""Mass quotes and market-maker protection over real sockets."""

from collections.abc import Iterator
from typing import Any

import pytest
from websockets.sync.client import connect

from tests.clients.test_websocket import Client
from tests.clients.venue import CALL, INDEX, PERPETUAL, PUT, Account, Venue

ORDERS, TRIGGER = "user.orders.any.any.raw", "user.mmp_trigger.btc_usd"
INDEX_NAME = "btc_usd"


@pytest.fixture(autouse=True)
def calm(venue: Venue) -> None:
    venue.publish(INDEX)


def logged_in(venue: Venue, account: Account) -> Iterator[Client]:
    with connect(venue.ws, compression=None) as connection:
        client = Client(connection).login(account)
        yield client
        client.result("private/cancel_all")


@pytest.fixture
def maker(venue: Venue) -> Iterator[Client]:
    """A market maker with a group `desk` and cancel-on-disconnect."""
    for client in logged_in(venue, venue.account(f"maker-{venue.run(lambda: venue.gateway.engine.seq)}")):
        client.result("private/enable_cancel_on_disconnect")
        configure(client)
        yield client


@pytest.fixture
def bob(venue: Venue) -> Iterator[Client]:
    yield from logged_in(venue, venue.bob)


def refused(client: Client, method: str, **params: Any) -> dict[str, Any]:
    """The error of a call that must fail."""
    answer = client.call(method, **params)
    assert "error" in answer, answer
    return answer["error"]


def configure(client: Client, **changes: Any) -> list[dict[str, Any]]:
    params = {"index_name": INDEX_NAME, "mmp_group": "desk", "interval": 10, "frozen_time": 0}
    return client.result("private/set_mmp_config", **params | changes)


def side(price: float | None = None, amount: float | None = None, **more: Any) -> dict[str, Any]:
    return {name: value for name, value in {"price": price, "amount": amount, **more}.items() if value is not None}


def quotes(client: Client, *entries: dict[str, Any], **changes: Any) -> dict[str, Any]:
    params = {"quote_id": "q-1", "mmp_group": "desk", "quotes": list(entries), "detailed": True}
    return client.result("private/mass_quote", **params | changes)


def two_sided(name: str, bid: float, ask: float, amount: float, **more: Any) -> dict[str, Any]:
    return {"instrument_name": name, "bid": side(bid, amount), "ask": side(ask, amount), **more}


def test_quotes_are_orders_with_fields_of_their_own(maker: Client) -> None:
    maker.result("private/subscribe", channels=[ORDERS])
    result = quotes(
        maker, two_sided(PERPETUAL, 99_000, 101_000, 100, quote_set_id="near"), two_sided(CALL, 0.4, 0.5, 1)
    )
    assert (result["errors_count"], result["errors"], result["trades"]) == (0, [], [])
    assert len(result["orders"]) == 4
    first = result["orders"][0]
    expected = {"quote": True, "quote_id": "q-1", "quote_set_id": "near", "mmp": True, "mmp_group": "desk", "label": ""}
    expected |= {"direction": "buy", "price": 99_000.0, "amount": 100.0, "order_state": "open", "order_type": "limit"}
    assert first | expected == first
    assert "quote_set_id" not in result["orders"][2]
    assert maker.wait_for(ORDERS) == first
    assert maker.result("private/get_open_orders")[0] == first
    # what is left out stays; amount 0 ends
    moved = quotes(
        maker,
        {"instrument_name": PERPETUAL, "bid": side(price=98_000), "ask": side(amount=50), "quote_set_id": "far"},
        {"instrument_name": CALL, "bid": side(amount=0)},
        quote_id="q-2",
    )
    assert [(one["price"], one["amount"]) for one in moved["orders"][:2]] == [(98_000.0, 100.0), (101_000.0, 50.0)]
    assert moved["orders"][0] | {"quote_id": "q-2", "quote_set_id": "far", "replaced": True} == moved["orders"][0]
    assert (moved["orders"][2]["order_state"], moved["orders"][2]["cancel_reason"]) == ("cancelled", "user_request")
    assert moved["orders"][0]["order_id"] == first["order_id"]


def test_each_side_is_refused_by_itself(maker: Client) -> None:
    result = quotes(
        maker,
        {"instrument_name": PERPETUAL, "bid": side(150_000, 100), "ask": side(101_000, 100)},
        {"instrument_name": "NOTHING", "bid": side(1, 1), "ask": side(2, 1)},
        {"instrument_name": CALL, "bid": side(0.4, 0.05), "ask": side(0.50003, 1)},
    )
    assert [(one["instrument_name"], one["side"], one["error"]["code"]) for one in result["errors"]] == [
        ("NOTHING", "bid", -32602),
        ("NOTHING", "ask", -32602),
        (CALL, "bid", -32602),
        (CALL, "ask", 10043),
        (PERPETUAL, "bid", 10007),
    ]
    assert result["errors_count"] == 5
    assert [(one["direction"], one["price"]) for one in result["orders"]] == [("sell", 101_000.0)]
    brief = quotes(maker, {"instrument_name": PERPETUAL, "bid": side(99_000, 100)}, detailed=False)
    assert brief == {"errors": [], "errors_count": 0, "pending_requests_count": 0}
    waited = quotes(maker, {"instrument_name": PERPETUAL, "bid": side(99_000, 100)}, wait_for_response=True)
    assert "pending_requests" not in waited and result["pending_requests"] == []


def test_what_a_mass_quote_needs(venue: Venue, maker: Client, bob: Client) -> None:
    entry = two_sided(PERPETUAL, 99_000, 101_000, 100)
    base = {"quote_id": "q", "mmp_group": "desk", "quotes": [entry]}
    assert refused(bob, "private/mass_quote", **base)["code"] == 13042
    bob.result("private/enable_cancel_on_disconnect")
    assert refused(bob, "private/mass_quote", **base)["code"] == 13040
    assert refused(maker, "private/mass_quote", **base | {"mmp_group": "other"})["code"] == 13040
    assert refused(maker, "private/mass_quote", **base | {"quotes": []})["code"] == -32602
    assert refused(maker, "private/mass_quote", **base | {"quotes": [entry] * 101})["code"] == -32602
    assert refused(maker, "private/mass_quote", **base | {"quote_id": "x" * 25})["code"] == -32602
    assert refused(maker, "private/mass_quote", **base | {"valid_until": 1})["code"] == 13888
    order_id = quotes(maker, entry)["orders"][0]["order_id"]
    assert refused(maker, "private/edit", order_id=order_id, amount=50, price=99_000)["code"] == 10004


def test_protection_triggers_and_tells(maker: Client, bob: Client) -> None:
    assert configure(maker, quantity_limit=0.15)[0]["quantity_limit"] == 0.15
    maker.result("private/subscribe", channels=[TRIGGER, ORDERS])
    placed = quotes(maker, two_sided(PERPETUAL, 99_900, 100_100, 20_000), two_sided(PUT, 0.4, 0.5, 1))["orders"]
    # 20,000 USD are 0.2 coins
    bought = bob.result("private/buy", instrument_name=PERPETUAL, amount=20_000, price=100_100)
    assert bought["order"]["order_state"] == "filled"
    assert maker.wait_for(TRIGGER) == {
        "index_name": INDEX_NAME, "mmp_group": "desk", "frozen_until": 0, "block_rfq": False,
    }  # fmt: skip
    cancelled = [one for one in (maker.wait_for(ORDERS) for _ in range(8)) if one["order_state"] == "cancelled"]
    assert {one["order_id"] for one in cancelled} == {
        placed[0]["order_id"],
        placed[2]["order_id"],
        placed[3]["order_id"],
    }
    assert all(one["cancel_reason"] == "mmp_trigger" and one["mmp_cancelled"] for one in cancelled)
    status = maker.result("private/get_mmp_status", index_name=INDEX_NAME)
    assert [(one["mmp_group"], one["frozen_until"]) for one in status] == [("desk", 0)]
    base = {"quote_id": "q", "mmp_group": "desk", "quotes": [two_sided(PUT, 0.4, 0.5, 1)]}
    assert refused(maker, "private/mass_quote", **base)["code"] == 13030
    assert refused(maker, "private/reset_mmp", index_name=INDEX_NAME, mmp_group="none")["code"] == 13020
    assert maker.result("private/reset_mmp", index_name=INDEX_NAME, mmp_group="desk") == "ok"
    assert maker.result("private/get_mmp_status") == []
    assert quotes(maker, two_sided(PUT, 0.4, 0.5, 1))["errors_count"] == 0
    trades = maker.result("private/get_user_trades_by_instrument", instrument_name=PERPETUAL)["trades"]
    assert trades[0] | {"quote_id": "q-1", "mmp": True, "label": "", "liquidity": "M"} == trades[0]


def test_orders_may_join_the_default_group(maker: Client, bob: Client) -> None:
    order = {"instrument_name": PERPETUAL, "amount": 10_000, "price": 99_000, "mmp": True}
    assert refused(maker, "private/buy", **order)["code"] == 13040
    configured = configure(maker, mmp_group=None, delta_limit=0.05, frozen_time=7)
    assert configured == [
        {"index_name": INDEX_NAME, "mmp_group": "default", "interval": 10, "frozen_time": 7, "block_rfq": False,
         "delta_limit": 0.05}
    ]  # fmt: skip
    names = [one["mmp_group"] for one in maker.result("private/get_mmp_config", index_name=INDEX_NAME)]
    assert names == ["desk", "default"]
    assert refused(maker, "private/buy", **order | {"type": "market"})["code"] == 11047
    placed = maker.result("private/buy", **order)["order"]
    assert (placed["mmp"], placed["mmp_group"], "quote" in placed) == (True, "default", False)
    edited = maker.result("private/edit", order_id=placed["order_id"], amount=20_000, price=99_000, mmp=True)["order"]
    assert (edited["mmp"], edited["amount"]) == (True, 20_000.0)
    error = refused(maker, "private/edit", order_id=placed["order_id"], amount=20_000, price=99_000, mmp=False)
    assert (error["code"], error["data"]["param"]) == (-32602, "mmp")
    bob.result("private/sell", instrument_name=PERPETUAL, amount=10_000, price=99_000)
    state = maker.result("private/get_order_state", order_id=placed["order_id"])
    assert (state["order_state"], state["cancel_reason"]) == ("cancelled", "mmp_trigger")
    status = maker.result("private/get_mmp_status")
    assert status[0]["mmp_group"] == "default" and status[0]["frozen_until"] > 0
    assert refused(maker, "private/buy", **order)["code"] == 13030


def test_removing_a_group_ends_its_orders(maker: Client) -> None:
    order_id = quotes(maker, two_sided(PERPETUAL, 99_000, 101_000, 100))["orders"][0]["order_id"]
    assert configure(maker, interval=0) == []
    state = maker.result("private/get_order_state", order_id=order_id)
    assert state["cancel_reason"] == "mmp_config_curtailment"
    assert maker.result("private/get_mmp_config") == []
    for wrong in ({"interval": -1}, {"quantity_limit": -1}, {"index_name": "x_usd"}, {"delta_limit": 1e-9}):
        with pytest.raises(AssertionError):
            configure(maker, **wrong)
    assert refused(maker, "private/set_mmp_config", index_name=INDEX_NAME, interval=0, frozen_time=0)["code"] == 13020


@pytest.mark.parametrize(
    ("params", "left"),
    [
        ({"cancel_type": "all"}, 0),
        ({"cancel_type": "instrument", "instrument_name": CALL}, 4),
        ({"cancel_type": "instrument_kind", "kind": "option", "currency": "BTC"}, 2),
        ({"cancel_type": "currency", "currency": "BTC"}, 0),
        ({"cancel_type": "currency", "currency": "USDC"}, 6),
        ({"cancel_type": "currency_pair", "currency_pair": "btc_usd"}, 0),
        ({"cancel_type": "quote_set_id", "quote_set_id": "near", "currency": "BTC"}, 4),
        ({"cancel_type": "delta", "min_delta": -1, "max_delta": 0, "currency": "BTC"}, 4),
    ],
)
def test_cancel_quotes(maker: Client, params: dict[str, Any], left: int) -> None:
    quotes(
        maker,
        two_sided(PERPETUAL, 99_000, 101_000, 100, quote_set_id="near"),
        two_sided(CALL, 0.4, 0.5, 1),
        two_sided(PUT, 0.4, 0.5, 1),
    )
    assert maker.result("private/cancel_quotes", **params) == 6 - left
    assert len(maker.result("private/get_open_orders")) == left


def test_quotes_of_one_group_are_cancelled_alone(maker: Client) -> None:
    configure(maker, mmp_group="other")
    quotes(maker, two_sided(PERPETUAL, 99_000, 101_000, 100), two_sided(CALL, 0.4, 0.5, 1))
    quotes(maker, two_sided(CALL, 0.3, 0.6, 1), mmp_group="other")
    maker.result("private/buy", instrument_name=CALL, amount=1, price=0.35)
    cancel, whole = "private/cancel_quotes", {"cancel_type": "mmp_group"}
    assert refused(maker, cancel, **whole)["data"]["param"] == "mmp_group"
    assert maker.result(cancel, mmp_group="nobody", **whole) == 0
    assert maker.result(cancel, mmp_group="desk", currency_pair="eth_usd", **whole) == 0
    assert maker.result(cancel, mmp_group="desk", currency_pair="btc_usd", **whole) == 4
    left = maker.result("private/get_open_orders")
    assert [one.get("mmp_group") for one in left] == ["other", "other", None]
    assert maker.result(cancel, mmp_group="other", **whole) == 2


def test_freezing_and_detailed_cancels(maker: Client) -> None:
    entry = two_sided(PERPETUAL, 99_000, 101_000, 100)
    quotes(maker, entry)
    groups = maker.result("private/cancel_quotes", cancel_type="all", detailed=True, freeze_quotes=True)
    assert [(one["type"], one["instrument_name"], len(one["result"])) for one in groups] == [("quote", PERPETUAL, 2)]
    base = {"quote_id": "q", "mmp_group": "desk", "quotes": [entry]}
    assert refused(maker, "private/mass_quote", **base)["code"] == 13043
    for wrong in ({"cancel_type": "x"}, {"cancel_type": "delta"}, {"cancel_type": "quote_set_id"}):
        assert refused(maker, "private/cancel_quotes", **wrong)["code"] == -32602


def test_cancel_all_freezes_where_asked(maker: Client) -> None:
    entry = two_sided(PERPETUAL, 99_000, 101_000, 100)
    quotes(maker, entry)
    assert maker.result("private/cancel_all_by_currency", currency="BTC", freeze_quotes=True) == 2
    error = refused(maker, "private/mass_quote", quote_id="q", mmp_group="desk", quotes=[entry])
    assert error["code"] == 13043


def test_quotes_go_with_their_connection(venue: Venue, bob: Client) -> None:
    account = venue.account("leaver")
    with connect(venue.ws, compression=None) as connection:
        client = Client(connection).login(account)
        client.result("private/enable_cancel_on_disconnect")
        configure(client)
        order_id = quotes(client, two_sided(PERPETUAL, 99_000, 101_000, 100))["orders"][0]["order_id"]
    with connect(venue.ws, compression=None) as connection:
        client = Client(connection).login(account)
        state = client.result("private/get_order_state", order_id=order_id)
        assert state["cancel_reason"] == "cancel_on_disconnect"
        assert client.result("private/get_open_orders") == []
