"""What operators may do about marks and margin: payloads and terms. Rules: docs/marks.md."""

from typing import Annotated, Literal

import msgspec

from exchange.parameters import Struct

Operator = Annotated[int, msgspec.Meta(ge=0, le=(1 << 32) - 1)]
"""Number of an administrator; the gateway knows who it is."""
Action = Literal["accept_jump", "lift_stage", "resume", "set_index"]
ACTIONS: tuple[Action, ...] = ("accept_jump", "lift_stage", "resume", "set_index")
LASTING: tuple[Action, ...] = ("lift_stage", "set_index")
"""In force for a time; the others are done at once."""


class AdaptiveMargin(Struct, frozen=True, kw_only=True):
    """How margin rates of an underlying follow its volatility (docs/marks.md); the venue announces what comes of it."""

    underlying: str
    version: int = 1
    sample_ns: int = 600_000_000_000
    """The index is sampled so often, in the live stage."""
    decay_ppm: int = 995_000
    """Of the weighted variance of the samples' returns."""
    implied_weight_ppm: int = 1_000_000
    """Of the vol at the money closest to `implied_days`; 0: realised vol alone."""
    implied_days: int = 30
    multiple_ppm: int = 4_000_000
    """The range wanted covers so many standard deviations of a move over `horizon_ns`."""
    horizon_ns: int = 86_400_000_000_000
    floor_ppm: int = 1_000_000
    cap_ppm: int = 2_500_000
    """Bounds of the scale."""
    deadband_ppm: int = 50_000
    """Changes smaller than this share of the scale in force are not announced."""
    fall_ppm: int = 100_000
    fall_every_ns: int = 86_400_000_000_000
    """The scale falls by at most `fall_ppm` of itself at a time, so long after it last changed."""

    def faults(self) -> list[str]:
        """What is wrong with the terms."""
        bounds = {
            "sample_ns": (1_000_000_000, 1 << 61),
            "decay_ppm": (0, 999_999),
            "implied_weight_ppm": (0, 10_000_000),
            "implied_days": (0, 36_500),
            "multiple_ppm": (100_000, 100_000_000),
            "horizon_ns": (1_000_000_000, 1 << 61),
            "floor_ppm": (100_000, 4_000_000),
            "cap_ppm": (self.floor_ppm, 4_000_000),
            "deadband_ppm": (10_000, 1_000_000),
            "fall_ppm": (10_000, 1_000_000),
            "fall_every_ns": (0, 1 << 61),
        }
        return [
            f"governance: adaptive {self.underlying}: {name} must be {least:,} to {most:,}"
            for name, (least, most) in bounds.items()
            if not least <= getattr(self, name) <= most
        ]


class Governance(Struct, frozen=True):
    """Terms of `Config.governance`."""

    stress_ppm: int = 1_000_000
    """Money leaves an account only where it meets its initial margin at rates times this as well."""
    margin_notice_ns: int = 3_600_000_000_000
    """Rates that rise are announced at least so long before they bind."""
    override_wait_ns: int = 600_000_000_000
    """How long a proposal waits for somebody else's approval."""
    override_max_ns: int = 3_600_000_000_000
    """The longest that an override is in force."""
    max_proposals: int = 32
    """Proposals that wait and overrides in force, together."""
    adaptive: tuple[AdaptiveMargin, ...] | msgspec.UnsetType = msgspec.UNSET
    """Underlyings whose rates follow their volatility."""

    def faults(self) -> list[str]:
        """What is wrong with the terms."""
        found = []
        if not 1_000_000 <= self.stress_ppm <= 2_500_000:
            found.append("governance: stress_ppm must be 1,000,000 (none) to 2,500,000")
        if not 0 <= self.margin_notice_ns < 1 << 61:
            found.append("governance: margin_notice_ns must not be negative")
        if not 0 < self.override_wait_ns < 1 << 61 or not 0 < self.override_max_ns < 1 << 61:
            found.append("governance: override_wait_ns and override_max_ns must be positive")
        if not 1 <= self.max_proposals <= 1_024:
            found.append("governance: max_proposals must be 1 to 1,024")
        adaptive = () if self.adaptive is msgspec.UNSET else self.adaptive
        named = [one.underlying for one in adaptive]
        if len(set(named)) < len(named):
            found.append("governance: adaptive names an underlying twice")
        for one in adaptive:
            found += one.faults()
        return found


class ProposeOverride(Struct, frozen=True, kw_only=True):
    """Payload of PROPOSE_OVERRIDE.

    `value`: accept_jump: the held index, 1e-8 USD; lift_stage: the stage that is not passed whatever the age of the
    marks (0 live, 1 reduce-only); set_index: the index, 1e-8 USD. `duration_ns`: of lift_stage and set_index.
    """

    operator: Operator
    action: Action
    underlying: str
    value: Annotated[int, msgspec.Meta(ge=0, le=10**17)] = 0
    duration_ns: Annotated[int, msgspec.Meta(ge=0, le=1 << 61)] = 0


class DecideOverride(Struct, frozen=True, kw_only=True):
    """Payload of DECIDE_OVERRIDE. reject: a proposal, by its proposer too; revoke: an override in force."""

    operator: Operator
    proposal: Annotated[int, msgspec.Meta(ge=0, le=(1 << 32) - 1)]
    decision: Literal["approve", "reject", "revoke"]


class AnnounceMargin(Struct, frozen=True, kw_only=True):
    """Payload of ANNOUNCE_MARGIN: from `effective_ns` on, margin rates of an underlying are those of its sets times
    `scale_ppm`. The scale that is in force withdraws what is announced.

    With the largest `stress_ppm` rates are ten times their sets': sums of requirements stay within 64 bits."""

    underlying: str
    scale_ppm: Annotated[int, msgspec.Meta(ge=100_000, le=4_000_000)]
    effective_ns: Annotated[int, msgspec.Meta(ge=0, le=1 << 62)] = 0
    operator: Operator = 0
