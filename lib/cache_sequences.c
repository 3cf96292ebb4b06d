// SPDX-License-Identifier: Apache-2.0
#include "host/error.h"
#include "host/memory.h"
#include "lib/cache_pages.h"
#include <string.h>

// Takes the last entry off.
static void pop(cache_pages *pages, cache_sequence *sequence) {
    const cache_entry *entry = &sequence->entries[--sequence->entry_count];
    if (entry->delta != 0) sequence->delta_count--;
    if (sequence->entry_count > 0 && entry[-1].rows < pages->page_tokens) sequence->short_count--; // it is the last now
    cache_pages_give(pages, entry->page);
}

static void cut(cache_pages *pages, cache_sequence *sequence, uint32_t tokens) {
    // From the end, so that of pages kept for their contents a prefix outlives what follows it.
    while (sequence->entry_count > 0 && sequence->entries[sequence->entry_count - 1].first_row >= tokens)
        pop(pages, sequence);
    if (sequence->entry_count > 0) {
        cache_pages_touch(sequence, sequence->entry_count - 1); // a page in the middle may be the last now
        cache_entry *last = &sequence->entries[sequence->entry_count - 1];
        if (tokens - last->first_row < last->rows) {
            last->rows = tokens - last->first_row;
            last->prefix = 0;
        }
    }
    cache_runs_cut(&sequence->runs, tokens);
    if (sequence->known > tokens) sequence->known = tokens;
    if (sequence->edited_from >= tokens) sequence->edited_from = UINT32_MAX;
    pages->token_count -= sequence->tokens - tokens;
    sequence->tokens = tokens;
}

static void drop(cache_pages *pages, uint32_t id) {
    cache_sequence *sequence = &pages->sequences[id - 1];
    cut(pages, sequence, 0);
    host_release(pages->allocator, sequence->entries);
    host_release(pages->allocator, sequence->runs.runs);
    *sequence = (cache_sequence){.next_free = pages->first_free};
    pages->first_free = id;
    pages->sequence_count--;
}

clmla_status cache_pages_drop_sequence(cache_pages *pages, uint32_t id) {
    if (!cache_pages_find(pages, id)) return CLMLA_E_SEQUENCE;
    drop(pages, id);
    return CLMLA_OK;
}

clmla_status cache_pages_truncate(cache_pages *pages, uint32_t id, uint32_t tokens) {
    cache_sequence *sequence = cache_pages_find(pages, id);
    if (!sequence) return CLMLA_E_SEQUENCE;
    if (tokens > sequence->tokens)
        return host_fail(pages->log, CLMLA_E_ARGUMENT, 0,
                         "cache: sequence %u has %u tokens, it cannot be truncated to %u", id, sequence->tokens,
                         tokens);
    cut(pages, sequence, tokens);
    return CLMLA_OK;
}

static void share_entry(cache_pages *pages, cache_sequence *to, const cache_entry *entry, uint32_t tokens) {
    cache_entry shared = *entry;
    if (shared.rows > tokens - shared.first_row) {
        shared.rows = tokens - shared.first_row;
        shared.prefix = 0;
    }
    if (to->entry_count > 0 && to->entries[to->entry_count - 1].rows < pages->page_tokens) to->short_count++;
    if (shared.delta != 0) to->delta_count++;
    cache_pages_hold(pages, shared.page);
    to->entries[to->entry_count++] = shared;
}

clmla_status cache_pages_copy_prefix(cache_pages *pages, uint32_t to_id, uint32_t from_id, uint32_t tokens) {
    cache_sequence *to = cache_pages_find(pages, to_id), *from = to ? cache_pages_find(pages, from_id) : NULL;
    if (!to || !from) return CLMLA_E_SEQUENCE;
    if (tokens > from->tokens)
        return host_fail(pages->log, CLMLA_E_ARGUMENT, 0, "cache: sequence %u has %u tokens, not %u to copy", from_id,
                         from->tokens, tokens);
    if (to->tokens > 0)
        return host_fail(pages->log, CLMLA_E_ARGUMENT, 0,
                         "cache: sequence %u has %u tokens: a prefix can be copied to an empty one", to_id, to->tokens);
    if (tokens == 0) return CLMLA_OK;
    uint32_t entries = cache_pages_entry_of(from, tokens - 1) + 1;
    STATUS_OR_RETURN(cache_pages_make_room(pages, to, entries, from->runs.count));
    for (uint32_t i = 0; i < entries; i++) share_entry(pages, to, &from->entries[i], tokens);
    memcpy(to->runs.runs, from->runs.runs, from->runs.count * sizeof *from->runs.runs);
    to->runs.count = from->runs.count;
    cache_runs_cut(&to->runs, tokens);
    to->known = from->known < tokens ? from->known : tokens;
    to->edited_from = from->edited_from < tokens ? from->edited_from : UINT32_MAX;
    to->tokens = tokens;
    pages->token_count += tokens;
    cache_pages_touch(to, 0);
    return CLMLA_OK;
}

clmla_status cache_pages_fork(uint32_t *id, cache_pages *pages, uint32_t from) {
    uint32_t made;
    const cache_sequence *source = cache_pages_sequence(pages, from);
    if (!source) return CLMLA_E_SEQUENCE;
    uint32_t tokens = source->tokens;
    STATUS_OR_RETURN(cache_pages_create_sequence(&made, pages));
    clmla_status status = cache_pages_copy_prefix(pages, made, from, tokens);
    if (status != CLMLA_OK)
        drop(pages, made);
    else
        *id = made;
    return status;
}

clmla_status cache_pages_keep_only(cache_pages *pages, uint32_t count, const uint32_t *ids) {
    uint64_t batch = ++pages->batch_count;
    for (uint32_t i = 0; i < count; i++) {
        cache_sequence *sequence = cache_pages_find(pages, ids[i]);
        if (!sequence) return CLMLA_E_SEQUENCE;
        sequence->batch = batch;
    }
    // Downwards, so that the lowest ids are the next to be used again.
    for (uint32_t id = pages->sequence_capacity; id > 0; id--)
        if (pages->sequences[id - 1].used && pages->sequences[id - 1].batch != batch) drop(pages, id);
    return CLMLA_OK;
}
