"""Double-entry integer ledger in several currencies.

Every transfer is two posts. A running total per currency stands at zero whenever no transfer is half done; the
engine checks it after every command, and `audit` recomputes it from the balances.
"""

from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memset

SYSTEM_NAMES = ("outside", "fees", "funding", "rounding", "fund", "capital")


cdef class Ledger:
    """Cash of accounts, the clearing accounts of the venue, and one clearing account per instrument."""

    def __cinit__(self, int currencies, uint32_t instruments, int64_t limit_minor):
        self.currencies = currencies
        self.instruments = instruments
        self.limit_minor = limit_minor
        self.accounts = 256
        self.cash = <int64_t*>calloc(self.accounts * currencies, sizeof(int64_t))
        self.touched = <uint32_t*>calloc(self.accounts, sizeof(uint32_t))
        self.owing = <uint8_t*>calloc(self.accounts, sizeof(uint8_t))
        self.debtor = <uint32_t*>calloc(self.accounts, sizeof(uint32_t))
        self.debtor_place = <uint32_t*>calloc(self.accounts, sizeof(uint32_t))
        self.touched_block = <uint8_t*>calloc(self.accounts // 64, 1)
        self.system = <int64_t*>calloc(SYS_COUNT * currencies, sizeof(int64_t))
        self.clearing = <int64_t*>calloc(instruments, sizeof(int64_t))
        self.total = <int64_t*>calloc(currencies, sizeof(int64_t))
        if (self.cash == NULL or self.touched == NULL or self.owing == NULL or self.debtor == NULL
                or self.debtor_place == NULL or self.touched_block == NULL or self.system == NULL
                or self.clearing == NULL or self.total == NULL):
            raise MemoryError()

    def __dealloc__(self):
        free(self.cash)
        free(self.touched)
        free(self.owing)
        free(self.debtor)
        free(self.debtor_place)
        free(self.touched_block)
        free(self.system)
        free(self.clearing)
        free(self.total)

    cdef int grow(self, uint32_t account_id) except -1:
        """Room for an account's balances."""
        cdef uint32_t size = self.accounts
        cdef int64_t* grown
        cdef uint32_t* flags
        cdef uint8_t* counts
        cdef uint8_t* blocks
        while size <= account_id:
            size *= 2
        if size == self.accounts:
            return 0
        grown = <int64_t*>realloc(self.cash, <size_t>size * self.currencies * sizeof(int64_t))
        if grown == NULL:
            raise MemoryError()
        memset(grown + <size_t>self.accounts * self.currencies, 0,
               <size_t>(size - self.accounts) * self.currencies * sizeof(int64_t))
        self.cash = grown
        flags = <uint32_t*>realloc(self.touched, size * sizeof(uint32_t))
        if flags == NULL:
            raise MemoryError()
        memset(flags + self.accounts, 0, (size - self.accounts) * sizeof(uint32_t))
        self.touched = flags
        counts = <uint8_t*>realloc(self.owing, size)
        if counts == NULL:
            raise MemoryError()
        memset(counts + self.accounts, 0, size - self.accounts)
        self.owing = counts
        flags = <uint32_t*>realloc(self.debtor, size * sizeof(uint32_t))
        if flags == NULL:
            raise MemoryError()
        self.debtor = flags
        flags = <uint32_t*>realloc(self.debtor_place, size * sizeof(uint32_t))
        if flags == NULL:
            raise MemoryError()
        self.debtor_place = flags
        blocks = <uint8_t*>realloc(self.touched_block, size // 64)
        if blocks == NULL:
            raise MemoryError()
        memset(blocks + self.accounts // 64, 0, (size - self.accounts) // 64)
        self.touched_block = blocks
        self.accounts = size
        return 0

    cdef void owe(self, uint32_t account_id, int change) noexcept:
        """One currency more, or one less, in which an account is in debt."""
        cdef uint32_t last
        if self.owing[account_id] == 0:
            self.debtor_place[account_id] = self.debtor_count
            self.debtor[self.debtor_count] = account_id
            self.debtor_count += 1
        self.owing[account_id] += change
        if self.owing[account_id] == 0:
            self.debtor_count -= 1
            last = self.debtor[self.debtor_count]
            self.debtor[self.debtor_place[account_id]] = last
            self.debtor_place[last] = self.debtor_place[account_id]

    def debtors(self):
        """Accounts with a negative balance in some currency, ascending id."""
        cdef uint32_t i
        return sorted([self.debtor[i] for i in range(self.debtor_count)])

    cdef void touch(self, uint32_t account_id) noexcept:
        """What an account's margin follows from has changed otherwise than by marks: its safe bands are void.

        Not state: it decides only which accounts a mark looks at, never what is found there."""
        self.touched[account_id] = 0xFFFFFFFF
        self.touched_block[account_id // 64] = 1

    cdef int64_t balance(self, uint32_t account_id, int currency) noexcept:
        return self.cash[<size_t>account_id * self.currencies + currency]

    cdef void post(self, uint32_t account_id, int currency, int64_t amount) noexcept:
        """One leg on an account's cash."""
        cdef int64_t* balance = &self.cash[<size_t>account_id * self.currencies + currency]
        cdef int64_t before = balance[0]
        balance[0] += amount
        if (before ^ balance[0]) < 0:
            self.owe(account_id, 1 if before >= 0 else -1)
        self.total[currency] += amount
        self.touch(account_id)
        if balance[0] > self.limit_minor or balance[0] < -self.limit_minor:
            self.failed = 1

    cdef void post_system(self, int which, int currency, int64_t amount) noexcept:
        """One leg on a clearing account of the venue."""
        self.system[which * self.currencies + currency] += amount
        self.total[currency] += amount

    cdef void post_clearing(self, uint32_t instrument, int currency, int64_t amount) noexcept:
        """One leg on an instrument's clearing account."""
        self.clearing[instrument] += amount
        self.total[currency] += amount

    cdef bint balanced(self) noexcept:
        """Every transfer has both legs, and no balance left its bounds."""
        cdef int c
        for c in range(self.currencies):
            if self.total[c] != 0:
                return False
        return self.failed == 0

    def cash_of(self, uint32_t account_id, int currency):
        return self.balance(account_id, currency)

    def system_of(self, int which, int currency):
        return self.system[which * self.currencies + currency]

    def clearing_of(self, uint32_t instrument):
        return self.clearing[instrument]

    def transfer(self, uint32_t from_account, uint32_t to_account, int currency, int64_t amount):
        """Move cash between two accounts."""
        self.post(from_account, currency, -amount)
        self.post(to_account, currency, amount)

    def transfer_system(self, int which, uint32_t account_id, int currency, int64_t amount):
        """Move cash from a clearing account of the venue to an account (negative: back)."""
        self.post_system(which, currency, -amount)
        self.post(account_id, currency, amount)

    def move_system(self, int source, int target, int currency, int64_t amount):
        """Move between two clearing accounts of the venue."""
        self.post_system(source, currency, -amount)
        self.post_system(target, currency, amount)

    def sums(self, int currency, clearing_slots):
        """Balances by clearing account, with the sums over instruments (given slots) and customers."""
        cdef uint32_t a
        total_cash = 0
        total_clearing = 0
        for a in range(1, self.accounts):
            total_cash += self.balance(a, currency)
        for slot in clearing_slots:
            total_clearing += self.clearing[<uint32_t>slot]
        out = {name: self.system[i * self.currencies + currency] for i, name in enumerate(SYSTEM_NAMES)}
        out["clearing"] = total_clearing
        out["accounts"] = total_cash
        return out

    def export(self, uint32_t accounts, clearing_slots):
        """Canonical state."""
        cdef uint32_t a
        cdef int c
        cdef int kept = SYS_COUNT * self.currencies
        if not any([self.system[SYS_CAPITAL * self.currencies + c] for c in range(self.currencies)]):
            kept = SYS_CAPITAL * self.currencies     # a venue without capital is exported as ever
        return [
            [[self.balance(a, c) for c in range(self.currencies)] for a in range(1, accounts)],
            [self.system[i] for i in range(kept)],
            [[slot, self.clearing[<uint32_t>slot]] for slot in clearing_slots],
        ]
