"""Layouts of the events about marks themselves: stages, jumps, circuit breakers, overrides, announced margin."""

from enum import IntEnum

import numpy as np

from exchange.commands import HEADER

MARK_STAGE_CHANGED = np.dtype(
    [
        *HEADER,
        ("underlying", "<u2"),
        ("stage", "u1"),
        ("previous_stage", "u1"),
        ("reason", "<u2"),
        ("reserved0", "V2"),
        ("marked_ns", "<i8"),
        ("reserved", "V24"),
    ]
)
"""stage: 0 live, 1 reduce-only, 2 halt. marked_ns: time of the underlying's last accepted marks."""


class JumpOutcome(IntEnum):
    """What became of an index move beyond `mark_jump_ppm`."""

    HELD = 1
    CONFIRMED = 2
    RETURNED = 3
    """The index came back within the bound."""
    LAPSED = 4
    """Nobody confirmed it within `jump_hold_ns`."""
    REPLACED = 5
    """Another jump came instead."""


MARK_JUMP = np.dtype(
    [
        *HEADER,
        ("underlying", "<u2"),
        ("outcome", "u1"),
        ("reserved0", "u1"),
        ("sources", "<u4"),
        ("index_price_e8", "<i8"),
        ("previous_index_e8", "<i8"),
        ("held_ns", "<i8"),
        ("reserved", "V8"),
    ]
)
"""sources: a bit for each that has said it; held_ns: since when it has been held (0: taken at once)."""
BREAKER_TRIPPED = np.dtype(
    [
        *HEADER,
        ("underlying", "<u2"),
        ("reserved0", "V6"),
        ("index_price_e8", "<i8"),
        ("reference_e8", "<i8"),
        ("until_ns", "<i8"),
        ("reserved", "V8"),
    ]
)
"""reference_e8: the lowest or highest index of the window, from which the move was too wide."""


class OverrideState(IntEnum):
    """What became of a proposal."""

    PROPOSED = 1
    IN_FORCE = 2
    """Approved; until `until_ns`."""
    DONE = 3
    """Approved, and done at once."""
    REJECTED = 4
    WITHDRAWN = 5
    LAPSED = 6
    """Nobody approved it within `override_wait_ns`."""
    ENDED = 7
    """Its time is over."""
    REVOKED = 8
    """An operator ended it early."""


OVERRIDE_CHANGED = np.dtype(
    [
        *HEADER,
        ("proposal", "<u4"),
        ("underlying", "<u2"),
        ("action", "u1"),
        ("state", "u1"),
        ("proposer", "<u4"),
        ("operator_id", "<u4"),
        ("value", "<i8"),
        ("until_ns", "<i8"),
        ("reserved", "V8"),
    ]
)
"""action: number in exchange.governance.ACTIONS. operator_id: who did this, 0: time. until_ns: of a proposal the time
by which it must be approved, of an override in force its end."""


class AnnouncementState(IntEnum):
    ANNOUNCED = 1
    IN_FORCE = 2
    WITHDRAWN = 3


MARGIN_ANNOUNCED = np.dtype(
    [
        *HEADER,
        ("underlying", "<u2"),
        ("state", "u1"),
        ("reserved0", "u1"),
        ("scale_ppm", "<u4"),
        ("previous_scale_ppm", "<u4"),
        ("operator_id", "<u4"),
        ("effective_ns", "<i8"),
        ("reserved", "V16"),
    ]
)
"""scale_ppm: what margin rates are multiplied with from `effective_ns` on; previous_scale_ppm: what they are now."""
