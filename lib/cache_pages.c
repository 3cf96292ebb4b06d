// SPDX-License-Identifier: Apache-2.0
#include "lib/cache_pages.h"
#include "host/error.h"
#include "host/memory.h"
#include <clmla/config.h>
#include <string.h>

#define FIRST_SEQUENCES 16u
#define FIRST_PAGES 8u

static clmla_status out_of_memory(const cache_pages *pages, const char *what, uint64_t count) {
    return host_fail(pages->log, CLMLA_E_MEMORY, 0, "cache: no host memory for %llu %s", (unsigned long long)count,
                     what);
}

clmla_status cache_pages_init(cache_pages *pages, const clmla_allocator *allocator, const clmla_log *log,
                              uint32_t page_tokens, uint64_t page_total) {
    *pages = (cache_pages){.allocator = allocator, .log = log, .page_tokens = page_tokens, .page_total = page_total};
    if (page_tokens == 0 || page_total == 0)
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "cache: %llu pages of %u tokens", (unsigned long long)page_total,
                         page_tokens);
    if (page_total > INT32_MAX)
        return host_fail(log, CLMLA_E_LIMIT, 0, "cache: %llu pages are over the limit of 2147483647",
                         (unsigned long long)page_total);
    pages->free_pages = host_allocate(allocator, (size_t)page_total, sizeof *pages->free_pages);
    if (!pages->free_pages) return out_of_memory(pages, "page numbers", page_total);
    // A stack whose top is page 0: a young cache fills from its start.
    for (uint64_t i = 0; i < page_total; i++) pages->free_pages[i] = (int32_t)(page_total - 1 - i);
    pages->free_count = page_total;
    return CLMLA_OK;
}

void cache_pages_finish(cache_pages *pages) {
    for (uint32_t i = 0; i < pages->sequence_capacity; i++) host_release(pages->allocator, pages->sequences[i].pages);
    host_release(pages->allocator, pages->sequences);
    host_release(pages->allocator, pages->free_pages);
    *pages = (cache_pages){0};
}

static uint64_t pages_for(const cache_pages *pages, uint64_t tokens) {
    return (tokens + pages->page_tokens - 1) / pages->page_tokens;
}

// A table of `size`-byte entries with room for more, the first `used` copied; the old one is left alone on failure.
static void *grown(const cache_pages *pages, const void *old, uint64_t used, uint64_t capacity, size_t size) {
    if (capacity > SIZE_MAX / size) return NULL;
    void *table = host_allocate(pages->allocator, (size_t)capacity, size);
    if (table && used > 0) memcpy(table, old, (size_t)used * size);
    return table;
}

static clmla_status grow_sequences(cache_pages *pages) {
    uint64_t old = pages->sequence_capacity, capacity = old ? old * 2 : FIRST_SEQUENCES;
    if (capacity > UINT32_MAX) return out_of_memory(pages, "sequences", capacity);
    cache_sequence *sequences = grown(pages, pages->sequences, old, capacity, sizeof *sequences);
    if (!sequences) return out_of_memory(pages, "sequences", capacity);
    for (uint64_t i = capacity; i-- > old;) { // ids are handed out in rising order
        sequences[i].next_free = pages->first_free;
        pages->first_free = (uint32_t)(i + 1);
    }
    host_release(pages->allocator, pages->sequences);
    pages->sequences = sequences;
    pages->sequence_capacity = (uint32_t)capacity;
    return CLMLA_OK;
}

clmla_status cache_pages_create_sequence(uint32_t *id, cache_pages *pages) {
    if (pages->first_free == 0) STATUS_OR_RETURN(grow_sequences(pages));
    cache_sequence *sequence = &pages->sequences[pages->first_free - 1];
    *id = pages->first_free;
    pages->first_free = sequence->next_free;
    pages->sequence_count++;
    *sequence = (cache_sequence){.used = true};
    return CLMLA_OK;
}

const cache_sequence *cache_pages_sequence(const cache_pages *pages, uint32_t id) {
    if (id > 0 && id <= pages->sequence_capacity && pages->sequences[id - 1].used) return &pages->sequences[id - 1];
    host_fail(pages->log, CLMLA_E_SEQUENCE, 0, "cache: there is no sequence %u", id);
    return NULL;
}

static cache_sequence *find(cache_pages *pages, uint32_t id) {
    return cache_pages_sequence(pages, id) ? &pages->sequences[id - 1] : NULL;
}

static void shorten(cache_pages *pages, cache_sequence *sequence, uint32_t tokens) {
    uint64_t keep = pages_for(pages, tokens);
    while (sequence->page_count > keep)
        pages->free_pages[pages->free_count++] = sequence->pages[--sequence->page_count];
    pages->token_count -= sequence->tokens - tokens;
    sequence->tokens = tokens;
}

clmla_status cache_pages_drop_sequence(cache_pages *pages, uint32_t id) {
    cache_sequence *sequence = find(pages, id);
    if (!sequence) return CLMLA_E_SEQUENCE;
    shorten(pages, sequence, 0);
    host_release(pages->allocator, sequence->pages);
    *sequence = (cache_sequence){.next_free = pages->first_free};
    pages->first_free = id;
    pages->sequence_count--;
    return CLMLA_OK;
}

clmla_status cache_pages_truncate(cache_pages *pages, uint32_t id, uint32_t tokens) {
    cache_sequence *sequence = find(pages, id);
    if (!sequence) return CLMLA_E_SEQUENCE;
    if (tokens > sequence->tokens)
        return host_fail(pages->log, CLMLA_E_ARGUMENT, 0,
                         "cache: sequence %u has %u tokens, it cannot be truncated to %u", id, sequence->tokens,
                         tokens);
    shorten(pages, sequence, tokens);
    return CLMLA_OK;
}

// Checks one sequence of a batch and counts the pages it will need more.
static clmla_status check_one(uint64_t *pages_wanted, cache_pages *pages, uint32_t id, uint32_t new_tokens) {
    cache_sequence *sequence = find(pages, id);
    if (!sequence) return CLMLA_E_SEQUENCE;
    if (sequence->batch == pages->batch_count)
        return host_fail(pages->log, CLMLA_E_ARGUMENT, 0, "cache: the batch names sequence %u twice", id);
    sequence->batch = pages->batch_count;
    uint64_t tokens = (uint64_t)sequence->tokens + new_tokens;
    if (tokens > CLMLA_MAX_CONTEXT)
        return host_fail(pages->log, CLMLA_E_LIMIT, 0, "cache: sequence %u would have %llu tokens, the limit is %d", id,
                         (unsigned long long)tokens, CLMLA_MAX_CONTEXT);
    *pages_wanted += pages_for(pages, tokens) - sequence->page_count;
    return CLMLA_OK;
}

// Room for a sequence's page numbers; its pages stay as they are.
static clmla_status make_room(cache_pages *pages, cache_sequence *sequence, uint64_t page_count) {
    if (page_count <= sequence->page_capacity) return CLMLA_OK;
    uint64_t capacity = sequence->page_capacity ? 2 * (uint64_t)sequence->page_capacity : FIRST_PAGES;
    if (capacity > pages->page_total) capacity = pages->page_total;
    if (capacity < page_count) capacity = page_count;
    int32_t *table = grown(pages, sequence->pages, sequence->page_count, capacity, sizeof *table);
    if (!table) return out_of_memory(pages, "page numbers of a sequence", capacity);
    host_release(pages->allocator, sequence->pages);
    sequence->pages = table;
    sequence->page_capacity = (uint32_t)capacity;
    return CLMLA_OK;
}

static void lengthen(cache_pages *pages, cache_sequence *sequence, uint32_t new_tokens) {
    sequence->tokens += new_tokens;
    pages->token_count += new_tokens;
    uint64_t page_count = pages_for(pages, sequence->tokens);
    while (sequence->page_count < page_count)
        sequence->pages[sequence->page_count++] = pages->free_pages[--pages->free_count];
}

static uint32_t at(const uint32_t *new_tokens, uint32_t i) {
    return new_tokens ? new_tokens[i] : 1;
}

clmla_status cache_pages_reserve(cache_pages *pages, uint32_t count, const uint32_t *ids, const uint32_t *new_tokens) {
    uint64_t wanted = 0;
    pages->batch_count++;
    for (uint32_t i = 0; i < count; i++) STATUS_OR_RETURN(check_one(&wanted, pages, ids[i], at(new_tokens, i)));
    if (wanted > pages->free_count)
        return host_fail(pages->log, CLMLA_E_CACHE_FULL, 0,
                         "cache: the batch needs %llu more pages of %u tokens, %llu are free: %llu are missing",
                         (unsigned long long)wanted, pages->page_tokens, (unsigned long long)pages->free_count,
                         (unsigned long long)(wanted - pages->free_count));
    for (uint32_t i = 0; i < count; i++) {
        cache_sequence *sequence = &pages->sequences[ids[i] - 1];
        STATUS_OR_RETURN(make_room(pages, sequence, pages_for(pages, (uint64_t)sequence->tokens + at(new_tokens, i))));
    }
    for (uint32_t i = 0; i < count; i++) lengthen(pages, &pages->sequences[ids[i] - 1], at(new_tokens, i));
    return CLMLA_OK;
}
