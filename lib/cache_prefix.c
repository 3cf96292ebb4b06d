// SPDX-License-Identifier: Apache-2.0
// Pages found again by what they hold. A full page whose token ids are told is known as (the prefix before it, its
// ids), and makes a prefix of its own, numbered once and for all; a chain of such pages is found by walking from the
// empty prefix (1). vLLM's automatic prefix caching keeps a hash of the chain in the same place; here the hash only
// finds candidates, and prefix and ids are compared, so that no two contents are ever taken for one.
#include "host/error.h"
#include "host/memory.h"
#include "lib/cache_pages.h"
#include <string.h>

#define EMPTY_PREFIX 1u

clmla_status cache_prefix_init(cache_pages *pages) {
    cache_prefixes *prefixes = &pages->prefixes;
    uint64_t ids, chains = 16;
    while (chains < pages->page_total) chains *= 2;
    if (!host_multiply(&ids, pages->page_total, pages->page_tokens) || ids > SIZE_MAX)
        return cache_pages_no_memory(pages, "pages of token ids", pages->page_total);
    prefixes->pages = host_allocate(pages->allocator, (size_t)pages->page_total, sizeof *prefixes->pages);
    prefixes->ids = host_allocate(pages->allocator, (size_t)ids, sizeof *prefixes->ids);
    prefixes->chains = host_allocate(pages->allocator, (size_t)chains, sizeof *prefixes->chains);
    if (!prefixes->pages || !prefixes->ids || !prefixes->chains) return cache_pages_no_memory(pages, "token ids", ids);
    for (uint64_t i = 0; i < chains; i++) prefixes->chains[i] = -1;
    prefixes->chain_count = chains;
    prefixes->next_prefix = EMPTY_PREFIX + 1;
    prefixes->newest = prefixes->oldest = -1;
    return CLMLA_OK;
}

void cache_prefix_finish(cache_pages *pages) {
    host_release(pages->allocator, pages->prefixes.pages);
    host_release(pages->allocator, pages->prefixes.ids);
    host_release(pages->allocator, pages->prefixes.chains);
}

bool cache_prefix_known(const cache_pages *pages, int32_t page) {
    return pages->prefixes.pages && pages->prefixes.pages[page].prefix != 0;
}

static int32_t *ids_of(const cache_pages *pages, int32_t page) {
    return pages->prefixes.ids + (size_t)page * pages->page_tokens;
}

// A 64-bit mix after splitmix64.
static uint64_t mix(uint64_t x) {
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static int32_t *chain_of(const cache_pages *pages, uint64_t parent, const int32_t *ids) {
    uint64_t hash = mix(parent);
    for (uint32_t i = 0; i < pages->page_tokens; i++) hash = mix(hash + 0x9e3779b97f4a7c15u + (uint32_t)ids[i]);
    return &pages->prefixes.chains[hash & (pages->prefixes.chain_count - 1)];
}

// The page known as these ids after `parent`, or -1.
static int32_t find(const cache_pages *pages, uint64_t parent, const int32_t *ids) {
    const cache_known_page *known = pages->prefixes.pages;
    for (int32_t page = *chain_of(pages, parent, ids); page >= 0; page = known[page].next)
        if (known[page].parent == parent && memcmp(ids_of(pages, page), ids, pages->page_tokens * sizeof *ids) == 0)
            return page;
    return -1;
}

// --- pages nobody holds ---

void cache_prefix_keep(cache_pages *pages, int32_t page) {
    cache_prefixes *prefixes = &pages->prefixes;
    cache_known_page *known = &prefixes->pages[page];
    known->newer = -1;
    known->older = prefixes->newest;
    if (prefixes->newest >= 0) prefixes->pages[prefixes->newest].newer = page;
    prefixes->newest = page;
    if (prefixes->oldest < 0) prefixes->oldest = page;
    prefixes->kept_count++;
}

void cache_prefix_unkeep(cache_pages *pages, int32_t page) {
    cache_prefixes *prefixes = &pages->prefixes;
    const cache_known_page *known = &prefixes->pages[page];
    if (known->newer >= 0) prefixes->pages[known->newer].older = known->older;
    if (known->older >= 0) prefixes->pages[known->older].newer = known->newer;
    if (prefixes->newest == page) prefixes->newest = known->older;
    if (prefixes->oldest == page) prefixes->oldest = known->newer;
    prefixes->kept_count--;
}

void cache_prefix_forget(cache_pages *pages, int32_t page) {
    cache_known_page *known = pages->prefixes.pages;
    int32_t *link = chain_of(pages, known[page].parent, ids_of(pages, page));
    while (*link != page) link = &known[*link].next;
    *link = known[page].next;
    known[page].prefix = 0;
    if (pages->pages[page].references > 0) return;
    cache_prefix_unkeep(pages, page);
    pages->free_pages[pages->free_count++] = page;
}

void cache_pages_forget_prefixes(cache_pages *pages) {
    for (uint64_t i = 0; pages->prefixes.pages && i < pages->page_total; i++)
        if (cache_prefix_known(pages, (int32_t)i)) cache_prefix_forget(pages, (int32_t)i);
}

void cache_prefix_move_ids(cache_pages *pages, int32_t from, uint32_t from_row, int32_t to, uint32_t to_row,
                           uint32_t rows) {
    cache_known_page *known = pages->prefixes.pages;
    if (!known) return;
    memmove(ids_of(pages, to) + to_row, ids_of(pages, from) + from_row, rows * sizeof(int32_t));
    // A copy of a page's front is told as far as the page is. Rows that moved elsewhere are told anew.
    if (from_row == 0 && to_row == 0) known[to].told = known[from].told < rows ? known[from].told : rows;
}

void cache_prefix_untell(cache_pages *pages, int32_t page, uint32_t row) {
    cache_known_page *known = pages->prefixes.pages;
    if (known && known[page].told > row) known[page].told = row;
}

// --- telling token ids ---

// Whether rows 0 .. rows-1 stand at the positions 0 .. rows-1.
static bool at_own_positions(const cache_sequence *sequence, uint32_t rows) {
    const cache_runs *runs = &sequence->runs;
    return runs->runs[0].position == 0 && (runs->count == 1 || runs->runs[1].first_row >= rows);
}

// The prefix a full page ends, if what is before it is known too and its rows are as appended, from position 0 on.
static uint64_t know(cache_pages *pages, const cache_sequence *sequence, uint32_t index) {
    cache_prefixes *prefixes = &pages->prefixes;
    const cache_entry *entry = &sequence->entries[index];
    uint64_t parent = index > 0 ? entry[-1].prefix : EMPTY_PREFIX;
    uint64_t end = (uint64_t)entry->first_row + pages->page_tokens;
    if (parent == 0 || end > sequence->edited_from || end != ((uint64_t)index + 1) * pages->page_tokens ||
        !at_own_positions(sequence, (uint32_t)end))
        return 0;
    const int32_t *ids = ids_of(pages, entry->page);
    int32_t page = find(pages, parent, ids);
    if (page >= 0) return prefixes->pages[page].prefix;
    // Known after a prefix that nobody can find any more: it is this one's from now on.
    if (cache_prefix_known(pages, entry->page)) cache_prefix_forget(pages, entry->page);
    int32_t *chain = chain_of(pages, parent, ids);
    prefixes->pages[entry->page] = (cache_known_page){.prefix = prefixes->next_prefix++,
                                                      .parent = parent,
                                                      .told = pages->page_tokens,
                                                      .next = *chain,
                                                      .newer = -1,
                                                      .older = -1};
    *chain = entry->page;
    return prefixes->pages[entry->page].prefix;
}

// Whether ids were told for some of these rows of the entry's page, and others than these.
static bool differs(const cache_pages *pages, const cache_entry *entry, uint32_t row, const int32_t *tokens,
                    uint32_t rows) {
    uint32_t told = pages->prefixes.pages[entry->page].told, before = told > row ? told - row : 0;
    return memcmp(ids_of(pages, entry->page) + row, tokens, (before < rows ? before : rows) * sizeof *tokens) != 0;
}

// Rows whose ids are told, one page at a time: so many from the first unknown on, in entry `index` from its `row` on.
static uint32_t piece(const cache_sequence *sequence, uint32_t *index, uint32_t *row, uint32_t known, uint32_t left) {
    *index = cache_pages_entry_of(sequence, known);
    *row = known - sequence->entries[*index].first_row;
    uint32_t rows = sequence->entries[*index].rows - *row;
    return rows < left ? rows : left;
}

clmla_status cache_pages_commit_tokens(cache_pages *pages, uint32_t id, const int32_t *tokens, uint32_t count) {
    cache_sequence *sequence = cache_pages_find(pages, id);
    uint32_t index, row;
    if (!sequence) return CLMLA_E_SEQUENCE;
    if (!pages->prefixes.pages)
        return host_fail(pages->log, CLMLA_E_ARGUMENT, 0, "cache: token ids told to a cache that shares no prefixes");
    if (count > sequence->tokens - sequence->known)
        return host_fail(pages->log, CLMLA_E_ARGUMENT, 0,
                         "cache: sequence %u has %u tokens, the ids of %u are known: %u more are too many", id,
                         sequence->tokens, sequence->known, count);
    for (uint32_t done = 0, rows; done < count; done += rows) {
        rows = piece(sequence, &index, &row, sequence->known + done, count - done);
        if (differs(pages, &sequence->entries[index], row, tokens + done, rows))
            return host_fail(pages->log, CLMLA_E_ARGUMENT, 0,
                             "cache: sequence %u: token %u on, other ids were told for the same page", id,
                             sequence->known + done);
    }
    for (uint32_t done = 0, rows; done < count; done += rows) {
        rows = piece(sequence, &index, &row, sequence->known, count - done);
        cache_entry *entry = &sequence->entries[index];
        cache_known_page *page = &pages->prefixes.pages[entry->page];
        memmove(ids_of(pages, entry->page) + row, tokens + done, rows * sizeof *tokens);
        if (page->told < row + rows) page->told = row + rows;
        sequence->known += rows;
        if (row + rows == pages->page_tokens) entry->prefix = know(pages, sequence, index);
    }
    return CLMLA_OK;
}

void cache_pages_tokens(int32_t *out, const cache_pages *pages, const cache_sequence *sequence, uint32_t first,
                        uint32_t count) {
    uint32_t index, row;
    for (uint32_t done = 0, rows; done < count; done += rows) {
        rows = piece(sequence, &index, &row, first + done, count - done);
        memcpy(out + done, ids_of(pages, sequence->entries[index].page) + row, rows * sizeof *out);
    }
}

// --- starting from them ---

static clmla_status share_pages(cache_pages *pages, cache_sequence *sequence, const int32_t *tokens, uint32_t count) {
    uint64_t parent = EMPTY_PREFIX;
    for (uint32_t at = 0; count - at > pages->page_tokens; at += pages->page_tokens) { // the last is left to be run
        int32_t page = find(pages, parent, tokens + at);
        if (page < 0) break;
        STATUS_OR_RETURN(cache_pages_make_room(pages, sequence, 1, 1));
        parent = pages->prefixes.pages[page].prefix;
        cache_pages_hold(pages, page);
        sequence->entries[sequence->entry_count++] =
            (cache_entry){.page = page, .rows = pages->page_tokens, .first_row = at, .prefix = parent};
        cache_runs_append(&sequence->runs, at, (int32_t)at);
        sequence->tokens = sequence->known = at + pages->page_tokens;
        pages->token_count += pages->page_tokens;
    }
    return CLMLA_OK;
}

clmla_status cache_pages_create_with_tokens(uint32_t *id, uint32_t *shared, cache_pages *pages, const int32_t *tokens,
                                            uint32_t count) {
    uint32_t made;
    if (!pages->prefixes.pages)
        return host_fail(pages->log, CLMLA_E_ARGUMENT, 0, "cache: token ids told to a cache that shares no prefixes");
    if (count > INT32_MAX)
        return host_fail(pages->log, CLMLA_E_LIMIT, 0, "cache: %u tokens are over the limit of 2147483647", count);
    STATUS_OR_RETURN(cache_pages_create_sequence(&made, pages));
    cache_sequence *sequence = &pages->sequences[made - 1];
    clmla_status status = share_pages(pages, sequence, tokens, count);
    if (status != CLMLA_OK) {
        cache_pages_drop_sequence(pages, made);
        return status;
    }
    pages->prefixes.tokens_asked += count;
    pages->prefixes.tokens_found += sequence->tokens;
    *id = made;
    *shared = sequence->tokens;
    return CLMLA_OK;
}
