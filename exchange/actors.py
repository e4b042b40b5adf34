"""Who gives administrative commands."""

from enum import IntEnum


class Actor(IntEnum):
    """Who gave an administrative command (clients' commands carry account and key)."""

    VENUE = 0
    """The composition root: genesis, listing, house accounts."""
    OPERATOR = 1
    """Somebody on the admin socket, or offline with the data directory's lock."""
    FEED = 2
    FUND_WORKER = 3
    CLOCK = 4
