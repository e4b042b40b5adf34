# cython: language_level=3
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef extern from "persistence/journal_format.h" nogil:
    enum: JOURNAL_SLOT
    enum: BATCH_WHOLE
    enum: BATCH_NONE
    enum: BATCH_TORN
    enum: BATCH_DISORDER

    ctypedef struct journal_segment_header:
        uint8_t magic[8]
        uint16_t record_version
        uint32_t logic_version
        uint64_t segment_index
        uint64_t first_seq
        uint64_t epoch
        uint64_t segment_bytes
        uint32_t crc32c

    ctypedef struct journal_batch_header:
        uint64_t epoch
        uint64_t first_seq
        uint32_t command_count
        uint32_t slot_count

    # The common head of every command record; the record is `slots` times 64 bytes long.
    ctypedef struct journal_record:
        uint16_t kind
        uint16_t slots
        uint32_t account_id
        uint64_t seq
        int64_t time_ns

    const char JOURNAL_SEGMENT_MAGIC[8]
    void crc32c_init()
    uint32_t c_crc32c "crc32c"(uint32_t crc, const void* p, size_t n)
    uint32_t c_crc32c_software "crc32c_software"(uint32_t crc, const uint8_t* p, size_t n)
    int64_t journal_count_records(const uint8_t* slots, uint64_t slot_count, uint64_t first_seq)
    uint64_t journal_slots_before(const uint8_t* slots, uint64_t slot_count, uint64_t seq)
    int journal_check_batch(const uint8_t* segment, uint64_t length, uint64_t offset, uint64_t segment_index,
                            uint64_t expected_seq, uint64_t least_epoch)
    uint64_t journal_find_batch(const uint8_t* segment, uint64_t length, uint64_t start)
    uint64_t journal_after_torn(const uint8_t* segment, uint64_t length, uint64_t offset)
