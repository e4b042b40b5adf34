"""When trading days end."""

DAY_NS = 86_400 * 10**9


def next_day_end(time_ns: int) -> int:
    """The first 08:00 UTC after a time."""
    eight = time_ns // DAY_NS * DAY_NS + DAY_NS // 3
    return eight if time_ns < eight else eight + DAY_NS
