// SPDX-License-Identifier: Apache-2.0
#include "host/error.h"
#include "lib/cache_pages.h"
#include <clmla/config.h>

// What one sequence of a batch needs.
typedef struct demand {
    uint64_t pages; // entries to be added
    bool copy;      // its last page is shared and will be written: one page more, and a work
} demand;

static uint32_t at(const uint32_t *new_tokens, uint32_t i) {
    return new_tokens ? new_tokens[i] : 1;
}

// Rows that go behind the last one's. A page whose rows are still to be rotated takes none: theirs would be as well.
static uint32_t room_in_last(const cache_pages *pages, const cache_sequence *sequence) {
    if (sequence->entry_count == 0) return 0;
    const cache_entry *last = &sequence->entries[sequence->entry_count - 1];
    return last->delta == 0 ? pages->page_tokens - last->rows : 0;
}

// Of sequences of one batch that share a page each but the last to leave it gets a copy.
static bool leaves_last(cache_pages *pages, const cache_sequence *sequence) {
    cache_page *page = &pages->pages[sequence->entries[sequence->entry_count - 1].page];
    if (page->leaving_batch != pages->batch_count) page->leaving = 0;
    page->leaving_batch = pages->batch_count;
    if (page->references - page->leaving <= 1) return false;
    page->leaving++;
    return true;
}

static demand demand_of(cache_pages *pages, const cache_sequence *sequence, uint32_t new_tokens) {
    demand out = {0};
    uint64_t room = room_in_last(pages, sequence), rest = new_tokens > room ? new_tokens - room : 0;
    out.pages = (rest + pages->page_tokens - 1) / pages->page_tokens;
    out.copy = new_tokens > 0 && room > 0 && leaves_last(pages, sequence);
    return out;
}

static clmla_status check_positions(cache_pages *pages, uint32_t id, const cache_sequence *sequence,
                                    uint32_t new_tokens, const int32_t *positions) {
    int64_t next = cache_runs_next(&sequence->runs, sequence->tokens);
    if (!positions && next + new_tokens > (int64_t)INT32_MAX + 1)
        return host_fail(pages->log, CLMLA_E_LIMIT, 0, "cache: sequence %u is at position %lld: %u more pass 31 bits",
                         id, (long long)next, new_tokens);
    for (uint32_t i = 0; positions && i < new_tokens; i++)
        if (positions[i] < 0)
            return host_fail(pages->log, CLMLA_E_ARGUMENT, 0, "cache: sequence %u: position %d is below 0", id,
                             (int)positions[i]);
    return CLMLA_OK;
}

// Checks one sequence of a batch and adds up what it will need.
static clmla_status check_one(uint64_t *wanted, uint64_t *copies, cache_pages *pages, uint32_t id, uint32_t new_tokens,
                              const int32_t *positions) {
    cache_sequence *sequence = cache_pages_find(pages, id);
    if (!sequence) return CLMLA_E_SEQUENCE;
    if (sequence->batch == pages->batch_count)
        return host_fail(pages->log, CLMLA_E_ARGUMENT, 0, "cache: the batch names sequence %u twice", id);
    sequence->batch = pages->batch_count;
    uint64_t tokens = (uint64_t)sequence->tokens + new_tokens;
    if (tokens > CLMLA_MAX_CONTEXT)
        return host_fail(pages->log, CLMLA_E_LIMIT, 0, "cache: sequence %u would have %llu tokens, the limit is %d", id,
                         (unsigned long long)tokens, CLMLA_MAX_CONTEXT);
    STATUS_OR_RETURN(check_positions(pages, id, sequence, new_tokens, positions));
    demand need = demand_of(pages, sequence, new_tokens);
    *wanted += need.pages + need.copy;
    *copies += need.copy;
    return CLMLA_OK;
}

// At most so many runs are added.
static uint64_t runs_of(const int32_t *positions, uint32_t new_tokens) {
    uint64_t runs = new_tokens > 0;
    for (uint32_t i = 1; positions && i < new_tokens; i++) runs += positions[i] != positions[i - 1] + 1;
    return runs;
}

static void add_entry(cache_pages *pages, cache_sequence *sequence, uint32_t first_row, uint32_t rows) {
    uint32_t index = sequence->entry_count;
    if (index > 0 && sequence->entries[index - 1].rows < pages->page_tokens) {
        sequence->short_count++;
        cache_pages_touch(sequence, index - 1);
    }
    sequence->entries[index] = (cache_entry){.page = cache_pages_take(pages), .rows = rows, .first_row = first_row};
    sequence->entry_count++;
    cache_pages_touch(sequence, index);
}

// Rows behind the last one's, in a page of the sequence's own.
static void fill_last(cache_pages *pages, cache_sequence *sequence, uint32_t rows) {
    uint32_t index = sequence->entry_count - 1;
    cache_entry *last = &sequence->entries[index];
    if (cache_pages_is_shared(pages, last->page)) {
        cache_pages_copy_entry(pages, last, 0, last->rows);
        cache_pages_touch(sequence, index);
    } else {
        cache_pages_own(pages, last->page, last->rows);
    }
    last->prefix = 0;
    last->rows += rows;
}

static void lengthen(cache_pages *pages, cache_sequence *sequence, uint32_t new_tokens, const int32_t *positions) {
    int64_t next = cache_runs_next(&sequence->runs, sequence->tokens);
    if (!positions && new_tokens > 0) cache_runs_append(&sequence->runs, sequence->tokens, (int32_t)next);
    for (uint32_t i = 0; positions && i < new_tokens; i++)
        cache_runs_append(&sequence->runs, sequence->tokens + i, positions[i]);

    uint32_t room = room_in_last(pages, sequence), first = new_tokens < room ? new_tokens : room;
    if (first > 0) fill_last(pages, sequence, first);
    for (uint32_t done = first; done < new_tokens;) {
        uint32_t rows = new_tokens - done < pages->page_tokens ? new_tokens - done : pages->page_tokens;
        add_entry(pages, sequence, sequence->tokens + done, rows);
        done += rows;
    }
    sequence->tokens += new_tokens;
    pages->token_count += new_tokens;
}

clmla_status cache_pages_reserve(cache_pages *pages, uint32_t count, const uint32_t *ids, const uint32_t *new_tokens,
                                 const int32_t *positions) {
    uint64_t wanted = 0, copies = 0, token = 0;
    pages->batch_count++;
    for (uint32_t i = 0; i < count; token += at(new_tokens, i++))
        STATUS_OR_RETURN(
            check_one(&wanted, &copies, pages, ids[i], at(new_tokens, i), positions ? positions + token : NULL));
    STATUS_OR_RETURN(cache_pages_check_available(pages, "the batch", wanted, 0));
    STATUS_OR_RETURN(cache_pages_make_work_room(pages, copies));
    pages->batch_count++; // who leaves a page is counted anew
    token = 0;
    for (uint32_t i = 0; i < count; token += at(new_tokens, i++)) {
        cache_sequence *sequence = &pages->sequences[ids[i] - 1];
        demand need = demand_of(pages, sequence, at(new_tokens, i));
        uint64_t runs = runs_of(positions ? positions + token : NULL, at(new_tokens, i));
        STATUS_OR_RETURN(cache_pages_make_room(pages, sequence, need.pages, runs));
    }
    token = 0;
    for (uint32_t i = 0; i < count; token += at(new_tokens, i++))
        lengthen(pages, &pages->sequences[ids[i] - 1], at(new_tokens, i), positions ? positions + token : NULL);
    return CLMLA_OK;
}
