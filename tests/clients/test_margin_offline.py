"""Whoever has a key works the venue's figures out again, without it: parameter sets, and an account as a case."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from websockets.sync.client import connect

from exchange import commands, config
from exchange.commands import CommandKind
from exchange.governance import AnnounceMargin
from gateway.library_sets import venue_hash
from gateway.margin_case import comparison
from gateway.parameter_signatures import SignatureFault, Signed, check
from margin_ext import models
from tests.clients.test_margin import filled
from tests.clients.test_websocket import Client
from tests.clients.venue import CALL, INDEX, LINEAR, PERPETUAL, PUT, Venue
from tests.serving import margrave


@pytest.fixture(scope="module")
def alice(venue: Venue) -> Iterator[Client]:
    """Holding inverse and linear futures and options."""
    venue.publish(INDEX)
    with connect(venue.ws, compression=None) as connection:
        client = Client(connection).login(venue.alice)
        for name, side, amount, price in (
            (CALL, "sell", 1.0, 0.42), (PUT, "buy", 0.5, 0.4), (PERPETUAL, "buy", 20_000, INDEX),
            (LINEAR, "sell", 0.5, INDEX),
        ):  # fmt: skip
            filled(venue, client, name, side, amount, price)
        yield client


def worked_out(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The library's figures of a case beside those that the venue said."""
    case = models.case(json.loads(json.dumps(document)))
    return comparison(case, models.margin(case.portfolio, case.sets, **case.options))


@pytest.mark.parametrize("model", config.MARGIN_MODELS)
def test_an_account_is_worked_out_again(alice: Client, model: str) -> None:
    alice.result("private/change_margin_model", margin_model=model)
    try:
        document = alice.result("private/get_margin_case")
        rows = worked_out(document)
        assert {row["figure"] for row in rows} == {"balance", "initial", "maintenance"}
        assert all(abs(row["difference"]) <= row["rounding"] for row in rows), rows
        said = alice.result("private/get_account_summary", currency="BTC")
        if model.startswith("segregated"):
            (row,) = (one for one in rows if (one["currency"], one["figure"]) == ("BTC", "maintenance"))
            assert row["venue"] > 0 and row["venue"] == pytest.approx(said["maintenance_margin"])
        # with the sets that everybody can see, under the hash that stands in the tables
        (public,) = alice.result("public/get_margin_parameters")["underlyings"]
        own = public["models"][model]
        assert document["parameters"]["BTC"] == own["set"]
        assert document["source"]["parameters"][0]["sha256"] == own["sha256"]
        assert venue_hash(models.from_dict(own["set"]), "BTC") == own["sha256"]
        if model == "segregated_pm":
            (book, _) = alice.result("private/get_margin_table", currency="any")["books"]
            assert book["parameters"]["sha256"] == own["sha256"]
    finally:
        alice.result("private/change_margin_model", margin_model="segregated_pm")


def test_the_answer_is_a_file_for_the_command_line(alice: Client, tmp_path: Path) -> None:
    path = tmp_path / "case.txt"
    path.write_text(json.dumps(alice.result("private/get_margin_case"), indent=1))
    done = margrave("margin", "explain", path)
    assert done.returncode == 0, done.stderr
    assert "agrees" in done.stdout and "DIFFERS" not in done.stdout


def test_an_isolated_position_is_a_case_of_its_own(venue: Venue, alice: Client) -> None:
    with connect(venue.ws, compression=None) as connection:
        bob = Client(connection).login(venue.account("isolated"))
        name = PERPETUAL
        assert bob.call("private/get_margin_case", instrument_name=name)["error"]["data"]["reason"] == "not_isolated"
        bob.result("private/set_margin_mode", instrument_name=name, margin_mode="isolated", leverage=10)
        filled(venue, bob, name, "buy", 3_000, INDEX)
        rows = worked_out(bob.result("private/get_margin_case", instrument_name=name))
        assert rows and all(abs(row["difference"]) <= row["rounding"] for row in rows), rows
        assert bob.result("private/get_margin_case")["positions"] == []
        assert bob.call("private/get_margin_case", instrument_name="NO-SUCH")["error"]["code"] == -32602


def test_parameters_need_no_login(venue: Venue) -> None:
    with connect(venue.ws, compression=None) as connection:
        client = Client(connection)
        found = client.result("public/get_margin_parameters")
        assert [one["currency"] for one in found["currencies"]] == ["BTC", "USDC"]
        assert found["span_credits"] is None and found["underlyings"][0]["underlying"] == "BTC"
        assert set(found["underlyings"][0]["models"]) == {*config.MARGIN_MODELS, "isolated"}
        assert client.call("public/get_margin_parameters", underlying="DOGE")["error"]["code"] == -32602
        assert client.call("private/get_margin_case")["error"]["code"] == 13009


def test_parameters_are_signed(venue: Venue, tmp_path: Path) -> None:
    with connect(venue.ws, compression=None) as connection:
        client = Client(connection)
        answer = client.result("public/get_margin_parameters", signed=True)
        again = client.result("public/get_margin_parameters", underlying="BTC", signed=True)["signed"]
    signed = answer.pop("signed")
    assert json.loads(signed["text"]) == answer and answer["underlyings"][0]["announced_margin"] is None
    assert again["public_key"] == signed["public_key"], "one key for all that the venue says"
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(signed["public_key"]))
    key.verify(base64.b64decode(signed["signature"]), signed["text"].encode())

    path = tmp_path / "parameters.json"

    def checked(*options: str, **changes: str) -> tuple[int, str]:
        path.write_text(json.dumps({**answer, "signed": signed | changes}))
        done = margrave("margin", "parameters", path, *options)
        return done.returncode, done.stdout + done.stderr

    status, said = checked("--key", signed["public_key"])
    assert status == 0 and answer["venue"] in said and "cross_sm" in said
    assert "compare it" in checked()[1], "a key that comes with the file proves little"
    status, said = checked(text=signed["text"].replace("cross_pm", "cross_pn"))
    assert status == 1 and "not one of this text" in said
    answer["seq"] += 1
    status, said = checked()
    assert status == 1 and "something else" in said

    whole = msgspec.convert(signed, Signed)
    other = base64.b64encode(Ed25519PrivateKey.generate().public_key().public_bytes_raw()).decode()
    assert check(whole) == json.loads(signed["text"])
    for changes, known, fault in (
        ({"text": signed["text"] + " "}, None, "not one of this text"),
        ({"signature": "A" + signed["signature"][1:-4] + "AAA="}, None, "not one of this text"),
        ({"public_key": other}, None, "not one of this text"),
        ({"public_key": "AAAA"}, None, "no key"),
        ({"signature": "?"}, None, "no key, signature"),
        ({"algorithm": "none"}, None, "unknown algorithm"),
        ({}, other, "signed with the key"),
    ):
        with pytest.raises(SignatureFault, match=fault):
            check(msgspec.structs.replace(whole, **changes), known)


def test_a_change_of_model_that_would_breach_is_shown_and_refused(venue: Venue) -> None:
    """3 BTC of the perpetual on 0.15 BTC: 16 % of it are not there, the formulas' 2 % are."""
    venue.publish(INDEX)
    with connect(venue.ws, compression=None) as connection:
        client = Client(connection).login(venue.account("thin", btc="0.15", usdc="0"))
        client.result("private/change_margin_model", margin_model="segregated_sm")
        filled(venue, client, PERPETUAL, "buy", 300_000, INDEX)
        (shown,) = (
            row
            for row in client.result("private/change_margin_model", margin_model="segregated_pm", dry_run=True)
            if row["currency"] == "BTC"
        )
        assert shown["new_state"]["initial_margin_rate"] > 1 > shown["old_state"]["initial_margin_rate"]
        assert shown["new_state"]["available_balance"] < 0 < shown["old_state"]["available_balance"]
        error = client.call("private/change_margin_model", margin_model="segregated_pm")["error"]
        assert (error["code"], error["data"]["reason"]) == (10009, "not_enough_funds")
        assert client.result("private/get_account_summary", currency="BTC")["margin_model"] == "segregated_sm"


def test_scaled_rates_are_other_sets(venue: Venue, alice: Client) -> None:
    (before,) = alice.result("public/get_margin_parameters", underlying="BTC")["underlyings"]

    def scaled(ppm: int) -> None:
        payload = AnnounceMargin(underlying="BTC", scale_ppm=ppm, effective_ns=0)
        venue.run(lambda: venue.gateway.submit(commands.cold(CommandKind.ANNOUNCE_MARGIN, payload)))
        venue.run(lambda: venue.gateway.submit(commands.record(CommandKind.TICK)))

    scaled(500_000)  # a fall needs no notice
    (after,) = alice.result("public/get_margin_parameters", underlying="BTC")["underlyings"]
    assert (before["margin_scale"], after["margin_scale"]) == (1.0, 0.5)
    for model, own in after["models"].items():
        assert own["sha256"] != before["models"][model]["sha256"]
    factors = [one["models"]["cross_pm"]["set"]["maintenance_factor_ppm"] for one in (before, after)]
    assert factors[1] * 2 == factors[0]
    rows = worked_out(alice.result("private/get_margin_case"))
    assert rows and all(abs(row["difference"]) <= row["rounding"] for row in rows), rows
