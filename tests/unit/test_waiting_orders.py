"""Waiting orders under a gateway without sockets: whose answer is whose, restarts, disconnects, many at once."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from exchange import commands
from exchange.commands import CommandKind
from gateway import methods, render_account
from gateway.settings import DERIBIT, OFF, Settings
from gateway.waiting import WaitingRoom
from tests.clients.venue import FUTURE, LINEAR, PERPETUAL, Account, Core, build_gateway, open_account, publish
from tests.unit.test_session import Clock, Desk, Peer

ORDERS = "user.orders.any.any.raw"
SECOND_NS = 1_000_000_000


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    methods.load()
    clock = Clock()
    core = Core(tmp_path, clock)
    yield Desk(build_gateway(core, tmp_path, Settings(), clock), clock)
    core.close()


Request = tuple[str, dict[str, Any]]


def stop(side: str, trigger_price: float | None, of_type: str = "stop_market", **more: Any) -> Request:
    terms = {"instrument_name": PERPETUAL, "amount": 50, "type": of_type, "trigger": "index_price", **more}
    return f"private/{side}", terms if trigger_price is None else {**terms, "trigger_price": trigger_price}


def place(peer: Peer, request: Request) -> dict[str, Any]:
    return peer.result(request[0], **request[1])["order"]


def quoted(desk: Desk) -> Peer:
    """A market maker with wide quotes of everything around the index."""
    maker = desk.open(desk.bob)
    for side, price in (("buy", 95_000), ("sell", 105_000)):
        maker.result(f"private/{side}", instrument_name=PERPETUAL, amount=10_000, price=price)
    return maker


def test_an_order_that_fires_anothers_stop_is_answered_with_its_own_order(desk: Desk) -> None:
    alice, bob = desk.open(desk.alice), desk.open(desk.bob)
    carol = desk.open(open_account(desk.gateway, "carol"))
    bob.result("private/sell", instrument_name=PERPETUAL, amount=500, price=100_100)
    carol.result("private/buy", instrument_name=PERPETUAL, amount=10, price=100_100)
    bob.result("private/sell", instrument_name=PERPETUAL, amount=500, price=100_200)
    placed = place(alice, stop("buy", 100_200, trigger="last_price"))
    # fires too, and is refused: there is no position to reduce
    hopeless = place(alice, stop("buy", 100_200, trigger="last_price", reduce_only=True))
    alice.result("private/subscribe", channels=[ORDERS])
    alice.take()
    found = carol.result("private/buy", instrument_name=PERPETUAL, amount=600, price=100_200)
    assert (found["order"]["filled_amount"], found["order"]["order_state"]) == (600.0, "filled")
    assert [trade["amount"] for trade in found["trades"]] == [490.0, 110.0]
    assert "trigger_order_id" not in found["order"]
    seen = [note["data"] for note in alice.notes()]
    assert [(one["order_id"], one["order_state"]) for one in seen][:2] == [
        (placed["order_id"], "triggered"),
        (seen[1]["order_id"], "filled"),
    ]
    assert seen[1]["trigger_order_id"] == placed["order_id"]
    refused = alice.result("private/get_order_state", order_id=hopeless["order_id"])
    assert (refused["order_state"], refused["cancel_detail"]) == ("rejected", "reduce_only_would_increase")
    history = alice.result("private/get_trigger_order_history", currency="BTC")["entries"]
    assert [(one["trigger_order_id"], one["order_id"]) for one in history] == [
        (hopeless["order_id"], None),
        (placed["order_id"], seen[1]["order_id"]),
    ]


def test_waiting_orders_are_there_after_a_restart(desk: Desk) -> None:
    alice = desk.open(desk.alice)
    quoted(desk)
    plain = place(alice, stop("sell", 98_000, label="guard"))
    trailing = place(alice, stop("sell", None, "trailing_stop", trigger_offset=1_000))
    publish(desk.gateway, 100_500)
    later = desk.restarted()
    peer = later.open(desk.alice)
    shown = peer.result("private/get_open_orders_by_currency", currency="BTC")
    assert [one["order_id"] for one in shown] == [plain["order_id"], trailing["order_id"]]
    assert (shown[0]["label"], shown[0]["trigger_price"]) == ("guard", 98_000.0)
    assert (shown[1]["trigger_price"], shown[1]["trigger_offset"]) == (99_500.0, 1_000.0)
    peer.result("private/subscribe", channels=[ORDERS])
    publish(later.gateway, 97_500)
    states = [note["data"]["order_state"] for note in peer.notes()]
    assert states == ["triggered", "filled", "triggered", "filled"]
    assert peer.result("private/get_open_orders") == []


def test_waiting_orders_go_with_their_connection_and_others_stay(desk: Desk) -> None:
    first, second = desk.open(desk.alice), desk.open(desk.alice)
    first.result("private/enable_cancel_on_disconnect", scope="connection")
    own = place(first, stop("sell", 98_000))
    other = place(second, stop("sell", 97_000))
    first.session.closed()
    assert [one["order_id"] for one in second.result("private/get_open_orders")] == [other["order_id"]]
    ended = second.result("private/get_order_state", order_id=own["order_id"])
    assert (ended["order_state"], ended["cancel_reason"]) == ("cancelled", "cancel_on_disconnect")


def test_an_order_that_fired_belongs_to_the_connection_of_its_stop(desk: Desk) -> None:
    first, second = desk.open(desk.alice), desk.open(desk.alice)
    first.result("private/enable_cancel_on_disconnect", scope="connection")
    place(first, stop("sell", 98_000, "stop_limit", price=97_000, time_in_force="good_til_day"))
    publish(desk.gateway, 97_900)
    (open_order,) = second.result("private/get_open_orders")
    assert (open_order["order_state"], open_order["triggered"]) == ("open", True)
    assert (open_order["time_in_force"], open_order["price"]) == ("good_til_day", 97_000.0)
    first.session.closed()
    assert second.result("private/get_open_orders") == []


def test_notices_and_reads_agree_with_the_engine_under_random_orders(desk: Desk) -> None:
    """A client that only follows `user.orders` knows every live order; so does a gateway that starts now."""
    rng = random.Random(7)
    quoted(desk)
    alice, index = desk.open(desk.alice), 100_000.0
    alice.result("private/subscribe", channels=[ORDERS])
    known: dict[str, str] = {}
    fired = 0
    for _ in range(300):
        action = rng.random()
        live = [order_id for order_id, state in known.items() if state in ("open", "untriggered")]
        if action < 0.5:
            side, of_type = rng.choice(("buy", "sell")), rng.choice(("stop_market", "stop_limit", "take_market"))
            up = (side == "buy") == of_type.startswith("stop")
            price = index + (1 if up else -1) * rng.randrange(50, 1_500)
            more = {"price": rng.choice((96_000, 104_000))} if of_type == "stop_limit" else {}
            method, params = stop(side, price, of_type, **more)
            messages = alice.exchange(method, **params)
        elif action < 0.65 and live:
            messages = alice.exchange("private/cancel", order_id=rng.choice(live))
        elif action < 0.7:
            word = rng.choice(("stop", "take", "limit"))
            messages = alice.exchange("private/cancel_all_by_kind_or_type", currency="BTC", type=word)
        elif action < 0.8 and live:
            messages = alice.exchange("private/edit", order_id=rng.choice(live), amount=rng.randrange(1, 9) * 10)
        else:
            index = min(102_000.0, max(98_000.0, index + rng.randrange(-600, 600)))
            desk.clock.advance(1.0)
            publish(desk.gateway, index)
            messages = alice.take()
        for one in [message["params"]["data"] for message in messages if "params" in message]:
            known[one["order_id"]] = one["order_state"]
            fired += one["order_state"] == "triggered"
    assert fired > 20
    shown = alice.result("private/get_open_orders")
    live = {order_id for order_id, state in known.items() if state in ("open", "untriggered")}
    assert {one["order_id"] for one in shown} == live
    again = desk.restarted().open(desk.alice).result("private/get_open_orders")
    forgotten = ("replaced", "triggered", "trigger_order_id")
    for one in shown + again:
        for name in forgotten if one["order_state"] == "open" else forgotten[:1]:
            one.pop(name, None)
    assert again == shown
    assert desk.gateway.engine.audit() == []


def test_the_day_ends_waiting_and_open_orders(desk: Desk) -> None:
    alice = desk.open(desk.alice)
    desk.gateway.submit(commands.record(CommandKind.TICK))
    day = {"time_in_force": "good_til_day"}
    waiting = place(alice, stop("sell", 98_000, **day))
    resting = place(alice, ("private/buy", {"instrument_name": PERPETUAL, "amount": 10, "price": 99_000, **day}))
    stays = place(alice, stop("sell", 97_000))
    alice.result("private/subscribe", channels=[ORDERS])
    for _ in range(24):
        desk.clock.advance(3_600)
        desk.gateway.submit(commands.record(CommandKind.TICK))
    ended = [note["data"] for note in alice.notes()]
    assert {(one["order_id"], one["order_state"], one["cancel_detail"]) for one in ended} == {
        (waiting["order_id"], "cancelled", "day_ended"),
        (resting["order_id"], "cancelled", "day_ended"),
    }
    assert [one["order_id"] for one in alice.result("private/get_open_orders")] == [stays["order_id"]]


def test_more_fire_at_once_than_are_placed_at_once(desk: Desk) -> None:
    """The rest is still waiting, can be cancelled, and is placed by following ticks."""
    quoted(desk)
    alice = desk.open(desk.alice)
    made = [place(alice, stop("sell", 98_000, amount=10))["order_id"] for _ in range(90)]
    publish(desk.gateway, 97_000)
    left = [one["order_id"] for one in alice.result("private/get_open_orders")]
    assert left == made[64:]
    assert alice.result("private/cancel", order_id=left[0])["order_state"] == "cancelled"
    desk.gateway.submit(commands.record(CommandKind.TICK))
    assert alice.result("private/get_open_orders") == []
    states = [alice.result("private/get_order_state", order_id=one)["order_state"] for one in made]
    assert states == ["triggered"] * 64 + ["cancelled"] + ["triggered"] * 25
    assert alice.result("private/get_position", instrument_name=PERPETUAL)["size"] == -890.0
    first = alice.result("private/get_trigger_order_history", currency="BTC", count=50)
    rest = alice.result(
        "private/get_trigger_order_history", currency="BTC", count=50, continuation=first["continuation"]
    )
    entries = first["entries"] + rest["entries"]
    assert [one["trigger_order_id"] for one in entries] == made[::-1]
    assert rest["continuation"] is None


def test_ended_waiting_orders_are_kept_within_bounds(tmp_path: Path) -> None:
    methods.load()
    clock = Clock()
    core = Core(tmp_path, clock)
    settings = Settings(max_closed_orders=5, history_per_account=3)
    desk = Desk(build_gateway(core, tmp_path, settings, clock), clock)
    room: WaitingRoom = desk.gateway.projection.waiting
    for account in (desk.alice, desk.bob):
        peer = desk.open(account)
        for _ in range(4):
            peer.result("private/cancel", order_id=place(peer, stop("sell", 98_000))["order_id"])
    kept = {name: len(room.ended(a.account_id)) for name, a in (("alice", desk.alice), ("bob", desk.bob))}
    assert kept == {"alice": 1, "bob": 3}
    assert len(room._ended) == 5
    core.close()


# what else the account sees


def test_rate_limits_shown_are_those_in_force(tmp_path: Path) -> None:
    assert render_account.limits(OFF) == {"limits_per_currency": False}
    assert render_account.limits(DERIBIT) == {
        "limits_per_currency": False,
        "non_matching_engine": {"rate": 20, "burst": 100},
        "matching_engine": {"trading": {"total": {"rate": 5, "burst": 20}}},
    }
    for profile, shown in (("off", OFF), ("deribit", DERIBIT)):
        directory = tmp_path / profile
        directory.mkdir()
        methods.load()
        core = Core(directory)
        desk = Desk(build_gateway(core, directory, Settings(rate_profile=profile)), Clock())
        summary = desk.open(desk.alice).result("private/get_account_summary", currency="BTC")
        assert summary["limits"] == render_account.limits(shown)
        core.close()


def test_a_key_speaks_for_its_own_account_only(desk: Desk) -> None:
    peer = desk.open(desk.alice)
    for method, params in (
        ("private/get_account_summary", {"currency": "BTC"}),
        ("private/get_account_summaries", {}),
    ):
        assert peer.code(method, subaccount_id=desk.bob.account_id, **params) == 13021
        assert peer.code(method, subaccount_id=999_999, **params) == 13021
        own = peer.result(method, subaccount_id=desk.alice.account_id, **params)
        assert own == peer.result(method, **params)


def liquidated(desk: Desk) -> Account:
    """An account whose bitcoin positions go to auction; it holds a linear position too."""
    weak, maker = open_account(desk.gateway, "weak", btc="1", usdc="50000"), desk.open(desk.bob)
    peer = desk.open(weak)
    for name, amount in ((PERPETUAL, 400_000), (FUTURE, 10_000), (LINEAR, 0.01)):
        maker.result("private/sell", instrument_name=name, amount=amount, price=100_000)
        peer.result("private/buy", instrument_name=name, amount=amount, price=100_000)
    index = 100_000.0
    while not desk.gateway.engine.auctions():
        index -= 500
        assert index > 70_000, "no liquidation"
        desk.clock.advance(1.0)
        publish(desk.gateway, index)
        desk.gateway.submit(commands.record(CommandKind.TICK))
    return weak


def test_an_auction_shows_what_it_sells_and_not_who_buys(desk: Desk) -> None:
    buyer, rival, watcher = desk.open(desk.alice), desk.open(open_account(desk.gateway, "rival")), desk.open()
    weak = liquidated(desk)
    victim = desk.open(weak)
    (auction,) = watcher.result("public/get_auctions")
    assert auction["currency"] == "BTC"
    assert {one["instrument_name"] for one in auction["portfolio"]} == {PERPETUAL, FUTURE}
    watcher.result("public/subscribe", channels=["auctions"])
    for peer in (buyer, rival, victim):
        peer.result("private/subscribe", channels=["user.liquidation"])
        peer.take()
    watcher.take()
    terms = {"auction_id": auction["auction_id"], "phase": auction["phase"]}
    messages = rival.exchange("private/place_bid", **terms | {"phase": 9}, limit=1.0)
    assert [message["params"]["data"]["type"] for message in messages if "params" in message] == ["bid_rejected"]
    assert [message["error"]["data"]["reason"] for message in messages if "error" in message] == ["wrong_phase"]
    messages = buyer.exchange("private/place_bid", **terms, limit=0.9, share=1.0)
    assert [message["params"]["data"]["type"] for message in messages if "params" in message] == ["bid_accepted"]
    for _ in range(100):
        if not desk.gateway.engine.auctions():
            break
        desk.clock.advance(5.0)
        publish(desk.gateway, desk.gateway.engine.index_price(0) / 1e8)
        desk.gateway.submit(commands.record(CommandKind.TICK))
    bought = [note["data"] for note in buyer.notes()]
    sold = [one for one in bought if one["type"] == "auction_lot_sold"]
    moved = [one for one in bought if one["type"] == "position_transferred"]
    assert sold and {one["buyer_account_id"] for one in sold} == {desk.alice.account_id}
    assert moved and {one["to_account_id"] for one in moved} == {desk.alice.account_id}
    seen = [note["data"] for note in watcher.notes()]
    own = [note["data"] for note in victim.notes()]
    assert "auction_lot_sold" in {one["type"] for one in seen} & {one["type"] for one in own}
    for one in seen + own:
        assert not {"buyer_account_id", "to_account_id"} & set(one), one
    assert rival.notes() == []
