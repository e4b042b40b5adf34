from libc.stdint cimport int64_t, uint32_t, uint64_t


cdef class EventBuffer:
    cdef char* data
    cdef Py_ssize_t used
    cdef Py_ssize_t capacity
    cdef Py_ssize_t hashed
    cdef uint64_t seq
    cdef int64_t time_ns
    cdef readonly uint64_t count
    cdef object hasher
    cdef void* emit(self, int kind, int slots, uint32_t account_id) noexcept
