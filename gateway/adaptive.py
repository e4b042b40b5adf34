"""Margin rates that follow volatility: realised and implied vol of each underlying, the scale of its rates that they
ask for, and the announcements that take them there. The rule: docs/marks.md, "Rates that follow volatility"."""

import math
from typing import Any

import msgspec

from exchange import commands
from exchange.commands import Actor, CommandKind
from exchange.governance import AdaptiveMargin, AnnounceMargin, Governance
from gateway.units import PPM

YEAR_NS = 365 * 86_400_000_000_000
DAY_NS = 86_400_000_000_000
STEP_PPM = 10_000
"""Scales are whole percents, rounded up."""


def smoothed(variance: float, sample: float, decay: float) -> float:
    """The weighted variance after a squared return: `decay` of the old, the rest of the new."""
    return decay * variance + (1.0 - decay) * sample


def wanted_ppm(terms: AdaptiveMargin, range_ppm: int, realised: float, implied: float) -> int:
    """The scale at which a range of `range_ppm` covers the move that annual vols let expect, within its bounds."""
    vol = max(realised, implied * terms.implied_weight_ppm / PPM)
    move = terms.multiple_ppm / PPM * vol * math.sqrt(terms.horizon_ns / YEAR_NS)
    scale = move / (range_ppm / PPM)
    rounded = math.ceil(scale * PPM / STEP_PPM - 1e-9) * STEP_PPM
    return min(max(rounded, terms.floor_ppm), terms.cap_ppm)


def next_ppm(terms: AdaptiveMargin, scale_ppm: int, wanted: int, unchanged_ns: int) -> int | None:
    """What is announced where `scale_ppm` has been in force for `unchanged_ns`; None: nothing. Rises go the whole way,
    falls a bounded step at a time."""
    if wanted * PPM >= scale_ppm * (PPM + terms.deadband_ppm):
        return wanted
    if wanted * PPM <= scale_ppm * (PPM - terms.deadband_ppm) and unchanged_ns >= terms.fall_every_ns:
        return max(wanted, math.ceil(scale_ppm * (PPM - terms.fall_ppm) / PPM / STEP_PPM) * STEP_PPM)
    return None


class _Watch:
    """What is known of one underlying. Vols are annual."""

    def __init__(self, terms: AdaptiveMargin, underlying: int, range_ppm: int):
        self.terms, self.underlying, self.range_ppm = terms, underlying, range_ppm
        self.sampled_ns = self.index_e8 = self.samples = self.scale_ppm = self.changed_ns = 0
        self.variance = self.implied = 0.0
        self.asked: int | None = None
        """The scale that the last sample asks for, until it is announced; None: none."""
        self.missed = 0
        """Scales asked for that were not announced by the next sample."""

    @property
    def realised(self) -> float:
        return math.sqrt(self.variance)

    @property
    def wanted(self) -> int:
        return wanted_ppm(self.terms, self.range_ppm, self.realised, self.implied)


class AdaptiveMargins:
    """Watches the underlyings that `config.governance.adaptive` names.

    All that it knows follows from the journal: `sample` comes after each TICK of the venue's clock, `announced` with
    each announcement of the venue's own, in life as in a replay.
    """

    def __init__(self, engine: Any):
        self._engine = engine
        self._notice_ns = 0
        self._known: list[_Watch] | None = None

    @property
    def _watches(self) -> list[_Watch]:
        """Of the configuration, which an engine has from its genesis on."""
        if self._known is not None:
            return self._known
        config = self._engine.config
        if config is None:
            return []
        given = config.governance if isinstance(config.governance, Governance) else Governance()
        numbers = {u.name: n for n, u in enumerate(config.underlyings)}
        self._notice_ns = given.margin_notice_ns
        self._known = []
        for terms in () if given.adaptive is msgspec.UNSET else given.adaptive:
            own = config.underlyings[numbers[terms.underlying]]
            span = own.matrix.price_range_ppm if own.span is msgspec.UNSET else own.span.price_scan_range_ppm
            self._known.append(_Watch(terms, numbers[terms.underlying], span))
        return self._known

    def figures(self, underlying: int) -> dict[str, Any] | None:
        """Terms, vols and the scale wanted of an underlying; None where its rates follow nothing."""
        for watch in self._watches:
            if watch.underlying == underlying:
                return {
                    "terms": msgspec.to_builtins(watch.terms),
                    "samples": watch.samples,
                    "realised_vol": watch.realised if watch.samples else None,
                    "implied_vol": watch.implied if watch.samples else None,
                    "wanted_scale": watch.wanted / PPM if watch.samples else None,
                }
        return None

    def wanted(self) -> dict[str, float]:
        """The scale wanted by underlying's name, of those that have been sampled."""
        return {watch.terms.underlying: watch.wanted / PPM for watch in self._watches if watch.samples}

    def sample_due(self, time_ns: int) -> bool:
        """Whether a TICK at this time may be a sample's."""
        return any(time_ns - watch.sampled_ns >= watch.terms.sample_ns for watch in self._watches)

    def sample(self) -> None:
        """After a TICK of the venue's clock: take the samples that are due."""
        for watch in self._watches:
            self._sample(watch)

    def expected(self, underlying: str) -> AnnounceMargin | None:
        """The announcement that an underlying's last sample asks for; None where it asks for none."""
        for watch in self._watches:
            if watch.terms.underlying == underlying and watch.asked is not None:
                rises = watch.asked > watch.scale_ppm  # then the engine gives the least notice, from its own time on
                effective_ns = 0 if rises else watch.sampled_ns + self._notice_ns
                return AnnounceMargin(underlying=underlying, scale_ppm=watch.asked, effective_ns=effective_ns)
        return None

    def announced(self, underlying: str) -> None:
        """What was asked for is journaled."""
        for watch in self._watches:
            if watch.terms.underlying == underlying:
                watch.asked = None

    @property
    def missed(self) -> int:
        """Samples whose announcement never came: the journal was full, or the process died in between."""
        return sum(watch.missed for watch in self._watches)

    def due(self) -> list[tuple[str, bytearray]]:
        """(underlying, unstamped command) of announcements to be made now. None while another waits, nor from a sample
        whose successor is due."""
        found = []
        for watch in self._watches:
            payload = self.expected(watch.terms.underlying)
            fresh = self._engine.time_ns - watch.sampled_ns < watch.terms.sample_ns
            if payload and fresh and self._engine.mark_state(watch.underlying).announced_margin is None:
                record = commands.by(Actor.FEED, commands.cold(CommandKind.ANNOUNCE_MARGIN, payload))
                found.append((payload.underlying, record))
        return found

    def _sample(self, watch: _Watch) -> None:
        """Take a sample where one is due. Nothing is asked for while an announcement waits."""
        now, index_e8 = self._engine.time_ns, self._engine.index_price(watch.underlying)
        if now - watch.sampled_ns < watch.terms.sample_ns or not index_e8:
            return
        seen = self._engine.mark_state(watch.underlying)
        if seen.stage != "live" or seen.index_fixed:
            return
        implied = self._implied(watch)
        watch.implied = watch.implied if implied is None else implied
        if watch.samples:
            elapsed = now - watch.sampled_ns
            squared = math.log(index_e8 / watch.index_e8) ** 2 * YEAR_NS / elapsed
            # a longer gap is as many samples of the same size
            decay = (watch.terms.decay_ppm / PPM) ** (elapsed / watch.terms.sample_ns)
            watch.variance = smoothed(watch.variance, squared, decay)
        else:  # nothing is known of the past: as if it had been what options expect
            watch.variance = watch.implied**2
            watch.changed_ns = now
        watch.sampled_ns, watch.index_e8 = now, index_e8
        watch.samples += 1
        if seen.margin_scale_ppm != watch.scale_ppm:
            watch.scale_ppm, watch.changed_ns = seen.margin_scale_ppm, now
        watch.missed += watch.asked is not None
        watch.asked = None
        if seen.announced_margin is None:
            watch.asked = next_ppm(watch.terms, watch.scale_ppm, watch.wanted, now - watch.changed_ns)

    def _implied(self, watch: _Watch) -> float | None:
        """Vol at the money of the expiry closest to the wanted days; None where no option has a mark."""
        best, found = (math.inf, math.inf), None
        target_ns = self._engine.time_ns + watch.terms.implied_days * DAY_NS
        for slot, expiry_ns, strike_e8 in self._engine.pairs(watch.underlying):
            market = self._engine.market(slot)
            if market.mark_vol_e6 and market.forward_e8 and expiry_ns > self._engine.time_ns:
                far = (abs(expiry_ns - target_ns), abs(math.log(strike_e8 / market.forward_e8)))
                if far < best:
                    best, found = far, market.mark_vol_e6 / 1e6
        return found
