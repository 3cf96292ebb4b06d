// SPDX-License-Identifier: Apache-2.0
#include "lib/cache_pages.h"
#include "host/error.h"
#include "host/memory.h"
#include <clmla/config.h>
#include <string.h>

#define FIRST_SEQUENCES 16u
#define FIRST_ENTRIES 8u
#define FIRST_RUNS 2u

clmla_status cache_pages_no_memory(const cache_pages *pages, const char *what, uint64_t count) {
    return host_fail(pages->log, CLMLA_E_MEMORY, 0, "cache: no host memory for %llu %s", (unsigned long long)count,
                     what);
}

clmla_status cache_pages_init(cache_pages *pages, const cache_pages_params *params) {
    uint64_t total = params->page_total;
    *pages = (cache_pages){.allocator = params->allocator,
                           .log = params->log,
                           .page_tokens = params->page_tokens,
                           .page_total = total,
                           .shift_mode = params->shift_mode,
                           .work_number = 1};
    if (params->page_tokens == 0 || total == 0)
        return host_fail(params->log, CLMLA_E_ARGUMENT, 0, "cache: %llu pages of %u tokens", (unsigned long long)total,
                         params->page_tokens);
    if (total > INT32_MAX)
        return host_fail(params->log, CLMLA_E_LIMIT, 0, "cache: %llu pages are over the limit of 2147483647",
                         (unsigned long long)total);
    pages->free_pages = host_allocate(params->allocator, (size_t)total, sizeof *pages->free_pages);
    pages->pages = host_allocate(params->allocator, (size_t)total, sizeof *pages->pages);
    if (!pages->free_pages || !pages->pages) return cache_pages_no_memory(pages, "pages", total);
    // A stack whose top is page 0: a young cache fills from its start.
    for (uint64_t i = 0; i < total; i++) pages->free_pages[i] = (int32_t)(total - 1 - i);
    pages->free_count = total;
    return params->share_prefixes ? cache_prefix_init(pages) : CLMLA_OK;
}

void cache_pages_finish(cache_pages *pages) {
    for (uint32_t i = 0; i < pages->sequence_capacity; i++) {
        host_release(pages->allocator, pages->sequences[i].entries);
        host_release(pages->allocator, pages->sequences[i].runs.runs);
    }
    host_release(pages->allocator, pages->sequences);
    host_release(pages->allocator, pages->free_pages);
    host_release(pages->allocator, pages->pages);
    host_release(pages->allocator, pages->work.works);
    cache_prefix_finish(pages);
    *pages = (cache_pages){0};
}

// --- pages ---

uint64_t cache_pages_available(const cache_pages *pages) {
    return pages->free_count + pages->prefixes.kept_count;
}

int32_t cache_pages_take(cache_pages *pages) {
    if (pages->free_count == 0) cache_prefix_forget(pages, pages->prefixes.oldest);
    int32_t page = pages->free_pages[--pages->free_count];
    cache_prefix_untell(pages, page, 0);
    pages->pages[page].references = 1;
    pages->pages[page].life = pages->work_number;
    return page;
}

void cache_pages_hold(cache_pages *pages, int32_t page) {
    uint32_t references = ++pages->pages[page].references;
    if (references == 1) cache_prefix_unkeep(pages, page);
    if (references == 2) pages->shared_count++;
}

void cache_pages_give(cache_pages *pages, int32_t page) {
    uint32_t references = --pages->pages[page].references;
    if (references == 1) pages->shared_count--;
    if (references > 0) return;
    if (cache_prefix_known(pages, page))
        cache_prefix_keep(pages, page);
    else
        pages->free_pages[pages->free_count++] = page;
}

bool cache_pages_is_shared(const cache_pages *pages, int32_t page) {
    return pages->pages[page].references > 1;
}

void cache_pages_own(cache_pages *pages, int32_t page, uint32_t row) {
    if (cache_prefix_known(pages, page)) cache_prefix_forget(pages, page);
    cache_prefix_untell(pages, page, row);
}

void cache_pages_copy_entry(cache_pages *pages, cache_entry *entry, uint32_t first, uint32_t rows) {
    int32_t from = entry->page;
    entry->page = cache_pages_take(pages);
    entry->rows = rows;
    cache_work_move(pages, from, first, entry->page, 0, rows);
    cache_pages_give(pages, from);
}

clmla_status cache_pages_check_available(cache_pages *pages, const char *who, uint64_t wanted, uint64_t given_back) {
    uint64_t available = cache_pages_available(pages) + given_back;
    if (wanted <= available) return CLMLA_OK;
    pages->missing = wanted - available;
    return host_fail(pages->log, CLMLA_E_CACHE_FULL, 0,
                     "cache: %s needs %llu more pages of %u tokens, %llu are free: %llu are missing", who,
                     (unsigned long long)wanted, pages->page_tokens, (unsigned long long)available,
                     (unsigned long long)pages->missing);
}

// --- sequences ---

// A table of `size`-byte entries with room for more, the first `used` copied; the old one is left alone on failure.
static void *grown(const cache_pages *pages, const void *old, uint64_t used, uint64_t capacity, size_t size) {
    if (capacity > SIZE_MAX / size) return NULL;
    void *table = host_allocate(pages->allocator, (size_t)capacity, size);
    if (table && used > 0) memcpy(table, old, (size_t)used * size);
    return table;
}

static clmla_status grow_sequences(cache_pages *pages) {
    uint64_t old = pages->sequence_capacity, capacity = old ? old * 2 : FIRST_SEQUENCES;
    if (capacity > UINT32_MAX) return cache_pages_no_memory(pages, "sequences", capacity);
    cache_sequence *sequences = grown(pages, pages->sequences, old, capacity, sizeof *sequences);
    if (!sequences) return cache_pages_no_memory(pages, "sequences", capacity);
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
    *sequence = (cache_sequence){.used = true, .edited_from = UINT32_MAX};
    return CLMLA_OK;
}

const cache_sequence *cache_pages_sequence(const cache_pages *pages, uint32_t id) {
    if (id > 0 && id <= pages->sequence_capacity && pages->sequences[id - 1].used) return &pages->sequences[id - 1];
    host_fail(pages->log, CLMLA_E_SEQUENCE, 0, "cache: there is no sequence %u", id);
    return NULL;
}

cache_sequence *cache_pages_find(cache_pages *pages, uint32_t id) {
    return cache_pages_sequence(pages, id) ? &pages->sequences[id - 1] : NULL;
}

static uint64_t larger(uint64_t capacity, uint64_t first, uint64_t wanted) {
    uint64_t room = capacity ? 2 * capacity : first;
    return room < wanted ? wanted : room;
}

static clmla_status grow_entries(cache_pages *pages, cache_sequence *sequence, uint64_t wanted) {
    if (wanted <= sequence->entry_capacity) return CLMLA_OK;
    uint64_t capacity = larger(sequence->entry_capacity, FIRST_ENTRIES, wanted);
    cache_entry *entries = capacity > UINT32_MAX
                               ? NULL
                               : grown(pages, sequence->entries, sequence->entry_count, capacity, sizeof *entries);
    if (!entries) return cache_pages_no_memory(pages, "pages of a sequence", capacity);
    host_release(pages->allocator, sequence->entries);
    sequence->entries = entries;
    sequence->entry_capacity = (uint32_t)capacity;
    return CLMLA_OK;
}

static clmla_status grow_runs(cache_pages *pages, cache_runs *runs, uint64_t wanted) {
    if (wanted <= runs->capacity) return CLMLA_OK;
    uint64_t capacity = larger(runs->capacity, FIRST_RUNS, wanted);
    cache_run *larger_runs =
        capacity > UINT32_MAX ? NULL : grown(pages, runs->runs, runs->count, capacity, sizeof *runs->runs);
    if (!larger_runs) return cache_pages_no_memory(pages, "runs of positions", capacity);
    host_release(pages->allocator, runs->runs);
    runs->runs = larger_runs;
    runs->capacity = (uint32_t)capacity;
    return CLMLA_OK;
}

clmla_status cache_pages_make_room(cache_pages *pages, cache_sequence *sequence, uint64_t entries, uint64_t runs) {
    STATUS_OR_RETURN(grow_entries(pages, sequence, sequence->entry_count + entries));
    return grow_runs(pages, &sequence->runs, sequence->runs.count + runs);
}

clmla_status cache_pages_make_work_room(cache_pages *pages, uint64_t works) {
    return cache_work_room(pages, (size_t)works) ? CLMLA_OK : cache_pages_no_memory(pages, "row moves", works);
}

uint32_t cache_pages_entry_of(const cache_sequence *sequence, uint32_t row) {
    uint32_t low = 0, high = sequence->entry_count;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (sequence->entries[middle].first_row <= row)
            low = middle;
        else
            high = middle;
    }
    return low;
}

void cache_pages_touch(cache_sequence *sequence, uint32_t index) {
    for (int i = 0; i < CACHE_TABLE_COUNT; i++)
        if (sequence->unshown[i] > index) sequence->unshown[i] = index;
}

void cache_pages_slots(int64_t *out, const cache_pages *pages, const cache_sequence *sequence, uint32_t first,
                       uint32_t count) {
    uint32_t index = count > 0 ? cache_pages_entry_of(sequence, first) : 0;
    for (uint32_t i = 0; i < count; i++) {
        while (first + i - sequence->entries[index].first_row >= sequence->entries[index].rows) index++;
        const cache_entry *entry = &sequence->entries[index];
        out[i] = (int64_t)entry->page * pages->page_tokens + (first + i - entry->first_row);
    }
}

void cache_pages_deltas(int32_t *out, const cache_sequence *sequence, uint32_t first, uint32_t count) {
    uint32_t index = count > 0 ? cache_pages_entry_of(sequence, first) : 0;
    for (uint32_t i = 0; i < count; i++) {
        while (first + i - sequence->entries[index].first_row >= sequence->entries[index].rows) index++;
        out[i] = sequence->entries[index].delta;
    }
}

uint64_t cache_pages_span(const cache_pages *pages, const cache_sequence *sequence) {
    if (sequence->entry_count == 0) return 0;
    uint32_t last = sequence->entry_count - 1;
    return (uint64_t)last * pages->page_tokens + sequence->entries[last].rows;
}
