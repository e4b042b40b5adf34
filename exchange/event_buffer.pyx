"""The engine's outgoing events: a growing run of 64-byte slots, and the running hash over everything emitted.

The hash is SHA-256 over the event bytes in order, restarted at each checkpoint with the previous chain value as
prefix, so that its whole state between checkpoints is one 32-byte value.
"""

import hashlib

from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.memoryview cimport PyMemoryView_FromMemory
from cpython.buffer cimport PyBUF_READ
from libc.stdlib cimport abort, free, malloc, realloc
from libc.string cimport memset

from exchange.records cimport SLOT_BYTES, Header

cdef Py_ssize_t HASH_BLOCK = 1 << 16


cdef class EventBuffer:
    """Append-only between two `take` calls."""

    def __cinit__(self):
        self.capacity = 1 << 16
        self.data = <char*>malloc(self.capacity)
        if self.data == NULL:
            raise MemoryError()
        self.hasher = hashlib.sha256(bytes(32))

    def __dealloc__(self):
        free(self.data)

    cdef void* emit(self, int kind, int slots, uint32_t account_id) noexcept:
        """A zeroed record with its header filled; valid until the next emit."""
        cdef Py_ssize_t size = slots * SLOT_BYTES
        cdef Header* header
        cdef char* grown
        if self.used + size > self.capacity:
            while self.used + size > self.capacity:
                self.capacity *= 2
            grown = <char*>realloc(self.data, self.capacity)
            if grown == NULL:
                abort()
            self.data = grown
        header = <Header*>(self.data + self.used)
        memset(header, 0, size)
        header.kind = kind
        header.slots = slots
        header.account_id = account_id
        header.seq = self.seq
        header.time_ns = self.time_ns
        self.used += size
        self.count += 1
        return header

    def fold(self):
        """Bring the hash up to the last emitted event."""
        if self.hashed < self.used:
            self.hasher.update(
                PyMemoryView_FromMemory(self.data + self.hashed, self.used - self.hashed, PyBUF_READ)
            )
            self.hashed = self.used

    def take(self):
        """Events since the last take, as bytes."""
        cdef bytes out
        if self.used == 0:
            return b""
        self.fold()
        out = PyBytes_FromStringAndSize(self.data, self.used)
        self.used = 0
        self.hashed = 0
        return out

    def discard(self):
        """As take, without handing the events out (replay)."""
        if self.used >= HASH_BLOCK:
            self.fold()
            self.used = 0
            self.hashed = 0

    def chain(self):
        """(SHA-256 of the running chain, events so far)."""
        self.fold()
        return self.hasher.digest(), self.count

    def restart(self, bytes digest):
        """Begin the chain anew from `digest`, at a checkpoint."""
        self.fold()
        self.hasher = hashlib.sha256(digest)
