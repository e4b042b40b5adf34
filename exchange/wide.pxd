from libc.stdint cimport int64_t, uint64_t


cdef extern from "exchange/wide.h" nogil:
    ctypedef long long int128 "int128"
    int64_t wide_narrow(int128 value, int* bad)
    int64_t wide_mul_div_floor(int64_t a, int64_t b, int64_t c, int* bad)
    int64_t wide_mul_div_ceil(int64_t a, int64_t b, int64_t c, int* bad)
    int64_t wide_mul_div_near(int64_t a, int64_t b, int64_t c, int* bad)
    int64_t wide_mul(int64_t a, int64_t b, int* bad)
    int64_t wide_add(int64_t a, int64_t b, int* bad)
    int64_t wide_mul_shift(int64_t a, int64_t b, int shift, int* bad)
    int128 wide_join(int64_t high, uint64_t low)
    int64_t wide_funding(int64_t lots, int128 owed, int* bad)


cdef inline int64_t size_of(int64_t x) noexcept nogil:
    """|x|; of -2**63 itself."""
    return -x if x < 0 else x
