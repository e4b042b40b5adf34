"""What rounding of rows can cost."""

from libc.stdint cimport int64_t

cdef inline int64_t lot_units(int64_t factor_ppm) noexcept nogil:
    """Row units that a requirement adds per gross lot so that it is never understated: a row is off by at most a unit a
    lot, and a factor above one carries that along."""
    return max(1, (factor_ppm + 999_999) // 1_000_000)
