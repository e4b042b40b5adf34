"""Which slot of the pool a live order's id has.

Ids rise by one, and most orders end young. So ids stand in groups of sixteen, a cache line each: a new order's place
is in the line of the order before it, and a line goes when the last of its ids is dropped. Lines are found by
hashing; dropping shifts the lines behind back, so that there are no tombstones and the index never degrades.
"""

cdef extern from "exchange/market/memory.h":
    void* zeroed_table "margrave_table"(size_t bytes) noexcept
    void free_table "margrave_table_free"(void* table, size_t bytes) noexcept

cdef enum:
    FIRST_BITS = 7


cdef inline uint32_t room_of(uint32_t mask) noexcept:
    return (mask >> 3) * 3


cdef int index_open(OrderIndex* index) except -1:
    """An empty index."""
    index.groups = <IdGroup*>zeroed_table((<size_t>1 << FIRST_BITS) * sizeof(IdGroup))
    if index.groups == NULL:
        raise MemoryError()
    index.mask = (1 << FIRST_BITS) - 1
    index.shift = 64 - FIRST_BITS
    index.room = room_of(index.mask)
    return 0


cdef void index_close(OrderIndex* index) noexcept:
    free_table(index.groups, (<size_t>index.mask + 1) * sizeof(IdGroup))
    index.groups = NULL


cdef int index_grow(OrderIndex* index) except -1:
    """Twice the lines."""
    cdef OrderIndex grown = index[0]
    cdef size_t line
    grown.mask = index.mask * 2 + 1
    grown.shift = index.shift - 1
    grown.room = index.room + room_of(grown.mask) - room_of(index.mask)
    grown.groups = <IdGroup*>zeroed_table((<size_t>grown.mask + 1) * sizeof(IdGroup))
    if grown.groups == NULL:
        raise MemoryError()
    for line in range(<size_t>index.mask + 1):
        if index.groups[line].head:
            grown.groups[index_place(&grown, index.groups[line].head >> 16)] = index.groups[line]
    index_close(index)
    index[0] = grown
    return 0


cdef void index_vacate(OrderIndex* index, uint32_t place) noexcept:
    """Free a line without live ids; a line behind that could not be at its own place moves up."""
    cdef uint32_t hole = place
    cdef uint32_t home
    while True:
        place = (place + 1) & index.mask
        if index.groups[place].head == 0:
            break
        home = index_home(index, index.groups[place].head >> 16)
        if ((place - home) & index.mask) >= ((place - hole) & index.mask):
            index.groups[hole] = index.groups[place]
            hole = place
    index.groups[hole].head = 0
    index.room += 1
