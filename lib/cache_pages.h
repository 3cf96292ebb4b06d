// SPDX-License-Identifier: Apache-2.0
// Sequences and the pages they hold: plain arithmetic, no device. One caller at a time.
//
// A sequence is an ordered list of entries: a page, and how many of its rows, from the first on, are the sequence's.
// All entries but the last are full until rows are removed from between: what is left of a page then moves to its
// front. Pages are shared by counting references; a page that is shared or known by its contents is never written: a
// writer gets a copy. Rows are counted in the order they were appended; positions are kept apart (cache_runs.h).
//
//   cache_pages.c      pages: taking, giving back; sequences: making, finding
//   cache_sequences.c  fork, copy, truncate, drop, keep only
//   cache_reserve.c    lengthening
//   cache_edit.c       removing rows, shifting positions
//   cache_prefix.c     pages found again by their token ids
//   cache_work.c       what is left to the device
//
// Calls either do all they are asked to or change nothing. Host work is in proportion to the pages touched; taking
// entries out of the middle also moves the small entries after them.
#ifndef LIB_CACHE_PAGES_H
#define LIB_CACHE_PAGES_H

#include "lib/cache_runs.h"
#include "lib/cache_work.h"
#include <clmla/log.h>
#include <clmla/status.h>
#include <stdbool.h>

// What a shift of positions does to stored rows.
typedef enum cache_shift_mode {
    CACHE_SHIFT_POSITIONS, // nothing: rows hold no rotation
    CACHE_SHIFT_ROTATE,    // plain formats: rows are rotated where they are; shared pages are copied first
    CACHE_SHIFT_KEEP       // scaled formats: rows are left alone, the entry keeps the delta for who reads them
} cache_shift_mode;

// What the device tables show of an entry; each table has its own mark of what it does not show yet.
typedef enum cache_table_kind {
    CACHE_TABLE_PAGES,
    CACHE_TABLE_ROWS,
    CACHE_TABLE_DELTAS,
    CACHE_TABLE_COUNT
} cache_table_kind;

typedef struct cache_entry {
    int32_t page;
    uint32_t rows;      // the sequence's, 1 .. page_tokens
    uint32_t first_row; // rows of the sequence before it
    int32_t delta;      // CACHE_SHIFT_KEEP: positions its rows are still to be rotated by when they are read
    uint64_t prefix;    // the prefix that ends with this page, as cache_prefix counts them; 0 = not known
} cache_entry;

typedef struct cache_sequence {
    bool used;
    uint32_t tokens;
    cache_entry *entries; // [entry_count]
    uint32_t entry_count, entry_capacity;
    cache_runs runs;
    uint32_t known;       // leading rows whose token ids are known
    uint32_t edited_from; // rows from here on were moved, shifted, or computed after rows that were; UINT32_MAX = none
    uint32_t short_count; // entries, but for the last, with fewer rows than a page has
    uint32_t delta_count; // entries with a delta
    uint32_t unshown[CACHE_TABLE_COUNT]; // first entry that the table does not show as it is
    uint32_t next_free;                  // id of the next unused sequence, 0 = none; while unused
    uint64_t batch;                      // number of the last batch that named it: a second time in one batch shows
} cache_sequence;

typedef struct cache_page {
    uint32_t references; // entries that hold it
    uint32_t leaving;    // of them, those that `leaving_batch` will give copies to
    uint64_t leaving_batch;
    uint64_t life;                  // number of the next work when it was last taken
    uint64_t last_work;             // number of the last work that reads or writes it
    uint64_t mark, mark_life;       // scratch of cache_work: still needed, and in which life
    uint32_t read_wave, write_wave; // the same: the last that do
} cache_page;

// A page known by its contents: its token ids after the prefix `parent`.
typedef struct cache_known_page {
    uint64_t prefix, parent; // prefix 0 = not known by contents
    uint32_t told;           // leading rows whose ids somebody told: who shares the page has the same
    int32_t next;            // in its hash chain, -1 = last
    int32_t newer, older;    // while nobody holds it: by when it was given back, -1 = none
} cache_known_page;

typedef struct cache_prefixes {
    cache_known_page *pages; // [page_total]; NULL = prefixes are not shared
    int32_t *ids;            // [page_total][page_tokens] token ids, where known
    int32_t *chains;         // [chain_count] first page, -1 = none
    uint64_t chain_count;    // a power of two
    uint64_t next_prefix;
    int32_t newest, oldest; // of the known pages nobody holds
    uint64_t kept_count;    // of those
    uint64_t tokens_asked, tokens_found;
} cache_prefixes;

typedef struct cache_pages_params {
    const clmla_allocator *allocator;
    const clmla_log *log;
    uint32_t page_tokens;
    uint64_t page_total;
    cache_shift_mode shift_mode;
    bool share_prefixes;
} cache_pages_params;

typedef struct cache_pages {
    const clmla_allocator *allocator;
    const clmla_log *log;
    uint32_t page_tokens;
    uint64_t page_total;
    cache_shift_mode shift_mode;
    cache_page *pages;   // [page_total]
    int32_t *free_pages; // a stack of page numbers: [free_count]
    uint64_t free_count;
    uint64_t shared_count;     // pages with several references
    cache_sequence *sequences; // by id - 1
    uint32_t sequence_capacity;
    uint32_t sequence_count; // used ones
    uint32_t first_free;     // id of an unused sequence, 0 = none
    uint64_t token_count;    // of all sequences
    uint64_t batch_count;    // batches looked at so far
    uint64_t missing;        // pages, after CLMLA_E_CACHE_FULL
    cache_prefixes prefixes;
    cache_work_list work; // in order, not yet taken
    uint64_t work_number; // of the next
    uint64_t work_mark;
} cache_pages;

// Errors: CLMLA_E_ARGUMENT (no page, or a page without rows), CLMLA_E_LIMIT (page numbers pass 31 bits),
// CLMLA_E_MEMORY.
clmla_status cache_pages_init(cache_pages *pages, const cache_pages_params *params);
void cache_pages_finish(cache_pages *pages); // accepts a zeroed struct

// An empty sequence; the id of a dropped one is used again. Errors: CLMLA_E_MEMORY.
clmla_status cache_pages_create_sequence(uint32_t *id, cache_pages *pages);
clmla_status cache_pages_drop_sequence(cache_pages *pages, uint32_t id);
clmla_status cache_pages_truncate(cache_pages *pages, uint32_t id, uint32_t tokens);
// The first `tokens` rows of `from` become those of the empty sequence `to`; no row is copied before one of the two
// writes. Errors: CLMLA_E_SEQUENCE, CLMLA_E_ARGUMENT, CLMLA_E_MEMORY.
clmla_status cache_pages_copy_prefix(cache_pages *pages, uint32_t to, uint32_t from, uint32_t tokens);
clmla_status cache_pages_fork(uint32_t *id, cache_pages *pages, uint32_t from);
// Drops all sequences but these. Errors: CLMLA_E_SEQUENCE.
clmla_status cache_pages_keep_only(cache_pages *pages, uint32_t count, const uint32_t *ids);
// NULL for an id that is none, with the thread's sentence set.
const cache_sequence *cache_pages_sequence(const cache_pages *pages, uint32_t id);

// Lengthens count sequences by their new tokens (NULL = 1 each), all or none. positions: of all new tokens in order;
// NULL = from the last position on. Errors: as clmla_cache_reserve, CLMLA_E_MEMORY.
clmla_status cache_pages_reserve(cache_pages *pages, uint32_t count, const uint32_t *ids, const uint32_t *new_tokens,
                                 const int32_t *positions);
// Errors: CLMLA_E_SEQUENCE, CLMLA_E_ARGUMENT (no such rows; a position below 0 or past 31 bits), CLMLA_E_CACHE_FULL (a
// shared page must be copied), CLMLA_E_MEMORY.
clmla_status cache_pages_remove(cache_pages *pages, uint32_t id, uint32_t from, uint32_t to);
clmla_status cache_pages_shift(cache_pages *pages, uint32_t id, uint32_t from, uint32_t to, int32_t delta);

// A sequence that starts with the pages known to hold the longest prefix of these tokens, all but the last at most.
clmla_status cache_pages_create_with_tokens(uint32_t *id, uint32_t *shared, cache_pages *pages, const int32_t *tokens,
                                            uint32_t count);
// Token ids of the next `count` rows whose ids are not known. Errors: CLMLA_E_ARGUMENT (more than there are rows; other
// ids than a known page has; prefixes are not shared).
clmla_status cache_pages_commit_tokens(cache_pages *pages, uint32_t id, const int32_t *tokens, uint32_t count);
void cache_pages_forget_prefixes(cache_pages *pages);
// Ids of tokens first .. first+count-1, which must be known (cache_sequence.known).
void cache_pages_tokens(int32_t *out, const cache_pages *pages, const cache_sequence *sequence, uint32_t first,
                        uint32_t count);

// page · page_tokens + row of rows first .. first+count-1, which must exist.
void cache_pages_slots(int64_t *out, const cache_pages *pages, const cache_sequence *sequence, uint32_t first,
                       uint32_t count);
// The deltas of those rows' entries.
void cache_pages_deltas(int32_t *out, const cache_sequence *sequence, uint32_t first, uint32_t count);
// Keys when every page but the last counts as full: what a page table without rows a page shows of the sequence.
uint64_t cache_pages_span(const cache_pages *pages, const cache_sequence *sequence);
// Free pages, those kept for their contents included.
uint64_t cache_pages_available(const cache_pages *pages);

// --- for the model's own files -----------------------------------------------------------------------------------

cache_sequence *cache_pages_find(cache_pages *pages, uint32_t id);
clmla_status cache_pages_no_memory(const cache_pages *pages, const char *what, uint64_t count);
// CLMLA_E_CACHE_FULL unless `wanted` pages can be had when `given_back` come back first.
clmla_status cache_pages_check_available(cache_pages *pages, const char *who, uint64_t wanted, uint64_t given_back);
// Room for so many entries and runs more, and works.
clmla_status cache_pages_make_room(cache_pages *pages, cache_sequence *sequence, uint64_t entries, uint64_t runs);
clmla_status cache_pages_make_work_room(cache_pages *pages, uint64_t works);

int32_t cache_pages_take(cache_pages *pages); // one must be available
void cache_pages_hold(cache_pages *pages, int32_t page);
void cache_pages_give(cache_pages *pages, int32_t page);
bool cache_pages_is_shared(const cache_pages *pages, int32_t page);
uint32_t cache_pages_entry_of(const cache_sequence *sequence, uint32_t row); // row < tokens
// Notes that entries from `index` on have changed.
void cache_pages_touch(cache_sequence *sequence, uint32_t index);
// Gives rows of an entry's page to a page of its own: rows [first, first+rows) go to its front.
void cache_pages_copy_entry(cache_pages *pages, cache_entry *entry, uint32_t first, uint32_t rows);
// Before rows of a page that is not shared change, from `row` on: its contents are not known any more.
void cache_pages_own(cache_pages *pages, int32_t page, uint32_t row);

clmla_status cache_prefix_init(cache_pages *pages);
void cache_prefix_finish(cache_pages *pages);
bool cache_prefix_known(const cache_pages *pages, int32_t page);
void cache_prefix_forget(cache_pages *pages, int32_t page); // also one that is kept
void cache_prefix_keep(cache_pages *pages, int32_t page);   // nobody holds it any more
void cache_prefix_unkeep(cache_pages *pages, int32_t page);
void cache_prefix_untell(cache_pages *pages, int32_t page, uint32_t row); // ids of rows from `row` on
void cache_prefix_move_ids(cache_pages *pages, int32_t from, uint32_t from_row, int32_t to, uint32_t to_row,
                           uint32_t rows);

#endif
