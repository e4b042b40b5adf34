"""Index paths from klines and trades."""

import gzip
import zipfile

import numpy as np
import pytest

from gateway.feeds.index_path import PathError, read_index_path

HEADER = "open_time,open,high,low,close,volume,close_time,quote_volume,count,a,b,ignore\n"
BARS = [
    (1_759_968_000_000, 100, 112, 99, 110),
    (1_759_968_060_000, 111, 111, 80, 90),
    (1_759_968_120_000, 90, 95, 85, 95),
]
MINUTE_NS = 60_000_000_000


def bar_lines(bars=BARS, scale=1):
    return "".join(
        f"{start * scale},{o},{h},{low},{c},0,{(start + 60_000) * scale - 1},0,60,0,0,0\n"
        for start, o, h, low, c in bars
    )


def test_closes_follow_the_first_open(tmp_path):
    file = tmp_path / "bars.csv"
    file.write_text(HEADER + bar_lines())
    path = read_index_path(file)
    assert path.price.tolist() == [100, 110, 90, 95]
    start = BARS[0][0] * 1_000_000
    assert path.time_ns.tolist() == [start, *(start + n * MINUTE_NS - 1_000_000 for n in (1, 2, 3))]
    assert path.ratios().tolist() == [1.0, 1.1, 0.9, 0.95]


def test_ohlc_points_visit_both_extremes_of_each_bar(tmp_path):
    file = tmp_path / "bars.csv"
    file.write_text(HEADER + bar_lines())
    path = read_index_path(file, "ohlc")
    assert path.price.tolist() == [100, 99, 112, 110, 111, 111, 80, 90, 90, 85, 95, 95]
    assert np.all(np.diff(path.time_ns) > 0)


def test_packings_headers_and_units_read_the_same(tmp_path):
    plain = tmp_path / "a.csv"
    plain.write_text(bar_lines())
    with gzip.open(tmp_path / "b.csv.gz", "wt") as file:
        file.write(HEADER + bar_lines())
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as archive:
        archive.writestr("c.csv", bar_lines())
        archive.writestr("c.csv.CHECKSUM", "0123")
    micro = tmp_path / "d.csv"
    micro.write_text(HEADER + bar_lines(scale=1_000))
    expected = read_index_path(plain)
    for name in ("b.csv.gz", "c.zip"):
        path = read_index_path(tmp_path / name)
        assert path.time_ns.tolist() == expected.time_ns.tolist()
        assert path.price.tolist() == expected.price.tolist()
    assert read_index_path(micro).time_ns[0] == expected.time_ns[0]


def test_files_are_joined_in_time_and_overlap_is_refused(tmp_path):
    first, second = tmp_path / "one.csv", tmp_path / "two.csv"
    second.write_text(bar_lines(BARS[2:]))
    first.write_text(bar_lines(BARS[:2]))
    path = read_index_path([second, first])
    assert path.price.tolist() == [100, 110, 90, 90, 95]  # the second file's first open is a point of its own
    assert np.all(np.diff(path.time_ns) > 0)
    second.write_text(bar_lines(BARS[1:]))
    with pytest.raises(PathError, match="overlap"):
        read_index_path([first, second])


def test_trades_are_ordered_by_their_own_time(tmp_path):
    file = tmp_path / "trades.csv"
    file.write_text(
        "exchange,symbol,timestamp,local_timestamp,id,side,price,amount\n"
        "g,BTCUSD,1760054406843000,0,1,buy,100.5,1\n"
        "g,BTCUSD,1760054406943000,0,3,buy,90,1\n"
        "g,BTCUSD,1760054406842000,0,2,sell,101,1\n"
        "g,BTCUSD,1760054406943000,0,4,sell,91,1\n"
    )
    path = read_index_path(file)
    assert path.price.tolist() == [101, 100.5, 90, 91]
    assert path.time_ns[0] == 1_760_054_406_842_000_000


def test_bad_rows_are_reported_with_file_and_line(tmp_path):
    lines = bar_lines().splitlines(keepends=True)
    torn = ["1759968180000,90,80,95,85,0,1759968239999\n", "1759968240000,1,2\n", "17,1,1,1,1,0,18\n"]
    file = tmp_path / "bars.csv"
    file.write_text(HEADER + lines[0] + lines[1] + "".join(torn) + lines[0] + lines[2].replace(",95,85,", ",inf,85,"))
    path = read_index_path(file)
    assert path.price.tolist() == [100, 110, 90]
    assert [(name, bad.line) for name, bad in path.bad_rows] == [("bars.csv", line) for line in range(4, 9)]
    reasons = [bad.reason for _, bad in path.bad_rows]
    assert "outside low" in reasons[0] and "no epoch time" in reasons[2]
    assert "not after the one before" in reasons[3] and "price 'inf'" in reasons[4]


def test_unusable_files_are_refused(tmp_path):
    file = tmp_path / "x.csv"
    for text, message in (("", "empty"), ("a,b\n1,2\n", "neither klines"), (HEADER, "no usable row")):
        file.write_text(text)
        with pytest.raises(PathError, match=message):
            read_index_path(file)
    with pytest.raises(PathError, match="No such file"):
        read_index_path(tmp_path / "absent.csv")
    with pytest.raises(PathError, match="no index file"):
        read_index_path([])
    (tmp_path / "torn.zip").write_bytes(b"PK\x03\x04 and nothing more")
    with pytest.raises(PathError, match="torn"):
        read_index_path(tmp_path / "torn.zip")


def test_real_klines_crash_starts_near_minute_1274(real_data):
    files = [real_data(f"crash/BTCUSD_PERP-1m-2025-10-{day}.zip") for day in ("10", "09")]
    path = read_index_path(files)
    assert path.bad_rows == ()
    assert len(path.price) == 2 * 1_441
    midnight = 1_760_054_400_000_000_000
    today = path.time_ns > midnight
    minutes = (path.time_ns[today][1:] - midnight) / MINUTE_NS  # close of each bar: the count of minutes so far
    returns = np.diff(np.log(path.price[today]))
    first_fall = minutes[np.argmax(returns < -0.01)]
    assert 1_273 < first_fall <= 1_275
    assert minutes[np.argmin(path.price[today][1:])] <= first_fall + 8
    lows = read_index_path(files[:1], "ohlc")
    assert lows.price.min() == pytest.approx(102_497.485, abs=0.01)


def test_real_trades_make_a_path(real_data):
    path = read_index_path(real_data("crash/gemini_trades_20251010_BTCUSD.csv.gz"))
    assert path.bad_rows == ()
    assert len(path.price) == 24_706
    assert path.price.min() == 107_000
    assert np.all(np.diff(path.time_ns) >= 0)
