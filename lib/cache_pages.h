// SPDX-License-Identifier: Apache-2.0
// Sequences and the pages they hold: plain arithmetic, no device. One caller at a time.
#ifndef LIB_CACHE_PAGES_H
#define LIB_CACHE_PAGES_H

#include <clmla/log.h>
#include <clmla/status.h>
#include <stdbool.h>

typedef struct cache_sequence {
    bool used;
    uint32_t tokens;
    int32_t *pages; // [page_count]
    uint32_t page_count, page_capacity;
    uint32_t next_free; // id of the next unused sequence, 0 = none; while unused
    uint64_t batch;     // number of the last batch that named it: a second time in one batch shows
} cache_sequence;

typedef struct cache_pages {
    const clmla_allocator *allocator;
    const clmla_log *log;
    uint32_t page_tokens;
    uint64_t page_total;
    int32_t *free_pages; // a stack of page numbers: [free_count]
    uint64_t free_count;
    cache_sequence *sequences; // by id - 1
    uint32_t sequence_capacity;
    uint32_t sequence_count; // used ones
    uint32_t first_free;     // id of an unused sequence, 0 = none
    uint64_t token_count;    // of all sequences
    uint64_t batch_count;    // batches looked at so far
} cache_pages;

// Errors: CLMLA_E_ARGUMENT (no page, or a page without rows), CLMLA_E_LIMIT (page numbers pass 31 bits),
// CLMLA_E_MEMORY.
clmla_status cache_pages_init(cache_pages *pages, const clmla_allocator *allocator, const clmla_log *log,
                              uint32_t page_tokens, uint64_t page_total);
void cache_pages_finish(cache_pages *pages); // accepts a zeroed struct

// An empty sequence; the id of a dropped one is used again. Errors: CLMLA_E_MEMORY.
clmla_status cache_pages_create_sequence(uint32_t *id, cache_pages *pages);
clmla_status cache_pages_drop_sequence(cache_pages *pages, uint32_t id);
clmla_status cache_pages_truncate(cache_pages *pages, uint32_t id, uint32_t tokens);
// NULL for an id that is none, with the thread's sentence set.
const cache_sequence *cache_pages_sequence(const cache_pages *pages, uint32_t id);
// Lengthens count sequences by their new tokens (NULL = 1 each), all or none. Host work in proportion to the batch and
// the pages it takes. Errors: as clmla_cache_reserve, CLMLA_E_MEMORY.
clmla_status cache_pages_reserve(cache_pages *pages, uint32_t count, const uint32_t *ids, const uint32_t *new_tokens);

#endif
