"""`GET /metrics`: the venue's counters in Prometheus' text format, to callers on the loopback."""

import ipaddress
from typing import TYPE_CHECKING, Any

from exchange.risk.mark_stages import STAGES
from gateway.admin_fund import report
from gateway.stress import JOINT, USD_E4, fund_usd_e4
from gateway.units import PPM

if TYPE_CHECKING:
    from gateway.gateway import Gateway

PATH = "/metrics"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
COUNTERS = (
    ("commands", "counter", "Commands applied"),
    ("orders", "counter", "Orders placed"),
    ("trades", "counter", "Trades"),
    ("events", "counter", "Events"),
    ("liquidations", "counter", "Liquidations started"),
    ("auctions_closed", "counter", "Liquidation auctions closed"),
    ("accounts", "gauge", "Accounts"),
    ("open_orders", "gauge", "Open orders"),
    ("instruments", "gauge", "Instruments"),
    ("below_maintenance", "gauge", "Accounts below maintenance margin"),
    ("auctions_open", "gauge", "Liquidation auctions running"),
)
Sample = tuple[dict[str, str], float]


def for_caller(address: str) -> bool:
    """Whether a peer may read the metrics: the loopback, or a socket of the machine's own."""
    if address == "local":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def text(gateway: "Gateway") -> bytes:
    """All metrics now; stress figures are those of the last complete sweep."""
    engine = gateway.engine
    lines: list[str] = []
    if engine.config is None:
        return b""
    counters = engine.counters()
    for name, kind, what in COUNTERS:
        suffix = "_total" if kind == "counter" else ""
        _add(lines, f"margrave_{name}{suffix}", kind, what, [({}, getattr(counters, name))])
    _add(lines, "margrave_seq", "gauge", "Last applied command", [({}, engine.seq)])
    funds: list[Sample] = [
        ({"currency": one.name}, engine.ledger(one.name)["fund"] / 10**one.exponent) for one in engine.config.currencies
    ]
    _add(lines, "margrave_fund", "gauge", "Claim on the insurance fund, coins", funds)
    _add(lines, "margrave_fund_usd", "gauge", "The same in USD", [({}, fund_usd_e4(engine) / USD_E4)])
    capital: list[Sample] = [
        ({"currency": one.name}, engine.ledger(one.name)["capital"] / 10**one.exponent)
        for one in engine.config.currencies
    ]
    _add(lines, "margrave_capital", "gauge", "The venue's own capital before the fund, coins", capital)
    _add(lines, "margrave_default_cover_total", "counter", "Borne of ended defaults by tranche, coins", _borne(engine))
    indices: list[Sample] = [
        ({"underlying": one.name}, engine.index_price(number) / 1e8)
        for number, one in enumerate(engine.config.underlyings)
    ]
    _add(lines, "margrave_index_usd", "gauge", "Index price", indices)
    _marks(lines, engine)
    _adaptive(lines, gateway)
    if gateway.index_feed is not None:
        seen = gateway.index_feed.states(engine.time_ns)
        shown = [({"underlying": s["underlying"], "source": s["source"]}, float(s["state"] == "agrees")) for s in seen]
        _add(lines, "margrave_index_source", "gauge", "Whether a source of an index is recent and agrees", shown)
        missing: list[Sample] = [({"underlying": name}, n) for name, n in gateway.index_feed.missing.items()]
        _add(lines, "margrave_index_missing_total", "counter", "Updates without enough agreeing sources", missing)
    _stress(lines, gateway)
    return ("\n".join(lines) + "\n").encode()


def _borne(engine: Any) -> list[Sample]:
    return [
        ({"currency": name, "tranche": tranche}, float(amount))
        for name, one in report(engine).items()
        for tranche, amount in one["borne"].items()
    ]


MARK_GAUGES = (
    ("mark_stage", "Stage of an underlying's marks: 0 live, 1 reduce-only, 2 halt", lambda s: STAGES.index(s.stage)),
    ("mark_age_stage", "The stage that the age alone gives", lambda s: STAGES.index(s.age_stage)),
    ("mark_jump_held", "Whether a jump of the index waits to be confirmed", lambda s: int(s.held_jump is not None)),
    ("breaker_paused", "Whether a circuit breaker pauses the underlying", lambda s: int(s.paused_until_ns > 0)),
    ("index_fixed", "Whether an index set by hand is in force", lambda s: int(s.index_fixed)),
    ("margin_scale", "What the margin rates are multiplied with", lambda s: s.margin_scale_ppm / PPM),
    ("margin_announced", "Whether other margin rates are announced", lambda s: int(s.announced_margin is not None)),
)


def _marks(lines: list[str], engine: Any) -> None:
    names = [one.name for one in engine.config.underlyings]
    seen = [engine.mark_state(number) for number in range(len(names))]
    for name, what, value in MARK_GAUGES:
        samples: list[Sample] = [({"underlying": one}, value(s)) for one, s in zip(names, seen, strict=True)]
        _add(lines, f"margrave_{name}", "gauge", what, samples)
    ages: list[Sample] = [
        ({"underlying": one}, (engine.time_ns - s.marked_ns) / 1e9)
        for one, s in zip(names, seen, strict=True)
        if s.marked_ns
    ]
    _add(lines, "margrave_mark_age_seconds", "gauge", "Venue time since the last accepted marks of a feed", ages)
    counts = [len(found) for found in engine.mark_overrides()]
    waits: list[Sample] = [({"state": word}, n) for word, n in zip(("proposed", "in_force"), counts, strict=True)]
    _add(lines, "margrave_overrides", "gauge", "Overrides of the marks' governance", waits)


def _adaptive(lines: list[str], gateway: "Gateway") -> None:
    watched = {} if gateway.adaptive is None else gateway.adaptive.wanted()
    samples: list[Sample] = [({"underlying": name}, scale) for name, scale in watched.items()]
    if samples:
        _add(
            lines,
            "margrave_margin_wanted_scale",
            "gauge",
            "The scale of margin rates that volatility asks for",
            samples,
        )


def _stress(lines: list[str], gateway: "Gateway") -> None:
    latest = gateway.stress.current()
    cover: list[Sample] = [({"underlying": one["underlying"]}, one["cover_2"]["loss"]) for one in latest]
    _add(lines, "margrave_cover_2_usd", "gauge", "Loss beyond equity of the two largest owner groups", cover)
    moves: list[Sample] = [
        ({"underlying": one["underlying"], "vol": vol}, move)
        for one in latest
        for vol, move in one["reverse_stress"].items()
        if move is not None
    ]
    _add(lines, "margrave_reverse_stress_move", "gauge", "Smallest index move that empties the fund", moves)


def _add(lines: list[str], name: str, kind: str, what: str, samples: list[Sample]) -> None:
    lines += [f"# HELP {name} {what}", f"# TYPE {name} {kind}"]
    for labels, value in samples:
        shown = ",".join(f'{label}="{word}"' for label, word in labels.items())
        lines.append(f"{name}{{{shown}}} {value}" if shown else f"{name} {value}")


__all__ = ["CONTENT_TYPE", "JOINT", "PATH", "for_caller", "text"]
