"""Random margin modes and collateral for generated histories."""

import numpy as np

from exchange import commands, config
from exchange.commands import CommandKind
from tests.oracles import world
from tests.oracles.desk_draws import DeskDraws

FUTURES = (0, 1, 6, 9)
LEVERAGES = (100, 150, 200, 300, 400, 1_000, 5_000)


class IsolatedDraws(DeskDraws):
    """Draws over what its subclass follows of buckets."""

    isolated: dict[int, int]
    ticks: bool

    def _first_modes(self) -> list[bytearray]:
        """Some accounts begin with an isolated instrument, before anything is open there."""
        pairs = ((3, 0), (4, 0), (6, 6), (7, 0), (8, 9), (9, 0), (10, 0), (11, 6), (12, 6))
        return [self._set(account, slot, 5_000 if self.ticks and account > 8 else 300) for account, slot in pairs]

    def _oppose(self) -> bytearray:
        """One account of two with one owner goes long where the other goes short, at a price that trades."""
        account_id, slot = self.random.choice(((9, 0), (10, 0), (11, 6), (12, 6)))
        record = self._order(account_id, slot)
        view = np.frombuffer(record, commands.PLACE_ORDER, 1)
        view["side"], view["order_type"], view["flags"] = account_id % 2 == 0, 1, 0
        view["price_units"] = 0
        return record

    def _set(self, account_id: int, slot: int, leverage_e2: int) -> bytearray:
        mode = "isolated" if leverage_e2 else "cross"
        payload = config.SetMarginMode(instrument=self.specs[slot].name, mode=mode, leverage_e2=leverage_e2)
        return commands.cold(CommandKind.SET_MARGIN_MODE, payload, account_id)

    def _mode(self) -> bytearray:
        """Isolate something, change a leverage, go back; some that cannot be."""
        r = self.random
        wrong = r.random()
        if wrong < 0.08:
            return self._set(r.choice((99, self._account())), r.choice((4, 0)), r.choice((99, 10_100, 300)))
        if self.isolated and r.random() < 0.5:
            bucket, slot = r.choice(sorted(self.isolated.items()))
            return self._set(self.holders[bucket], slot, r.choice((0, 0, *LEVERAGES)))
        return self._set(self._account(), r.choice(FUTURES), r.choice(LEVERAGES))

    def _collateral(self) -> bytearray:
        """Into a bucket, a breached one first, or out of one."""
        r = self.random
        breached = sorted(self.breached & set(self.isolated))
        if r.random() < 0.06 or not self.isolated:
            account_id, slot, amount = r.choice((99, self._account())), r.choice((0, 4, 6)), r.choice((0, 5, 1 << 62))
        else:
            bucket, slot = r.choice(sorted(self.isolated.items()))
            if breached and r.random() < 0.5:
                bucket, slot = breached[0], self.isolated[breached[0]]
            account_id = self.holders[bucket]
            whole = world.deposit_minor(self.specs[slot].settlement)
            amount = round(whole * r.choice((0.01, 0.05, 0.2, 0.2, 5, -0.001, -0.01, -0.1, -1)))
            if bucket in breached:
                amount = abs(amount)
        payload = config.MoveCollateral(instrument=self.specs[slot].name, amount_minor=amount)
        return commands.cold(CommandKind.MOVE_COLLATERAL, payload, account_id)
