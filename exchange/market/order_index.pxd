from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    GROUP_IDS = 16
    SLOT_LIMIT = 1 << 24


ctypedef struct IdGroup:        # one cache line: where sixteen ids in a row are in the pool
    uint64_t head               # id >> 4, shifted by 16, and which of the sixteen are live; 0 is a free line
    uint16_t slot_low[GROUP_IDS]
    uint8_t slot_high[GROUP_IDS]
    uint64_t reserved

ctypedef struct OrderIndex:     # open addressing by group, at most three eighths full: few searches meet another group
    IdGroup* groups
    uint32_t mask
    int shift                   # 64 less the bits of the mask
    uint32_t room               # for so many more groups

cdef int index_open(OrderIndex* index) except -1
cdef void index_close(OrderIndex* index) noexcept
cdef int index_grow(OrderIndex* index) except -1
cdef void index_vacate(OrderIndex* index, uint32_t place) noexcept


cdef inline bint index_can_hold(uint64_t order_id) noexcept:
    return order_id >> 52 == 0


cdef inline uint32_t index_home(const OrderIndex* index, uint64_t number) noexcept:
    """Where the search for a group starts (multiplicative hashing: Knuth, TAOCP 6.4)."""
    return <uint32_t>((number * <uint64_t>0x9E3779B97F4A7C15) >> index.shift)


cdef inline IdGroup* likely_group(const OrderIndex* index, uint64_t order_id) noexcept:
    """The line of an id where no other group is in the way."""
    return &index.groups[index_home(index, order_id >> 4)]


cdef inline uint32_t group_slot(const IdGroup* group, uint64_t order_id) noexcept:
    """The slot beside an id, of a former one where it is not live."""
    return group.slot_low[order_id & 15] | <uint32_t>group.slot_high[order_id & 15] << 16


cdef inline uint32_t index_place(const OrderIndex* index, uint64_t number) noexcept:
    """Where a group is, or the free line where it would be."""
    cdef uint32_t place = index_home(index, number)
    while index.groups[place].head >> 16 != number and index.groups[place].head:
        place = (place + 1) & index.mask
    return place


cdef inline uint32_t index_slot(const OrderIndex* index, uint32_t place, uint64_t order_id) noexcept:
    """Slot of a live order whose group is or would be at a place, 0 when there is none."""
    cdef IdGroup* group = &index.groups[place]
    return group_slot(group, order_id) if group.head >> (order_id & 15) & 1 else 0


cdef inline int index_put(OrderIndex* index, uint64_t order_id, uint32_t slot) except -1:
    """Enter an id below 2**52 that is not live, with a slot below SLOT_LIMIT.

    MemoryError, and nothing changed, where there is no room."""
    cdef IdGroup* group = &index.groups[index_place(index, order_id >> 4)]
    cdef uint64_t head = group.head
    if head == 0:
        if index.room == 0:
            index_grow(index)
            group = &index.groups[index_place(index, order_id >> 4)]
        index.room -= 1
        head = order_id >> 4 << 16
    group.head = head | <uint64_t>1 << (order_id & 15)
    group.slot_low[order_id & 15] = <uint16_t>slot
    group.slot_high[order_id & 15] = <uint8_t>(slot >> 16)
    return 0


cdef inline void index_drop(OrderIndex* index, uint32_t place, uint64_t order_id) noexcept:
    """Forget a live id whose group is at a place."""
    cdef uint64_t head = index.groups[place].head & ~(<uint64_t>1 << (order_id & 15))
    index.groups[place].head = head
    if head & 0xFFFF == 0:
        index_vacate(index, place)
