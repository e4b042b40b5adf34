/* The journal on disk: layouts and the one routine that decides whether a batch is whole.
 *
 * A segment is a zero-filled file of 64-byte slots. Slot 0 is the segment header; batches follow without
 * gaps: a batch header, then slot_count slots holding command_count command records with contiguous sequence
 * numbers. A batch never crosses segments. All integers are little endian.
 */
#ifndef MARGRAVE_JOURNAL_FORMAT_H
#define MARGRAVE_JOURNAL_FORMAT_H

#include "persistence/crc32c.h"

#define JOURNAL_SLOT 64u
#define JOURNAL_BATCH_MAGIC 0x4254474Du /* "MGTB" */
static const char JOURNAL_SEGMENT_MAGIC[8] = {'M', 'A', 'R', 'G', 'R', 'A', 'V', 'E'};

typedef struct {
    uint8_t magic[8];
    uint16_t record_version; /* layout of the records */
    uint16_t pad;
    uint32_t logic_version; /* behaviour of the engine that stamped them */
    uint64_t segment_index; /* 1, 2, ... : also the file name */
    uint64_t first_seq;     /* of the first command of this segment, present or to come */
    uint64_t epoch;         /* of the process that created the segment */
    uint64_t segment_bytes; /* full length of the file */
    uint8_t reserved[12];
    uint32_t crc32c; /* over the 60 bytes before */
} journal_segment_header;

typedef struct {
    uint32_t magic;
    uint32_t crc32c; /* over bytes 8..63 of this header and the payload */
    uint64_t epoch;
    uint64_t first_seq;
    uint32_t command_count;
    uint32_t slot_count;
    uint64_t segment_index;
    uint8_t reserved[20];
    uint32_t header_crc32c; /* over bytes 8..59: tells a lost payload from a lost header */
} journal_batch_header;

typedef struct {
    uint16_t kind;
    uint16_t slots; /* length of the record in slots, this one included */
    uint32_t account_id;
    uint64_t seq;
    int64_t time_ns;
    uint8_t body[40];
} journal_record;

_Static_assert(sizeof(journal_segment_header) == JOURNAL_SLOT, "segment header is one slot");
_Static_assert(sizeof(journal_batch_header) == JOURNAL_SLOT, "batch header is one slot");
_Static_assert(sizeof(journal_record) == JOURNAL_SLOT, "record header is one slot");

enum {
    BATCH_WHOLE = 0,
    BATCH_NONE = 1,    /* a zero slot, or the end of the file: nothing was written here */
    BATCH_TORN = 2,    /* checksum, magic or length is wrong */
    BATCH_DISORDER = 3 /* checksums hold; sequence, epoch, segment or records contradict what came before */
};

/* Walk slot_count slots. Returns how many records they are, or -1 where lengths or sequence do not fit. */
static inline int64_t journal_count_records(const uint8_t *slots, uint64_t slot_count, uint64_t first_seq) {
    uint64_t at = 0, seq = first_seq;
    while (at < slot_count) {
        const journal_record *record = (const journal_record *)(slots + at * JOURNAL_SLOT);
        if (record->slots == 0 || record->slots > slot_count - at || record->seq != seq) return -1;
        at += record->slots;
        seq++;
    }
    return (int64_t)(seq - first_seq);
}

/* Slots before the record with sequence number seq, in a batch known to be whole and to contain it. */
static inline uint64_t journal_slots_before(const uint8_t *slots, uint64_t slot_count, uint64_t seq) {
    uint64_t at = 0;
    while (at < slot_count) {
        const journal_record *record = (const journal_record *)(slots + at * JOURNAL_SLOT);
        if (record->seq >= seq) break;
        at += record->slots;
    }
    return at;
}

static inline void journal_seal_batch(uint8_t *batch, uint64_t epoch, uint64_t segment_index,
                                      uint64_t first_seq, uint32_t command_count, uint32_t slot_count) {
    journal_batch_header *header = (journal_batch_header *)batch;
    memset(header, 0, sizeof *header);
    header->magic = JOURNAL_BATCH_MAGIC;
    header->epoch = epoch;
    header->first_seq = first_seq;
    header->command_count = command_count;
    header->slot_count = slot_count;
    header->segment_index = segment_index;
    header->header_crc32c = crc32c(0, batch + 8, 52);
    header->crc32c = crc32c(0, batch + 8, 56 + (size_t)slot_count * JOURNAL_SLOT);
}

static inline int journal_header_is_whole(const uint8_t *at) {
    const journal_batch_header *header = (const journal_batch_header *)at;
    return header->magic == JOURNAL_BATCH_MAGIC && header->header_crc32c == crc32c(0, at + 8, 52);
}

/* Both checksums of a batch that may occupy up to `room` bytes. */
static inline int journal_batch_is_whole(const uint8_t *at, uint64_t room) {
    const journal_batch_header *header = (const journal_batch_header *)at;
    return room >= JOURNAL_SLOT && journal_header_is_whole(at) &&
           header->slot_count <= room / JOURNAL_SLOT - 1 &&
           header->crc32c == crc32c(0, at + 8, 56 + (size_t)header->slot_count * JOURNAL_SLOT);
}

/* Judge what stands at `offset` of a segment of `length` bytes, given the sequence number, segment and least
 * epoch that a batch there must carry. */
static inline int journal_check_batch(const uint8_t *segment, uint64_t length, uint64_t offset,
                                      uint64_t segment_index, uint64_t expected_seq, uint64_t least_epoch) {
    static const uint8_t zero[JOURNAL_SLOT];
    if (offset >= length) return BATCH_NONE;
    uint64_t room = length - offset;
    const uint8_t *at = segment + offset;
    const journal_batch_header *header = (const journal_batch_header *)at;
    if (memcmp(at, zero, room < JOURNAL_SLOT ? room : JOURNAL_SLOT) == 0) return BATCH_NONE;
    if (!journal_batch_is_whole(at, room)) return BATCH_TORN;
    if (header->segment_index != segment_index || header->first_seq != expected_seq) return BATCH_DISORDER;
    if (header->epoch < least_epoch || header->slot_count == 0) return BATCH_DISORDER;
    int64_t records = journal_count_records(at + JOURNAL_SLOT, header->slot_count, expected_seq);
    return records == (int64_t)header->command_count ? BATCH_WHOLE : BATCH_DISORDER;
}

/* Offset of the first whole batch at or after `from`, or 0. One batch at a time is in flight, so a whole
 * batch behind a broken one means that confirmed bytes were damaged; a torn write alone cannot leave one. */
static inline uint64_t journal_find_batch(const uint8_t *segment, uint64_t length, uint64_t from) {
    for (uint64_t offset = from; offset + JOURNAL_SLOT <= length; offset += JOURNAL_SLOT)
        if (journal_batch_is_whole(segment + offset, length - offset)) return offset;
    return 0;
}

/* Where the search for later batches starts: behind the torn one's payload if its header can be trusted. */
static inline uint64_t journal_after_torn(const uint8_t *segment, uint64_t length, uint64_t offset) {
    if (length - offset < JOURNAL_SLOT) return length;
    const journal_batch_header *header = (const journal_batch_header *)(segment + offset);
    if (!journal_header_is_whole(segment + offset)) return offset + JOURNAL_SLOT;
    return offset + ((uint64_t)header->slot_count + 1) * JOURNAL_SLOT;
}

static inline void journal_seal_segment(journal_segment_header *header, uint16_t record_version,
                                        uint32_t logic_version, uint64_t segment_index, uint64_t first_seq,
                                        uint64_t epoch, uint64_t bytes) {
    memset(header, 0, sizeof *header);
    memcpy(header->magic, JOURNAL_SEGMENT_MAGIC, 8);
    header->record_version = record_version;
    header->logic_version = logic_version;
    header->segment_index = segment_index;
    header->first_seq = first_seq;
    header->epoch = epoch;
    header->segment_bytes = bytes;
    header->crc32c = crc32c(0, header, 60);
}

#endif
