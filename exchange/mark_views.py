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
