// SPDX-License-Identifier: Apache-2.0
// Sequences and pages against a naive model that remembers the slot of every token.
#include "lib/cache_pages.h"
#include "tests/support/suite.h"
#include <check.h>
#include <clmla/config.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct counted {
    long live;      // allocations not yet released
    long countdown; // the allocation that fails, from 0; negative = none
} counted;

static void *take(void *payload, size_t bytes) {
    counted *count = payload;
    if (count->countdown >= 0 && count->countdown-- == 0) return NULL;
    count->live++;
    return malloc(bytes);
}

static void give(void *payload, void *memory) {
    ((counted *)payload)->live--;
    free(memory);
}

static uint32_t next_random(uint32_t *state) {
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

static clmla_status init(cache_pages *pages, const clmla_allocator *allocator, uint32_t page_tokens, uint64_t total) {
    return cache_pages_init(
        pages, &(cache_pages_params){.allocator = allocator, .page_tokens = page_tokens, .page_total = total});
}

static void start(cache_pages *pages, uint32_t page_tokens, uint64_t total) {
    ck_assert_int_eq(init(pages, NULL, page_tokens, total), CLMLA_OK);
}

static uint32_t new_sequence(cache_pages *pages) {
    uint32_t id = 0;
    ck_assert_int_eq(cache_pages_create_sequence(&id, pages), CLMLA_OK);
    ck_assert_uint_ne(id, 0);
    return id;
}

static clmla_status reserve_one(cache_pages *pages, uint32_t id, uint32_t tokens) {
    return cache_pages_reserve(pages, 1, &id, &tokens, NULL);
}

START_TEST(limits) {
    cache_pages pages;
    ck_assert_int_eq(init(&pages, NULL, 0, 4), CLMLA_E_ARGUMENT);
    ck_assert_int_eq(init(&pages, NULL, 4, 0), CLMLA_E_ARGUMENT);
    ck_assert_int_eq(init(&pages, NULL, 4, (uint64_t)INT32_MAX + 1), CLMLA_E_LIMIT);
    cache_pages_finish(&pages);
    memset(&pages, 0, sizeof pages);
    cache_pages_finish(&pages);
    cache_pages_finish(&pages);

    start(&pages, CLMLA_MAX_CONTEXT, 2); // a page as long as the longest sequence
    uint32_t id = new_sequence(&pages);
    ck_assert_int_eq(reserve_one(&pages, id, CLMLA_MAX_CONTEXT), CLMLA_OK);
    ck_assert_uint_eq(cache_pages_sequence(&pages, id)->entry_count, 1);
    ck_assert_int_eq(reserve_one(&pages, id, 1), CLMLA_E_LIMIT);
    ck_assert_ptr_nonnull(strstr(clmla_last_error(), "2147483648"));
    ck_assert_int_eq(reserve_one(&pages, id, UINT32_MAX), CLMLA_E_LIMIT);
    ck_assert_uint_eq(pages.token_count, CLMLA_MAX_CONTEXT);
    cache_pages_finish(&pages);
}
END_TEST

START_TEST(page_edges) {
    cache_pages pages;
    start(&pages, 4, 8);
    uint32_t id = new_sequence(&pages);
    const uint32_t steps[][3] = {{0, 0, 0}, {3, 3, 1},  {1, 4, 1},
                                 {1, 5, 2}, {7, 12, 3}, {1, 13, 4}}; // new, tokens, pages
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        ck_assert_int_eq(reserve_one(&pages, id, steps[i][0]), CLMLA_OK);
        ck_assert_uint_eq(cache_pages_sequence(&pages, id)->tokens, steps[i][1]);
        ck_assert_uint_eq(cache_pages_sequence(&pages, id)->entry_count, steps[i][2]);
        ck_assert_uint_eq(pages.free_count, 8 - steps[i][2]);
    }
    const uint32_t cuts[][2] = {{13, 4}, {12, 3}, {9, 3}, {8, 2}, {1, 1}, {0, 0}};
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        ck_assert_int_eq(cache_pages_truncate(&pages, id, cuts[i][0]), CLMLA_OK);
        ck_assert_uint_eq(cache_pages_sequence(&pages, id)->entry_count, cuts[i][1]);
        ck_assert_uint_eq(pages.free_count, 8 - cuts[i][1]);
        ck_assert_uint_eq(pages.token_count, cuts[i][0]);
    }
    ck_assert_int_eq(cache_pages_truncate(&pages, id, 1), CLMLA_E_ARGUMENT);
    cache_pages_finish(&pages);
}
END_TEST

START_TEST(ids) {
    cache_pages pages;
    start(&pages, 4, 8);
    uint32_t ids[100];
    for (int i = 0; i < 100; i++) {
        ids[i] = new_sequence(&pages);
        for (int j = 0; j < i; j++) ck_assert_uint_ne(ids[i], ids[j]);
    }
    ck_assert_uint_eq(pages.sequence_count, 100);
    ck_assert_int_eq(cache_pages_drop_sequence(&pages, ids[40]), CLMLA_OK);
    ck_assert_int_eq(cache_pages_drop_sequence(&pages, ids[40]), CLMLA_E_SEQUENCE);
    ck_assert_ptr_null(cache_pages_sequence(&pages, ids[40]));
    ck_assert_ptr_nonnull(strstr(clmla_last_error(), "no sequence 41"));
    ck_assert_uint_eq(new_sequence(&pages), ids[40]);
    ck_assert_ptr_null(cache_pages_sequence(&pages, 0));
    ck_assert_ptr_null(cache_pages_sequence(&pages, UINT32_MAX));
    ck_assert_int_eq(reserve_one(&pages, 0, 1), CLMLA_E_SEQUENCE);
    ck_assert_int_eq(cache_pages_truncate(&pages, 4000, 0), CLMLA_E_SEQUENCE);
    cache_pages_finish(&pages);
}
END_TEST

START_TEST(refused_batches) {
    cache_pages pages;
    start(&pages, 4, 4);
    uint32_t a = new_sequence(&pages), b = new_sequence(&pages);
    ck_assert_int_eq(reserve_one(&pages, a, 5), CLMLA_OK); // 2 pages, 3 rows left in the second
    const uint32_t both[2] = {a, b}, twice[3] = {a, b, a}, unknown[2] = {a, 99};
    const uint32_t fits[2] = {3, 8}, over[2] = {4, 8}, ones[3] = {1, 1, 1};

    ck_assert_int_eq(cache_pages_reserve(&pages, 2, both, over, NULL), CLMLA_E_CACHE_FULL);
    ck_assert_ptr_nonnull(strstr(clmla_last_error(), "1 are missing"));
    ck_assert_int_eq(cache_pages_reserve(&pages, 3, twice, ones, NULL), CLMLA_E_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(clmla_last_error(), "sequence 1 twice"));
    ck_assert_int_eq(cache_pages_reserve(&pages, 2, unknown, ones, NULL), CLMLA_E_SEQUENCE);
    ck_assert_uint_eq(cache_pages_sequence(&pages, a)->tokens, 5);
    ck_assert_uint_eq(cache_pages_sequence(&pages, b)->tokens, 0);
    ck_assert_uint_eq(pages.free_count, 2);

    ck_assert_int_eq(cache_pages_reserve(&pages, 2, both, fits, NULL),
                     CLMLA_OK); // a refused batch does not mark sequences
    ck_assert_uint_eq(pages.free_count, 0);
    ck_assert_int_eq(cache_pages_reserve(&pages, 2, both, NULL, NULL), CLMLA_E_CACHE_FULL); // NULL = one each
    ck_assert_ptr_nonnull(strstr(clmla_last_error(), "2 are missing"));
    cache_pages_finish(&pages);
}
END_TEST

#define MANY 20000u

// Duplicates in a batch of thousands must not cost the square of it: as a square this passes a test's time.
START_TEST(large_batch) {
    cache_pages pages;
    start(&pages, 1, 2 * MANY);
    uint32_t *ids = malloc((MANY + 1) * sizeof *ids);
    ck_assert_ptr_nonnull(ids);
    for (uint32_t i = 0; i < MANY; i++)
        if (cache_pages_create_sequence(&ids[i], &pages) != CLMLA_OK) ck_abort_msg("create: %s", clmla_last_error());
    ids[MANY] = ids[MANY / 2];
    for (int round = 0; round < 50; round++) {
        ck_assert_int_eq(cache_pages_reserve(&pages, MANY + 1, ids, NULL, NULL), CLMLA_E_ARGUMENT);
        ck_assert_int_eq(cache_pages_reserve(&pages, MANY, ids, NULL, NULL), CLMLA_OK);
        for (uint32_t i = 0; i < MANY; i++)
            if (cache_pages_truncate(&pages, ids[i], 0) != CLMLA_OK) ck_abort_msg("truncate: %s", clmla_last_error());
    }
    ck_assert_uint_eq(pages.free_count, 2 * MANY);
    free(ids);
    cache_pages_finish(&pages);
}
END_TEST

// Every allocation of a run fails once: nothing changes, nothing leaks.
START_TEST(allocation_failures) {
    counted count = {0, -1};
    const clmla_allocator allocator = {take, give, &count};
    bool complete = false;
    for (long n = 0; !complete; n++) {
        cache_pages pages = {0};
        uint32_t ids[40], tokens[40], made = 0;
        count.countdown = n;
        clmla_status status = init(&pages, &allocator, 2, 400);
        for (; status == CLMLA_OK && made < 40; made++) {
            status = cache_pages_create_sequence(&ids[made], &pages);
            tokens[made] = 3 + made % 17;
            if (status != CLMLA_OK) break;
        }
        ck_assert_uint_eq(pages.sequence_count, made);
        if (status == CLMLA_OK) {
            status = cache_pages_reserve(&pages, 40, ids, tokens, NULL);
            if (status != CLMLA_OK) {
                ck_assert_uint_eq(pages.free_count, 400);
                ck_assert_uint_eq(pages.token_count, 0);
                for (int i = 0; i < 40; i++) ck_assert_uint_eq(cache_pages_sequence(&pages, ids[i])->tokens, 0);
                ck_assert_int_eq(cache_pages_reserve(&pages, 40, ids, tokens, NULL),
                                 CLMLA_OK); // and it can be done again
            }
        }
        complete = status == CLMLA_OK;
        if (!complete) ck_assert_int_eq(status, CLMLA_E_MEMORY);
        cache_pages_finish(&pages);
        ck_assert_int_eq(count.live, 0);
        ck_assert_int_lt(n, 1000);
    }
}
END_TEST

#define MODEL_PAGES 60
#define MODEL_SEQUENCES 24
#define MODEL_TOKENS 400

typedef struct model_sequence {
    uint32_t id; // 0 = not there
    uint32_t tokens;
    int64_t slots[MODEL_TOKENS];
} model_sequence;

typedef struct model {
    cache_pages pages;
    counted count;
    clmla_allocator allocator;
    model_sequence sequences[MODEL_SEQUENCES];
    uint32_t random, page_tokens;
} model;

// How many tokens of a sequence are not where the model saw them put. Counted without assertions: each costs a write.
static uint32_t lost_tokens(const model *m, const model_sequence *expected, const cache_sequence *found) {
    uint32_t lost = 0;
    for (uint32_t t = 0; t < expected->tokens; t++) {
        int64_t slot = (int64_t)found->entries[t / m->page_tokens].page * m->page_tokens + t % m->page_tokens;
        lost += slot != expected->slots[t];
    }
    return lost;
}

// Tokens keep their slots, the model's lengths hold, and every page has exactly one place.
static void check_model(model *m) {
    uint8_t places[MODEL_PAGES] = {0};
    uint64_t tokens = 0;
    uint32_t sequences = 0, lost = 0, wrong_lengths = 0;
    for (uint64_t i = 0; i < m->pages.free_count; i++) places[m->pages.free_pages[i]]++;
    for (int s = 0; s < MODEL_SEQUENCES; s++) {
        model_sequence *expected = &m->sequences[s];
        if (expected->id == 0) continue;
        const cache_sequence *found = cache_pages_sequence(&m->pages, expected->id);
        ck_assert_ptr_nonnull(found);
        wrong_lengths += found->tokens != expected->tokens;
        wrong_lengths += found->entry_count != (expected->tokens + m->page_tokens - 1) / m->page_tokens;
        for (uint32_t p = 0; p < found->entry_count; p++) places[found->entries[p].page]++;
        lost += lost_tokens(m, expected, found);
        tokens += expected->tokens;
        sequences++;
    }
    ck_assert_uint_eq(wrong_lengths, 0);
    ck_assert_uint_eq(lost, 0);
    for (int p = 0; p < MODEL_PAGES; p++)
        if (places[p] != 1) ck_abort_msg("page %d is held %d times", p, places[p]);
    ck_assert_uint_eq(m->pages.token_count, tokens);
    ck_assert_uint_eq(m->pages.sequence_count, sequences);
}

static void model_reserve(model *m) {
    uint32_t ids[MODEL_SEQUENCES], news[MODEL_SEQUENCES], count = 0;
    int of[MODEL_SEQUENCES];
    uint64_t wanted = 0;
    for (int s = 0; s < MODEL_SEQUENCES; s++) {
        model_sequence *sequence = &m->sequences[s];
        if (sequence->id == 0 || next_random(&m->random) % 4 == 0) continue;
        uint32_t more = next_random(&m->random) % (3 * m->page_tokens);
        if (sequence->tokens + more > MODEL_TOKENS) continue;
        of[count] = s;
        ids[count] = sequence->id;
        news[count++] = more;
        wanted += (sequence->tokens + more + m->page_tokens - 1) / m->page_tokens -
                  (sequence->tokens + m->page_tokens - 1) / m->page_tokens;
    }
    bool full = wanted > m->pages.free_count;
    m->count.countdown = next_random(&m->random) % 8 == 0 ? (long)(next_random(&m->random) % 3) : -1;
    clmla_status status = cache_pages_reserve(&m->pages, count, ids, news, NULL);
    m->count.countdown = -1;
    if (full) ck_assert_int_eq(status, CLMLA_E_CACHE_FULL);
    if (status != CLMLA_OK) {
        ck_assert(full || status == CLMLA_E_MEMORY);
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        model_sequence *sequence = &m->sequences[of[i]];
        const cache_sequence *found = cache_pages_sequence(&m->pages, sequence->id);
        for (uint32_t t = sequence->tokens; t < sequence->tokens + news[i]; t++)
            sequence->slots[t] = (int64_t)found->entries[t / m->page_tokens].page * m->page_tokens + t % m->page_tokens;
        sequence->tokens += news[i];
    }
}

static void model_step(model *m) {
    model_sequence *sequence = &m->sequences[next_random(&m->random) % MODEL_SEQUENCES];
    uint32_t kind = next_random(&m->random) % 8;
    if (sequence->id == 0) {
        *sequence = (model_sequence){.id = new_sequence(&m->pages)};
    } else if (kind == 0) {
        ck_assert_int_eq(cache_pages_drop_sequence(&m->pages, sequence->id), CLMLA_OK);
        *sequence = (model_sequence){0};
    } else if (kind < 4) {
        uint32_t keep = next_random(&m->random) % (sequence->tokens + 1);
        ck_assert_int_eq(cache_pages_truncate(&m->pages, sequence->id, keep), CLMLA_OK);
        sequence->tokens = keep;
    } else {
        model_reserve(m);
    }
}

static clmla_status tell(cache_pages *pages, uint32_t id, const int32_t *ids, uint32_t count) {
    return cache_pages_commit_tokens(pages, id, ids, count);
}

static void expect_told(const cache_pages *pages, uint32_t id, const int32_t *ids, uint32_t count) {
    int32_t told[8];
    const cache_sequence *sequence = cache_pages_sequence(pages, id);
    ck_assert_uint_eq(sequence->known, count);
    cache_pages_tokens(told, pages, sequence, 0, count);
    ck_assert_mem_eq(told, ids, count * sizeof *ids);
}

static void start_told(cache_pages *pages, cache_shift_mode mode) {
    cache_pages_params params = {.page_tokens = 4, .page_total = 8, .shift_mode = mode, .share_prefixes = true};
    ck_assert_int_eq(cache_pages_init(pages, &params), CLMLA_OK);
}

// Two sequences that share a page share its tokens, however many of its rows there are.
START_TEST(other_ids_for_a_shared_page) {
    static const int32_t ids[] = {1, 2, 3, 4, 5, 6}, others[] = {7, 8, 9, 10, 11, 12};
    for (uint32_t rows = 1; rows <= 6; rows++) {
        cache_pages pages;
        uint32_t fork = 0, found = 0, shared = 77;
        start_told(&pages, CACHE_SHIFT_ROTATE);
        uint32_t first = new_sequence(&pages);
        ck_assert_int_eq(reserve_one(&pages, first, rows), CLMLA_OK);
        ck_assert_int_eq(cache_pages_fork(&fork, &pages, first), CLMLA_OK);
        ck_assert_int_eq(tell(&pages, first, ids, rows), CLMLA_OK);
        ck_assert_int_eq(tell(&pages, fork, others, 1), CLMLA_E_ARGUMENT);
        ck_assert_ptr_nonnull(strstr(clmla_last_error(), "other ids"));
        expect_told(&pages, first, ids, rows);
        expect_told(&pages, fork, others, 0);
        ck_assert_int_eq(tell(&pages, fork, ids, rows), CLMLA_OK);
        // Rows of its own are its own to tell: they go into a copy.
        ck_assert_int_eq(reserve_one(&pages, fork, 1), CLMLA_OK);
        ck_assert_int_eq(tell(&pages, fork, others, 1), CLMLA_OK);
        expect_told(&pages, first, ids, rows);
        ck_assert_int_eq(cache_pages_create_with_tokens(&found, &shared, &pages, others, 6), CLMLA_OK);
        ck_assert_uint_eq(shared, 0);
        cache_pages_finish(&pages);
    }
}
END_TEST

// Rows that come in place of others may be of other tokens; those before them stay what was told.
START_TEST(other_ids_for_rows_written_anew) {
    static const int32_t ids[] = {1, 2, 3}, others[] = {7, 8, 9}, mixed[] = {1, 2, 9};
    cache_pages pages;
    uint32_t fork = 0;
    start_told(&pages, CACHE_SHIFT_KEEP);
    uint32_t first = new_sequence(&pages);
    ck_assert_int_eq(reserve_one(&pages, first, 3), CLMLA_OK);
    ck_assert_int_eq(tell(&pages, first, ids, 3), CLMLA_OK);
    ck_assert_int_eq(cache_pages_truncate(&pages, first, 2), CLMLA_OK);
    ck_assert_int_eq(reserve_one(&pages, first, 1), CLMLA_OK);
    ck_assert_int_eq(tell(&pages, first, others + 2, 1), CLMLA_OK);
    expect_told(&pages, first, mixed, 3);
    // A shift that keeps the codes takes the ids back from the fork alone.
    ck_assert_int_eq(cache_pages_fork(&fork, &pages, first), CLMLA_OK);
    ck_assert_int_eq(cache_pages_shift(&pages, fork, 0, 3, 5), CLMLA_OK);
    ck_assert_int_eq(tell(&pages, fork, others, 3), CLMLA_E_ARGUMENT);
    expect_told(&pages, first, mixed, 3);
    ck_assert_int_eq(tell(&pages, fork, mixed, 3), CLMLA_OK);
    // A page that is given back forgets.
    ck_assert_int_eq(cache_pages_keep_only(&pages, 0, NULL), CLMLA_OK);
    first = new_sequence(&pages);
    ck_assert_int_eq(reserve_one(&pages, first, 3), CLMLA_OK);
    ck_assert_int_eq(tell(&pages, first, others, 3), CLMLA_OK);
    expect_told(&pages, first, others, 3);
    cache_pages_finish(&pages);
}
END_TEST

static const uint32_t model_page_tokens[] = {1, 3, 16};

START_TEST(random_steps) {
    model *m = calloc(1, sizeof *m);
    ck_assert_ptr_nonnull(m);
    m->count.countdown = -1;
    m->allocator = (clmla_allocator){take, give, &m->count};
    m->random = 12345u + (uint32_t)_i;
    m->page_tokens = model_page_tokens[_i];
    ck_assert_int_eq(init(&m->pages, &m->allocator, m->page_tokens, MODEL_PAGES), CLMLA_OK);
    for (int step = 0; step < 20000; step++) {
        model_step(m);
        check_model(m);
    }
    cache_pages_finish(&m->pages);
    ck_assert_int_eq(m->count.live, 0);
    free(m);
}
END_TEST

static void add_tests(TCase *tests) {
    tcase_add_test(tests, limits);
    tcase_add_test(tests, page_edges);
    tcase_add_test(tests, ids);
    tcase_add_test(tests, refused_batches);
    tcase_add_test(tests, large_batch);
    tcase_add_test(tests, allocation_failures);
    tcase_add_test(tests, other_ids_for_a_shared_page);
    tcase_add_test(tests, other_ids_for_rows_written_anew);
    tcase_add_loop_test(tests, random_steps, 0, sizeof model_page_tokens / sizeof *model_page_tokens);
}

int main(void) {
    return test_run_apart("cache_pages", add_tests);
}
