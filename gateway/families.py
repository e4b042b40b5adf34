"""The accounts of an owner, in the order in which they came."""

from typing import Any


class Families:
    """Reads owners from the engine, each account once; buckets of isolated positions are part of their account."""

    def __init__(self, engine: Any):
        self._engine = engine
        self._next_id = 1
        self._by_owner: dict[int, list[int]] = {}

    def of(self, account_id: int) -> list[int]:
        """The accounts that an account may look at: all of its owner's where it is their main one, else its own."""
        engine = self._engine
        while engine.desk.exists(self._next_id):  # numbers follow each other and stay
            if engine.holder(self._next_id) == self._next_id:
                self._by_owner.setdefault(engine.desk.owner(self._next_id), []).append(self._next_id)
            self._next_id += 1
        family = self._by_owner[engine.desk.owner(account_id)]
        return family if self.is_main(account_id) else [account_id]

    def is_main(self, account_id: int) -> bool:
        """Whether the owner has the account's number, and it was there before the owner's others."""
        owner = self._engine.desk.owner(account_id)
        return bool(owner == account_id == self._by_owner.get(owner, [account_id])[0])
