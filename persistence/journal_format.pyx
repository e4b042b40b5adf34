# cython: language_level=3
"""Reading the journal's bytes: checksums, segment headers and a cursor over the batches of one segment.

The layouts stand in journal_format.h. Everything here is pure: bytes in, verdicts out.
"""

import numpy as np

from libc.string cimport memcmp

SLOT_BYTES = 64

# The head common to all command records, as a numpy dtype: slots.view(RECORD_DTYPE) shows every slot.
RECORD_DTYPE = np.dtype([
    ("kind", "<u2"), ("slots", "<u2"), ("account_id", "<u4"), ("seq", "<u8"), ("time_ns", "<i8"),
    ("body", "V40"),
])

WHOLE = BATCH_WHOLE
NONE = BATCH_NONE
TORN = BATCH_TORN
DISORDER = BATCH_DISORDER

crc32c_init()


def crc32c(const uint8_t[::1] data, uint32_t initial=0):
    """CRC-32C of `data`, continuing from `initial`."""
    return c_crc32c(initial, &data[0], data.shape[0]) if data.shape[0] else initial


def crc32c_software(const uint8_t[::1] data, uint32_t initial=0):
    """The same figure by tables, as on processors without the instruction."""
    return c_crc32c_software(initial, &data[0], data.shape[0]) if data.shape[0] else initial


def parse_segment_header(const uint8_t[::1] data):
    """(record_version, logic_version, segment_index, first_seq, epoch, segment_bytes), or None if damaged."""
    if data.shape[0] < JOURNAL_SLOT:
        return None
    cdef const journal_segment_header* header = <const journal_segment_header*>&data[0]
    if memcmp(header.magic, JOURNAL_SEGMENT_MAGIC, 8) != 0 or header.crc32c != c_crc32c(0, header, 60):
        return None
    return (header.record_version, header.logic_version, header.segment_index, header.first_seq, header.epoch,
            header.segment_bytes)


cdef class SegmentCursor:
    """Walks the batches of one segment given as bytes.

    next() gives (first_seq, epoch, start, stop) with the payload at data[start:stop], or None; then `verdict`
    says why (NONE, TORN, DISORDER) and `offset` where. `next_seq` is the sequence number expected there.
    """

    cdef const uint8_t[::1] data
    cdef readonly uint64_t segment_index, offset, next_seq, epoch
    cdef readonly int verdict

    def __init__(self, const uint8_t[::1] data, uint64_t segment_index, uint64_t first_seq, uint64_t epoch):
        if data.shape[0] < JOURNAL_SLOT:
            raise ValueError("a segment is at least one slot long")
        self.data = data
        self.segment_index = segment_index
        self.offset = JOURNAL_SLOT
        self.next_seq = first_seq
        self.epoch = epoch
        self.verdict = BATCH_WHOLE

    def next(self):
        cdef const uint8_t* base = &self.data[0]
        cdef const journal_batch_header* header
        cdef uint64_t first_seq, start
        with nogil:
            self.verdict = journal_check_batch(base, self.data.shape[0], self.offset, self.segment_index,
                                               self.next_seq, self.epoch)
        if self.verdict != BATCH_WHOLE:
            return None
        header = <const journal_batch_header*>(base + self.offset)
        first_seq = self.next_seq
        start = self.offset + JOURNAL_SLOT
        self.offset = start + <uint64_t>header.slot_count * JOURNAL_SLOT
        self.next_seq += header.command_count
        self.epoch = header.epoch
        return first_seq, self.epoch, start, self.offset

    def trim(self, uint64_t start, uint64_t stop, uint64_t seq):
        """Where the record `seq` starts in the payload data[start:stop] that next() has just given."""
        return start + JOURNAL_SLOT * journal_slots_before(
            &self.data[0] + start, (stop - start) // JOURNAL_SLOT, seq)

    def find_later(self):
        """Offset of a whole batch behind a torn one at `offset`, or 0: it tells damage from a torn write."""
        cdef uint64_t found
        with nogil:
            found = journal_find_batch(&self.data[0], self.data.shape[0],
                                       journal_after_torn(&self.data[0], self.data.shape[0], self.offset))
        return found
