"""Transfers between the accounts of an owner in the naive venue. Rules: docs/marks.md, "Transfers"."""

from exchange import commands, payloads
from exchange.events import BalanceCause, EventKind
from exchange.reasons import Reason
from tests.oracles.account import Account
from tests.oracles.announcing import Announcing, Kept
from tests.oracles.pretrade import require
from tests.oracles.state import State

DAY_NS = 24 * 3_600 * 10**9
Terms = tuple[int, int, str, int]


class Moving:
    """Keeps every transfer that was ever made with a nonce."""

    def __init__(self, state: State, announcing: Announcing) -> None:
        self.state = state
        self.announcing = announcing
        self.made = 0
        self.nonces: list[tuple[int, int, str, int, Terms]] = []
        """(time, account, nonce, id, terms)"""

    def side(self, account_id: int, owner_id: int) -> Account:
        found = self.state.accounts.get(account_id)
        if found is None or found.owner_id != owner_id:
            raise Kept(Reason.UNKNOWN_SUBACCOUNT, account_id if 0 < account_id < 2**32 else 0)
        if found.holder:
            raise Kept(Reason.BUCKET_ACCOUNT, account_id)
        return found

    def submit(self, account_id: int, payload: payloads.SubmitTransfer) -> int:
        """The id of the transfer, the earlier one where the nonce repeats it."""
        s, amount = self.state, payload.amount_minor
        names, most = [c.name for c in s.config.currencies], s.config.limits.max_balance_minor // 2
        require(account_id in s.accounts, Reason.UNKNOWN_ACCOUNT)
        require(payload.currency in names, Reason.UNKNOWN_CURRENCY)
        require(amount > 0, Reason.AMOUNT_NOT_POSITIVE)
        require(amount <= most, Reason.AMOUNT_TOO_LARGE)
        require(payload.nonce == "" or 8 <= len(payload.nonce.encode()) <= 128, Reason.BAD_PAYLOAD)
        currency = names.index(payload.currency)
        giver = account_id if payload.source == 0 else payload.source
        terms = (giver, payload.destination, payload.currency, amount)
        recent = [one for one in self.nonces if one[0] >= s.time_ns - DAY_NS]
        earlier = [one[3:] for one in recent if payload.nonce and one[1:3] == (account_id, payload.nonce)]
        for number, known in earlier:
            if known != terms:
                raise Kept(Reason.NONCE_USED, number)
            return number
        owner = s.accounts[account_id].owner_id
        source, target = self.side(giver, owner), self.side(payload.destination, owner)
        if source is target:
            raise Kept(Reason.SAME_ACCOUNT, giver)
        eldest = min(a.account_id for a in s.accounts.values() if a.owner_id == owner)
        if source is not s.accounts[account_id] and not account_id == owner == eldest:
            raise Kept(Reason.NOT_MAIN_ACCOUNT, giver)
        if source.in_liquidation:
            raise Kept(Reason.ACCOUNT_IN_LIQUIDATION, giver)
        if target.cash[currency] + amount > most:
            raise Kept(Reason.AMOUNT_TOO_LARGE, target.account_id)
        if payload.nonce:
            require(sum(one[1] == account_id for one in recent) < 1_024, Reason.NONCE_LIMIT)
        self.announcing.leaving(source, currency, amount)
        self.made += 1
        if payload.nonce:
            self.nonces.append((s.time_ns, account_id, payload.nonce, self.made, terms))
        self.book(source, target, currency, amount, account_id, payload.nonce.encode())
        return self.made

    def book(
        self, source: Account, target: Account, currency: int, amount: int, asker: int, nonce: bytes
    ) -> None:  # fmt: skip
        s = self.state
        source.cash[currency] -= amount
        target.cash[currency] += amount
        s.emit(
            EventKind.FUNDS_TRANSFERRED, source.account_id, label=nonce, transfer_id=self.made, currency=currency,
            to_account_id=target.account_id, amount_minor=amount, submitted_by=asker, nonce_bytes=len(nonce),
        )  # fmt: skip
        for account, signed in ((source, -amount), (target, amount)):
            s.emit(
                EventKind.BALANCE_CHANGED, account.account_id, currency=currency, cause=BalanceCause.TRANSFER,
                instrument=commands.NO_INSTRUMENT, amount_minor=signed, balance_minor=account.cash[currency],
                reference=self.made,
            )  # fmt: skip
        s.check_level(source)
        s.check_level(target)
