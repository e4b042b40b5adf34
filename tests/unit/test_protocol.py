"""JSON-RPC parsing and encoding, parameter coercion, the four request forms, exact units."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange.commands import CommandKind, record
from exchange.reasons import Reason
from gateway import protocol, records, units
from gateway.errors import MESSAGES, REASON_CODES, ApiError, engine_refusal
from gateway.protocol import ParamDecoder, Params


class Sample(Params, kw_only=True):
    instrument_name: str
    amount: float | None = None
    post_only: bool | None = None
    count: int | None = None
    channels: list[str] | None = None


SAMPLE = ParamDecoder(Sample)


def refusal(text: bytes) -> ApiError:
    with pytest.raises(ApiError) as caught:
        protocol.parse(text)
    return caught.value


@pytest.mark.parametrize("given_id", ["1", "-7", '"auth_1.x"', '"\\u00e9 \\""', "12345678901234567890", "1.5"])
def test_id_is_echoed_byte_for_byte(given_id: str) -> None:
    request = protocol.parse(b'{"id":%b,"method":"public/test"}' % given_id.encode())
    answer = protocol.result_bytes(request.id, "ok", 10, 25)
    assert b'"id":%b,' % given_id.encode() in answer
    decoded = json.loads(answer)
    assert decoded["jsonrpc"] == "2.0"
    assert decoded["usDiff"] == 15
    assert "error" not in decoded


@pytest.mark.parametrize("text", [b'{"method":"public/test"}', b'{"method":"public/test","id":null}'])
def test_absent_id_is_omitted(text: bytes) -> None:
    assert "id" not in json.loads(protocol.result_bytes(protocol.parse(text).id, 1, 0, 0))


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"", -32700),
        (b"{", -32700),
        (b'{"method":"a"} x', -32700),
        (b'{"id":01,"method":"a"}', -32700),
        (b'{"method":"\xff"}', -32700),
        (b'{"method":"a","params":{"label":"\\ud800"}}', -32700),
        (b'{"method":"a","params":{"x":tru}}', -32700),
        (b'{"method":"a","params":' + b"[" * 15_000 + b"]" * 15_000 + b"}", -32700),
        (b"[]", -32600),
        (b'[{"method":"a"}]', -32600),
        (b"5", -32600),
        (b'{"id":1}', -32600),
        (b'{"id":1,"method":5}', -32600),
        (b'{"id":{},"method":"a"}', -32600),
        (b'{"id":true,"method":"a"}', -32600),
        (b'{"id":"%b","method":"a"}' % (b"x" * 300), -32600),
    ],
)
def test_malformed_requests(text: bytes, code: int) -> None:
    assert refusal(text).code == code


def test_invalid_request_keeps_a_readable_id() -> None:
    assert refusal(b'{"id":7,"method":[]}').request_id == b"7"  # type: ignore[attr-defined]


def test_leading_slash_and_path_method() -> None:
    assert protocol.parse(b'{"method":"/public/test"}').method == "public/test"
    assert protocol.parse(b'{"id":0,"params":{}}', "private/buy").method == "private/buy"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b'{"instrument_name":"X","amount":"0.1","post_only":"true","count":"3"}', (0.1, True, 3)),
        (b'{"instrument_name":"X","amount":2,"post_only":false,"count":4.0}', (2.0, False, 4)),
        (b'{"instrument_name":"X","amount":null,"other":{"deep":[]}}', (None, None, None)),
    ],
)
def test_coercion(text: bytes, expected: tuple[Any, ...]) -> None:
    found = SAMPLE.from_json(text)
    assert (found.amount, found.post_only, found.count) == expected


@pytest.mark.parametrize(
    ("text", "param", "reason"),
    [
        (b"{}", "instrument_name", "value required"),
        (b'{"instrument_name":5}', "instrument_name", "wrong format"),
        (b'{"instrument_name":"X","amount":"x"}', "amount", "wrong format"),
        (b'{"instrument_name":"X","amount":1e400}', "amount", "wrong format"),
        (b'{"instrument_name":"X","post_only":"maybe"}', "post_only", "wrong format"),
        (b"[1]", "params", "wrong format"),
    ],
)
def test_bad_params_name_the_culprit(text: bytes, param: str, reason: str) -> None:
    with pytest.raises(ApiError) as caught:
        SAMPLE.from_json(text)
    assert caught.value.code == -32602
    assert caught.value.data == {"param": param, "reason": reason}


def test_the_http_forms_agree() -> None:
    target = "/api/v2/private/buy?instrument_name=BTC-PERPETUAL&amount=0.1&channels=%5B%22a%22%5D"
    query = protocol.from_http("GET", target, b"")
    body = b'{"id":3,"method":"private/buy","params":{"instrument_name":"BTC-PERPETUAL",'
    body += b'"amount":0.1,"channels":["a"]}}'
    paths = ("/", "/api/v2", "/api/v2/", "/api/v2/private/buy")
    forms = [query] + [protocol.from_http("POST", path, body) for path in paths]
    assert {form.method for form in forms} == {"private/buy"}
    decoded = [form.params(SAMPLE) for form in forms]
    assert all(found == decoded[0] for found in decoded)
    assert decoded[0].amount == 0.1
    assert decoded[0].channels == ["a"]


def test_repeated_bracket_parameters_make_a_list() -> None:
    request = protocol.from_http("GET", "/api/v2/public/x?instrument_name=X&channels[]=a&channels[]=b", b"")
    assert request.params(SAMPLE).channels == ["a", "b"]


@pytest.mark.parametrize("target", ["/elsewhere", "/api/v3/public/test", "/api/v2"])
def test_unknown_addresses(target: str) -> None:
    with pytest.raises(LookupError):
        protocol.from_http("GET", target, b"")


def test_error_carries_data_and_never_a_result() -> None:
    answer = json.loads(protocol.error_bytes(b"1", ApiError(-32602, {"param": "p", "reason": "r"}), 5, 4))
    assert answer["error"] == {
        "code": -32602,
        "message": "Invalid params",
        "data": {"param": "p", "reason": "r"},
    }
    assert "result" not in answer
    assert answer["usDiff"] == 0


def test_every_reason_has_a_code_with_a_message() -> None:
    for reason in Reason:
        error = engine_refusal(int(reason))
        assert error.code in MESSAGES
        assert error.data == {"reason": reason.name.lower()}
    assert set(REASON_CODES.values()) <= set(MESSAGES)
    assert engine_refusal(9999).code == 11030


def test_notification_keeps_the_channel_text() -> None:
    name = 'book.BTC-PERPETUAL.100ms"é'
    message = json.loads(protocol.notification_bytes(protocol.encode(name), protocol.encode({"a": 1})))
    assert message == {
        "jsonrpc": "2.0",
        "method": "subscription",
        "params": {"channel": name, "data": {"a": 1}},
    }


@given(st.integers(0, 10**14), st.sampled_from([1, 10, 50_000_000, 10**7, 10**9, 10_000]))
def test_units_round_trip_exactly(count: int, unit_e8: int) -> None:
    if count * unit_e8 >= 10**15:
        count %= 10**15 // unit_e8
    number = units.price(count, unit_e8)
    assert units.whole_units(number, unit_e8) == count
    assert units.whole_units(repr(number), unit_e8) == count
    assert units.whole_units(json.loads(json.dumps(number)), unit_e8) == count


@pytest.mark.parametrize(
    ("number", "unit_e8", "expected"),
    [
        (0.1, 10**7, 1),
        (0.3, 10**7, 3),
        (1.1, 10**7, 11),
        ("0.0005", 50_000, 1),
        (1e5, 50_000_000, 200_000),
        (10, 10**9, 1),
    ],
)
def test_known_units(number: float | str, unit_e8: int, expected: int) -> None:
    assert units.whole_units(number, unit_e8) == expected


@pytest.mark.parametrize(
    "number",
    [
        0.15,
        0.1 + 0.2,
        1e-9,
        float("nan"),
        float("inf"),
        "abc",
        "1e-300",
        "1e400",
        1e300,
        "0.10000000000000001",
    ],
)
def test_inexact_numbers_are_refused(number: float | str) -> None:
    with pytest.raises(units.NotExact):
        units.whole_units(number, 10**7)


def test_money_is_exact_in_minor_units() -> None:
    assert units.to_minor("0.0000000001", 10) == 1
    assert units.to_minor(1.5, 10) == 15_000_000_000
    with pytest.raises(units.NotExact):
        units.to_minor("0.00000000001", 10)


def test_packed_records_equal_the_numpy_ones() -> None:
    fields = {
        "account_id": 9,
        "instrument": 3,
        "side": 1,
        "price_units": -5,
        "quantity_lots": 7,
        "label_bytes": 3,
        "valid_until_ns": 1 << 60,
    }
    expected = record(CommandKind.PLACE_ORDER, tail=b"abc", **fields)
    assert records.place_order(b"abc", **fields) == expected
    long_label = b"x" * 64
    packed = records.cancel_all(long_label, account_id=2, instrument=5, currency=1, label_bytes=64)
    assert packed == record(CommandKind.CANCEL_ALL, 2, long_label, instrument=5, currency=1, label_bytes=64)
