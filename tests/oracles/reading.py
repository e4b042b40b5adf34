"""Command records as plain values."""

from typing import Any

import numpy as np


def fields_of(record: bytes, layout: np.dtype[Any]) -> dict[str, Any]:
    """The record's fields as plain Python values."""
    values = np.frombuffer(record, layout, 1)[0].item()
    return dict(zip(layout.names, values, strict=True))
