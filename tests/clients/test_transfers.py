"""Transfers between an owner's accounts over the wire: ccxt, both sides' portfolios and logs, nonces, refusals."""

import time
from collections.abc import Iterator
from typing import Any

import ccxt
import pytest
from websockets.sync.client import connect

from gateway.admin_accounts import CreateAccount, Key, create_account
from tests.clients.test_history import settle
from tests.clients.test_websocket import Client
from tests.clients.venue import INDEX, PERPETUAL, Account, Venue


def subaccount(venue: Venue, name: str, owner: Account, scopes: tuple[str, ...] = ()) -> Account:
    key = Key(scopes=scopes) if scopes else Key()
    params = CreateAccount(name=name, owner_id=owner.account_id, key=key)
    return Account(venue.run(lambda: create_account(venue.gateway, params)))


class Family:
    """A main account with 10 BTC, two empty subaccounts, and a stranger."""

    def __init__(self, venue: Venue):
        number = time.monotonic_ns()
        self.main, self.stranger = venue.account(f"main-{number}"), venue.account(f"stranger-{number}")
        self.one = subaccount(venue, f"one-{number}", self.main)
        self.two = subaccount(venue, f"two-{number}", self.main)


@pytest.fixture
def family(venue: Venue) -> Family:
    venue.publish(INDEX)
    return Family(venue)


@pytest.fixture
def pair(venue: Venue, family: Family) -> Iterator[tuple[Client, Client]]:
    """The main account and its first subaccount."""
    with connect(venue.ws, compression=None) as first, connect(venue.ws, compression=None) as second:
        yield Client(first).login(family.main), Client(second).login(family.one)


def between(client: Client, **params: Any) -> dict[str, Any]:
    found: dict[str, Any] = client.result("private/submit_transfer_between_subaccounts", **params)
    return found


def refusal(client: Client, method: str, **params: Any) -> tuple[int, str]:
    found = client.call(f"private/{method}", **params)["error"]
    return found["code"], found.get("data", {}).get("reason", "")


def balance(client: Client) -> float:
    return float(client.result("private/get_account_summary", currency="BTC")["balance"])


def test_ccxt_transfers_and_lists(venue: Venue, family: Family) -> None:
    def exchange(account: Account) -> ccxt.deribit:
        urls = {"api": {"rest": venue.http, "ws": venue.ws}}
        return ccxt.deribit({"apiKey": account.client_id, "secret": account.secret, "urls": urls})

    main, one = exchange(family.main), exchange(family.one)
    sent = main.transfer("BTC", 1.25, "main", str(family.one.account_id))
    assert (sent["status"], sent["amount"], sent["currency"]) == ("ok", 1.25, "BTC")
    back = one.transfer("BTC", 0.25, "subaccount", str(family.main.account_id))
    assert int(back["id"]) == int(sent["id"]) + 1
    assert one.fetch_balance()["BTC"]["total"] == 1.0
    listed = main.fetch_transfers("BTC")
    assert [(t["info"]["direction"], t["amount"], t["id"]) for t in listed] == [
        ("payment", 1.25, sent["id"]), ("income", 0.25, back["id"]),
    ]  # fmt: skip
    assert [t["info"]["direction"] for t in one.fetch_transfers("BTC", limit=2)] == ["income", "payment"]
    with pytest.raises(ccxt.InsufficientFunds):
        one.transfer("BTC", 1.5, "subaccount", str(family.main.account_id))
    with pytest.raises(ccxt.ExchangeError):
        main.transfer("BTC", 1, "main", str(family.main.account_id))


def test_both_portfolios_follow_and_both_logs_have_a_line(
    venue: Venue, family: Family, pair: tuple[Client, Client]
) -> None:  # fmt: skip
    main, one = pair
    for client in pair:
        client.result("private/subscribe", channels=["user.portfolio.btc"])
        client.wait_for("user.portfolio.btc")
    made = between(main, currency="BTC", amount=2, destination=family.one.account_id)
    assert made["direction"] == "payment" and made["state"] == "confirmed" and made["type"] == "subaccount"
    assert main.wait_for("user.portfolio.btc")["balance"] == 8
    assert one.wait_for("user.portfolio.btc")["balance"] == 2
    settle(venue)
    span = {"currency": "BTC", "start_timestamp": 0, "end_timestamp": main.result("public/get_time")}
    for client, change, left, other in ((main, -2, 8, family.one), (one, 2, 2, family.main)):
        newest = client.result("private/get_transaction_log", query="transfer", **span)["logs"][0]
        assert (newest["type"], newest["change"], newest["balance"]) == ("transfer", change, left)
        assert newest["info"]["reference"] == made["id"] and newest["info"]["other_user_id"] == other.account_id
        assert newest["info"]["transfer_type"] == "subaccount" and newest["info"]["other_user"]


def test_the_main_account_names_a_source_and_a_subaccount_gives_its_own(
    family: Family, pair: tuple[Client, Client]
) -> None:  # fmt: skip
    main, one = pair
    between(main, currency="BTC", amount=3, destination=family.one.account_id)
    moved = between(main, currency="btc", amount=1, source=family.one.account_id, destination=family.two.account_id)
    assert moved["direction"] == "payment" and moved["other_side"].startswith("two-")
    assert (balance(main), balance(one)) == (7, 2)
    assert main.result("private/get_transfers", currency="BTC")["count"] == 1
    assert one.result("private/get_transfers", currency="BTC")["count"] == 2
    between(one, currency="BTC", amount=0.5, destination=family.main.account_id)
    assert (balance(main), balance(one)) == (7.5, 1.5)
    assert refusal(
        one, "submit_transfer_between_subaccounts", currency="BTC", amount=1, source=family.main.account_id,
        destination=family.one.account_id,
    ) == (13021, "not_main_account")  # fmt: skip


def test_a_nonce_answers_twice_and_pays_once(family: Family, pair: tuple[Client, Client]) -> None:
    main, _ = pair
    terms = {"currency": "BTC", "amount": 1.5, "destination": family.one.account_id, "nonce": "retry-0001"}
    first = between(main, **terms)
    assert first["nonce"] == "retry-0001"
    assert between(main, **terms) == first
    assert balance(main) == 8.5
    again = refusal(main, "submit_transfer_between_subaccounts", **(terms | {"amount": 2}))
    assert again == (12100, "nonce_used")
    (listed,) = main.result("private/get_transfers", currency="BTC")["data"]
    assert listed == first


def test_pages_come_from_memory_and_store_alike(venue: Venue, family: Family, pair: tuple[Client, Client]) -> None:
    main, _ = pair
    for number in range(7):
        between(
            main, currency="BTC", amount=(number + 1) / 8, destination=family.one.account_id, nonce=f"page-{number:04}"
        )
    between(main, currency="USDC", amount=5, destination=family.one.account_id)

    def pages() -> list[Any]:
        asked = [{"count": 3}, {"count": 3, "offset": 3}, {"offset": 6}, {"offset": 7}, {}]
        return [main.result("private/get_transfers", currency="BTC", **one) for one in asked]

    fresh = pages()
    assert [one["count"] for one in fresh] == [7] * 5
    assert [[t["amount"] * 8 for t in one["data"]] for one in fresh[:4]] == [[7, 6, 5], [4, 3, 2], [1], []]
    settle(venue)
    assert pages() == fresh
    venue.run(venue.gateway.projection.transfers._rings.clear)
    assert pages() == fresh


def test_refusals_name_what_is_wrong(venue: Venue, family: Family, pair: tuple[Client, Client]) -> None:
    main, one = pair
    main.result("private/set_margin_mode", instrument_name=PERPETUAL, margin_mode="isolated", leverage=5)
    bucket = venue.run(lambda: venue.gateway.engine.bucket_accounts(family.main.account_id)[0])
    plain = {"currency": "BTC", "amount": 1, "destination": family.one.account_id}
    wrong: list[tuple[dict[str, Any], tuple[int, str]]] = [
        ({"destination": family.stranger.account_id}, (13020, "unknown_subaccount")),
        ({"destination": 0}, (13020, "unknown_subaccount")),
        ({"destination": -5}, (13020, "unknown_subaccount")),
        ({"destination": 10**30}, (13020, "unknown_subaccount")),
        ({"destination": family.main.account_id}, (12100, "same_account")),
        ({"destination": bucket}, (12100, "bucket_account")),
        ({"amount": 0}, (10021, "amount_not_positive")),
        ({"amount": -1}, (10021, "amount_not_positive")),
        ({"amount": 1e30}, (10021, "amount_too_large")),
        ({"amount": 1e-11}, (-32602, "finer than the currency")),
        ({"amount": "much"}, (-32602, "wrong format")),
        ({"amount": 10.5}, (10009, "insufficient_withdrawable")),
        ({"currency": "XRP"}, (-32602, "invalid currency")),
        ({"currency": "any"}, (-32602, "invalid currency")),
    ]
    for change, expected in wrong:
        for method in ("submit_transfer_to_subaccount", "submit_transfer_between_subaccounts"):
            assert refusal(main, method, **(plain | change)) == expected, change
    for nonce in ("short", "x" * 129, "ü" * 65):
        assert refusal(main, "submit_transfer_between_subaccounts", nonce=nonce, **plain) == (
            -32602, "must have 8 to 128 bytes",
        )  # fmt: skip
    assert refusal(main, "submit_transfer_between_subaccounts", source=bucket, **plain) == (12100, "bucket_account")
    for offset in (-1, 10_001):
        assert refusal(main, "get_transfers", currency="BTC", offset=offset)[0] == -32602
    assert refusal(one, "get_transfers", currency="XRP") == (-32602, "invalid currency")
    assert balance(main) == 10


def test_scopes(venue: Venue, family: Family) -> None:
    reader = subaccount(venue, f"reader-{time.monotonic_ns()}", family.main, ("account:read", "wallet:read"))
    with connect(venue.ws, compression=None) as connection:
        client = Client(connection).login(reader)
        assert client.result("private/get_transfers", currency="BTC") == {"count": 0, "data": []}
        for method in ("submit_transfer_to_subaccount", "submit_transfer_between_subaccounts"):
            found = refusal(client, method, currency="BTC", amount=1, destination=family.main.account_id)
            assert found == (13021, "scope wallet:read_write required")
