from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef enum MarginModelCode:
    MODEL_SEGREGATED = 0     # one margin account per settlement currency, coin numeraire
    MODEL_CROSS = 1          # the whole account in USD
    MODEL_SEGREGATED_FORMULA = 2
    MODEL_CROSS_FORMULA = 3
    MODEL_ISOLATED = 4       # a bucket: one position with collateral of its own

cdef enum LevelCode:
    LEVEL_HEALTHY = 0
    LEVEL_WARNING = 1
    LEVEL_BREACHED = 2

ctypedef struct Account:
    uint8_t exists
    uint8_t model
    uint8_t level
    uint8_t in_liquidation
    uint16_t liquidation_reason
    uint8_t queued           # stands in the liquidation work queue
    uint32_t owner_id
    uint32_t owner_next      # the owner's accounts in a ring; itself where there is one
    uint32_t generation      # bumps on every change of cash, positions or orders
    uint16_t breached_currency
    uint8_t reject_taker     # self-trade: refuse the taker instead of cancelling the maker
    uint8_t own_account_only  # self-trade: other accounts of the owner are strangers
    uint8_t stopped          # kill switches that hold the account, see risk/switches
    uint8_t warnings         # thresholds that its equity is below: warnings, then maintenance
    uint8_t noted            # a bucket: what orders drew may go back when the command ends
    uint32_t holder          # the account that a bucket belongs to; 0: an ordinary account
    uint32_t first_bucket    # the newest of an account's buckets
    uint32_t next_bucket     # of the same holder
    uint32_t instrument      # the slot that a bucket is for; NO_SLOT: it waits to be used again
    uint32_t leverage_e2     # chosen by the holder, 1e-2
    int64_t drawn_minor      # what a bucket's open orders drew from the holder


cdef inline bint is_cross(int model) noexcept:
    """Whether the account is margined as a whole, in USD."""
    return model == MODEL_CROSS or model == MODEL_CROSS_FORMULA


cdef inline bint by_formula(int model) noexcept:
    """Whether requirements come by formula (`_sm`, isolated), not from scenarios (`_pm`)."""
    return model == MODEL_SEGREGATED_FORMULA or model == MODEL_CROSS_FORMULA or model == MODEL_ISOLATED


cdef class Accounts:
    cdef Account* at
    cdef readonly uint32_t capacity
    cdef readonly uint32_t high      # ids 1 .. high - 1 exist
    cdef uint32_t limit
    cdef dict by_name
    cdef dict owner_last         # {owner id: its newest account}
    cdef list names
    cdef uint32_t _add(self, uint32_t owner_id, int model) except? 0
    cdef readonly uint32_t bucket_count
    cdef bint exists(self, uint32_t account_id) noexcept
    cdef bint is_main(self, uint32_t account_id)
    cdef uint32_t bucket_of(self, uint32_t account_id, uint32_t instrument) noexcept

    cdef inline bint is_bucket(self, uint32_t account_id) noexcept:
        return account_id < self.high and self.at[account_id].holder != 0
