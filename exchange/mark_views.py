"""What the engine shows of the marks themselves."""

from exchange.views import View


class MarkState(View, frozen=True):
    """How far an underlying's marks may be leaned on."""

    stage: str
    """live, reduce_only or halt"""
    marked_ns: int
    """Venue time of the last accepted marks, 0: there were none."""
    held_jump: tuple[int, int, int] | None = None
    """(index in 1e-8 USD, a bit for each source, since when) of a jump that waits to be confirmed."""
    age_stage: str = "live"
    """The stage that the age alone gives; `stage` differs from it while an override is in force."""
    paused_until_ns: int = 0
    """Until when the circuit breaker pauses the underlying; 0: it does not."""
    index_fixed: bool = False
    """Whether an index set by hand is in force."""
    margin_scale_ppm: int = 1_000_000
    """What the margin rates of the underlying's sets are multiplied with."""
    announced_margin: tuple[int, int] | None = None
    """(scale in ppm, from when on) of rates that are announced."""


class OverrideView(View, frozen=True):
    """An override of the marks' governance: a proposal, or in force."""

    proposal: int
    action: str
    underlying: str
    value: int
    duration_ns: int
    proposer: int
    proposed_ns: int
    until_ns: int
    """Of a proposal: by when it must be approved; in force: its end, 0 where it was done at once."""
    approver: int = 0
