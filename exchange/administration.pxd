from libc.stdint cimport uint32_t

from exchange.reads cimport Reads


cdef class Administration(Reads):
    cdef int _rebuild(self, uint32_t account_id) except -1
