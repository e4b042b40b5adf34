"""Money that the venue puts aside for defaults: the fund's and its own capital, in the naive venue."""

from exchange import config
from exchange.commands import NO_INSTRUMENT
from exchange.events import BalanceCause, EventKind
from exchange.reasons import Reason
from tests.oracles.pretrade import Refused, require
from tests.oracles.state import State

Payload = config.Transfer


class TooLittle(Refused):
    """A refusal that tells how much there is."""

    def __init__(self, detail: int) -> None:
        super().__init__(Reason.INSUFFICIENT_WITHDRAWABLE)
        self.detail = detail


class Purses:
    """Each returns the detail of COMMAND_DONE."""

    def __init__(self, state: State) -> None:
        self.state = state

    def known(self, payload: Payload, name: str) -> tuple[int, int]:
        """(currency, what is in the purse)."""
        names = [c.name for c in self.state.config.currencies]
        require(payload.currency in names, Reason.UNKNOWN_CURRENCY)
        require(payload.amount_minor > 0, Reason.AMOUNT_NOT_POSITIVE)
        currency = names.index(payload.currency)
        return currency, self.state.ledger.get((name, currency), 0)

    def move(self, name: str, currency: int, amount: int, cause: BalanceCause, reference: int) -> int:
        self.state.post(name, 0, currency, amount)
        self.state.post("outside", 0, currency, -amount)
        self.state.emit(
            EventKind.BALANCE_CHANGED, 0, currency=currency, cause=cause, instrument=NO_INSTRUMENT,
            amount_minor=amount, balance_minor=self.state.ledger[name, currency], reference=reference,
        )  # fmt: skip
        return abs(amount)

    def endow_fund(self, _: int, payload: Payload) -> int:
        currency, held = self.known(payload, "fund")
        limit = self.state.config.limits.max_balance_minor
        require(payload.amount_minor <= min(limit // 2, limit - held), Reason.AMOUNT_TOO_LARGE)
        return self.move("fund", currency, payload.amount_minor, BalanceCause.FUND_ENDOWMENT, payload.reference)

    def endow_capital(self, _: int, payload: Payload) -> int:
        currency, held = self.known(payload, "capital")
        require(payload.amount_minor <= self.state.config.limits.max_balance_minor - held, Reason.AMOUNT_TOO_LARGE)
        return self.move("capital", currency, payload.amount_minor, BalanceCause.CAPITAL_ENDOWMENT, payload.reference)

    def release_capital(self, _: int, payload: Payload) -> int:
        currency, held = self.known(payload, "capital")
        if payload.amount_minor > held:
            raise TooLittle(held)
        return self.move("capital", currency, -payload.amount_minor, BalanceCause.CAPITAL_RELEASE, payload.reference)
