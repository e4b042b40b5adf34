/* The journal's writer thread: seals, writes and syncs one batch at a time, and never needs the interpreter.
 *
 * The owner thread fills `batch` and its description, signals `kick`, and touches none of them until the
 * thread has signalled `done`. The signals are system calls on one descriptor, which order memory between the
 * two threads.
 */
#ifndef MARGRAVE_JOURNAL_WRITER_H
#define MARGRAVE_JOURNAL_WRITER_H

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#if defined(__linux__)
#include <sys/eventfd.h>
#endif

#include "persistence/journal_format.h"

#define JOURNAL_FILL_BYTES 262144u
#define JOURNAL_NEXT_NAME "next.tmp"

typedef struct {
    int read_fd, write_fd; /* the same eventfd on Linux, the two ends of a pipe elsewhere */
} journal_signal;

typedef struct {
    uint64_t batches, commands, written_bytes, segments_created;
    uint64_t write_ns, sync_ns, sync_ns_max;
} journal_figures;

typedef struct {
    int directory_fd, segment_fd, next_fd;
    uint64_t segment_index, segment_bytes, offset;
    uint64_t next_bytes, next_filled; /* length of the segment being prepared, and how much of it is zeroed */
    uint64_t new_segment_bytes;
    uint16_t record_version;
    uint32_t logic_version;
    uint64_t epoch;
    int sync; /* 0: leave the bytes to the operating system */
    journal_signal kick, done;
    pthread_t thread;
    int running, stop;
    int error; /* errno of the first failure; nothing is written after it */
    const char *error_step;
    uint8_t *batch; /* header slot and payload */
    uint64_t batch_slots, batch_first_seq;
    uint32_t batch_commands;
    journal_figures figures;
} journal_writer;

static inline uint64_t journal_clock_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline int journal_fail(journal_writer *w, const char *step) {
    if (w->error == 0) {
        w->error = errno ? errno : EIO;
        w->error_step = step;
    }
    return -1;
}

static inline int journal_data_sync(int fd) {
#if defined(__APPLE__)
    return fcntl(fd, F_FULLFSYNC);
#else
    return fdatasync(fd);
#endif
}

static inline int journal_signal_open(journal_signal *s, int wait_blocks) {
#if defined(__linux__)
    s->read_fd = s->write_fd = eventfd(0, EFD_CLOEXEC | (wait_blocks ? 0 : EFD_NONBLOCK));
    return s->read_fd < 0 ? -1 : 0;
#else
    int ends[2];
    if (pipe(ends) != 0) return -1;
    s->read_fd = ends[0];
    s->write_fd = ends[1];
    fcntl(ends[0], F_SETFD, FD_CLOEXEC);
    fcntl(ends[1], F_SETFD, FD_CLOEXEC);
    if (!wait_blocks) fcntl(ends[0], F_SETFL, O_NONBLOCK);
    return 0;
#endif
}

static inline void journal_signal_close(journal_signal *s) {
    if (s->read_fd >= 0) close(s->read_fd);
    if (s->write_fd >= 0 && s->write_fd != s->read_fd) close(s->write_fd);
    s->read_fd = s->write_fd = -1;
}

static inline int journal_signal_send(journal_signal *s) {
    uint64_t one = 1;
    while (write(s->write_fd, &one, sizeof one) != (ssize_t)sizeof one)
        if (errno != EINTR) return -1;
    return 0;
}

/* 1 when a signal was taken, 0 when there was none (a non-blocking signal), -1 on an error. */
static inline int journal_signal_take(journal_signal *s) {
    uint64_t value;
    for (;;) {
        ssize_t got = read(s->read_fd, &value, sizeof value);
        if (got == (ssize_t)sizeof value) return 1;
        if (got < 0 && errno == EINTR) continue;
        return got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) ? 0 : -1;
    }
}

/* 1 when a signal stands within timeout_ms, 0 when not, -1 on an error (EINTR included). */
static inline int journal_signal_wait(journal_signal *s, int timeout_ms) {
    struct pollfd watched = {s->read_fd, POLLIN, 0};
    return poll(&watched, 1, timeout_ms);
}

static inline int journal_write_at(int fd, const uint8_t *p, uint64_t n, uint64_t offset) {
    while (n) {
        ssize_t done = pwrite(fd, p, n, (off_t)offset);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) {
            if (done == 0) errno = EIO;
            return -1;
        }
        p += done;
        n -= (uint64_t)done;
        offset += (uint64_t)done;
    }
    return 0;
}

static inline int journal_segment_name(char *name, size_t size, uint64_t index) {
    return snprintf(name, size, "%010" PRIu64 ".seg", index) < (int)size ? 0 : -1;
}

/* Zero one more stretch of the coming segment. Synced piecewise, so that no single sync has much to carry. */
static inline int journal_prepare_step(journal_writer *w) {
    static const uint8_t zero[JOURNAL_FILL_BYTES];
    if (w->next_fd < 0) {
        w->next_fd = openat(w->directory_fd, JOURNAL_NEXT_NAME, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        if (w->next_fd < 0) return -1;
        w->next_bytes = w->new_segment_bytes;
        w->next_filled = 0;
    }
    uint64_t n = w->next_bytes - w->next_filled;
    if (n > JOURNAL_FILL_BYTES) n = JOURNAL_FILL_BYTES;
    if (journal_write_at(w->next_fd, zero, n, w->next_filled) != 0) return -1;
    if (w->sync && journal_data_sync(w->next_fd) != 0) return -1;
    w->next_filled += n;
    return 0;
}

static inline void journal_discard_next(journal_writer *w) {
    if (w->next_fd >= 0) {
        close(w->next_fd);
        unlinkat(w->directory_fd, JOURNAL_NEXT_NAME, 0);
    }
    w->next_fd = -1;
    w->next_bytes = w->next_filled = 0;
}

/* Finish the prepared file and write its header. It bears its name only after journal_adopt_next. */
static inline int journal_begin_next(journal_writer *w, uint64_t first_seq) {
    journal_segment_header header;
    while (w->next_fd < 0 || w->next_filled < w->next_bytes)
        if (journal_prepare_step(w) != 0) return journal_fail(w, "preparing a segment");
    journal_seal_segment(&header, w->record_version, w->logic_version, w->segment_index + 1, first_seq,
                         w->epoch, w->next_bytes);
    if (journal_write_at(w->next_fd, (const uint8_t *)&header, sizeof header, 0) != 0)
        return journal_fail(w, "writing a segment header");
    return 0;
}

/* Give the prepared file, synced by now with its header and first batch, its name. A crash before this leaves
 * only a temporary file in which nothing was confirmed. */
static inline int journal_adopt_next(journal_writer *w) {
    char name[32];
    if (journal_segment_name(name, sizeof name, w->segment_index + 1) != 0 ||
        renameat(w->directory_fd, JOURNAL_NEXT_NAME, w->directory_fd, name) != 0)
        return journal_fail(w, "naming a segment");
    if (w->sync && fsync(w->directory_fd) != 0) return journal_fail(w, "syncing the journal directory");
    if (w->segment_fd >= 0) close(w->segment_fd);
    w->segment_fd = w->next_fd;
    w->segment_bytes = w->next_bytes;
    w->segment_index++;
    w->next_fd = -1;
    w->next_bytes = w->next_filled = 0;
    w->figures.segments_created++;
    return 0;
}

/* Create an empty segment behind the current one: for a new journal or for other versions. */
static inline int journal_start_segment(journal_writer *w, uint64_t first_seq) {
    if (journal_begin_next(w, first_seq) != 0) return -1;
    if (w->sync && journal_data_sync(w->next_fd) != 0) return journal_fail(w, "syncing a segment header");
    if (journal_adopt_next(w) != 0) return -1;
    w->offset = JOURNAL_SLOT;
    return 0;
}

static inline int journal_write_batch(journal_writer *w) {
    uint64_t bytes = (w->batch_slots + 1) * JOURNAL_SLOT;
    int roll = bytes > w->segment_bytes - w->offset;
    if (roll && journal_begin_next(w, w->batch_first_seq) != 0) return -1;
    int fd = roll ? w->next_fd : w->segment_fd;
    uint64_t offset = roll ? JOURNAL_SLOT : w->offset;
    journal_seal_batch(w->batch, w->epoch, w->segment_index + (roll ? 1 : 0), w->batch_first_seq,
                       w->batch_commands, (uint32_t)w->batch_slots);
    uint64_t start_ns = journal_clock_ns();
    if (journal_write_at(fd, w->batch, bytes, offset) != 0) return journal_fail(w, "writing a batch");
    uint64_t written_ns = journal_clock_ns();
    /* A failed sync is final: the kernel may have dropped the pages, asking again would confirm nothing. */
    if (w->sync && journal_data_sync(fd) != 0) return journal_fail(w, "syncing a batch");
    uint64_t sync_ns = journal_clock_ns() - written_ns;
    if (roll && journal_adopt_next(w) != 0) return -1;
    w->offset = offset + bytes;
    w->figures.batches++;
    w->figures.commands += w->batch_commands;
    w->figures.written_bytes += bytes;
    w->figures.write_ns += written_ns - start_ns;
    w->figures.sync_ns += sync_ns;
    if (sync_ns > w->figures.sync_ns_max) w->figures.sync_ns_max = sync_ns;
    return 0;
}

/* The next segment is wanted once a quarter of this one is used, so that short-lived venues stay small. */
static inline int journal_wants_next(const journal_writer *w) {
    return w->offset > w->segment_bytes / 4 && (w->next_fd < 0 || w->next_filled < w->next_bytes);
}

static void *journal_writer_main(void *argument) {
    journal_writer *w = (journal_writer *)argument;
    int prepare_failed = 0;
    for (;;) {
        /* Prepare only while no batch waits; what is still missing at roll-over is done there. A full disk is
         * reported by the batch that needs the space, not by the preparation. */
        while (!w->error && !prepare_failed && journal_wants_next(w) && journal_signal_wait(&w->kick, 0) == 0)
            if (journal_prepare_step(w) != 0) {
                prepare_failed = 1;
                journal_discard_next(w);
            }
        if (journal_signal_take(&w->kick) < 0) {
            journal_fail(w, "waiting for a batch");
            journal_signal_send(&w->done);
            break;
        }
        if (w->stop) break;
        uint64_t index = w->segment_index;
        if (!w->error) journal_write_batch(w);
        if (w->segment_index != index) prepare_failed = 0;
        if (journal_signal_send(&w->done) != 0) break;
    }
    return NULL;
}

static inline int journal_thread_start(journal_writer *w) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals belong to the interpreter's threads */
    int result = pthread_create(&w->thread, NULL, journal_writer_main, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    w->running = result == 0;
    return result;
}

static inline void journal_thread_stop(journal_writer *w) {
    if (!w->running) return;
    w->stop = 1;
    journal_signal_send(&w->kick);
    pthread_join(w->thread, NULL);
    w->running = 0;
}

#endif
