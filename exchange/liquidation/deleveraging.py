"""Auto-deleveraging, the last resort: positions that no bidder took are closed against accounts on the other side.

It comes when the insolvent phase has run its time without a buyer, and takes everything that is left, at the marks.
What the account then lacks is paid from the fund's lease as far as that goes; the rest, and only that, is borne by the
other side: the closing prices are shifted against it in proportion to the legs' value at the marks, at most
`deleverage_shift_ppm` of it, so that the shifts sum to the unfunded deficit to the unit. Each closing has its receipt
(POSITION_DELEVERAGED) with rank, leverage and the loss borne. Where the bounds do not let the deficit be placed nothing
happens and the auction goes on.

Who is closed, leg by leg: first other accounts of the same owner, then those whose requirement does not rise with it (a
hedge is stripped last), within these by the owner group's requirement / equity, highest first, then by account id;
accounts in liquidation themselves come last.
"""

from typing import Any, NamedTuple

from exchange.config import Liquidation as Parameters
from exchange.liquidation.auction import INSOLVENT, PPM, Auction, AuctionHouse

MAX_LEVERAGE_PPM = (1 << 32) - 1
MAX_LOTS = 1 << 62


class Counterparty(NamedTuple):
    """An account on the other side of a leg. `added_usd_e4`: what closing its part adds to its requirement."""

    account_id: int
    lots: int
    leverage_ppm: int
    added_usd_e4: int


class Stranger:
    """Nobody's auction: the account whose positions a queue is asked for is not known yet."""

    account_id = 0


def shares(total: int, weights: list[int]) -> list[int]:
    """`total` in proportion to weights that are not all zero, summing to it exactly."""
    whole, passed, out = sum(weights), 0, []
    given = 0
    for weight in weights:
        passed += weight
        part = total * passed // whole - given
        given += part
        out.append(part)
    return out


class Deleveraging:
    """Closes what an auction could not sell. `desk` is exchange.liquidation.desk.Desk."""

    def __init__(self, desk: Any, house: AuctionHouse, parameters: Parameters) -> None:
        self.desk = desk
        self.house = house
        self.parameters = parameters
        self.closings = 0
        self.loss_minor: dict[int, int] = {}
        """By currency: what counterparties have borne."""

    def due(self, auction: Auction, now: int) -> bool:
        """Whether the insolvent phase is over and the fund has had its time to answer."""
        if auction.phase != INSOLVENT or auction.clock_ns < auction.terms.insolvent_ns:
            return False
        lease = self.house.leases.get(auction.lease_id)
        if lease is None or lease.state != "requested":
            return True
        return bool(now - lease.asked_ns >= self.parameters.lease_wait_ns)

    def run(self, auction: Auction) -> bool:
        """Close every position of the auction's account; False (nothing changed) where the deficit cannot be placed."""
        account_id, entity = auction.account_id, auction.entity
        legs: list[tuple[int, int]] = self.desk.held(account_id, entity)
        if not legs:
            return False
        deficit = max(0, -self.desk.remainder(account_id, entity, auction.currency))
        drawn = min(deficit, self.house.leases.free(auction.lease_id))
        values = [self.desk.value_in(instrument, lots, auction.currency) for instrument, lots in legs]
        unfunded = deficit - drawn
        if unfunded > sum(value * self.parameters.deleverage_shift_ppm // PPM for value in values):
            return False
        shifts = shares(unfunded, values) if unfunded else [0] * len(legs)
        touched: set[int] = set()
        for (instrument, lots), shift in zip(legs, shifts, strict=True):
            own = self.desk.from_currency(instrument, auction.currency, shift)
            touched |= self._close(auction, instrument, lots, own)
        if unfunded:
            if auction.lease_id == 0:
                auction.lease_id = self.house.leases.open(auction.auction_id, account_id, auction.currency)
            self.house.leases.bear(auction.lease_id, unfunded)
        if drawn:
            self.house.leases.draw(auction.lease_id, account_id, drawn)
        for other in sorted(touched):
            self.desk.after(other)
        self.desk.after(account_id)
        return True

    def _close(self, auction: Auction, instrument: int, lots: int, shift: int) -> set[int]:
        """One leg against as many counterparties as it takes; `shift` in minor units of the leg's currency."""
        left, given, total = abs(lots), 0, abs(lots)
        touched = set()
        for rank, one, part in self._parts(self._ranked(auction, instrument, lots), instrument, total, shift):
            left -= part
            borne = shift * (total - left) // total - given
            given += borne
            signed = part if lots > 0 else -part
            cost = self.desk.close_against(auction.account_id, one.account_id, instrument, signed, borne)
            self.desk.emit_deleveraged(
                one.account_id, auction.auction_id, auction.account_id, instrument, signed, cost, borne, rank,
                one.leverage_ppm, one.added_usd_e4,
            )  # fmt: skip
            self.closings += 1
            currency = self.desk.currency_of(instrument)
            self.loss_minor[currency] = self.loss_minor.get(currency, 0) + borne
            touched.add(one.account_id)
        if left:
            raise ValueError(f"instrument {instrument}: {left} lots have no other side")
        return touched

    def _parts(
        self, ranked: list[Counterparty], instrument: int, total: int, shift: int
    ) -> list[tuple[int, Counterparty, int]]:
        """(rank, counterparty, lots) of a leg of `total` lots: isolated positions no further than their own collateral
        bears of the shift, which nobody would pay for them; beyond that only where nobody else is left."""
        left, parts, taken = total, [], [0] * len(ranked)
        for bounded in (True, False):
            for place, one in enumerate(ranked):
                part = min(left, one.lots - taken[place])
                if bounded and shift > 0 and self.desk.is_bucket(one.account_id):
                    worth = self.desk.worth(one.account_id, self.desk.currency_of(instrument))
                    part = min(part, max(0, worth - 1) * total // shift)
                if part > 0:
                    parts.append((place + 1, one, part))
                    taken[place] += part
                    left -= part
        return parts

    def queue(self, instrument: int, lots: int) -> list[Counterparty]:
        """Who holds the other side of signed lots, in the order in which a stranger's would be closed; of each all it
        holds."""
        return self._ranked(Stranger(), instrument, MAX_LOTS if lots > 0 else -MAX_LOTS)

    def _ranked(self, auction: "Auction | Stranger", instrument: int, lots: int) -> list[Counterparty]:
        """The other side of a leg in the order in which it is closed."""
        own = self.desk.owner(auction.account_id)
        leverage: dict[int, int] = {}
        found = []
        for account_id, held in self.desk.opposites(auction.account_id, instrument, lots):
            owner = self.desk.owner(account_id)
            if owner not in leverage:
                requirement, equity = self.desk.group_usd(owner)
                ratio = requirement * PPM // equity if equity > 0 else MAX_LEVERAGE_PPM
                leverage[owner] = min(ratio, MAX_LEVERAGE_PPM)
            part = min(held, abs(lots))
            added = self.desk.added_usd(account_id, instrument, part if lots > 0 else -part)
            one = Counterparty(account_id, held, leverage[owner], added)
            key = (self.desk.in_liquidation(account_id), owner != own, added > 0, -leverage[owner], account_id)
            found.append((key, one))
        return [one for _, one in sorted(found)]

    def export(self) -> list[Any]:
        """Canonical state."""
        return [self.closings, sorted(self.loss_minor.items())]
