"""The scripts: how the index and vols move, who makes markets and who bids, second by second of venue time."""

from pathlib import Path

import msgspec

from exchange.config import Liquidation
from gateway.feeds.index_path import PathError, read_index_path
from loadtest.scenarios.market import PPM, SECOND_NS

Knots = tuple[tuple[int, int], ...]
"""(second, parts per million of the start), ascending; straight lines between."""


class Bidder(msgspec.Struct, frozen=True):
    """Who buys in auctions: an account with its own capital, and the discount that it waits for."""

    capital_usd: int
    discount_ppm: int
    """Of the value, while that is positive."""
    compensation_ppm: int
    """Of the maintenance margin, where the fund pays for taking the portfolio."""
    from_second: int = 0


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """One scenario. Amounts in USD, shares in parts per million."""

    name: str
    what: str
    seconds: int
    index: Knots
    vol: Knots = ((0, PPM),)
    fund_usd: int = 3_000_000
    bidders: tuple[Bidder, ...] = (
        Bidder(8_000_000, 60_000, 20_000),
        Bidder(5_000_000, 90_000, 60_000),
        Bidder(3_000_000, 140_000, 150_000),
    )
    depth_usd: int = 400_000
    """What each maker quotes on each side of each perpetual."""
    width_ppm: int = 400
    impact_ppm_per_million: int = 0
    """How far a million dollars of liquidated positions moves the index against them (bidders hedge outside)."""
    recovery_ppm: int = 0
    """Share of that displacement that is undone in a second."""
    weak_maker: bool = False
    predator: bool = False
    liquidation: Liquidation = Liquidation(buffer_move_ppm=5_000)


def at(knots: Knots, second: int) -> int:
    """The value of knots at a second, by straight lines, held beyond the ends."""
    before = knots[0]
    for knot in knots:
        if knot[0] > second:
            if knot[0] == before[0] or second <= before[0]:
                return before[1]
            return before[1] + (knot[1] - before[1]) * (second - before[0]) // (knot[0] - before[0])
        before = knot
    return before[1]


THIN = (Bidder(400_000, 220_000, 300_000), Bidder(250_000, 280_000, 450_000))
CRASH: Knots = ((0, PPM), (60, 990_000), (180, 900_000), (300, 860_000), (420, 880_000), (900, 945_000))
OCTOBER: Knots = (
    (0, PPM),
    (900, 985_000),
    (1_080, 955_000),
    (1_200, 940_000),
    (1_320, 900_000),
    (1_400, 885_000),
    (1_500, 925_000),
    (1_800, 940_000),
    (2_400, 960_000),
    (3_600, 965_000),
)
"""The shape of that evening in round figures, for runs without the recorded minutes."""
SCRIPTS = {
    script.name: script
    for script in (
        Script(
            name="flash-crash",
            what="14 % down in five minutes, two thirds of it back within ten; deep pockets bid",
            seconds=1_200,
            index=CRASH,
            vol=((0, PPM), (180, 1_700_000), (300, 1_900_000), (900, 1_300_000)),
        ),
        Script(
            name="vol-spike",
            what="implied vols from 48 to 110 % in ten minutes while the index falls by 4 %",
            seconds=1_200,
            index=((0, PPM), (600, 960_000), (1_200, 970_000)),
            vol=((0, PPM), (600, 2_300_000), (1_200, 1_900_000)),
        ),
        Script(
            name="oct-2025",
            what="the evening of 10 October 2025: the recorded minutes with --data, else its shape in round figures",
            seconds=3_600,
            index=OCTOBER,
            vol=((0, PPM), (900, 1_200_000), (1_400, 2_000_000), (3_600, 1_400_000)),
        ),
        Script(
            name="thin-book",
            what="10 % down while books are a twentieth as deep and bidders are few, poor and dear",
            seconds=1_500,
            index=((0, PPM), (300, 930_000), (600, 900_000), (1_500, 905_000)),
            vol=((0, PPM), (600, 1_600_000)),
            depth_usd=20_000,
            width_ppm=3_000,
            bidders=THIN,
        ),
        Script(
            name="fund-empty",
            what="19 % down in four minutes, a fund of 20,000 dollars and nobody who bids: deleveraging",
            seconds=1_200,
            index=((0, PPM), (60, 960_000), (240, 810_000), (1_200, 815_000)),
            vol=((0, PPM), (240, 2_000_000)),
            fund_usd=20_000,
            bidders=(),
            depth_usd=40_000,
        ),
        Script(
            name="cascade",
            what="6 % down, and whatever is liquidated pushes the index further, a tenth of it undone each minute",
            seconds=1_500,
            index=((0, PPM), (240, 940_000), (1_500, 945_000)),
            vol=((0, PPM), (240, 1_300_000), (700, 1_700_000)),
            impact_ppm_per_million=4_000,
            recovery_ppm=1_750,
        ),
        Script(
            name="predator",
            what="6 % down, then a still index; an account sells perpetuals to trigger liquidations, and bids",
            seconds=1_200,
            index=((0, PPM), (180, 940_000), (1_200, 940_000)),
            depth_usd=120_000,
            predator=True,
        ),
        Script(
            name="maker-default",
            what="a market maker short gamma and short perpetuals meets a rally of 17 %",
            seconds=1_500,
            index=((0, PPM), (300, 1_060_000), (600, 1_170_000), (1_500, 1_160_000)),
            vol=((0, PPM), (600, 1_800_000)),
            weak_maker=True,
        ),
    )
}
OCTOBER_FROM_MS = 1_760_128_200_000
"""20:30 UTC, an hour of quiet to an hour and a half of storm."""
OCTOBER_SECONDS = 5_400


def recorded(script: Script, file: Path, coin_start_minute_ms: int = OCTOBER_FROM_MS) -> Script:
    """The script with the recorded minutes of an index file from `coin_start_minute_ms` on. PathError."""
    path = read_index_path(file)
    start_ns = coin_start_minute_ms * 1_000_000
    chosen = [
        ((int(time_ns) - start_ns) // SECOND_NS, float(price))
        for time_ns, price in zip(path.time_ns.tolist(), path.price.tolist(), strict=True)
        if 0 <= int(time_ns) - start_ns <= OCTOBER_SECONDS * SECOND_NS
    ]
    if len(chosen) < OCTOBER_SECONDS // 120:
        raise PathError(f"{file} does not hold the evening of 10 October 2025")
    first = chosen[0][1]
    knots = tuple((second, round(price / first * PPM)) for second, price in chosen)
    calm, deepest = PPM, min(value for _, value in knots)
    bottom = next(second for second, value in knots if value == deepest)
    vol = ((0, calm), (max(1, bottom - 1_200), 1_100_000), (bottom, 2_000_000), (OCTOBER_SECONDS, 1_400_000))
    return msgspec.structs.replace(script, index=knots, vol=vol, seconds=OCTOBER_SECONDS)
