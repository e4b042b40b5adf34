# cython: language_level=3
"""The write-ahead journal: whole command records in, group commit, a durable sequence number out.

The owner (the loop thread) appends records to the active buffer and calls kick(); one writer thread seals the
buffer as a batch, writes and syncs it without the interpreter, and signals fileno(). The owner answers with
on_durable(), which moves durable_seq and hands over what has gathered meanwhile. Two buffers, no locks.
Segments roll over inside the writer; the reading side is journal_reader. Not to be used across fork().
"""

import os
from os import strerror

import numpy as np

from persistence.errors import JournalCorrupt, JournalError, JournalFull
from persistence.journal_reader import BatchReader, list_segments, read_batches

from libc.stdint cimport int64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from persistence.journal_format cimport JOURNAL_SLOT, crc32c_init, journal_count_records, journal_record

__all__ = ["DEFAULT_SEGMENT_BYTES", "FIRST_SEGMENT_BYTES", "Journal", "JournalCorrupt", "JournalError",
           "JournalFull", "PENDING_LIMIT_BYTES", "read_batches"]

DEFAULT_SEGMENT_BYTES = 64 << 20
FIRST_SEGMENT_BYTES = 8 << 20  # a fresh venue starts at once; its later segments have the full length
PENDING_LIMIT_BYTES = 16 << 20
_SCAN_BYTES = 1 << 20

crc32c_init()


cdef class Journal:
    """An open journal; one owner thread.

    directory           where the segments are; made (0700) if it is missing
    record_version,
    logic_version       stand in each segment header; other ones than the last segment's start a new segment
    epoch               of this opening; must not be less than the last one in the journal
    durability          "fsync": durable_seq counts synced commands; "os": written ones (they survive the
                        process, not the machine)
    segment_bytes       length of new segments; first_segment_bytes of the very first
    pending_limit_bytes bound on appended bytes that are not yet durable
    first_seq           sequence number of the first command, for an empty directory only

    Appending continues behind the last whole batch; an unfinished one is overwritten with zeros first. Raises
    JournalError (errno) when the directory cannot be used, JournalCorrupt when confirmed bytes are damaged.
    """

    def __cinit__(self, *args, **kwargs):
        self.writer.directory_fd = self.writer.segment_fd = self.writer.next_fd = -1
        self.writer.kick.read_fd = self.writer.kick.write_fd = -1
        self.writer.done.read_fd = self.writer.done.write_fd = -1

    def __init__(self, directory, uint16_t record_version, uint32_t logic_version, uint64_t epoch,
                 str durability="fsync", uint64_t segment_bytes=DEFAULT_SEGMENT_BYTES, *,
                 first_segment_bytes=None, uint64_t pending_limit_bytes=PENDING_LIMIT_BYTES,
                 uint64_t first_seq=1):
        if self.writer.directory_fd >= 0:
            raise JournalError("this journal is open already")
        if durability not in ("fsync", "os"):
            raise ValueError(f"durability is 'fsync' or 'os', not {durability!r}")
        first_bytes = first_segment_bytes
        if first_bytes is None:
            first_bytes = min(FIRST_SEGMENT_BYTES, segment_bytes)
        if segment_bytes % JOURNAL_SLOT or first_bytes % JOURNAL_SLOT or first_bytes < 2 * JOURNAL_SLOT:
            raise ValueError("segment lengths are multiples of 64 bytes, two slots at least")
        if pending_limit_bytes < JOURNAL_SLOT or segment_bytes < 3 * JOURNAL_SLOT or first_seq < 1:
            raise ValueError("segments hold a batch of one record at least, and sequence numbers start at 1")
        # A batch is at most what is pending, and it must fit into one segment.
        pending_limit_bytes = min(pending_limit_bytes, segment_bytes - 2 * JOURNAL_SLOT)
        self.directory = os.fspath(directory)
        self.writer.record_version = record_version
        self.writer.logic_version = logic_version
        self.writer.epoch = epoch
        self.writer.sync = durability == "fsync"
        self.pending_limit_slots = pending_limit_bytes // JOURNAL_SLOT
        try:
            self._open(segment_bytes, first_bytes, first_seq)
        except OSError as error:
            self._release()
            raise JournalError(f"opening {self.directory}: {error}", error.errno or 0) from error
        except BaseException:
            self._release()
            raise
        self.usable = True

    @classmethod
    def open(cls, *args, **kwargs):
        """The same as Journal(...)."""
        return cls(*args, **kwargs)

    def _open(self, segment_bytes, first_bytes, uint64_t first_seq):
        cdef int i
        os.makedirs(self.directory, mode=0o700, exist_ok=True)
        self.writer.directory_fd = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.unlink("next.tmp", dir_fd=self.writer.directory_fd)
        except FileNotFoundError:
            pass
        segments = list_segments(self.directory)
        if segments:
            versions = self._resume(segments)
            first_seq = self.appended_seq + 1
            self.writer.new_segment_bytes = segment_bytes
            if versions != (self.writer.record_version, self.writer.logic_version):
                self._check(journal_start_segment(&self.writer, first_seq))
        else:
            self.appended_seq = self.durable_seq = first_seq - 1
            self.writer.new_segment_bytes = first_bytes
            self._check(journal_start_segment(&self.writer, first_seq))
            self.writer.new_segment_bytes = segment_bytes
        for i in range(2):
            self.buffers[i] = <uint8_t*>malloc((self.pending_limit_slots + 1) * JOURNAL_SLOT)
            if self.buffers[i] == NULL:
                raise MemoryError("journal buffers")
        if journal_signal_open(&self.writer.kick, 1) or journal_signal_open(&self.writer.done, 0):
            raise JournalError("no descriptors left for the journal's signals")
        cdef int status = journal_thread_start(&self.writer)
        if status:
            raise JournalError(f"the writer thread did not start: {strerror(status)}", status)

    def _resume(self, segments):
        """Find the end in the last segment, zero what a torn batch left there. Returns its versions."""
        last = segments[len(segments) - 1]
        reader = BatchReader(segments, last.first_seq)
        for _ in reader:
            pass
        if self.writer.epoch < reader.epoch:
            raise JournalError(f"epoch {self.writer.epoch} is stale: the journal is at {reader.epoch}")
        fd = os.open(last.path, os.O_RDWR | os.O_CLOEXEC)
        self.writer.segment_fd = fd
        length = os.fstat(fd).st_size
        changed = False
        for offset in range(reader.offset, max(last.segment_bytes, length), _SCAN_BYTES):
            size = min(_SCAN_BYTES, max(last.segment_bytes, length) - offset)
            found = os.pread(fd, size, offset)
            if len(found) < size or np.frombuffer(found, np.uint8).any():
                if os.pwrite(fd, bytes(size), offset) != size:
                    raise JournalError(f"{last.path}: the tail could not be zeroed")
                changed = True
        if changed and self.writer.sync:
            os.fsync(fd)
        self.writer.segment_index = last.index
        self.writer.segment_bytes = last.segment_bytes
        self.writer.offset = reader.offset
        self.appended_seq = self.durable_seq = reader.next_seq - 1
        return last.record_version, last.logic_version

    def _check(self, int status):
        if status:
            step = self.writer.error_step.decode()
            raise JournalError(f"{step}: {strerror(self.writer.error)}", self.writer.error)

    # --- appending ---

    cdef int append_slots(self, const void* records, uint32_t slot_count) noexcept nogil:
        """Copy whole records into the active buffer. APPENDED, or an APPEND_ code and nothing was taken."""
        cdef int i = self.active
        cdef int64_t count
        if not self.usable:
            return APPEND_CLOSED
        if slot_count > self.pending_limit_slots - self.used_slots[0] - self.used_slots[1]:
            return APPEND_FULL
        count = journal_count_records(<const uint8_t*>records, slot_count, self.appended_seq + 1)
        if count <= 0:
            return APPEND_DISORDER
        memcpy(self.buffers[i] + (1 + self.used_slots[i]) * JOURNAL_SLOT, records,
               <size_t>slot_count * JOURNAL_SLOT)
        self.used_slots[i] += slot_count
        self.used_commands[i] += <uint32_t>count
        self.appended_seq += count
        return APPENDED

    def append(self, const uint8_t[::1] records not None):
        """Append one or more whole records (bytes-like, a multiple of 64). Returns appended_seq.

        Raises JournalFull at the bound on pending bytes, ValueError where length or seq does not continue the
        journal, JournalError when it is closed or has failed. Nothing is taken in any of these cases.
        """
        cdef int status
        cdef Py_ssize_t length = records.shape[0]
        if length == 0 or length % JOURNAL_SLOT or length // JOURNAL_SLOT > 0xFFFFFFFF:
            raise ValueError(f"{length} bytes are not whole 64-byte slots")
        status = self.append_slots(&records[0], <uint32_t>(length // JOURNAL_SLOT))
        if status == APPENDED:
            return self.appended_seq
        if status == APPEND_FULL:
            raise JournalFull(
                f"{self.pending_bytes} bytes wait to be durable, the limit is {self.pending_limit_bytes}")
        if status == APPEND_DISORDER:
            head = <const journal_record*>&records[0]
            raise ValueError(f"records do not continue the journal at seq {self.appended_seq + 1}: "
                             f"the first has seq {head.seq} and {head.slots} slots")
        self._refuse()

    def _refuse(self):
        if self.writer.error:
            self._check(-1)
        raise JournalError("the journal is closed")

    cpdef bint kick(self) except -1:
        """Hand the active buffer to the writer if it is idle and there is anything. True if it was done."""
        cdef int i = self.active
        if self.in_flight or self.used_slots[i] == 0 or not self.usable:
            return False
        self.writer.batch = self.buffers[i]
        self.writer.batch_slots = self.used_slots[i]
        self.writer.batch_commands = self.used_commands[i]
        self.writer.batch_first_seq = self.durable_seq + 1
        self.in_flight_seq = self.appended_seq
        self.in_flight = True
        self.active = i ^ 1
        if journal_signal_send(&self.writer.kick):
            self.usable = False
            raise JournalError("the writer thread cannot be reached")
        return True

    cpdef uint64_t on_durable(self) except? 0:
        """Take the writer's completion, if there is one, and kick the next batch. Returns durable_seq.

        Raises JournalError (errno) when the batch could not be made durable; nothing is confirmed after that.
        """
        cdef int finished
        cdef int taken = journal_signal_take(&self.writer.done) if self.in_flight else 0
        if taken < 0:
            self.usable = False
            raise JournalError("the writer thread cannot be reached")
        if taken:
            if self.writer.error:
                self.usable = False
                self._check(-1)
            finished = self.active ^ 1
            self.used_slots[finished] = 0
            self.used_commands[finished] = 0
            self.in_flight = False
            self.durable_seq = self.in_flight_seq
            self.kick()
        elif self.writer.error and not self.usable:
            self._check(-1)
        return self.durable_seq

    def sync(self):
        """Block until everything appended is durable. For offline tools and shutdown: it takes the completion
        signals itself, so a loop's reader may not be called for them. Returns durable_seq."""
        if not self.usable:
            self._refuse()
        self.kick()
        while self.in_flight:
            with nogil:
                journal_signal_wait(&self.writer.done, 100)
            self.on_durable()
        return self.durable_seq

    def fileno(self):
        """Descriptor that becomes readable when a batch is finished, for loop.add_reader."""
        if not self.usable:
            self._refuse()
        return self.writer.done.read_fd

    @property
    def pending_bytes(self):
        """Bytes of appended records that are not durable yet."""
        return (self.used_slots[0] + self.used_slots[1]) * JOURNAL_SLOT

    @property
    def pending_limit_bytes(self):
        """The bound on pending_bytes."""
        return self.pending_limit_slots * JOURNAL_SLOT

    @property
    def epoch(self):
        """The epoch every batch of this opening carries."""
        return self.writer.epoch

    def figures(self):
        """Totals since opening: batches, commands, written_bytes, segments_created, and nanoseconds in writes
        and syncs (sum, and the longest sync). Exact between batches; one may be under way."""
        return {
            "batches": self.writer.figures.batches,
            "commands": self.writer.figures.commands,
            "written_bytes": self.writer.figures.written_bytes,
            "segments_created": self.writer.figures.segments_created,
            "write_ns": self.writer.figures.write_ns,
            "sync_ns": self.writer.figures.sync_ns,
            "sync_ns_max": self.writer.figures.sync_ns_max,
            "segment_index": self.writer.segment_index,
            "segment_offset_bytes": self.writer.offset,
        }

    def close(self):
        """Make everything durable, stop the writer, close the files. Raises as sync() does, after closing."""
        if self.writer.directory_fd < 0:
            return
        try:
            if self.usable:
                self.sync()
        finally:
            self._release()

    def _release(self):
        cdef int i
        self.usable = False
        with nogil:
            journal_thread_stop(&self.writer)
        journal_discard_next(&self.writer)
        journal_signal_close(&self.writer.kick)
        journal_signal_close(&self.writer.done)
        if self.writer.segment_fd >= 0:
            os.close(self.writer.segment_fd)
        if self.writer.directory_fd >= 0:
            os.close(self.writer.directory_fd)
        self.writer.segment_fd = self.writer.directory_fd = -1
        for i in range(2):
            free(self.buffers[i])
            self.buffers[i] = NULL
            self.used_slots[i] = 0

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.close()

    def __dealloc__(self):
        cdef int i
        # Without close() what was not handed over is lost, as in a crash; the thread must end first.
        with nogil:
            journal_thread_stop(&self.writer)
        for i in range(2):
            free(self.buffers[i])
        journal_signal_close(&self.writer.kick)
        journal_signal_close(&self.writer.done)
