"""What an index, forward and vol update does in the naive venue."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from exchange.commands import FORWARD_ENTRY, SLOT_BYTES, VOL_ENTRY
from exchange.events import EventKind
from exchange.reasons import Reason
from tests.oracles.averaging import WINDOW_NS, fixing_of, known
from tests.oracles.combo import Combo
from tests.oracles.contract import PPM, Contract
from tests.oracles.crowding import Depth
from tests.oracles.grid import notional_e8
from tests.oracles.pretrade import Refused, require
from tests.oracles.state import State

E12 = 10**12
HIGHEST_PRICE_E8 = 10**17
HIGHEST_VOL_E6 = 20_000_000
WIDEST = 1_000
"""Factor of an index to the one before, and of a forward to its index. What books bear beside that is not predicted:
generated marks do not come near it (tests/unit/test_absurd_marks.py does)."""


def apart(first: int, second: int) -> bool:
    """Whether two prices differ by more than the widest factor."""
    low, high = sorted((first, second))
    return high // WIDEST > low


class Marking:
    """Marks of a State."""

    def __init__(self, state: State) -> None:
        self.state = state
        count = len(state.grids)
        self.forwards: list[dict[int, int]] = [{} for _ in range(count)]
        self.updated_ns: list[int | None] = [None] * count
        self.confirmed_ns: list[int | None] = [None] * count
        """Of the last update by a feed."""
        self.by_hand = [False] * count
        """Whether no feed has spoken since the index was set by hand."""
        self.fixed = [False] * count
        """Whether an index set by hand keeps feeds out."""
        self.samples: list[list[tuple[int, int]]] = [[] for _ in range(count)]
        self.revision = [0] * count
        self.detail = 0
        self.check_index: Callable[[int, int, int], None] = lambda u, index, sources: None
        self.on_marked: Callable[[int, int], None] = lambda u, index: None
        """Called before an update moves anything, and when it was taken, before accounts are looked at."""

    def update(self, command: Mapping[str, Any], record: bytes, by_hand: bool = False) -> bool:
        """Whether the update was taken."""
        u = command["underlying"]
        self.detail = 0
        answer = {"underlying": u, "index_price_e8": command["index_price_e8"]}
        try:
            require(by_hand or u >= len(self.fixed) or not self.fixed[u], Reason.MARK_OVERRIDDEN)
            forwards, vols = self.check(command, record)
            self.detail = command["index_price_e8"]
            self.check_index(u, command["index_price_e8"], command["sources"])
        except Refused as refused:
            self.state.emit(EventKind.MARKS_REJECTED, 0, reason=refused.reason, detail=self.detail, **answer)
            return False
        repriced = self.mark(u, command["index_price_e8"], forwards, vols)
        self.revision[u] += 1
        self.state.emit(EventKind.MARKS_UPDATED, 0, repriced=repriced, revision=self.revision[u], **answer)
        self.state.model.beside.crowding.note(u, command["index_price_e8"], self.open_lots(), self.depth)
        if not by_hand:
            self.confirmed_ns[u] = self.state.time_ns
            self.by_hand[u] = False
        self.on_marked(u, command["index_price_e8"])
        for account in self.state.accounts.values():
            held = [self.state.contracts[slot].underlying for slot in account.holdings]
            if account.model.startswith("cross") or u in held:
                self.state.check_level(account)
        return True

    def open_lots(self) -> dict[int, int]:
        """Open interest by slot."""
        found: dict[int, int] = {}
        for account in self.state.accounts.values():
            for slot, holding in account.holdings.items():
                found[slot] = found.get(slot, 0) + max(0, holding.lots)
        return found

    def depth(self, c: Contract) -> Depth:
        return self.state.books[c.slot].depth(1 << 30)

    def check(self, command: Mapping[str, Any], record: bytes) -> tuple[Any, Any]:
        """Forward and vol entries, or Refused."""
        u, n = command["underlying"], command["forward_count"]
        require(u < len(self.state.grids), Reason.UNKNOWN_UNDERLYING)
        size = n * FORWARD_ENTRY.itemsize + command["vol_count"] * VOL_ENTRY.itemsize
        require(size <= len(record) - SLOT_BYTES, Reason.BAD_PAYLOAD)
        forwards = np.frombuffer(record, FORWARD_ENTRY, n, SLOT_BYTES).tolist()
        at = SLOT_BYTES + n * FORWARD_ENTRY.itemsize
        vols = np.frombuffer(record, VOL_ENTRY, command["vol_count"], at).tolist()
        index, before = command["index_price_e8"], self.state.index_e8[u]
        for price in (index, *(price for _, price in forwards)):
            require(0 < price <= HIGHEST_PRICE_E8, Reason.MARK_OUT_OF_RANGE)
            require(not apart(price, index), Reason.MARK_OUT_OF_RANGE)
        require(not before or not apart(index, before), Reason.MARK_OUT_OF_RANGE)
        for slot, vol in vols:
            self.detail = slot
            c = self.state.contracts.get(slot)
            require(c is not None and c.is_option and c.underlying == u, Reason.UNKNOWN_INSTRUMENT)
            require(0 < vol <= HIGHEST_VOL_E6, Reason.MARK_OUT_OF_RANGE)
        self.detail = 0
        return forwards, vols

    def mark(self, u: int, index: int, forwards: list[tuple[int, int]], vols: list[tuple[int, int]]) -> int:
        """New marks and rows of everything on the underlying; returns how many instruments."""
        s = self.state
        s.index_e8[u] = index
        mine = [c for c in s.contracts.values() if c.underlying == u]
        listed = {c.spec.expiry_ns for c in mine}
        self.forwards[u].update((expiry, price) for expiry, price in forwards if expiry in listed)
        for slot, vol in vols:
            spec = s.contracts[slot].spec
            for c in mine:
                pair = (c.spec.settlement, c.spec.expiry_ns, c.spec.strike_e8)
                if c.is_option and pair == (spec.settlement, spec.expiry_ns, spec.strike_e8):
                    c.vol_e6 = vol
        before = self.updated_ns[u]
        elapsed = 0 if before is None else s.time_ns - before
        self.updated_ns[u] = s.model.time_ns[u] = s.time_ns
        samples = self.samples[u]
        if not samples or s.time_ns - samples[-1][0] >= 4 * 10**9:
            samples.append((s.time_ns, index))
        grid = s.grids[u]
        grid.refresh(index)
        repriced = 0
        averaged = s.config.underlyings[u].settlement_averaging is True
        for c in sorted(mine, key=lambda c: c.slot):
            forward = self.forwards[u].get(c.spec.expiry_ns, 0)
            c.forward_e8, c.priced_ns, c.edges, c.averaged = forward, s.time_ns, None, averaged
            begun = averaged and c.spec.expiry_ns and c.spec.expiry_ns - s.time_ns < WINDOW_NS
            c.known_e8 = known(samples, c.spec.expiry_ns, index) if begun else None
            fixing = fixing_of(c, forward)
            if c.spec.kind == "perpetual":
                self.perpetual(c, elapsed)
            elif c.spec.kind == "future":
                c.mark_price_e8 = fixing.price_e8 if fixing else forward
            if c.is_option and c.vol_e6 and forward:
                grid.price_option(c, forward, index, s.time_ns)
                repriced += 1
            elif not c.is_option and not c.legs and c.mark_price_e8:
                grid.price_future(c, index)
                repriced += 1
        for c in mine:
            if isinstance(c, Combo):
                c.sum_legs()
                repriced += c.marked
        return repriced

    def perpetual(self, c: Contract, elapsed: int) -> None:
        """Funding for the time gone by at the old rate; then basis average, mark and new rate."""
        u = self.state.config.underlyings[c.underlying]
        index = self.state.index_e8[c.underlying]
        elapsed = min(elapsed, u.funding_period_ns // 8)
        bound = index * u.perpetual_bound_ppm // PPM
        notional = notional_e8(index, c.spec.inverse, c.lot_scale_minor)
        paid = notional * c.funding_rate_e12 * elapsed << 64
        c.funding_index += paid // (E12 * u.funding_period_ns)
        book = self.state.books[c.slot]
        bid, ask = book.best_price(0), book.best_price(1)
        sample = 0
        if bid is not None and ask is not None and bid < ask:
            middle = (bid + ask) * c.spec.price_unit_e8 // 2
            sample = min(bound, max(-bound, middle - index))
        c.basis_e8 += (sample - c.basis_e8) * elapsed // (u.perpetual_ema_ns + elapsed)
        c.basis_e8 = min(bound, max(-bound, c.basis_e8))
        c.mark_price_e8 = index + c.basis_e8
        premium = c.basis_e8 * E12 // index
        band = u.funding_deadband_ppm * E12 // PPM
        clamp = u.funding_clamp_ppm * E12 // PPM
        rate = max(band, premium) + min(-band, premium)
        c.funding_rate_e12 = min(clamp, max(-clamp, rate))
