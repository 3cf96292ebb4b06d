// SPDX-License-Identifier: Apache-2.0
#include "host/error.h"
#include "lib/cache_pages.h"
#include <string.h>

static clmla_status check_range(cache_pages *pages, const cache_sequence *sequence, uint32_t id, uint32_t from,
                                uint32_t to, const char *what) {
    if (from <= to && to <= sequence->tokens) return CLMLA_OK;
    return host_fail(pages->log, CLMLA_E_ARGUMENT, 0, "cache: sequence %u has %u tokens: %u to %u cannot be %s", id,
                     sequence->tokens, from, to, what);
}

// An edit takes entries from `begin` on out of the counts, changes them, and counts them again. The one before is among
// them: it may become the last one, or not be it any more.
static void count_from(cache_pages *pages, cache_sequence *sequence, uint32_t begin, bool add) {
    for (uint32_t i = begin > 0 ? begin - 1 : 0; i < sequence->entry_count; i++) {
        uint32_t is_short = i + 1 < sequence->entry_count && sequence->entries[i].rows < pages->page_tokens;
        uint32_t has_delta = sequence->entries[i].delta != 0;
        sequence->short_count += add ? is_short : 0 - is_short;
        sequence->delta_count += add ? has_delta : 0 - has_delta;
    }
}

// After the change: rows are numbered anew, and what a page holds is not a known prefix any more.
static void settle(cache_pages *pages, cache_sequence *sequence, uint32_t begin) {
    uint32_t row = begin > 0 ? sequence->entries[begin - 1].first_row + sequence->entries[begin - 1].rows : 0;
    for (uint32_t i = begin; i < sequence->entry_count; i++) {
        sequence->entries[i].first_row = row;
        sequence->entries[i].prefix = 0;
        row += sequence->entries[i].rows;
    }
    count_from(pages, sequence, begin, true);
    cache_pages_touch(sequence, begin > 0 ? begin - 1 : 0);
}

// What rows from `from` on hold is not what their tokens alone, from the first on, would give.
static void forget_from(cache_sequence *sequence, uint32_t from) {
    if (sequence->known > from) sequence->known = from;
    if (sequence->edited_from > from) sequence->edited_from = from;
}

// The rows an edit is about: from row `first` of entry `begin` to before row `last` of entry `end`.
typedef struct span {
    uint32_t begin, first, end, last;
    bool front, back; // rows of the two entries stand before and behind it
} span;

static span span_of(const cache_sequence *sequence, uint32_t from, uint32_t to) {
    span s = {.begin = cache_pages_entry_of(sequence, from), .end = cache_pages_entry_of(sequence, to - 1)};
    s.first = from - sequence->entries[s.begin].first_row;
    s.last = to - sequence->entries[s.end].first_row;
    s.front = s.first > 0;
    s.back = s.last < sequence->entries[s.end].rows;
    return s;
}

// --- removing ----------------------------------------------------------------------------------------------------

// Entries of which nothing stays: [*from, *to).
static void gone(uint32_t *from, uint32_t *to, const span *s) {
    *from = s->front || (s->begin == s->end && s->back) ? s->begin + 1 : s->begin;
    *to = s->back ? s->end : s->end + 1;
    if (*to < *from) *to = *from;
}

// Pages that only these entries hold.
static uint64_t held_alone(const cache_pages *pages, const cache_sequence *sequence, uint32_t from, uint32_t to) {
    uint64_t count = 0;
    for (uint32_t i = from; i < to; i++) count += !cache_pages_is_shared(pages, sequence->entries[i].page);
    return count;
}

// Rows behind `last` go to row `first`: in the page itself, or in a page of its own when others see it.
static void close_gap(cache_pages *pages, cache_entry *entry, uint32_t first, uint32_t last) {
    int32_t from = entry->page;
    uint32_t behind = entry->rows - last;
    if (cache_pages_is_shared(pages, from)) {
        entry->page = cache_pages_take(pages);
        cache_work_move(pages, from, 0, entry->page, 0, first);
        cache_work_move(pages, from, last, entry->page, first, behind);
        cache_pages_give(pages, from);
    } else {
        cache_pages_own(pages, from, first);
        cache_work_move(pages, from, last, from, first, behind);
    }
    entry->rows = first + behind;
}

static void remove_rows(cache_pages *pages, cache_sequence *sequence, const span *s) {
    uint32_t from, to;
    gone(&from, &to, s);
    for (uint32_t i = to; i-- > from;) cache_pages_give(pages, sequence->entries[i].page);
    if (s->back) close_gap(pages, &sequence->entries[s->end], s->begin == s->end ? s->first : 0, s->last);
    if (s->front && (s->begin != s->end || !s->back)) sequence->entries[s->begin].rows = s->first;
    memmove(sequence->entries + from, sequence->entries + to, (sequence->entry_count - to) * sizeof *sequence->entries);
    sequence->entry_count -= to - from;
}

clmla_status cache_pages_remove(cache_pages *pages, uint32_t id, uint32_t from, uint32_t to) {
    cache_sequence *sequence = cache_pages_find(pages, id);
    uint32_t gone_from, gone_to;
    if (!sequence) return CLMLA_E_SEQUENCE;
    STATUS_OR_RETURN(check_range(pages, sequence, id, from, to, "removed"));
    if (from == to) return CLMLA_OK;
    span s = span_of(sequence, from, to);
    gone(&gone_from, &gone_to, &s);
    uint64_t wanted = s.back && cache_pages_is_shared(pages, sequence->entries[s.end].page);
    STATUS_OR_RETURN(cache_pages_check_available(pages, "removing rows from a shared page", wanted,
                                                 held_alone(pages, sequence, gone_from, gone_to)));
    STATUS_OR_RETURN(cache_pages_make_room(pages, sequence, 0, CACHE_RUNS_FOR_EDIT));
    STATUS_OR_RETURN(cache_pages_make_work_room(pages, 2));

    count_from(pages, sequence, s.begin, false);
    remove_rows(pages, sequence, &s);
    settle(pages, sequence, s.begin);
    cache_runs_remove(&sequence->runs, from, to, sequence->tokens);
    forget_from(sequence, from);
    sequence->tokens -= to - from;
    if (sequence->edited_from >= sequence->tokens) sequence->edited_from = UINT32_MAX; // it was the end that went
    pages->token_count -= to - from;
    return CLMLA_OK;
}

// --- shifting ----------------------------------------------------------------------------------------------------

// Plain formats: the rows are rotated in pages of the sequence's own.
static clmla_status rotate(cache_pages *pages, cache_sequence *sequence, const span *s, int32_t delta) {
    uint64_t entries = (uint64_t)s->end - s->begin + 1;
    uint64_t wanted = entries - held_alone(pages, sequence, s->begin, s->end + 1);
    STATUS_OR_RETURN(cache_pages_check_available(pages, "shifting rows of shared pages", wanted, 0));
    STATUS_OR_RETURN(cache_pages_make_work_room(pages, entries + wanted));
    for (uint32_t i = s->begin; i <= s->end; i++) {
        cache_entry *entry = &sequence->entries[i];
        uint32_t first = i == s->begin ? s->first : 0, last = i == s->end ? s->last : entry->rows;
        if (cache_pages_is_shared(pages, entry->page)) cache_pages_copy_entry(pages, entry, 0, entry->rows);
        cache_pages_own(pages, entry->page, first);
        cache_work_rotate(pages, entry->page, first, last - first, delta);
    }
    return CLMLA_OK;
}

// Splits an entry at a row: those from `row` on get an entry and a page of their own behind it.
static void split(cache_pages *pages, cache_sequence *sequence, uint32_t index, uint32_t row) {
    cache_entry *entry = &sequence->entries[index];
    memmove(entry + 1, entry, (sequence->entry_count - index) * sizeof *entry);
    sequence->entry_count++;
    entry[1].page = cache_pages_take(pages);
    entry[1].rows = entry->rows - row;
    cache_work_move(pages, entry->page, row, entry[1].page, 0, entry[1].rows);
    entry->rows = row;
}

// Scaled formats: an entry has one delta for all its rows, so those outside the range get pages of their own.
static clmla_status keep_delta(cache_pages *pages, cache_sequence *sequence, span s, int32_t delta) {
    uint64_t wanted = (uint64_t)s.front + s.back;
    STATUS_OR_RETURN(cache_pages_check_available(pages, "shifting a part of a page", wanted, 0));
    STATUS_OR_RETURN(cache_pages_make_room(pages, sequence, wanted, 0));
    STATUS_OR_RETURN(cache_pages_make_work_room(pages, wanted));
    count_from(pages, sequence, s.begin, false);
    if (s.back) split(pages, sequence, s.end, s.last);
    if (s.front) {
        split(pages, sequence, s.begin, s.first);
        s.begin++, s.end++;
    }
    for (uint32_t i = s.begin; i <= s.end; i++) sequence->entries[i].delta += delta;
    return CLMLA_OK;
}

clmla_status cache_pages_shift(cache_pages *pages, uint32_t id, uint32_t from, uint32_t to, int32_t delta) {
    cache_sequence *sequence = cache_pages_find(pages, id);
    if (!sequence) return CLMLA_E_SEQUENCE;
    STATUS_OR_RETURN(check_range(pages, sequence, id, from, to, "shifted"));
    if (from == to || delta == 0) return CLMLA_OK;
    if (!cache_runs_can_shift(&sequence->runs, from, to, delta))
        return host_fail(pages->log, CLMLA_E_ARGUMENT, 0,
                         "cache: sequence %u: a shift of %d takes a position below 0 or past 31 bits", id, (int)delta);
    span s = span_of(sequence, from, to);
    STATUS_OR_RETURN(cache_pages_make_room(pages, sequence, 0, CACHE_RUNS_FOR_EDIT));
    if (pages->shift_mode == CACHE_SHIFT_KEEP) {
        STATUS_OR_RETURN(keep_delta(pages, sequence, s, delta));
    } else {
        if (pages->shift_mode == CACHE_SHIFT_ROTATE) STATUS_OR_RETURN(rotate(pages, sequence, &s, delta));
        count_from(pages, sequence, s.begin, false);
    }
    settle(pages, sequence, s.begin);
    cache_runs_shift(&sequence->runs, from, to, sequence->tokens, delta);
    forget_from(sequence, from);
    return CLMLA_OK;
}
