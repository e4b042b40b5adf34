"""Rates that follow volatility: the weighted variance, the scale wanted, rises at once and falls in steps."""

import math

import msgspec
import pytest

from exchange import commands, config
from exchange.commands import CommandKind
from exchange.config_checks import faults
from exchange.events import EventKind
from exchange.governance import AdaptiveMargin, AnnounceMargin, Governance
from exchange.mark_events import AnnouncementState
from gateway.adaptive import AdaptiveMargins, next_ppm, smoothed, wanted_ppm
from tests.driver import DAY, SECOND, START_NS, Driver, make_config, option, perpetual

EXPIRY = START_NS // DAY * DAY + 30 * DAY + 8 * 3_600 * SECOND
FAR = EXPIRY + 90 * DAY
HOUR = 3_600 * SECOND
TERMS = AdaptiveMargin(underlying="BTC", sample_ns=600 * SECOND)


def test_the_weighted_variance_of_a_published_series() -> None:
    """RiskMetrics' exponentially weighted variance: decay 0.94, from 0.0004, five returns: 0.0201213498."""
    variance = 0.0004
    for r in (0.01, -0.02, 0.015, -0.03, 0.02):
        variance = smoothed(variance, r * r, 0.94)
    assert math.sqrt(variance) == pytest.approx(0.0201213498, abs=5e-11)


def test_the_scale_covers_so_many_deviations_of_a_day() -> None:
    """Four deviations at 100 % are 20.9 % in a day: 1.31 times a range of 16 %."""
    assert 4 * 1.0 * math.sqrt(1 / 365) / 0.16 == pytest.approx(1.3086, abs=1e-4)
    assert wanted_ppm(TERMS, 160_000, 1.0, 0.5) == wanted_ppm(TERMS, 160_000, 0.5, 1.0) == 1_310_000
    assert wanted_ppm(TERMS, 160_000, 0.6, 0.6) == 1_000_000  # the floor
    assert wanted_ppm(TERMS, 160_000, 9.0, 0.6) == 2_500_000  # the cap
    half = msgspec.structs.replace(TERMS, implied_weight_ppm=500_000)
    assert wanted_ppm(half, 160_000, 0.1, 2.0) == 1_310_000


def test_rises_go_the_whole_way_and_falls_in_steps() -> None:
    assert next_ppm(TERMS, 1_000_000, 1_800_000, 0) == 1_800_000
    assert next_ppm(TERMS, 1_000_000, 1_040_000, DAY) is None  # within the dead band
    assert next_ppm(TERMS, 1_800_000, 1_000_000, DAY - 1) is None
    assert next_ppm(TERMS, 1_800_000, 1_000_000, DAY) == 1_620_000
    assert next_ppm(TERMS, 1_060_000, 1_000_000, DAY) == 1_000_000


@pytest.fixture
def venue() -> Driver:
    underlying = config.Underlying("BTC", "btc_usd", mark_stale_ns=2 * HOUR, mark_halt_ns=3 * HOUR)
    terms = Governance(margin_notice_ns=HOUR, adaptive=(TERMS,))
    made = Driver(
        [perpetual(), option(100_000, "call", EXPIRY), option(130_000, "call", EXPIRY), option(100_000, "call", FAR)],
        make_config(underlyings=(underlying,), governance=terms),
    )
    made.said = []
    made.watch = AdaptiveMargins(made.engine)
    return made


def step(made: Driver, index: float, vol: float, far_vol: float = 3.0) -> None:
    """Marks ten minutes later, a tick, and what the watch asks for. Vols away from the money and 30 days are others."""
    made.now += 600 * SECOND
    vols = []
    for slot, expiry_ns, strike_e8 in made.engine.pairs(0):
        at_the_money = expiry_ns == EXPIRY and strike_e8 == 100_000 * 10**8
        vols.append((slot, round((vol if at_the_money else far_vol) * 1e6)))
    price = round(index * 1e8)
    found = made.submit(commands.update_marks(0, price, made.now, [(EXPIRY, price), (FAR, price)], vols)) + made.tick()
    made.watch.sample()
    for underlying, record in made.watch.due():
        done = made.submit(record)
        made.watch.announced(underlying)
        assert not [e for e in done if e.kind == EventKind.COMMAND_REJECTED], done
        found += done
    made.said += [(made.now, e.state, e.scale_ppm) for e in found if e.kind == EventKind.MARGIN_ANNOUNCED]


def test_implied_vol_raises_the_rates_with_notice(venue: Driver) -> None:
    for _ in range(3):
        step(venue, 100_000, 0.6)
    assert venue.said == [] and venue.watch.figures(0)["wanted_scale"] == 1.0
    step(venue, 100_000, 1.2)
    at = venue.now
    wanted = 1_580_000  # 4 x 1.2 x sqrt(1 / 365) / 0.16, rounded up
    assert venue.said == [(at, AnnouncementState.ANNOUNCED, wanted)]
    assert venue.engine.mark_state(0).announced_margin == (wanted, at + HOUR)
    for _ in range(6):
        assert venue.engine.mark_state(0).margin_scale_ppm == 1_000_000
        step(venue, 100_000, 1.2)
    assert venue.said[1:] == [(at + HOUR, AnnouncementState.IN_FORCE, wanted)]
    # calm again: down by a tenth a day, each step announced as well
    for _ in range(2 * 144 + 20):
        step(venue, 100_000, 0.6)
    steps = [scale for _, state, scale in venue.said[2:] if state == AnnouncementState.IN_FORCE]
    assert steps == [1_430_000, 1_290_000]
    announced = [when for when, state, _ in venue.said if state == AnnouncementState.ANNOUNCED]
    bound = [when for when, state, _ in venue.said if state == AnnouncementState.IN_FORCE]
    assert all(b - a >= HOUR for a, b in zip(announced, bound, strict=True))
    assert all(later - earlier >= DAY for earlier, later in zip(bound, announced[1:], strict=False))
    venue.sound()


def test_realised_vol_alone_raises_them(venue: Driver) -> None:
    """Half a per cent every ten minutes is 115 % a year."""
    for n in range(600):
        step(venue, 100_000 * (1.005 if n % 2 else 1.0), 0.5)
        if venue.said:
            break
    figures = venue.watch.figures(0)
    assert figures["realised_vol"] > figures["implied_vol"] == 0.5
    assert figures["realised_vol"] < math.log(1.005) * math.sqrt(365 * 144)
    assert venue.said[0][1:] == (AnnouncementState.ANNOUNCED, round(figures["wanted_scale"] * 1e6))
    assert 1_050_000 <= venue.said[0][2] < 1_500_000


def test_nothing_while_an_announcement_waits_or_marks_are_old(venue: Driver) -> None:
    step(venue, 100_000, 0.6)
    payload = AnnounceMargin(underlying="BTC", scale_ppm=1_200_000, effective_ns=venue.now + 2 * HOUR, operator=1)
    venue.submit(commands.cold(CommandKind.ANNOUNCE_MARGIN, payload))
    step(venue, 100_000, 1.2)
    assert venue.said == []  # the operator's stands
    venue.now += 2 * HOUR + 1
    venue.tick()
    assert venue.engine.mark_state(0).stage != "live"
    samples = venue.watch.figures(0)["samples"]
    venue.watch.sample()
    assert venue.watch.due() == [] and venue.watch.figures(0)["samples"] == samples
    step(venue, 100_000, 1.2)
    assert [scale for _, _, scale in venue.said] == [1_580_000]


def test_a_clock_that_runs_on_shortens_no_notice(venue: Driver) -> None:
    """Between a sample and the announcement a real clock moves; a fall's time is that of its sample."""
    step(venue, 100_000, 0.6)
    venue.now += 600 * SECOND
    vols = [(slot, 1_200_000) for slot, _, _ in venue.engine.pairs(0)]
    price = 100_000 * 10**8
    venue.submit(commands.update_marks(0, price, venue.now, [(EXPIRY, price), (FAR, price)], vols))
    venue.tick()
    venue.watch.sample()
    ((name, record),) = venue.watch.due()
    venue.now += 17
    (told,) = [e for e in venue.submit(record) if e.kind == EventKind.MARGIN_ANNOUNCED]
    assert (name, told.scale_ppm, told.effective_ns) == ("BTC", 1_580_000, venue.now + HOUR)
    venue.watch.announced("BTC")
    assert venue.watch.due() == [] and venue.watch.missed == 0


def test_what_was_asked_for_waits_for_the_journal_until_the_next_sample(venue: Driver) -> None:
    step(venue, 100_000, 0.6)
    venue.now += 600 * SECOND
    price = 100_000 * 10**8
    vols = [(slot, 1_200_000) for slot, _, _ in venue.engine.pairs(0)]
    venue.submit(commands.update_marks(0, price, venue.now, [(EXPIRY, price), (FAR, price)], vols))
    venue.tick()
    venue.watch.sample()
    assert [name for name, _ in venue.watch.due()] == ["BTC"] == [name for name, _ in venue.watch.due()]
    venue.tick(600 * SECOND)
    assert venue.watch.due() == []  # the next sample decides
    venue.watch.sample()
    assert [name for name, _ in venue.watch.due()] == ["BTC"] and venue.watch.missed == 1


def test_without_terms_nothing_is_watched() -> None:
    made = Driver([perpetual()])
    made.marks(100_000)
    watch = AdaptiveMargins(made.engine)
    watch.sample()
    assert watch.due() == [] and watch.figures(0) is None


def test_samples_wait_for_their_time(venue: Driver) -> None:
    step(venue, 100_000, 0.6)
    venue.marks(100_000, 1.2)
    venue.watch.sample()
    assert venue.watch.due() == [] and venue.watch.figures(0)["samples"] == 1


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"decay_ppm": 1_000_000}, "decay_ppm"), ({"cap_ppm": 900_000}, "cap_ppm"), ({"sample_ns": 0}, "sample_ns"),
        ({"underlying": "DOGE"}, "unknown underlying DOGE"), ({"fall_ppm": 0}, "fall_ppm"),
    ],
)  # fmt: skip
def test_terms_out_of_range_are_no_configuration(changes: dict[str, object], word: str) -> None:
    one = msgspec.structs.replace(TERMS, **changes)
    assert any(word in fault for fault in faults(make_config(governance=Governance(adaptive=(one,)))))
    twice = faults(make_config(governance=Governance(adaptive=(TERMS, TERMS))))
    assert twice == ["governance: adaptive names an underlying twice"]
