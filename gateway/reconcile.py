"""Whether a venue's ledger and the shared fund agree: to the unit, but for listed operations on their way."""

from typing import Any

import msgspec

from exchange.views import LeaseView
from gateway.fund_queue import Operation
from gateway.liquidator import fund_name
from persistence.fund_audit import FundLedger
from persistence.insurance_fund import InsuranceFund

ATTEMPTS = 20


class Books(msgspec.Struct, frozen=True):
    """A venue's side at one moment (the admin operation `fund_books`). Amounts in minor units."""

    venue_id: str
    currencies: list[str]
    claims: list[int]
    """By currency number."""
    leases: list[LeaseView]
    waiting: list[Operation]
    """Not confirmed yet; they may be done at the fund already."""


class Difference(msgspec.Struct, frozen=True):
    """One currency. fund - ledger = drawn - owed where everything is explained."""

    fund_minor: int
    ledger_minor: int
    drawn_minor: int
    """Drawn in the ledger on leases that the fund has not settled yet."""
    owed_minor: int
    """In the ledger already, on its way to the fund."""

    @property
    def unexplained_minor(self) -> int:
        """What must be zero."""
        return self.fund_minor - self.ledger_minor - self.drawn_minor + self.owed_minor


class Report(msgspec.Struct, frozen=True):
    """What `reconcile` found."""

    venue_id: str
    currencies: dict[str, Difference]
    on_the_way: list[str]
    """Operation ids that explain a difference."""
    faults: list[str]

    @property
    def agrees(self) -> bool:
        """Everything is explained, and the fund's balances are what its history says."""
        return not self.faults

    def shown(self) -> dict[str, Any]:
        """As one JSON object."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        for name, one in self.currencies.items():
            found["currencies"][name]["unexplained_minor"] = one.unexplained_minor
        return {**found, "agrees": self.agrees}


async def audit(fund: InsuranceFund) -> FundLedger:
    """The fund's own books: history against balances, read until nothing moved in between."""
    for _ in range(ATTEMPTS):
        ledger = FundLedger()
        await ledger.follow(fund.history())
        await ledger.compare(fund)
        if not [one async for one in fund.history(after=ledger.last_entry_id)]:
            return ledger
    raise RuntimeError("the fund does not come to rest long enough to be read")


async def reconcile(fund: InsuranceFund, books: Books) -> tuple[Report, str]:
    """A venue's books against the fund's; and the fund's last entry then. What moved meanwhile shows as a fault: read
    again where it did."""
    asked = {(books.venue_id, one.operation_id) for one in books.waiting}
    ledger = FundLedger()
    await ledger.follow(fund.history(), asked)
    await ledger.compare(fund)
    on_the_way, faults = [], list(ledger.faults)
    currencies = {}
    for number, (currency, claim) in enumerate(zip(books.currencies, books.claims, strict=True)):
        purse = ledger.purses.get(currency)
        owed = drawn = 0
        for one in books.waiting:
            put_in = one.currency == number and one.kind in ("endow", "credit")
            if put_in and (books.venue_id, one.operation_id) not in ledger.done:
                owed += one.amount_minor
                on_the_way.append(f"{one.kind} {one.operation_id}: {one.amount_minor} {currency}")
        for lease in books.leases:
            if lease.currency == currency and (books.venue_id, fund_name(lease.lease_id)) in ledger.leases:
                drawn += lease.used_minor
                if lease.used_minor:
                    on_the_way.append(f"draw on {fund_name(lease.lease_id)}: {lease.used_minor} {currency}")
        in_fund = purse.claims_minor.get(books.venue_id, 0) if purse else 0
        currencies[currency] = found = Difference(in_fund, claim, drawn, owed)
        if found.unexplained_minor:
            faults.append(f"{currency}: {found.unexplained_minor} minor units of {books.venue_id} are unexplained")
    known = {fund_name(lease.lease_id) for lease in books.leases}
    faults += [
        f"lease {lease} of {granted} {currency} is unknown to the venue"
        for (venue, lease), (currency, granted) in sorted(ledger.leases.items())
        if venue == books.venue_id and lease not in known
    ]
    return Report(books.venue_id, currencies, on_the_way, faults), ledger.last_entry_id
