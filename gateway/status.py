"""The status line of a running venue: refreshed in place on a terminal, now and then a line elsewhere."""

import shutil
import sys
import time
from typing import Any, TextIO

from gateway.units import money

TTY_SECONDS = 0.5
PLAIN_SECONDS = 10.0


class Status:
    """Writes progress and status to a stream (standard error by default)."""

    def __init__(self, stream: TextIO | None = None):
        self._stream = stream or sys.stderr
        self.in_place = self._stream.isatty()
        self.period_seconds = TTY_SECONDS if self.in_place else PLAIN_SECONDS
        self._open = False  # a line without its end stands on the terminal
        self._before: tuple[float, int] | None = None

    def say(self, text: str) -> None:
        """One line that stays."""
        self._write(("\r\x1b[2K" if self._open else "") + text + "\n")
        self._open = False

    def progress(self, text: str) -> None:
        """A line that the next one replaces, on a terminal only."""
        if self.in_place:
            width = shutil.get_terminal_size().columns  # a wrapped line could not be replaced
            self._write("\r\x1b[2K" + text[: width - 1])
            self._open = True

    def show(self, engine: Any, sequencer: Any, fund_lag: int) -> None:
        """The venue as it stands."""
        line = self.line(engine, sequencer, fund_lag)
        if self.in_place:
            self.progress(line)
        else:
            self.say(line)

    def line(self, engine: Any, sequencer: Any, fund_lag: int) -> str:
        """seq, orders per second since the last call, trades, accounts, auctions, fund."""
        counters, now = engine.counters(), time.monotonic()
        rate = 0.0
        if self._before is not None and now > self._before[0]:
            rate = (counters.orders - self._before[1]) / (now - self._before[0])
        self._before = (now, counters.orders)
        funds = []
        for currency in engine.config.currencies:
            held = money(engine.ledger(currency.name)["fund"], currency.exponent)
            funds.append(f"{held:,.2f} {currency.name}")
        lag = f" ({fund_lag} waiting)" if fund_lag else ""
        return (
            f"{rate:,.0f} orders/s · {counters.trades:,} trades · {counters.below_maintenance} of "
            f"{counters.accounts:,} below maintenance · auctions {counters.auctions_open} "
            f"({counters.auctions_closed} closed) · seq {sequencer.seq:,} · fund {' + '.join(funds)}{lag}"
        )

    def end(self) -> None:
        """Leave the terminal on a line of its own."""
        if self._open:
            self._write("\n")
            self._open = False

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (BrokenPipeError, ValueError):
            self.in_place = False
