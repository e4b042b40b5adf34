"""Names and canonical legs of combos, as the gateway gives them."""

from types import SimpleNamespace

import pytest

from gateway.combos import CannotCombine, definition, leg_prices, shape
from gateway.listing import Listing
from tests.driver import DAY, START_NS, Driver, option, perpetual

NEAR, FAR = START_NS + 30 * DAY, START_NS + 60 * DAY


@pytest.fixture(scope="module")
def listed():
    strikes = (90_000, 100_000, 110_000, 120_000)
    specs = [perpetual()]
    specs += [perpetual(n, kind="future", expiry_ns=e) for n, e in (("BTC-26JAN26", NEAR), ("BTC-27MAR26", FAR))]
    specs += [
        option(strike, kind, expiry, name=f"BTC-{word}-{strike}-{kind[0].upper()}")
        for expiry, word in ((NEAR, "26JAN26"), (FAR, "27MAR26"))
        for strike in strikes
        for kind in ("call", "put")
    ]
    specs.append(option(100_000, "call", NEAR, "USDC", name="BTC_USDC-26JAN26-100000-C"))
    specs.append(option(110_000, "call", NEAR, "USDC", name="BTC_USDC-26JAN26-110000-C"))
    engine = Driver(specs).engine
    views = [engine.instrument(slot) for slot in engine.instruments()]
    found = {view.name: Listing(view, 10 if view.inverse else 6, 0, "btc_usd") for view in views}
    return SimpleNamespace(engine=engine, by_name=found)


CASES = {
    "BTC-CS-26JAN26-100000_110000": "+100000-C -110000-C",
    "BTC-PS-26JAN26-100000_110000": "-100000-P +110000-P",
    "BTC-STRD-26JAN26-100000": "+100000-C +100000-P",
    "BTC-STRG-26JAN26-90000_110000": "+90000-P +110000-C",
    "BTC-RR-26JAN26-90000_110000": "-90000-P +110000-C",
    "BTC-CBUT-26JAN26-90000_100000_110000": "+90000-C -2*100000-C +110000-C",
    "BTC-PBUT-26JAN26-90000_100000_110000": "+90000-P -2*100000-P +110000-P",
    "BTC-CCOND-26JAN26-90000_100000_110000_120000": "+90000-C -100000-C -110000-C +120000-C",
    "BTC-ICOND-26JAN26-90000_100000_110000_120000": "+90000-P -100000-P -110000-C +120000-C",
    "BTC-IBUT-26JAN26-90000_100000_110000": "+90000-P -100000-P -100000-C +110000-C",
    "BTC-BOX-26JAN26-90000_110000": "+90000-C -90000-P -110000-C +110000-P",
    "BTC-CSR12-26JAN26-100000_110000": "+100000-C -2*110000-C",
    "BTC-PSR13-26JAN26-100000_110000": "-3*100000-P +110000-P",
}


def legs_of(listed, text, factor=1, expiry="26JAN26"):
    found = []
    for word in text.split():
        ratio, _, rest = word.rpartition("*")
        sign, number = (word[0], int(ratio[1:])) if ratio else (word[0], 1)
        name = rest if ratio else word[1:]
        found.append((listed.by_name[f"BTC-{expiry}-{name}"], factor * number * (1 if sign == "+" else -1)))
    return found


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("factor", "sign"), [(1, 1), (-6, -1)])
def test_strategies_by_name(listed, name, factor, sign):
    found, lots = shape(legs_of(listed, CASES[name], factor)[::-1])
    assert (found.name, found.sign, lots) == (name, sign, abs(factor))
    assert found.legs[0].ratio > 0
    assert found.legs == shape(legs_of(listed, CASES[name]))[0].legs


@pytest.mark.parametrize(
    ("name", "bought", "sold"),
    [
        ("BTC-FS-27MAR26_26JAN26", "BTC-27MAR26", "BTC-26JAN26"),
        ("BTC-FS-26JAN26_PERP", "BTC-26JAN26", "BTC-PERPETUAL"),
        ("BTC-CCAL-27MAR26_26JAN26-100000", "BTC-27MAR26-100000-C", "BTC-26JAN26-100000-C"),
        ("BTC-PDIAG-27MAR26_26JAN26-90000_110000", "BTC-27MAR26-90000-P", "BTC-26JAN26-110000-P"),
        ("BTC_USDC-CS-26JAN26-100000_110000", "BTC_USDC-26JAN26-100000-C", "BTC_USDC-26JAN26-110000-C"),
    ],
)
def test_spreads_by_name(listed, name, bought, sold):
    for side in (1, -1):
        found, _ = shape([(listed.by_name[sold], -side), (listed.by_name[bought], side)])
        assert (found.name, found.sign) == (name, side)
        assert [(leg.listing.name, leg.ratio) for leg in found.legs] == [(bought, 1), (sold, -1)]


def test_other_legs_have_a_name_of_their_own(listed):
    legs = legs_of(listed, "+100000-C +4*110000-C -120000-P")
    found, _ = shape(legs)
    turned, _ = shape([(listing, -2 * lots) for listing, lots in legs])
    assert found.name.startswith("BTC-CUSTOM-")
    assert (found.name, found.legs, found.sign) == (turned.name, turned.legs, -turned.sign)
    assert shape(legs_of(listed, "+100000-C +5*110000-C -120000-P"))[0].name != found.name


@pytest.mark.parametrize(
    "legs",
    [
        [("BTC-PERPETUAL", 1)],
        [("BTC-PERPETUAL", 1), ("BTC-PERPETUAL", -1)],
        [("BTC-PERPETUAL", 1), ("BTC-26JAN26-100000-C", -1)],
        [("BTC_USDC-26JAN26-100000-C", 1), ("BTC-26JAN26-100000-C", -1)],
        [("BTC-26JAN26-100000-C", 2), ("BTC-26JAN26-110000-C", -3)],
        [("BTC-26JAN26-100000-C", 1), ("BTC-26JAN26-110000-C", -11)],
    ],
    ids=str,
)
def test_what_cannot_be_combined(listed, legs):
    with pytest.raises(CannotCombine):
        shape([(listed.by_name[name], lots) for name, lots in legs])


def test_definitions_can_be_listed(listed):
    for text in CASES.values():
        spec = definition(shape(legs_of(listed, text))[0])
        assert listed.engine.listing.check(spec, 10)
        assert 1 <= spec.zero_units < spec.max_price_units
    spec = definition(shape([(listed.by_name["BTC-26JAN26"], 1), (listed.by_name["BTC-PERPETUAL"], -1)])[0])
    assert (spec.expiry_ns, spec.kind) == (NEAR, "future_combo")


def test_leg_prices_take_the_difference_where_it_fits():
    marks = [(1, 500, 1_000), (-2, 300, 1_000), (1, 100, 1_000)]
    assert leg_prices(marks, 0) == [500, 300, 100]
    assert leg_prices(marks, 7) == [507, 300, 100]
    assert leg_prices(marks, 800) == [500, 300, 900]
    assert leg_prices(marks, -900) is None
