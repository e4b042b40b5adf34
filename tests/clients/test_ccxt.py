"""ccxt as it is installed, told another address: the REST journey of a trading bot."""

import asyncio

import pytest

from tests.clients.venue import CALL, INDEX, Account, Venue

ccxt = pytest.importorskip("ccxt")

SYMBOL, OPTION, LINEAR = "BTC/USD:BTC", "BTC/USD:BTC-301227-100000-C", "BTC/USDC:USDC"


def client(venue: Venue, account: Account):
    return ccxt.deribit(
        {
            "apiKey": account.client_id,
            "secret": account.secret,
            "urls": {"api": {"rest": venue.http, "ws": venue.ws}},
        }
    )


@pytest.fixture(scope="module")
def alice(venue: Venue):
    return client(venue, venue.alice)


@pytest.fixture(scope="module")
def bob(venue: Venue):
    return client(venue, venue.bob)


def test_markets(alice) -> None:
    markets = alice.load_markets()
    assert {SYMBOL, OPTION, LINEAR} <= set(markets)
    perpetual, option = markets[SYMBOL], markets[OPTION]
    assert (perpetual["swap"], perpetual["inverse"], perpetual["contractSize"]) == (True, True, 10.0)
    assert (option["option"], option["strike"], option["optionType"]) == (True, 100_000.0, "call")
    assert option["info"]["instrument_name"] == CALL
    assert perpetual["precision"]["price"] == 0.5
    assert alice.fetch_status()["status"] == "ok"
    assert {"BTC", "USDC"} <= set(alice.fetch_currencies())


def test_an_order_from_create_to_cancel(alice) -> None:
    made = alice.create_order(SYMBOL, "limit", "buy", 20, 99_000, {"label": "first"})
    assert (made["status"], made["price"], made["amount"], made["filled"]) == ("open", 99_000.0, 20.0, 0.0)
    edited = alice.edit_order(made["id"], SYMBOL, "limit", "buy", 30, 99_000.5)
    assert (edited["id"], edited["price"], edited["amount"]) == (made["id"], 99_000.5, 30.0)
    book = alice.fetch_order_book(SYMBOL)
    assert book["bids"][0][:2] == [99_000.5, 30.0]
    assert [order["id"] for order in alice.fetch_open_orders(SYMBOL)] == [made["id"]]
    assert alice.fetch_order(made["id"], SYMBOL)["status"] == "open"
    assert alice.cancel_order(made["id"], SYMBOL)["status"] == "canceled"
    assert alice.fetch_open_orders(SYMBOL) == []
    with pytest.raises(ccxt.BaseError):
        alice.cancel_order(made["id"], SYMBOL)
    with pytest.raises(ccxt.OrderNotFound):
        alice.fetch_order("99999999", SYMBOL)


def test_a_fill_shows_everywhere(alice, bob) -> None:
    resting = alice.create_order(SYMBOL, "limit", "sell", 100, INDEX, {"postOnly": True})
    assert resting["postOnly"] is True
    taken = bob.create_order(SYMBOL, "market", "buy", 100)
    assert (taken["status"], taken["filled"], taken["average"]) == ("closed", 100.0, float(INDEX))
    (own,) = alice.fetch_my_trades(SYMBOL)
    assert (own["side"], own["takerOrMaker"], own["order"]) == ("sell", "maker", resting["id"])
    (public,) = bob.fetch_trades(SYMBOL)
    assert (public["side"], public["price"], public["amount"]) == ("buy", float(INDEX), 100.0)
    (position,) = bob.fetch_positions([SYMBOL])
    assert (position["side"], position["entryPrice"]) == ("long", float(INDEX))
    assert position["info"]["size"] == 100.0
    (short,) = alice.fetch_positions([SYMBOL])
    assert short["side"] == "short"
    assert alice.fetch_closed_orders(SYMBOL)[0]["id"] == resting["id"]
    assert bob.fetch_ticker(SYMBOL)["last"] == float(INDEX)


def test_an_option_and_a_linear_perpetual(alice, bob) -> None:
    alice.create_order(OPTION, "limit", "sell", 0.3, 0.45)
    bought = bob.create_order(OPTION, "limit", "buy", 0.3, 0.45)
    assert (bought["status"], bought["filled"], bought["fee"]["currency"]) == ("closed", 0.3, "BTC")
    greeks = bob.fetch_greeks(OPTION)
    assert 0 < greeks["delta"] < 1
    assert greeks["markImpliedVolatility"] == 60.0
    assert {chain["symbol"] for chain in bob.fetch_option_chain("BTC").values()} >= {OPTION}
    alice.create_order(LINEAR, "limit", "sell", 0.01, INDEX)
    linear = bob.create_order(LINEAR, "limit", "buy", 0.01, INDEX)
    assert (linear["status"], linear["filled"]) == ("closed", 0.01)


def test_balance_adds_up(alice) -> None:
    balance = alice.fetch_balance()
    assert balance["BTC"]["total"] == pytest.approx(10, abs=0.5)
    assert 0 < balance["BTC"]["free"] <= 11
    assert balance["USDC"]["total"] == pytest.approx(1_000_000, rel=0.01)


def test_refusals_become_ccxt_errors(alice, venue: Venue) -> None:
    poor = client(venue, venue.account("poor", btc="0.0001", usdc="0"))
    with pytest.raises(ccxt.InsufficientFunds):
        poor.create_order(SYMBOL, "limit", "buy", 100_000, 99_000)
    with pytest.raises(ccxt.InvalidOrder):
        alice.create_order(SYMBOL, "limit", "buy", 10, 99_000, {"price": 99_000.1})
    alice_again = client(venue, venue.alice)
    alice_again.secret = "wrong"
    with pytest.raises(ccxt.AuthenticationError):
        alice_again.fetch_positions()


def test_cancel_all(alice) -> None:
    for price in (90_000, 91_000):
        alice.create_order(SYMBOL, "limit", "buy", 10, price)
    alice.cancel_all_orders(SYMBOL)
    assert alice.fetch_open_orders(SYMBOL) == []


def test_ccxt_pro_watches_the_same_venue(venue: Venue) -> None:
    """Book, own orders and own trades over the WebSocket while orders go by REST, as ccxt does it."""
    pro = pytest.importorskip("ccxt.pro")
    settings = {"urls": {"api": {"rest": venue.http, "ws": venue.ws}}}
    maker = pro.deribit({"apiKey": venue.alice.client_id, "secret": venue.alice.secret, **settings})
    taker = pro.deribit({"apiKey": venue.bob.client_id, "secret": venue.bob.secret, **settings})

    async def journey() -> None:
        watches = {
            "book": maker.watch_order_book(SYMBOL),
            "orders": maker.watch_orders(SYMBOL),
            "fills": maker.watch_my_trades(SYMBOL),
            "trades": taker.watch_trades(SYMBOL),
        }
        tasks = {name: asyncio.create_task(asyncio.wait_for(watch, 10)) for name, watch in watches.items()}
        assert (await tasks["book"])["symbol"] == SYMBOL
        while venue.run(lambda: venue.gateway.channels.count) < len(watches):
            await asyncio.sleep(0.01)
        change = asyncio.create_task(asyncio.wait_for(maker.watch_order_book(SYMBOL), 10))
        await asyncio.sleep(0)
        resting = await maker.create_order(SYMBOL, "limit", "sell", 50, INDEX)
        assert (await change)["asks"][0][:2] == [float(INDEX), 50.0]
        await taker.create_order(SYMBOL, "market", "buy", 20)
        assert (await tasks["orders"])[0]["id"] == resting["id"]
        (fill,) = await tasks["fills"]
        assert (fill["order"], fill["amount"], fill["takerOrMaker"]) == (resting["id"], 20.0, "maker")
        assert (await tasks["trades"])[0]["amount"] == 20.0
        await maker.cancel_all_orders(SYMBOL)

    async def run() -> None:
        try:
            await journey()
        finally:
            await maker.close()
            await taker.close()

    asyncio.run(run())
