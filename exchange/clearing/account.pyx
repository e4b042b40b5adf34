"""Accounts: each is one margin entity (a subaccount); `owner_id` ties those of one person together."""

from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memset

from exchange.market.instrument cimport NO_SLOT

MODELS = ("segregated_pm", "cross_pm", "segregated_sm", "cross_sm", "isolated")


cdef class Accounts:
    """Ids are given in order from 1 and never reused."""

    def __cinit__(self, uint32_t limit):
        self.limit = limit
        self.capacity = 256
        self.high = 1
        self.at = <Account*>calloc(self.capacity, sizeof(Account))
        if self.at == NULL:
            raise MemoryError()
        self.by_name = {}
        self.owner_last = {}
        self.names = [None]

    def __dealloc__(self):
        free(self.at)

    cdef bint exists(self, uint32_t account_id) noexcept:
        return 0 < account_id < self.high

    def create(self, str name, uint32_t owner_id, str model):
        """The new account's id; 0 when the venue's limit is reached. The name is free (the caller checked)."""
        cdef uint32_t account_id = self._add(owner_id, MODELS.index(model))
        if account_id:
            self.by_name[name] = account_id
            self.names.append(name)
        return account_id

    def create_bucket(self, uint32_t holder):
        """The id of a new bucket of an account, which no name finds; 0 when the venue's limit is reached."""
        cdef uint32_t account_id = self._add(self.at[holder].owner_id, MODEL_ISOLATED)
        if account_id:
            self.at[account_id].holder = holder
            self.at[account_id].instrument = NO_SLOT
            self.at[account_id].next_bucket = self.at[holder].first_bucket
            self.at[holder].first_bucket = account_id
            self.bucket_count += 1
            self.names.append(f"{self.names[holder]}#{account_id}")
        return account_id

    cdef uint32_t bucket_of(self, uint32_t account_id, uint32_t instrument) noexcept:
        """The bucket that holds an account's isolated position in an instrument; 0 where that is not isolated."""
        cdef uint32_t bucket
        if account_id >= self.high or instrument == NO_SLOT:
            return 0
        bucket = self.at[account_id].first_bucket
        while bucket and self.at[bucket].instrument != instrument:
            bucket = self.at[bucket].next_bucket
        return bucket

    cdef bint is_main(self, uint32_t account_id):
        """Whether an account is its owner's main one: the owner has its number, and it was there before the others."""
        cdef uint32_t owner = self.at[account_id].owner_id
        return owner == account_id and self.at[<uint32_t>self.owner_last[owner]].owner_next == account_id

    def buckets(self, uint32_t account_id):
        """Ids of an account's buckets, used or not, ascending."""
        cdef uint32_t bucket = self.at[account_id].first_bucket
        found = []
        while bucket:
            found.append(bucket)
            bucket = self.at[bucket].next_bucket
        return found[::-1]

    def holder(self, uint32_t account_id):
        """The account that a bucket belongs to; 0 of an ordinary account."""
        return self.at[account_id].holder

    cdef uint32_t _add(self, uint32_t owner_id, int model) except? 0:
        cdef uint32_t size = self.capacity
        cdef Account* grown
        cdef uint32_t account_id = self.high
        if account_id > self.limit:
            return 0
        if account_id == self.capacity:
            grown = <Account*>realloc(self.at, 2 * size * sizeof(Account))
            if grown == NULL:
                raise MemoryError()
            memset(grown + size, 0, size * sizeof(Account))
            self.at = grown
            self.capacity = 2 * size
        self.high += 1
        self.at[account_id].exists = 1
        self.at[account_id].owner_id = owner_id if owner_id else account_id
        self.at[account_id].model = model
        last = self.owner_last.get(self.at[account_id].owner_id, account_id)
        self.at[account_id].owner_next = self.at[<uint32_t>last].owner_next if last != account_id else account_id
        self.at[<uint32_t>last].owner_next = account_id
        self.owner_last[self.at[account_id].owner_id] = account_id
        return account_id

    def id_of(self, str name):
        """Account id of a name, 0 when unknown."""
        return self.by_name.get(name, 0)

    def name(self, uint32_t account_id):
        return self.names[account_id]

    def owner(self, uint32_t account_id):
        return self.at[account_id].owner_id

    def leverage_e2(self, uint32_t account_id):
        """Chosen leverage of a bucket, 1e-2."""
        return self.at[account_id].leverage_e2

    def model(self, uint32_t account_id):
        return MODELS[self.at[account_id].model]

    def export(self):
        """Canonical state, ascending id."""
        cdef uint32_t i
        cdef Account* a
        out = []
        for i in range(1, self.high):
            a = &self.at[i]
            found = [i, self.names[i], a.owner_id, a.model, a.level, a.in_liquidation, a.liquidation_reason,
                     a.reject_taker, a.own_account_only, a.breached_currency, a.queued, a.warnings]
            if a.holder:
                found += [a.holder, a.instrument, a.leverage_e2, a.drawn_minor]
            out.append(found)
        return out
