// SPDX-License-Identifier: Apache-2.0
// Saved sequences as sequences and pages of this cache: all of them or none.
//
// Rows fill pages from the first on; where the delta changes a new page begins, because a page has one for all its
// rows. What a sequence shares with its parent it shares here too, page by page, where both lie in the same rows of
// one.
#include "lib/cache_restore.h"
#include "host/bytes.h"
#include "host/error.h"
#include "host/memory.h"

#define IDS_AT_ONCE 256u

// --- entries -------------------------------------------------------------------------------------------------------

typedef struct cursor {
    const cache_saved_sequence *saved;
    uint32_t run; // the next
    uint32_t row;
    int32_t delta;
} cursor;

// Rows from the cursor on with one delta; 0 at the end.
static uint32_t next_stretch(cursor *at) {
    const cache_saved_sequence *saved = at->saved;
    if (at->row == saved->tokens) return 0;
    at->delta = cache_saved_run_at(saved, at->run).delta;
    while (at->run < saved->run_count && cache_saved_run_at(saved, at->run).delta == at->delta) at->run++;
    uint32_t end = at->run < saved->run_count ? cache_saved_run_at(saved, at->run).first_row : saved->tokens;
    return end - at->row;
}

static uint64_t entries_of(const cache_saved_sequence *saved, uint32_t page_tokens) {
    uint64_t entries = 0;
    cursor at = {.saved = saved};
    for (uint32_t rows; (rows = next_stretch(&at)) > 0; at.row += rows)
        entries += ((uint64_t)rows + page_tokens - 1) / page_tokens;
    return entries;
}

static void add_entry(cache_pages *pages, cache_sequence *sequence, cache_entry entry) {
    if (sequence->entry_count > 0 && entry.first_row > 0)
        sequence->short_count += sequence->entries[sequence->entry_count - 1].rows < pages->page_tokens;
    sequence->delta_count += entry.delta != 0;
    sequence->entries[sequence->entry_count++] = entry;
}

// Entries without pages; room is made.
static void lay_out(cache_pages *pages, cache_sequence *sequence, const cache_saved_sequence *saved) {
    cursor at = {.saved = saved};
    for (uint32_t stretch; (stretch = next_stretch(&at)) > 0;)
        for (uint32_t rows; stretch > 0; stretch -= rows, at.row += rows) {
            rows = stretch < pages->page_tokens ? stretch : pages->page_tokens;
            add_entry(pages, sequence, (cache_entry){.page = -1, .rows = rows, .first_row = at.row, .delta = at.delta});
        }
    for (uint32_t i = 0; i < saved->run_count; i++) {
        cache_saved_run run = cache_saved_run_at(saved, i);
        cache_runs_append(&sequence->runs, run.first_row, run.position);
    }
}

bool cache_restore_shares(const cache_pages *pages, const cache_saved *saved, const uint32_t *ids, uint32_t index,
                          uint32_t entry) {
    const cache_saved_sequence *of = &saved->sequences[index];
    if (of->parent == 0) return false;
    const cache_sequence *sequence = &pages->sequences[ids[index] - 1];
    const cache_sequence *parent = &pages->sequences[ids[of->parent - 1] - 1];
    if (entry >= parent->entry_count) return false;
    const cache_entry *own = &sequence->entries[entry], *theirs = &parent->entries[entry];
    return own->first_row == theirs->first_row && own->rows <= theirs->rows && own->first_row + own->rows <= of->shared;
}

// --- all or none ---------------------------------------------------------------------------------------------------

static clmla_status make(cache_pages *pages, const cache_saved *saved, uint32_t *ids, uint32_t *made) {
    for (uint32_t i = 0; i < saved->sequence_count; i++) {
        STATUS_OR_RETURN(cache_pages_create_sequence(&ids[i], pages));
        *made = i + 1;
        cache_sequence *sequence = &pages->sequences[ids[i] - 1];
        STATUS_OR_RETURN(cache_pages_make_room(pages, sequence, entries_of(&saved->sequences[i], pages->page_tokens),
                                               saved->sequences[i].run_count));
        lay_out(pages, sequence, &saved->sequences[i]);
    }
    return CLMLA_OK;
}

static uint64_t own_pages(const cache_pages *pages, const cache_saved *saved, const uint32_t *ids) {
    uint64_t wanted = 0;
    for (uint32_t i = 0; i < saved->sequence_count; i++)
        for (uint32_t e = 0; e < pages->sequences[ids[i] - 1].entry_count; e++)
            wanted += !cache_restore_shares(pages, saved, ids, i, e);
    return wanted;
}

static void take_pages(cache_pages *pages, const cache_saved *saved, const uint32_t *ids) {
    for (uint32_t i = 0; i < saved->sequence_count; i++) {
        cache_sequence *sequence = &pages->sequences[ids[i] - 1];
        for (uint32_t e = 0; e < sequence->entry_count; e++) {
            cache_entry *entry = &sequence->entries[e];
            if (cache_restore_shares(pages, saved, ids, i, e)) {
                entry->page = pages->sequences[ids[saved->sequences[i].parent - 1] - 1].entries[e].page;
                cache_pages_hold(pages, entry->page);
            } else {
                entry->page = cache_pages_take(pages);
            }
        }
        sequence->tokens = saved->sequences[i].tokens;
        sequence->edited_from = saved->sequences[i].edited_from;
        pages->token_count += sequence->tokens;
    }
}

clmla_status cache_pages_restore(cache_pages *pages, const cache_saved *saved, uint32_t *ids) {
    uint32_t made = 0;
    clmla_status status = CLMLA_OK;
    STATUS_OR_OUT(make(pages, saved, ids, &made));
    STATUS_OR_OUT(cache_pages_check_available(pages, saved->name, own_pages(pages, saved, ids), 0));
    take_pages(pages, saved, ids);
    return CLMLA_OK;
out:
    for (uint32_t i = made; i-- > 0;) {
        // They hold no pages yet.
        cache_sequence *sequence = &pages->sequences[ids[i] - 1];
        sequence->entry_count = sequence->short_count = sequence->delta_count = 0;
        cache_pages_drop_sequence(pages, ids[i]);
    }
    return status;
}

void cache_pages_take_back(cache_pages *pages, const uint32_t *ids, uint32_t count) {
    for (uint32_t i = count; i-- > 0;) cache_pages_drop_sequence(pages, ids[i]); // ids and pages come off in reverse
}

// Ids are of use, not needed: where telling them fails, the sequence has fewer that are known, and the load is no
// failed call.
void cache_pages_restore_tokens(cache_pages *pages, const cache_saved *saved, const uint32_t *ids) {
    int32_t some[IDS_AT_ONCE];
    host_last_failure told;
    if (!pages->prefixes.pages) return;
    host_last_failure_keep(&told);
    for (uint32_t i = 0; i < saved->sequence_count; i++) {
        const cache_saved_sequence *sequence = &saved->sequences[i];
        for (uint32_t done = 0, count; done < sequence->known; done += count) {
            count = sequence->known - done < IDS_AT_ONCE ? sequence->known - done : IDS_AT_ONCE;
            for (uint32_t k = 0; k < count; k++) some[k] = host_get_i32(sequence->ids + 4ull * (done + k));
            if (cache_pages_commit_tokens(pages, ids[i], some, count) != CLMLA_OK) break;
        }
    }
    host_last_failure_restore(&told);
}
