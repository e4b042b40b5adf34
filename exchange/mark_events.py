"""Layouts of the events about marks themselves: stages of an underlying."""

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
