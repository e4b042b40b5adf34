"""Kill switches: who and what may not trade. Each is thrown and released by itself, several may hold one account.

What they stop stands in the checks before a trade; cancelling what is open is the kill switch's own work.
"""

from libc.stdlib cimport calloc, free

cdef enum:
    BY_ACCOUNT = 1               # bits of Account.stopped
    BY_OWNER = 2


cdef class Switches:
    """The switches that are on."""

    def __cinit__(self, Accounts accounts, int underlyings):
        self.accounts = accounts
        self.underlyings = underlyings
        self.underlying = <uint8_t*>calloc(underlyings, 1)
        if self.underlying == NULL:
            raise MemoryError()
        self.owners = set()

    def __dealloc__(self):
        free(self.underlying)

    def is_on(self, int scope, uint32_t target):
        """Whether the switch of an underlying, owner or account (the venue: 0) is on."""
        if scope == SCOPE_VENUE:
            return bool(self.venue)
        if scope == SCOPE_UNDERLYING:
            return bool(self.underlying[target])
        if scope == SCOPE_OWNER:
            return target in self.owners
        return bool(self.accounts.at[target].stopped & BY_ACCOUNT)

    def turn(self, int scope, uint32_t target, bint on):
        """Throw or release one switch; the target exists."""
        cdef uint32_t a
        if self.is_on(scope, target) == on:
            return
        if on:
            self.count += 1
        else:
            self.count -= 1
        if scope == SCOPE_VENUE:
            self.venue = on
        elif scope == SCOPE_UNDERLYING:
            self.underlying[target] = on
        elif scope == SCOPE_ACCOUNT:
            for a in [target] + self.accounts.buckets(target):
                self._mark(a, BY_ACCOUNT, on)
        else:
            if on:
                self.owners.add(target)
            else:
                self.owners.discard(target)
            for a in range(1, self.accounts.high):
                if self.accounts.at[a].owner_id == target:
                    self._mark(a, BY_OWNER, on)

    cdef int _mark(self, uint32_t account_id, int bit, bint on) except -1:
        if on:
            self.accounts.at[account_id].stopped |= bit
        else:
            self.accounts.at[account_id].stopped &= ~bit
        return 0

    def joined(self, uint32_t account_id):
        """A new account is stopped with its owner, a bucket with its holder."""
        if self.accounts.at[account_id].owner_id in self.owners:
            self._mark(account_id, BY_OWNER, True)
        if self.accounts.at[self.accounts.at[account_id].holder].stopped & BY_ACCOUNT:
            self._mark(account_id, BY_ACCOUNT, True)

    def holds(self, uint32_t account_id):
        """Whether the account may not trade at all."""
        return bool(self.account_stopped(account_id))

    def holds_on(self, uint32_t account_id, int underlying):
        """Whether the account may not trade what is on an underlying."""
        return bool(self.stopped(account_id, underlying))

    def on(self):
        """[(scope, target)] of the switches that are on, ascending."""
        cdef int u
        cdef uint32_t a
        found = [(SCOPE_VENUE, 0)] if self.venue else []
        found += [(SCOPE_UNDERLYING, u) for u in range(self.underlyings) if self.underlying[u]]
        found += [(SCOPE_OWNER, owner) for owner in sorted(self.owners)]
        found += [(SCOPE_ACCOUNT, a) for a in range(1, self.accounts.high)
                  if self.accounts.at[a].stopped & BY_ACCOUNT and self.accounts.at[a].holder == 0]
        return found

    def check(self):
        """Faults between the accounts' marks, the owners and the count; [] when sound."""
        cdef uint32_t a
        faults = []
        for a in range(1, self.accounts.high):
            if bool(self.accounts.at[a].stopped & BY_OWNER) != (self.accounts.at[a].owner_id in self.owners):
                faults.append(f"account {a}: its mark and its owner's kill switch differ")
        if len(self.on()) != self.count:
            faults.append(f"{len(self.on())} kill switches are on, the count says {self.count}")
        return faults

    def export(self):
        """Canonical state."""
        return [list(switch) for switch in self.on()]
