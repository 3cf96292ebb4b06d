// SPDX-License-Identifier: Apache-2.0
#include "tests/support/row_places.h"
#include <stdlib.h>

#define SEQUENCES 3 // with pages of their own; CSR tables have two more, whose entries are outside
#define UNUSED 2    // entries of a 2-D table beyond a sequence's pages

typedef struct world {
    test_places *out;
    test_places_form form;
    int64_t page_tokens, page_count;
    int32_t *order;               // pages, in the order sequences take them
    int64_t first[SEQUENCES + 1]; // of a sequence's pages in it
    ref_table table;              // as the kernels see it
} world;

static const int32_t garbage[] = {2147480000, -7, INT32_MIN, INT32_MAX};

// A 2-D table: entries past a sequence's own pages are no pages.
static void make_table(world *w) {
    int64_t stride = w->page_count + UNUSED, count = stride * SEQUENCES;
    int32_t *pages = test_allocate((size_t)count, sizeof *pages);
    for (int64_t i = 0; i < count; i++) {
        int64_t s = i / stride, number = w->first[s] + i % stride;
        pages[i] = number < w->first[s + 1] ? w->order[number] : garbage[i % 4];
    }
    test_buffer_make(&w->out->table, (size_t)count * sizeof *pages, pages);
    free(pages);
    w->out->view.sequence_count = SEQUENCES;
    w->out->view.page_table_stride = (uint64_t)stride;
    w->table.stride = stride;
}

// Sequence 3 has entries past the list's end, sequence 4 an end before its beginning.
static void make_csr(world *w) {
    int32_t count = (int32_t)w->page_count, indptr[SEQUENCES + 3];
    for (int s = 0; s <= SEQUENCES; s++) indptr[s] = (int32_t)w->first[s];
    indptr[SEQUENCES + 1] = count + 5;
    indptr[SEQUENCES + 2] = INT32_MIN;
    // What follows the list are numbers of pages, but no entries of it.
    int32_t *pages = test_allocate((size_t)count + 5, sizeof *pages);
    for (int32_t i = 0; i < count; i++) pages[i] = w->order[i];
    test_buffer_make(&w->out->table, ((size_t)count + 5) * sizeof *pages, pages);
    free(pages);
    test_buffer_make(&w->out->indptr, sizeof indptr, indptr);
    w->out->view.sequence_count = SEQUENCES + 2;
    w->out->view.page_table_count = (uint64_t)count;
    w->table.count = count;
}

static void make_tables(world *w) {
    test_places *out = w->out;
    if (w->form == TEST_PLACES_TABLE) make_table(w);
    if (w->form == TEST_PLACES_CSR) make_csr(w);
    out->view.page_table = out->table.view;
    out->view.page_indptr = out->indptr.view;
    w->table.sequences = out->view.sequence_count;
    w->table.pages = out->table.view.memory ? (const int32_t *)(const void *)out->table.initial : NULL;
    w->table.indptr = out->indptr.view.memory ? (const int32_t *)(const void *)out->indptr.initial : NULL;
}

// The sequence and index of a row, or one of the ways to have none.
static void choose_index(const world *w, int32_t *sequence, int32_t *index, int64_t slot, bool skip, uint32_t token) {
    int64_t number = 0, s = 0;
    while (w->order[number] != slot / w->page_tokens) number++;
    while (number >= w->first[s + 1]) s++;
    *sequence = (int32_t)s;
    *index = (int32_t)((number - w->first[s]) * w->page_tokens + slot % w->page_tokens);
    if (w->form == TEST_PLACES_PAGES) {
        *sequence = (int32_t)(slot / w->page_tokens);
        *index = (int32_t)(slot % w->page_tokens);
    }
    if (!skip) return;
    int32_t past = (int32_t)(w->form == TEST_PLACES_PAGES ? w->page_count : SEQUENCES);
    // The first index past sequence 0: in a list of all, sequence 1's page is there.
    int64_t own = w->form == TEST_PLACES_PAGES ? 1 : w->first[1];
    int32_t long_index = (int32_t)(own * w->page_tokens);
    const int32_t ways[][2] = {{-1, 0},       {past, 0},      {0, -1},       {0, long_index},
                               {past + 1, 0}, {0, INT32_MAX}, {INT32_MAX, 1}};
    *sequence = ways[token % 7][0];
    *index = ways[token % 7][1];
}

static int64_t outside_slot(uint32_t token, int64_t total) {
    const int64_t ways[] = {-1, INT64_MIN, INT64_MAX, total, -64};
    return ways[token % 5];
}

static void make_lists(world *w, const int32_t *slot_order, test_places_skip skip, uint32_t tokens) {
    test_places *out = w->out;
    int64_t slots[TEST_PLACES_MOST], total = w->page_tokens * w->page_count;
    int32_t sequences[TEST_PLACES_MOST], indices[TEST_PLACES_MOST];
    for (uint32_t t = 0; t < tokens; t++) {
        bool left_out = skip == TEST_SKIP_ALL || (skip == TEST_SKIP_SOME && t % 3 == 1);
        slots[t] = left_out ? outside_slot(t, total) : slot_order[t];
        choose_index(w, &sequences[t], &indices[t], slot_order[t], left_out, t);
        out->present[t] =
            w->form == TEST_PLACES_SLOTS
                ? ref_place_slot(&out->at[t], slots[t], w->page_tokens, w->page_count)
                : ref_place_index(&out->at[t], &w->table, sequences[t], indices[t], w->page_tokens, w->page_count);
        TEST_ASSERT(out->present[t] == !left_out, "token %u: the test's own places are wrong", t);
    }
    if (w->form == TEST_PLACES_SLOTS) {
        test_buffer_make(&out->slots, tokens * sizeof *slots, slots);
    } else {
        test_buffer_make(&out->sequences, tokens * sizeof *sequences, sequences);
        test_buffer_make(&out->indices, tokens * sizeof *indices, indices);
    }
    out->view.slots = out->slots.view;
    out->view.sequences = out->sequences.view;
    out->view.indices = out->indices.view;
}

void test_places_make(test_places *out, test_places_form form, test_places_skip skip, uint32_t tokens,
                      uint32_t page_tokens, uint32_t page_count, test_random *random) {
    *out = (test_places){0};
    world w = {.out = out, .form = form, .page_tokens = page_tokens, .page_count = page_count};
    size_t total = (size_t)page_tokens * page_count;
    w.order = test_allocate(page_count, sizeof *w.order);
    int32_t *slot_order = test_allocate(total, sizeof *slot_order);
    test_random_permutation(random, w.order, page_count);
    test_random_permutation(random, slot_order, total);
    for (int64_t s = 0; s <= SEQUENCES; s++) w.first[s] = s * page_count / SEQUENCES;
    make_tables(&w);
    make_lists(&w, slot_order, skip, tokens);
    free(w.order);
    free(slot_order);
}

static void buffers_of(test_buffer *all[5], test_places *places) {
    test_buffer *list[] = {&places->slots, &places->sequences, &places->indices, &places->table, &places->indptr};
    for (int i = 0; i < 5; i++) all[i] = list[i];
}

void test_places_free(test_places *places) {
    test_buffer *all[5];
    buffers_of(all, places);
    for (int i = 0; i < 5; i++) test_buffer_free(all[i]);
}

void test_places_list(test_buffer **list, test_places *places) {
    test_buffer *all[5];
    buffers_of(all, places);
    while (*list) list++;
    for (int i = 0; i < 5; i++)
        if (all[i]->view.memory) *list++ = all[i];
}
