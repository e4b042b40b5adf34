"""An owner's accounts over the wire: ccxt, what a main account sees of the others, and what these see."""

from collections.abc import Iterator

import ccxt
import pytest
from websockets.sync.client import connect

from exchange import config
from exchange.commands import CommandKind, cold
from tests.clients.test_margin import filled
from tests.clients.test_transfers import Family, refusal
from tests.clients.test_websocket import Client
from tests.clients.venue import CALL, INDEX, PERPETUAL, Account, Venue

FIGURES = ("balance", "equity", "margin_balance", "available_funds", "initial_margin", "maintenance_margin")


@pytest.fixture
def family(venue: Venue) -> Family:
    venue.publish(INDEX)
    return Family(venue)


@pytest.fixture
def pair(venue: Venue, family: Family) -> Iterator[tuple[Client, Client]]:
    """The main account and its first subaccount, which has 2 BTC."""
    with connect(venue.ws, compression=None) as first, connect(venue.ws, compression=None) as second:
        main = Client(first).login(family.main)
        terms = {"currency": "BTC", "amount": 2, "destination": family.one.account_id}
        main.result("private/submit_transfer_to_subaccount", **terms)
        yield main, Client(second).login(family.one)


def ids(family: Family) -> list[int]:
    return [one.account_id for one in (family.main, family.one, family.two)]


def test_ccxt_lists_accounts(venue: Venue, family: Family) -> None:
    def accounts(account: Account) -> list[tuple[str, str]]:
        urls = {"api": {"rest": venue.http, "ws": venue.ws}}
        exchange = ccxt.deribit({"apiKey": account.client_id, "secret": account.secret, "urls": urls})
        return [(one["id"], one["type"]) for one in exchange.fetch_accounts()]

    main, one, two = map(str, ids(family))
    assert accounts(family.main) == [(main, "main"), (one, "subaccount"), (two, "subaccount")]
    assert accounts(family.one) == [(one, "subaccount")]


def test_portfolios_are_those_of_each_account(family: Family, pair: tuple[Client, Client]) -> None:
    main, sub = pair
    plain = main.result("private/get_subaccounts")
    assert [one["id"] for one in plain] == ids(family) and "portfolio" not in plain[0]
    shown = {one["id"]: one for one in main.result("private/get_subaccounts", with_portfolio=True)}
    (own,) = sub.result("private/get_subaccounts", with_portfolio=True)
    assert own == shown[family.one.account_id] and own["type"] == "subaccount"
    assert own["margin_model"] == "segregated_pm"
    for client, account in ((main, family.main), (sub, family.one)):
        portfolio = shown[account.account_id]["portfolio"]
        for currency in ("BTC", "USDC"):
            summary = client.result("private/get_account_summary", currency=currency)
            assert {name: portfolio[currency.lower()][name] for name in FIGURES} == {
                name: summary[name] for name in FIGURES
            }
    assert own["portfolio"]["btc"]["balance"] == 2


def test_positions_and_orders_of_each(venue: Venue, family: Family, pair: tuple[Client, Client]) -> None:
    main, sub = pair
    filled(venue, sub, PERPETUAL, "buy", 20_000, INDEX)
    filled(venue, sub, CALL, "sell", 0.5, 0.42)
    waiting = sub.result("private/buy", instrument_name=PERPETUAL, amount=10, price=INDEX - 5_000)["order"]
    found = main.result("private/get_subaccounts_details", currency="BTC", with_open_orders=True)
    assert [one["uid"] for one in found] == ids(family)
    by_id = {one["uid"]: one for one in found}
    assert by_id[family.main.account_id] == {"uid": family.main.account_id, "positions": [], "open_orders": []}
    one = by_id[family.one.account_id]
    assert {p["instrument_name"]: p["size"] for p in one["positions"]} == {PERPETUAL: 20_000, CALL: -0.5}
    assert [order["order_id"] for order in one["open_orders"]] == [waiting["order_id"]]
    (plain,) = sub.result("private/get_subaccounts_details", currency="BTC")
    assert plain == {"uid": family.one.account_id, "positions": one["positions"]}
    in_dollars = main.result("private/get_subaccounts_details", currency="USDC", with_open_orders=True)
    assert all(one["positions"] == [] == one["open_orders"] for one in in_dollars)


def test_isolated_positions_belong_to_their_account(venue: Venue, family: Family, pair: tuple[Client, Client]) -> None:
    main, sub = pair
    sub.result("private/set_margin_mode", instrument_name=PERPETUAL, margin_mode="isolated", leverage=10)
    filled(venue, sub, PERPETUAL, "buy", 1_000, INDEX)
    assert [one["id"] for one in main.result("private/get_subaccounts")] == ids(family)
    details = main.result("private/get_subaccounts_details", currency="any")
    (position,) = details[1]["positions"]
    assert (position["margin_mode"], position["user_id"], position["size"]) == (
        "isolated", family.one.account_id, 1_000,
    )  # fmt: skip


def test_a_later_account_with_an_owners_number_sees_itself_alone(venue: Venue, family: Family) -> None:
    """An operator may have numbered an owner as it liked: who comes to have that number sees nothing by it."""
    number = venue.account("before").account_id + 2
    payload = config.CreateAccount(f"of-{number}", number, "segregated_pm")
    venue.run(lambda: venue.gateway.submit(cold(CommandKind.CREATE_ACCOUNT, payload)))
    late = venue.account(f"late-{number}")
    assert late.account_id == number
    with connect(venue.ws, compression=None) as connection:
        (own,) = Client(connection).login(late).result("private/get_subaccounts")
    assert own["id"] == number


def test_refusals(family: Family, pair: tuple[Client, Client]) -> None:
    main, _ = pair
    assert refusal(main, "get_subaccounts_details")[0] == -32602
    assert refusal(main, "get_subaccounts_details", currency="XRP")[0] == -32602
    assert main.call("private/get_subaccounts", with_portfolio="perhaps")["error"]["code"] == -32602


def test_open_orders_need_the_right_to_read_orders(venue: Venue, family: Family) -> None:
    with connect(venue.ws, compression=None) as connection:
        reader = Client(connection)
        login = {"grant_type": "client_credentials", "client_id": family.main.client_id,
                 "client_secret": family.main.secret, "scope": "account:read"}  # fmt: skip
        reader.result("public/auth", **login)
        assert [one["uid"] for one in reader.result("private/get_subaccounts_details", currency="any")] == ids(family)
        answer = reader.call("private/get_subaccounts_details", currency="any", with_open_orders=True)
        assert answer["error"]["code"] == 13021
        assert answer["error"]["data"]["reason"] == "scope trade:read required"
