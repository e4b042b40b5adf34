"""Sessions without sockets: login, scopes, subscriptions, heartbeat, cancel-on-disconnect, failures."""

import copy
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from exchange import commands, config, payloads
from exchange.commands import CommandKind
from exchange.engine import InvariantBroken
from gateway import methods
from gateway.errors import ApiError
from gateway.gateway import Gateway
from gateway.registry import METHODS
from gateway.reserved import reduces_risk
from gateway.session import Session
from gateway.settings import Settings
from tests.clients.venue import CALL, CONFIG, FUTURE, PERPETUAL, Account, Core, build_gateway, open_account, publish

SECOND_NS = 1_000_000_000


class Clock:
    """Wall time that moves when told."""

    def __init__(self) -> None:
        self.now_ns = 1_790_000_000 * SECOND_NS

    def __call__(self) -> int:
        return self.now_ns

    def advance(self, seconds: float) -> int:
        self.now_ns += int(seconds * SECOND_NS)
        return self.now_ns


class Desk:
    """A gateway without a server, and two accounts."""

    def __init__(self, gateway: Gateway, clock: Clock):
        self.gateway, self.clock = gateway, clock
        self.alice, self.bob = open_account(gateway, "alice"), open_account(gateway, "bob")

    def open(self, account: Account | None = None, scope: str = "") -> "Peer":
        peer = Peer(self.gateway)
        if account is not None:
            peer.result(
                "public/auth",
                grant_type="client_credentials",
                client_id=account.client_id,
                client_secret=account.secret,
                scope=scope,
            )
        return peer

    def restarted(self) -> "Desk":
        """The same engine under a gateway that has seen nothing yet."""
        old = self.gateway
        new = copy.copy(self)
        new.gateway = Gateway(old.engine, old.sequencer, old.credentials, old.settings, self.clock)
        return new


class Peer:
    """The client side of a session."""

    def __init__(self, gateway: Gateway):
        self.session = Session(gateway, "test", lambda: None)

    def take(self) -> list[dict[str, Any]]:
        messages = [json.loads(message) for message in self.session.outbox]
        self.session.outbox.clear()
        return messages

    def exchange(self, method: str, **params: Any) -> list[dict[str, Any]]:
        self.session.receive(json.dumps({"id": 1, "method": method, "params": params}).encode())
        return self.take()

    def answer(self, method: str, **params: Any) -> dict[str, Any]:
        return next(message for message in self.exchange(method, **params) if "id" in message)

    def result(self, method: str, **params: Any) -> Any:
        answer = self.answer(method, **params)
        assert "error" not in answer, answer
        return answer["result"]

    def code(self, method: str, **params: Any) -> int:
        return self.answer(method, **params)["error"]["code"]

    def notes(self) -> list[dict[str, Any]]:
        return [message["params"] for message in self.take() if message.get("method") == "subscription"]


@pytest.fixture
def make_desk(tmp_path: Path) -> Iterator[Callable[..., Desk]]:
    cores = []

    def make(settings: Settings | None = None, **core_options: Any) -> Desk:
        methods.load()
        core, clock = Core(tmp_path, **core_options), Clock()
        cores.append(core)
        return Desk(build_gateway(core, tmp_path, settings or Settings(), clock), clock)

    yield make
    for core in cores:
        core.close()


@pytest.fixture
def desk(make_desk: Callable[..., Desk]) -> Desk:
    return make_desk()


def order(side: str, amount: float, price: float, **more: Any) -> tuple[str, dict[str, Any]]:
    return f"private/{side}", {"instrument_name": PERPETUAL, "amount": amount, "price": price, **more}


# login and scopes


def test_private_methods_need_a_login(desk: Desk) -> None:
    peer = desk.open()
    answer = peer.answer("private/get_positions", currency="BTC")
    assert answer["error"]["code"] == 13009
    assert answer["error"]["data"]["reason"] == "invalid_token"
    token = desk.open(desk.alice).session.grants[0].access_token
    assert peer.result("private/get_positions", currency="BTC", access_token=token) == []
    assert peer.code("private/get_positions", currency="BTC") == 13009


def test_login_result_has_what_clients_read(desk: Desk) -> None:
    peer = desk.open()
    result = peer.result(
        "public/auth",
        grant_type="client_credentials",
        client_id=desk.alice.client_id,
        client_secret=desk.alice.secret,
        scope="session:bot trade:read_write",
        state="s",
    )
    assert result["token_type"] == "bearer"
    assert result["expires_in"] == 31_536_000
    assert result["state"] == "s"
    assert set(result["scope"].split()) >= {"trade:read_write", "session:bot"}
    assert peer.result("private/get_open_orders") == []
    assert peer.code("private/get_positions", currency="BTC") == 13021
    other = desk.open()
    renewed = other.result("public/auth", grant_type="refresh_token", refresh_token=result["refresh_token"])
    assert renewed["access_token"] != result["access_token"]
    assert other.result("private/get_open_orders") == []


def test_a_reading_key_cannot_trade(desk: Desk) -> None:
    reader = open_account(desk.gateway, "reader", scopes=("trade:read", "account:read"))
    peer = desk.open(reader, scope="trade:read_write")
    before = desk.gateway.engine.state_digest()
    method, params = order("buy", 10, 90_000)
    assert peer.code(method, **params) == 13021
    assert peer.code("private/cancel_all") == 13021
    assert desk.gateway.engine.state_digest() == before


def test_connection_tokens_die_with_the_connection(desk: Desk) -> None:
    peer = desk.open(desk.alice)
    token = peer.session.grants[0].access_token
    other = desk.open()
    assert other.result("private/get_open_orders", access_token=token) == []
    peer.session.closed()
    assert other.code("private/get_open_orders", access_token=token) == 13009


def test_revoking_a_key_ends_its_session(desk: Desk) -> None:
    peer = desk.open(desk.alice)
    desk.gateway.credentials.revoke(desk.alice.client_id)
    assert peer.code("private/get_open_orders") == 13009


def test_too_many_failed_logins_end_the_connection(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk(Settings(auth_failures_per_connection=3))
    peer = desk.open()
    for _ in range(3):
        assert peer.session.close_code == 0
        found = peer.code("public/auth", grant_type="client_credentials", client_id="x", client_secret="y")
        assert found == 13004
    assert peer.session.close_code == 1008
    assert peer.exchange("public/test") == []


def test_overrunning_the_rate_limit_ends_the_session(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk(Settings(rate_profile="deribit"))
    peer = desk.open()
    codes = []
    while not peer.session.close_code:
        codes.append(peer.answer("public/test").get("error", {}).get("code"))
    assert codes == [None] * 100 + [10028]


# subscriptions


def test_subscribe_answers_before_the_snapshot_and_leaves_out_the_rest(desk: Desk) -> None:
    peer = desk.open()
    name = f"book.{PERPETUAL}.100ms"
    wanted = [name, "book.NOPE.100ms", f"book.{PERPETUAL}.raw", "user.orders.any.any.raw", "x", "trades", ""]
    messages = peer.exchange("private/subscribe", channels=wanted, scope="ignored")
    assert messages[0]["result"] == [name]
    assert [message["params"]["channel"] for message in messages[1:]] == [name]
    assert messages[1]["params"]["data"]["type"] == "snapshot"
    assert peer.result("public/subscribe", channels=[]) == []
    assert peer.result("public/unsubscribe", channels=[name, "y"]) == [name]


@pytest.mark.parametrize(
    "name",
    [
        f"book.{PERPETUAL}.raw",
        f"book.{PERPETUAL}.agg2",
        f"book.{PERPETUAL}.none.10.100ms",
        f"book.{CALL}.5.20.100ms",
        f"trades.{PERPETUAL}.raw",
        "trades.future.BTC.100ms",
        "trades.any.any.raw",
        f"ticker.{CALL}.raw",
        f"quote.{PERPETUAL}",
        "deribit_price_index.btc_usd",
        "instrument.state.any.any",
        "auctions",
        "user.orders.any.any.raw",
        f"user.orders.{PERPETUAL}.100ms",
        "user.trades.option.BTC.raw",
        "user.changes.any.any.raw",
        "user.portfolio.any",
        "user.portfolio.BTC",
    ],
)
def test_channels_come_and_go_without_a_trace(desk: Desk, name: str) -> None:
    peer = desk.open(desk.alice)
    assert peer.result("public/subscribe", channels=[name]) == [name]
    assert peer.result("public/subscribe", channels=[name]) == [name]
    assert peer.result("public/unsubscribe_all") == "ok"
    method, params = order("buy", 10, 99_000)
    peer.result(method, **params)
    for interval in ("raw", "100ms", "agg2"):
        desk.gateway.channels.flush(interval)
    assert peer.notes() == []
    assert desk.gateway.channels.count == 0


def test_private_channels_follow_the_login(desk: Desk) -> None:
    peer = desk.open(desk.alice)
    peer.result("private/subscribe", channels=["user.orders.any.any.raw", "quote.BTC-PERPETUAL"])
    peer.result(
        "public/auth",
        grant_type="client_credentials",
        client_id=desk.bob.client_id,
        client_secret=desk.bob.secret,
    )
    assert list(peer.session.channels) == ["quote.BTC-PERPETUAL"]
    method, params = order("buy", 10, 99_000)
    desk.open(desk.alice).result(method, **params)
    assert [note["channel"] for note in peer.notes()] == ["quote.BTC-PERPETUAL"]


def test_a_trade_reaches_everyone_it_concerns(desk: Desk) -> None:
    maker, taker, watcher = desk.open(desk.alice), desk.open(desk.bob), desk.open()
    for peer in (maker, taker):
        peer.result("private/subscribe", channels=["user.orders.any.any.raw", "user.trades.any.any.raw"])
        peer.result("private/subscribe", channels=["user.changes.any.any.raw"])
    watcher.exchange("public/subscribe", channels=["trades.future.BTC.100ms", f"ticker.{PERPETUAL}.100ms"])
    method, params = order("sell", 100, 100_000.5, label="ask")
    resting = maker.result(method, **params)["order"]
    assert resting["order_state"] == "open"
    maker.take()
    method, params = order("buy", 60, 100_001)
    filled = taker.result(method, **params)
    assert filled["order"]["order_state"] == "filled"
    assert filled["order"]["average_price"] == 100_000.5
    assert [trade["amount"] for trade in filled["trades"]] == [60.0]
    assert filled["trades"][0]["fee"] > 0
    notes = {note["channel"]: note["data"] for note in maker.notes()}
    assert notes["user.orders.any.any.raw"]["filled_amount"] == 60.0
    (own,) = notes["user.trades.any.any.raw"]
    assert (own["direction"], own["liquidity"], own["label"]) == ("sell", "M", "ask")
    assert own["order_id"] == resting["order_id"]
    assert notes["user.changes.any.any.raw"]["positions"][0]["size"] == -60.0
    desk.gateway.channels.flush("100ms")
    seen = {note["channel"]: note["data"] for note in watcher.notes()}
    (public,) = seen["trades.future.BTC.100ms"]
    assert (public["direction"], public["price"], public["amount"]) == ("buy", 100_000.5, 60.0)
    assert "fee" not in public
    assert seen[f"ticker.{PERPETUAL}.100ms"]["best_ask_amount"] == 40.0


class BookReader:
    """A client that keeps a book from one channel, as strict clients do."""

    def __init__(self, peer: Peer, channel: str):
        self.peer, self.channel = peer, channel
        self.sides: dict[str, dict[float, float]] = {}
        self.change_id = -1

    def read(self) -> None:
        for note in self.peer.notes():
            if note["channel"] != self.channel:
                continue
            data = note["data"]
            if data["type"] == "snapshot":
                self.sides = {"bids": {}, "asks": {}}
            else:
                assert data["prev_change_id"] == self.change_id
            self.change_id = data["change_id"]
            for side, levels in self.sides.items():
                for action, price, amount in data[side]:
                    assert (price in levels) == (action != "new")
                    if action == "delete":
                        del levels[price]
                    else:
                        levels[price] = amount


@pytest.mark.parametrize("interval", ["raw", "100ms"])
def test_every_subscribers_book_is_gapless_and_right(desk: Desk, interval: str) -> None:
    rng = random.Random(20_251)
    channel = f"book.{PERPETUAL}.{interval}"
    traders = [desk.open(desk.alice), desk.open(desk.bob)]
    readers: list[BookReader] = []
    live: list[tuple[Peer, str]] = []
    for step in range(400):
        trader = rng.choice(traders)
        roll = rng.random()
        if roll < 0.65 or not live:
            method, params = order(
                rng.choice(("buy", "sell")), 10 * rng.randint(1, 9), 100_000 + rng.randint(-6, 6) / 2
            )
            placed = trader.result(method, **params)["order"]
            if placed["order_state"] == "open":
                live.append((trader, placed["order_id"]))
        elif roll < 0.85:
            owner, order_id = live.pop(rng.randrange(len(live)))
            owner.answer("private/cancel", order_id=order_id)
        else:
            owner, order_id = rng.choice(live)
            owner.answer("private/edit", order_id=order_id, amount=10 * rng.randint(1, 9), price=100_000)
        if step % 40 == 0:
            reader = BookReader(desk.open(desk.alice), channel)
            reader.peer.session.receive(
                json.dumps({"id": 1, "method": "public/subscribe", "params": {"channels": [channel]}}).encode()
            )
            readers.append(reader)
        if step % 7 == 0:
            desk.gateway.channels.flush(interval)
            for reader in readers:
                reader.read()
    desk.gateway.channels.flush(interval)
    listing = desk.gateway.listings.by_name[PERPETUAL]
    bids, asks = desk.gateway.engine.depth(listing.slot, 1000)
    for reader in readers:
        reader.read()
        assert reader.sides["bids"] == {listing.price(p): listing.amount(q) for p, q in bids}
        assert reader.sides["asks"] == {listing.price(p): listing.amount(q) for p, q in asks}
    assert bids
    assert asks


# heartbeat and idleness


def test_heartbeat_asks_and_closes(desk: Desk) -> None:
    peer = desk.open()
    assert peer.code("public/set_heartbeat", interval=5) == -32602
    assert peer.result("public/set_heartbeat", interval=10) == "ok"
    peer.session.every_second(desk.clock.advance(9))
    assert peer.take() == []
    peer.session.every_second(desk.clock.advance(1))
    kinds = [message["params"]["type"] for message in peer.take()]
    assert kinds == ["heartbeat", "test_request"]
    peer.result("public/test")
    peer.session.every_second(desk.clock.advance(10))
    assert [message["params"]["type"] for message in peer.take()] == ["heartbeat", "test_request"]
    peer.session.every_second(desk.clock.advance(10))
    assert peer.session.close_code == 4000
    quiet = desk.open()
    quiet.result("public/set_heartbeat", interval=10)
    quiet.result("public/disable_heartbeat")
    quiet.session.every_second(desk.clock.advance(100))
    assert quiet.take() == []
    quiet.session.every_second(desk.clock.advance(601))
    assert quiet.session.close_code == 1001


# cancel on disconnect


def open_ids(peer: Peer) -> list[str]:
    return [found["order_id"] for found in peer.result("private/get_open_orders")]


def test_cancel_on_disconnect_takes_this_connections_orders_only(desk: Desk) -> None:
    first, second = desk.open(desk.alice), desk.open(desk.alice)
    assert first.result("private/get_cancel_on_disconnect")["enabled"] is False
    first.result("private/enable_cancel_on_disconnect")
    placed = []
    for peer in (first, second, first):
        method, params = order("buy", 10, 99_000)
        placed.append(peer.result(method, **params)["order"]["order_id"])
    first.session.closed()
    assert open_ids(second) == [placed[1]]
    state = second.result("private/get_order_state", order_id=placed[0])
    assert (state["order_state"], state["cancel_reason"]) == ("cancelled", "cancel_on_disconnect")


def test_cancel_on_disconnect_of_the_account_and_logout(desk: Desk) -> None:
    desk.open(desk.alice).result("private/enable_cancel_on_disconnect", scope="account")
    peer, watcher = desk.open(desk.alice), desk.open(desk.alice)
    assert peer.result("private/get_cancel_on_disconnect")["enabled"] is True
    method, params = order("buy", 10, 99_000)
    peer.result(method, **params)
    assert peer.exchange("private/logout") == []
    assert peer.session.close_code == 1000
    peer.session.closed()
    assert len(open_ids(watcher)) == 1
    another = desk.open(desk.alice)
    another.result(*order("buy", 10, 98_000)[:1], **order("buy", 10, 98_000)[1])
    another.session.closed()
    assert len(open_ids(watcher)) == 1


# failures


def test_a_broken_invariant_stops_everything(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[BaseException] = []
    desk.gateway._on_fatal = seen.append

    def broken(record: bytearray) -> bytes:
        raise InvariantBroken(7, "sum is not zero")

    peer = desk.open(desk.alice)
    with monkeypatch.context() as patch:
        patch.setattr(desk.gateway, "sequencer", type("Broken", (), {"submit": staticmethod(broken)}))
        method, params = order("buy", 10, 99_000)
        assert peer.code(method, **params) == 11094
    assert ["sum is not zero" in str(error) for error in seen] == [True]
    assert peer.code(method, **params) == 13028


def test_http_session_serves_what_needs_no_socket(desk: Desk) -> None:
    session = Session(desk.gateway, "test", lambda: None, websocket=False)
    status, body = session.respond("GET", "/api/v2/public/test", "", b"")
    assert status == 200
    assert json.loads(body)["result"]["version"]
    for method in ("public/subscribe?channels=[]", "public/set_heartbeat?interval=10", "private/logout"):
        status, body = session.respond("GET", f"/api/v2/{method}", "", b"")
        assert (status, json.loads(body)["error"]["code"]) == (400, 10030)
    with pytest.raises(LookupError):
        session.respond("GET", "/else", "", b"")


NASTY = [
    None, True, False, 0, -1, 1, 10, 0.1, 1e300, -1e300, 2**63, 2**70, "", "x", "any", "BTC", "btc", "future", "option",
    "é\U0001f600", "\ud800", "\x00", "1", "0.1", "nan", "inf", "1e5", "true", [], {}, [[]], ["BTC"], {"a": 1},
    "limit", "market", "all", "account", PERPETUAL, CALL, "book.BTC-PERPETUAL.raw", ["user.orders.any.any.raw"],
    100_000, "100000", 99_999.5, 1_790_000_000_000, "client_credentials", "refresh_token",
]  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
def test_no_parameters_upset_any_method(desk: Desk, seed: int) -> None:
    rng = random.Random(seed)
    peers = [desk.open(desk.alice), desk.open(desk.bob), desk.open()]
    for method, entry in METHODS.items():
        fields = entry.decoder.names
        for _ in range(12):
            peer = rng.choice(peers)
            params = {name: rng.choice(NASTY) for name in fields if rng.random() < 0.7}
            if rng.random() < 0.5:
                params.pop("access_token", None)
            peer.session.receive(json.dumps({"id": 1, "method": method, "params": params}).encode())
            answers = [message for message in peer.take() if "id" in message]
            assert all(answer.get("error", {}).get("code") != 11094 for answer in answers), (method, params)
            if peer.session.close_code:
                peer.session.closed()
                peers[peers.index(peer)] = desk.open(rng.choice([desk.alice, desk.bob]))
    for interval in ("raw", "100ms", "agg2"):
        desk.gateway.channels.flush(interval)
    assert desk.gateway.failure is None
    assert desk.gateway.engine.audit() == []


# journal, restart, settlement


def test_a_full_journal_refuses_and_remembers_disconnects(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk(pending_limit_bytes=16_384)
    peer, watcher = desk.open(desk.alice), desk.open(desk.alice)
    peer.result("private/enable_cancel_on_disconnect")
    journal = desk.gateway.sequencer.journal
    journal.sync()
    placed = 0
    method, params = order("buy", 10, 99_000)
    while "result" in (answer := peer.answer(method, **params)):
        placed += 1
    assert answer["error"]["code"] == 10047
    assert placed > 10
    digest = desk.gateway.engine.state_digest()
    assert peer.code(method, **params) == 10047
    assert desk.gateway.engine.state_digest() == digest
    # what is left of it is kept for what lowers risk; the venue's own commands take it all
    while journal.pending_bytes < journal.pending_limit_bytes:
        desk.gateway.submit(commands.record(CommandKind.TICK))
    with pytest.raises(ApiError):
        desk.gateway.submit(commands.record(CommandKind.TICK))
    peer.session.closed()
    assert len(open_ids(watcher)) == placed
    journal.sync()
    desk.gateway.retry_cancels()
    assert open_ids(watcher) == []


def test_what_lowers_risk_has_room_that_others_cannot_take(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk(pending_limit_bytes=16_384)
    peer, other, maker = desk.open(desk.alice), desk.open(desk.bob), desk.open(open_account(desk.gateway, "maker"))
    journal = desk.gateway.sequencer.journal
    maker.result("private/buy", instrument_name=PERPETUAL, amount=5_000, price=99_000)
    maker.result("private/sell", instrument_name=PERPETUAL, amount=1_000, price=100_000)
    peer.result("private/buy", instrument_name=PERPETUAL, amount=1_000, price=100_000)
    journal.sync()
    method, params = order("buy", 10, 98_000)
    mine = peer.result(method, **params)["order"]["order_id"]
    while "result" in other.answer(method, **params):
        pass
    kept = journal.pending_limit_bytes - journal.pending_bytes
    assert journal.pending_limit_bytes // 8 - 64 <= kept <= journal.pending_limit_bytes // 8
    # new orders are refused, whoever gives them; cancels and reduce-only orders are not
    assert peer.code(method, **params) == other.code(method, **params) == 10047
    assert peer.code("private/edit", order_id=mine, amount=20, price=98_000) == 10047
    assert peer.result("private/cancel", order_id=mine)["order_state"] == "cancelled"
    closed = peer.result("private/sell", instrument_name=PERPETUAL, amount=400, price=99_000, reduce_only=True)
    assert closed["order"]["filled_amount"] == 400
    assert (
        peer.result("private/close_position", instrument_name=PERPETUAL, type="market")["order"]["filled_amount"] == 600
    )
    assert other.result("private/cancel_all") > 0
    # the room is bounded as well
    answers = [peer.answer("private/cancel_all") for _ in range(300)]
    assert "result" in answers[0] and answers[-1]["error"]["code"] == 10047
    journal.sync()
    assert "result" in peer.answer(method, **params)


def test_selling_a_portfolio_and_withdrawing_from_one_have_that_room_too() -> None:
    def kept(kind: CommandKind, body: payloads.BidPortfolio | payloads.ClosePortfolioOffer) -> bool:
        return reduces_risk(commands.cold(kind, body, 1))

    assert kept(CommandKind.BID_PORTFOLIO, payloads.BidPortfolio(1))
    assert not kept(CommandKind.BID_PORTFOLIO, payloads.BidPortfolio(1, (5, 6)))
    assert kept(CommandKind.CLOSE_PORTFOLIO_OFFER, payloads.ClosePortfolioOffer(1))
    assert kept(CommandKind.CLOSE_PORTFOLIO_OFFER, payloads.ClosePortfolioOffer(1, 2))


def test_a_restarted_gateway_knows_the_live_orders(desk: Desk) -> None:
    maker, taker = desk.open(desk.alice), desk.open(desk.bob)
    method, params = order("sell", 50, 100_000, label="kept")
    resting = maker.result(method, **params)["order"]
    method, params = order("buy", 20, 100_000)
    taker.result(method, **params)
    after = desk.restarted().open(desk.alice)
    (shown,) = after.result("private/get_open_orders")
    expected = maker.result("private/get_open_orders")[0]
    assert shown == expected | {"replaced": False}
    assert after.result("private/cancel", order_id=resting["order_id"])["cancel_reason"] == "user_request"


def test_histories_are_bounded_over_all_accounts(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk(Settings(max_trades=5, max_closed_orders=6, history_per_account=4))
    maker, taker = desk.open(desk.alice), desk.open(desk.bob)
    ids = []
    for _ in range(12):
        method, params = order("sell", 10, 100_000)
        ids.append(maker.result(method, **params)["order"]["order_id"])
        method, params = order("buy", 10, 100_000)
        taker.result(method, **params)
    public = taker.result("public/get_last_trades_by_instrument", instrument_name=PERPETUAL, count=100)["trades"]
    assert [trade["trade_id"] for trade in public] == ["12", "11", "10", "9", "8"]
    own = maker.result("private/get_user_trades_by_currency", currency="BTC", count=100)["trades"]
    assert [trade["trade_id"] for trade in own] == ["12", "11", "10", "9"]
    closed = maker.result("private/get_order_history_by_currency", currency="BTC", count=100)
    assert [found["order_id"] for found in closed] == ids[-3:][::-1]
    assert maker.code("private/get_order_state", order_id=ids[0]) == 10004


def test_channels_end_with_their_instrument(make_desk: Callable[..., Desk]) -> None:
    venue_time = Clock()
    desk = make_desk(clock=venue_time)
    gateway = desk.gateway
    template = next(one for one in CONFIG.instruments if one.name == FUTURE)
    near = msgspec.structs.replace(template, name="BTC-NEAR", expiry_ns=venue_time.now_ns + 60 * SECOND_NS)
    chain = config.ListInstruments(instruments=(near,))
    gateway.submit(commands.cold(commands.CommandKind.LIST_INSTRUMENTS, chain))
    slot = gateway.listings.by_name["BTC-NEAR"].slot
    publish(gateway, 100_000, also=near.expiry_ns)
    peer = desk.open(desk.alice)
    names = ["book.BTC-NEAR.raw", "ticker.BTC-NEAR.raw", "instrument.state.any.any", "user.orders.BTC-NEAR.raw"]
    assert peer.result("public/subscribe", channels=names) == names
    placed = peer.result("private/buy", instrument_name="BTC-NEAR", amount=10, price=99_000)["order"]
    peer.take()
    venue_time.advance(61)
    gateway.submit(commands.record(commands.CommandKind.TICK))
    notes = {note["channel"]: note["data"] for note in peer.notes()}
    assert notes["instrument.state.any.any"]["state"] == "settled"
    assert notes["user.orders.BTC-NEAR.raw"]["cancel_reason"] == "settlement"
    assert set(peer.session.channels) == {"instrument.state.any.any", "user.orders.BTC-NEAR.raw"}
    assert peer.code("public/ticker", instrument_name="BTC-NEAR") == -32602
    assert peer.result("private/get_order_state", order_id=placed["order_id"])["order_state"] == "cancelled"
    again = msgspec.structs.replace(near, name="BTC-NEXT", expiry_ns=near.expiry_ns + 3600 * SECOND_NS)
    chain = config.ListInstruments(instruments=(again,))
    gateway.submit(commands.cold(commands.CommandKind.LIST_INSTRUMENTS, chain))
    assert gateway.listings.by_name["BTC-NEXT"].slot == slot
    publish(gateway, 100_000, also=again.expiry_ns)
    peer.take()
    peer.result("private/buy", instrument_name="BTC-NEXT", amount=10, price=99_000)
    assert peer.notes() == []
    assert peer.result("public/get_last_trades_by_instrument", instrument_name="BTC-NEXT")["trades"] == []
