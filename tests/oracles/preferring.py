"""The naive terms of liquidation auctions, owners' preferences and retained bidders. Rules: docs/liquidation.md."""

import msgspec

from exchange.config import Liquidation
from exchange.events import EventKind
from exchange.payloads import AuctionTerms, SetBackstop, SetUnwind
from exchange.reasons import Reason
from tests.oracles.pretrade import require
from tests.oracles.state import State

SHARES = ("discount_start_ppm", "discount_cutoff_ppm", "compensation_cap_ppm", "fee_ppm")
TIMES = ("fast_ns", "slow_ns", "insolvent_ns", "batch_ns")
DAY_NS = 86_400 * 10**9
MOST_RETAINED = 16


class Preferring:
    """What the three commands change, and what they answer: each returns the detail of COMMAND_DONE."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.terms_of: dict[int, tuple[int, Liquidation]] = {}
        """By underlying, where they were changed: version and terms of new auctions."""
        self.preference: dict[int, int] = {}
        self.retained: dict[int, int] = {}
        """By account: the largest portfolio that it takes, USD."""

    def unwind(self, account_id: int, payload: SetUnwind) -> int:
        require(account_id in self.state.accounts, Reason.UNKNOWN_ACCOUNT)
        number = ("smallest", "proportional", "futures_first", "options_first").index(payload.preference)
        self.preference[account_id] = number
        return number

    def backstop(self, account_id: int, payload: SetBackstop) -> int:
        require(account_id in self.state.accounts, Reason.UNKNOWN_ACCOUNT)
        require(payload.most_usd >= 0, Reason.BAD_PAYLOAD)
        if payload.most_usd == 0:
            self.retained.pop(account_id, None)
        else:
            require(len(self.retained.keys() | {account_id}) <= MOST_RETAINED, Reason.LIMIT_REACHED)
            self.retained[account_id] = payload.most_usd
        return len(self.retained)

    def terms(self, _: int, payload: AuctionTerms) -> int:
        base = self.state.config.liquidation
        names = [underlying.name for underlying in self.state.config.underlyings]
        require(payload.underlying in names, Reason.UNKNOWN_CURRENCY)
        values = {name: getattr(payload, name) for name in ("buffer_ppm", *SHARES, *TIMES)}
        values = {name: getattr(base, name) if value is None else value for name, value in values.items()}
        sound = all(0 <= values[name] <= 1_000_000 for name in SHARES)
        sound = sound and 0 < values["discount_cutoff_ppm"] <= values["discount_start_ppm"]
        sound = sound and 0 <= values["buffer_ppm"] <= 2_000_000 and values["fee_ppm"] <= 500_000
        require(sound and all(0 < values[name] <= DAY_NS for name in TIMES), Reason.BAD_CONFIGURATION)
        number = names.index(payload.underlying)
        version = self.terms_of.get(number, (0, base))[0] + 1
        self.terms_of[number] = version, msgspec.structs.replace(base, **values)
        self.state.emit(EventKind.AUCTION_TERMS_CHANGED, 0, underlying=number, version=version, **values)
        return version
