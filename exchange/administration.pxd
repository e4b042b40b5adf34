from exchange.reads cimport Reads


cdef class Administration(Reads):
    pass
