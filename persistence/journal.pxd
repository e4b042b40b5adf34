# cython: language_level=3
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

cdef extern from "persistence/journal_writer.h" nogil:
    ctypedef struct journal_signal:
        int read_fd
        int write_fd

    ctypedef struct journal_figures:
        uint64_t batches
        uint64_t commands
        uint64_t written_bytes
        uint64_t segments_created
        uint64_t write_ns
        uint64_t sync_ns
        uint64_t sync_ns_max

    ctypedef struct journal_writer:
        int directory_fd
        int segment_fd
        int next_fd
        uint64_t segment_index
        uint64_t segment_bytes
        uint64_t offset
        uint64_t new_segment_bytes
        uint16_t record_version
        uint32_t logic_version
        uint64_t epoch
        int sync
        journal_signal kick
        journal_signal done
        int running
        int error
        const char* error_step
        uint8_t* batch
        uint64_t batch_slots
        uint64_t batch_first_seq
        uint32_t batch_commands
        journal_figures figures

    int journal_signal_open(journal_signal* s, int wait_blocks)
    void journal_signal_close(journal_signal* s)
    int journal_signal_send(journal_signal* s)
    int journal_signal_take(journal_signal* s)
    int journal_signal_wait(journal_signal* s, int timeout_ms)
    int journal_start_segment(journal_writer* w, uint64_t first_seq)
    void journal_discard_next(journal_writer* w)
    int journal_thread_start(journal_writer* w)
    void journal_thread_stop(journal_writer* w)

# What append_slots answers.
cdef enum:
    APPENDED = 0
    APPEND_FULL = -1       # the bound on pending bytes is reached: retry after on_durable
    APPEND_DISORDER = -2   # lengths or sequence numbers do not continue the journal
    APPEND_CLOSED = -3     # closed, or a write has failed

cdef class Journal:
    cdef journal_writer writer
    cdef uint8_t* buffers[2]
    cdef uint64_t used_slots[2]
    cdef uint32_t used_commands[2]
    cdef uint64_t pending_limit_slots
    cdef uint64_t in_flight_seq
    cdef int active
    cdef readonly uint64_t appended_seq
    cdef readonly uint64_t durable_seq
    cdef readonly bint in_flight
    cdef bint usable
    cdef readonly str directory

    cdef int append_slots(self, const void* records, uint32_t slot_count) noexcept nogil
    cpdef bint kick(self) except -1
    cpdef uint64_t on_durable(self) except? 0
