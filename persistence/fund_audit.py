"""The fund's history replayed: what every balance, claim and lease must be, and where the server says otherwise."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass, field

from persistence.insurance_fund import AMOUNT_LIMIT_MINOR, HistoryEntry, InsuranceFund


@dataclass(slots=True)
class Purse:
    """One currency of the fund as its history tells it, minor units."""

    free_minor: int = 0
    leased_minor: int = 0
    event_cap_minor: int = AMOUNT_LIMIT_MINOR
    claims_minor: dict[str, int] = field(default_factory=dict)

    def claim(self, venue_id: str, change: int) -> None:
        """Change a venue's part."""
        self.claims_minor[venue_id] = self.claims_minor.get(venue_id, 0) + change


@dataclass(slots=True)
class FundLedger:
    """The whole fund as its history tells it."""

    purses: dict[str, Purse] = field(default_factory=dict)
    leases: dict[tuple[str, str], tuple[str, int]] = field(default_factory=dict)
    """(venue, lease) -> (currency, granted) of those that are open."""
    done: set[tuple[str, str]] = field(default_factory=set)
    """(venue, operation) of the endowments and credits asked about."""
    faults: list[str] = field(default_factory=list)
    entries: int = 0
    last_entry_id: str = "-"

    def apply(self, one: HistoryEntry) -> None:
        """Follow one entry; what cannot be is a fault."""
        self.entries, self.last_entry_id = self.entries + 1, one.entry_id
        purse = self.purses.setdefault(one.currency, Purse())
        key = (one.venue_id, one.operation_id)
        if one.kind in ("endow", "credit", "debit"):
            change = -one.amount_minor if one.kind == "debit" else one.amount_minor
            purse.free_minor += change
            purse.claim(one.venue_id, change)
        elif one.kind in ("reserve", "top_up"):
            if one.kind == "top_up" and key not in self.leases:
                self.faults.append(f"{one.entry_id}: top-up of {key}, which is not open")
            _, granted = self.leases.get(key, (one.currency, 0))
            self.leases[key] = (one.currency, granted + one.result_minor)
            purse.free_minor -= one.result_minor
            purse.leased_minor += one.result_minor
        elif one.kind == "settle":
            _, granted = self.leases.pop(key, (one.currency, -1))
            if granted != one.amount_minor + one.result_minor:
                ended = f"settled {one.amount_minor} and released {one.result_minor}"
                self.faults.append(f"{one.entry_id}: lease {key} held {granted}, {ended}")
            purse.leased_minor -= one.amount_minor + one.result_minor
            purse.free_minor += one.result_minor
            purse.claim(one.venue_id, -one.amount_minor)
        elif one.kind == "limit":
            purse.event_cap_minor = one.amount_minor
        else:
            self.faults.append(f"{one.entry_id}: unknown kind {one.kind}")
        whole = purse.free_minor + purse.leased_minor
        if (one.balance_minor, one.free_minor) != (whole, purse.free_minor):
            said = f"balance {one.balance_minor}, free {one.free_minor}"
            self.faults.append(f"{one.entry_id}: says {said}; history gives {whole}, {purse.free_minor}")

    async def follow(self, history: AsyncIterator[HistoryEntry], asked: Collection[tuple[str, str]] = ()) -> None:
        """Follow all of a history; remember which of the `asked` operations are in it."""
        async for one in history:
            self.apply(one)
            if one.kind in ("endow", "credit") and (one.venue_id, one.operation_id) in asked:
                self.done.add((one.venue_id, one.operation_id))

    async def compare(self, fund: InsuranceFund) -> None:
        """Add a fault for everything that the server's balances say otherwise."""
        for currency, purse in sorted(self.purses.items()):
            state = await fund.state(currency)
            pairs = (
                ("balance", state.balance_minor, purse.free_minor + purse.leased_minor),
                ("free", state.free_minor, purse.free_minor),
                ("leased", state.leased_minor, purse.leased_minor),
                ("event cap", state.event_cap_minor, purse.event_cap_minor),
                ("sum of claims", sum(state.claims_minor.values()), state.balance_minor),
            )
            self.faults += [f"{currency}: {name} is {is_minor}, should be {should}" for name, is_minor, should in pairs
                            if is_minor != should]  # fmt: skip
            for venue in sorted(purse.claims_minor.keys() | state.claims_minor.keys()):
                is_minor, should = state.claims_minor.get(venue, 0), purse.claims_minor.get(venue, 0)
                if is_minor != should:
                    self.faults.append(f"{currency}: claim of {venue} is {is_minor}, should be {should}")
