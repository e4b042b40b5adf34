"""Chain files: what is read, what is refused, and whether the marks of the file come back."""

import csv
import gzip
import io
import sys
from datetime import datetime

import numpy as np
import pytest

import margin_ext
from gateway.feeds.chain import ChainError, default_rules, listing
from gateway.feeds.chain_file import read_chain, snapshot_keys
from gateway.feeds.names import expiry_label, option_name, strike_label, time_ns_of

SNAPSHOT = "options/deribit_options_snapshot_20260206T043012Z.csv.gz"
CRASH = "options/deribit_chain_crash_20260128_20260212.parquet"
COLUMNS = (
    "timestamp,instrument_name,underlying,option_type,strike,expiry_datetime,implied_volatility,currency,"
    "index_price,futures_instrument_name"
).split(",")
MOMENT = "2026-02-06T04:30:12.553805+00:00"


def option_row(name="BTC-27MAR26-60000-P", **changes):
    _, label, strike, letter = name.split("-")
    row = {
        "timestamp": MOMENT,
        "instrument_name": name,
        "underlying": "65000.5",
        "option_type": "put" if letter == "P" else "call",
        "strike": strike,
        "expiry_datetime": datetime.strptime(label + "+0000", "%d%b%y%z").replace(hour=8).isoformat(),
        "implied_volatility": "0.62",
        "currency": "BTC",
        "index_price": "64800.25",
        "futures_instrument_name": f"BTC-{label}",
    }
    return row | {key: str(value) for key, value in changes.items()}


def write_csv(path, rows, columns=COLUMNS):
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    data = text.getvalue().encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def test_names_follow_the_wire():
    day = time_ns_of(datetime.fromisoformat("2027-08-05T08:00:00+00:00"))
    assert expiry_label(day) == "5AUG27"
    assert strike_label(10_000_000_000_000) == "100000"
    assert strike_label(62_500_000) == "0d625"
    assert option_name("XRP_USDC", day, 62_500_000, "call") == "XRP_USDC-5AUG27-0d625-C"


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
def test_pair_takes_the_vol_of_its_out_of_the_money_option(tmp_path, suffix):
    rows = [
        option_row("BTC-27MAR26-60000-P", implied_volatility=0.62, underlying=64_999),
        option_row("BTC-27MAR26-60000-C", implied_volatility=0.61, underlying=65_001),
        option_row("BTC-27MAR26-70000-P", implied_volatility=0.52, underlying=65_000),
        option_row("BTC-27MAR26-70000-C", implied_volatility=0.51, underlying=65_000),
        option_row("BTC-27MAR26-80000-P", implied_volatility=0.47, underlying=65_000),
    ]
    chain = read_chain(write_csv(tmp_path / f"chain{suffix}", rows))
    btc = chain.underlyings["BTC"]
    assert chain.bad_rows == ()
    assert chain.time_ns == 1_770_352_212_553_805_000
    assert btc.pair_strike_e8.tolist() == [60_000 * 10**8, 70_000 * 10**8, 80_000 * 10**8]
    assert btc.pair_vol_e6.tolist() == [620_000, 510_000, 470_000]  # put, call, and a put that stands alone
    assert [expiry.forward_e8 for expiry in btc.expiries] == [65_000 * 10**8]
    assert btc.index_price_e8 == 6_480_025_000_000


BAD = {
    "is not a number": {"implied_volatility": "n/a"},
    "implied_volatility '62.0' is outside": {"implied_volatility": 62.0},
    "underlying 'nan' is outside": {"underlying": "nan"},
    "is not after the snapshot": {
        "instrument_name": "BTC-6FEB26-60000-P",
        "expiry_datetime": "2026-02-06T04:30:12+00:00",
    },
    "disagrees with the row's terms, BTC-27MAR26-61000-P": {"strike": 61_000},
    "disagrees with the row's terms, BTC-27MAR26-60000-C": {"option_type": "call"},
    "neither call nor put": {"option_type": "straddle"},
    "not an ISO 8601 time with offset": {"expiry_datetime": "2026-03-27T08:00:00"},
    "forward 90000 is far from": {"underlying": 90_000},
    "index_price 1 is far from": {"index_price": 1},
}


@pytest.mark.parametrize("reason", BAD)
def test_bad_row_is_reported_with_its_line_and_left_out(tmp_path, reason):
    good = [option_row(f"BTC-27MAR26-{strike}-C") for strike in (50_000, 70_000, 80_000)]
    rows = [good[0], option_row() | {key: str(value) for key, value in BAD[reason].items()}, *good[1:]]
    chain = read_chain(write_csv(tmp_path / "chain.csv", rows))
    (bad,) = chain.bad_rows
    assert bad.line == 3
    assert reason in bad.reason
    assert [option.name for option in chain.underlyings["BTC"].options] == [row["instrument_name"] for row in good]


def test_duplicate_and_torn_rows_are_reported(tmp_path):
    path = write_csv(tmp_path / "chain.csv", [option_row(), option_row(implied_volatility=0.9)])
    with path.open("a") as file:
        file.write(MOMENT + ",BTC-27MAR26-50000-P\r\n")
    chain = read_chain(path)
    assert [bad.line for bad in chain.bad_rows] == [3, 4]
    assert "stands already on line 2" in chain.bad_rows[0].reason
    assert chain.underlyings["BTC"].pair_vol_e6.tolist() == [620_000]


def test_unusable_files_are_refused(tmp_path):
    with pytest.raises(ChainError, match="No such file"):
        read_chain(tmp_path / "absent.csv")
    columns = [column for column in COLUMNS if column not in ("strike", "index_price")]
    with pytest.raises(ChainError, match="columns missing: strike, index_price"):
        read_chain(write_csv(tmp_path / "narrow.csv", [option_row()], columns))
    with pytest.raises(ChainError, match="no usable row"):
        read_chain(write_csv(tmp_path / "worthless.csv", [option_row(strike="x")]))
    with pytest.raises(ChainError, match="no rows"):
        read_chain(write_csv(tmp_path / "empty.csv", []))
    whole = write_csv(tmp_path / "whole.csv.gz", [option_row()]).read_bytes()
    (tmp_path / "torn.csv.gz").write_bytes(whole[:-20])
    with pytest.raises(ChainError, match="torn"):
        read_chain(tmp_path / "torn.csv.gz")


def test_snapshots_of_one_file(tmp_path):
    later = "2026-02-06T10:00:00+00:00"
    rows = [option_row(timestamp=later, index_price=61_000), option_row()]
    path = write_csv(tmp_path / "two.csv", rows)
    assert snapshot_keys(path) == [MOMENT, later]
    assert read_chain(path).underlyings["BTC"].index_price_e8 == 6_480_025_000_000
    assert read_chain(path, later).underlyings["BTC"].index_price_e8 == 6_100_000_000_000
    with pytest.raises(ChainError, match=r"no snapshot 'x'; there are 2"):
        read_chain(path, "x")


def test_parquet_equals_csv_and_its_absence_is_named(tmp_path, monkeypatch):
    pyarrow = pytest.importorskip("pyarrow", reason="the optional extra [data] is not installed")
    from pyarrow import csv as arrow_csv
    from pyarrow import parquet

    rows = [option_row(f"BTC-27MAR26-{strike}-{side}") for strike in (50_000, 70_000) for side in "CP"]
    text = write_csv(tmp_path / "chain.csv", rows)
    types = {"timestamp": pyarrow.string(), "expiry_datetime": pyarrow.string()}
    table = arrow_csv.read_csv(text, convert_options=arrow_csv.ConvertOptions(column_types=types))
    parquet.write_table(table, tmp_path / "chain.parquet")
    one, other = (
        read_chain(text).underlyings["BTC"],
        read_chain(tmp_path / "chain.parquet").underlyings["BTC"],
    )
    assert other.options == one.options
    assert other.expiries == one.expiries
    assert other.pair_vol_e6.tolist() == one.pair_vol_e6.tolist()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ChainError, match=r"needs pyarrow.*extra \[data\]"):
        read_chain(tmp_path / "chain.parquet")


def test_listing_has_perpetual_dated_futures_options_and_linear_twins(tmp_path):
    rows = [option_row(f"BTC-27MAR26-{strike}-{side}") for strike in (50_000, 70_000) for side in "CP"]
    rows.append(option_row("BTC-7FEB26-65000-C", futures_instrument_name="SYN.BTC-7FEB26"))
    chain = read_chain(write_csv(tmp_path / "chain.csv", rows))
    march = chain.underlyings["BTC"].expiries[1].expiry_ns
    rules = default_rules(["BTC"], linear_kinds=("perpetual", "option"))
    instruments = listing(chain, rules, frozenset([march]))
    assert [instrument.name for instrument in instruments] == [
        "BTC-PERPETUAL",
        "BTC-27MAR26",
        "BTC-7FEB26-65000-C",
        "BTC-27MAR26-50000-C",
        "BTC-27MAR26-50000-P",
        "BTC-27MAR26-70000-C",
        "BTC-27MAR26-70000-P",
        "BTC_USDC-PERPETUAL",
        "BTC_USDC-27MAR26-50000-C",
        "BTC_USDC-27MAR26-50000-P",
        "BTC_USDC-27MAR26-70000-C",
        "BTC_USDC-27MAR26-70000-P",
    ]
    twin = instruments[-1]
    assert (twin.settlement, twin.inverse, twin.expiry_ns, twin.strike_e8) == (
        "USDC",
        False,
        march,
        7 * 10**12,
    )
    with pytest.raises(ChainError, match="names ETH"):
        listing(chain, default_rules(["ETH"]))
    with pytest.raises(ChainError, match="no default listing rule for SOL"):
        default_rules(["SOL"])


def test_real_chain_lists_every_option_under_its_name(real_data):
    path = real_data(SNAPSHOT)
    chain = read_chain(path)
    with gzip.open(path, "rt", newline="") as file:
        names = [row["instrument_name"] for row in csv.DictReader(file)]
    instruments = listing(chain, default_rules())
    options = [instrument.name for instrument in instruments if instrument.kind == "option"]
    assert chain.bad_rows == ()
    assert len(options) == 1_884
    assert sorted(options) == sorted(names)
    assert len({instrument.name for instrument in instruments}) == len(instruments)
    futures = [instrument.name for instrument in instruments if instrument.kind == "future"]
    assert "BTC-27MAR26" in futures and "BTC-7FEB26" not in futures  # 7 February is synthetic in the file


def marks_of(chain, rows):
    """Coin marks of the file's options by one forward per expiry and one vol per pair."""
    marks = []
    for row in rows:
        one = chain.underlyings[row["currency"]]
        expiry = time_ns_of(datetime.fromisoformat(row["expiry_datetime"]))
        forward = next(entry.forward_e8 for entry in one.expiries if entry.expiry_ns == expiry) / 1e8
        strike_e8 = round(float(row["strike"]) * 1e8)
        (pair,) = np.flatnonzero((one.pair_expiry_ns == expiry) & (one.pair_strike_e8 == strike_e8))
        years = (expiry - chain.time_ns) / (365 * 86_400e9)
        call = row["option_type"] == "call"
        price = margin_ext.price(forward, strike_e8 / 1e8, one.pair_vol_e6[pair] / 1e6, years, call)
        marks.append(float(price) / forward)
    return np.array(marks)


def test_real_snapshot_marks_come_back(real_data):
    path = real_data(SNAPSHOT)
    with gzip.open(path, "rt", newline="") as file:
        rows = list(csv.DictReader(file))
    errors = np.abs(marks_of(read_chain(path), rows) - [float(row["mark_price"]) for row in rows])
    assert np.quantile(errors, 0.99) < 1e-3
    assert np.median(errors) < 5e-5
    assert errors.max() < 2e-3


def test_real_crash_file_holds_sixty_three_sound_snapshots(real_data):
    pytest.importorskip("pyarrow", reason="the optional extra [data] is not installed")
    from pyarrow import parquet

    path = real_data(CRASH)
    keys = snapshot_keys(path)
    assert len(keys) == 63
    for key in (keys[0], keys[40]):
        chain = read_chain(path, key)
        assert chain.bad_rows == ()
        rows = parquet.read_table(path, filters=[("snapshot", "=", key)]).to_pylist()
        assert sum(len(one.options) for one in chain.underlyings.values()) == len(rows) > 1_300
        errors = np.abs(marks_of(chain, rows) - [row["mark_price"] for row in rows])
        assert np.quantile(errors, 0.99) < 1e-3
