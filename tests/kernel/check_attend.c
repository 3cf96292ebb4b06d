// SPDX-License-Identifier: Apache-2.0
// attend: every variant over shapes, formats, ways to lie and worst cases, against tests/ref/ref_attend.c.
#include "tests/kernel/attend_fixture.h"
#include "tests/support/pairwise.h"
#include "tests/support/variants.h"
#include <math.h>
#include <string.h>

enum { FORMAT, WIDTHS, HEADS, PAGE, LENGTHS, QUERIES, SCORES, LAYOUT, SPLIT, FULL, LSE, PADDED, FACTORS };
enum { QUERIES_ONE, QUERIES_RAGGED, QUERIES_MANY, QUERIES_KINDS };
static const uint32_t head_counts[] = {1, 3, 5, 12, 16, 20, 40, 128};
static const uint32_t pages[] = {0, 1, 2, 16, 53, 64}; // 0 = contiguous
static const uint32_t splits[] = {0, 7, 50};
#define LENGTH_KINDS 6

// Lengths of interest: none, one, around a page's end, around a block's end (48), past two blocks, past the least split.
static void choose_lengths(attend_shape *s, int kind) {
    uint32_t page = s->page_tokens ? s->page_tokens : 32;
    const uint32_t lengths[LENGTH_KINDS][4] = {
        {0, 1, 2, 1}, {page - 1, page, page + 1, 0}, {2 * page + 1, 1, 2 * page, 3}, {47, 48, 49, 24}, {97, 3, 0, 45}, {200, 7, 0, 0},
    };
    const uint32_t counts[LENGTH_KINDS] = {4, 4, 4, 4, 4, 2};
    s->sequences = counts[kind];
    memcpy(s->kv_tokens, lengths[kind], sizeof lengths[kind]);
}

// Also more tokens than keys: the first of them see nothing.
static void choose_queries(attend_shape *s, int kind) {
    static const uint32_t ragged[] = {1, 0, 3, 2};
    for (uint32_t i = 0; i < s->sequences; i++) {
        if (kind == QUERIES_ONE) s->query_tokens[i] = 1;
        if (kind == QUERIES_RAGGED) s->query_tokens[i] = ragged[i];
        if (kind == QUERIES_MANY) s->query_tokens[i] = s->kv_tokens[i] < 4 ? s->kv_tokens[i] + 2 : 2;
    }
}

static attend_shape shape_of(const int *chosen) {
    attend_shape s = {
        .format = (clmla_row_format)chosen[FORMAT],
        .latent = test_widths[chosen[WIDTHS]].latent,
        .rope = test_widths[chosen[WIDTHS]].rope,
        .heads = head_counts[chosen[HEADS]],
        .page_tokens = pages[chosen[PAGE]],
        .layout = (test_rows_layout)chosen[LAYOUT],
        .scores = (attend_scores)chosen[SCORES],
        .split_tokens = splits[chosen[SPLIT]],
        .full = chosen[FULL],
        .lse = chosen[LSE],
        .padded = chosen[PADDED],
    };
    choose_lengths(&s, chosen[LENGTHS]);
    choose_queries(&s, chosen[QUERIES]);
    return s;
}

static bool accept(const int *chosen, const void *payload) {
    (void)payload;
    attend_shape s = shape_of(chosen);
    if (test_device_get()->short_form) return attend_cost(&s) <= 60000 && s.latent + s.rope < 128;
    return attend_cost(&s) <= 60000000;
}

static void check_variants(attend_fixture *f) {
    clmla_variant variants[TEST_VARIANTS_MAX];
    clmla_shape shape = attend_variant_shape(&f->shape);
    size_t count = test_variants(variants, CLMLA_OP_ATTEND, &shape);
    attend_expect(f);
    for (size_t i = 0; i < count; i++) {
        if (!variants[i].accepted) continue;
        attend_plan(f, variants[i].name);
        test_run_twice(&f->run);
        attend_compare(f, variants[i].name);
    }
}

static void run_case(int number, const int *chosen) {
    attend_shape s = shape_of(chosen);
    s.seed = (uint64_t)number + 8000;
    test_case_begin("attend", number,
                    "%s %u + %u, heads %u, page %u, lengths %d, queries %d, scores %d, layout %d, split %u, full %d, lse %d, "
                    "padded %d, seed %d",
                    clmla_row_format_name(s.format), s.latent, s.rope, s.heads, s.page_tokens, chosen[LENGTHS], chosen[QUERIES],
                    (int)s.scores, (int)s.layout, s.split_tokens, s.full, s.lse, s.padded, number + 8000);
    attend_fixture f;
    attend_make(&f, &s);
    check_variants(&f);
    attend_finish(&f);
}

START_TEST(matches_the_reference) {
    pairwise cases = {.factor_count = FACTORS,
                      .levels = {CLMLA_ROW_FORMAT_COUNT, TEST_WIDTHS, 8, 6, LENGTH_KINDS, QUERIES_KINDS, ATTEND_SCORES,
                                 TEST_ROWS_LAYOUTS, 3, 2, 2, 2},
                      .accept = accept,
                      .seed = 18};
    pairwise_run(&cases, "attend", run_case);
}
END_TEST

static attend_shape small(void) {
    return (attend_shape){.format = CLMLA_ROWS_F16, .latent = 37, .rope = 6, .heads = 5, .sequences = 3, .query_tokens = {1, 3, 2},
                          .kv_tokens = {9, 30, 1}, .page_tokens = 4, .lse = true, .seed = 77};
}

// Keys of a page number that is none count as not there, in the middle of a sequence too.
START_TEST(leaves_missing_pages_out) {
    attend_shape s = small();
    s.missing_page = true;
    for (uint32_t split = 0; split < 20; split += 3) {
        attend_fixture f;
        s.split_tokens = split;
        test_case_begin("attend missing page", 0, "split %u", split);
        attend_make(&f, &s);
        check_variants(&f);
        attend_finish(&f);
    }
}
END_TEST

// What a query may not see yet does not touch it, and what it sees does: a NaN in the newest key shows in the newest token.
START_TEST(shows_a_nan_to_those_who_see_it) {
    attend_shape s = small();
    double *key;
    for (int part = 0; part < 2; part++) {
        attend_fixture f;
        test_case_begin("attend NaN", 0, "in the %s part of the newest key", part ? "rope" : "latent");
        attend_make(&f, &s);
        key = f.keys[1] + (size_t)29 * 43;
        float values[43];
        for (int i = 0; i < 43; i++) values[i] = (float)key[i];
        values[part ? 40 : 3] = NAN;
        int32_t page = ((const int32_t *)(const void *)f.table.initial)[f.params.page_table_stride + 29 / 4];
        test_rows_store(key, &f.rows, (uint64_t)page, 29 % 4, values);
        test_rows_upload(&f.rows);
        check_variants(&f);
        attend_finish(&f);
    }
}
END_TEST

// A page that two sequences share, and a table with a sequence twice: reading is all attend does.
START_TEST(reads_shared_pages) {
    attend_shape s = small();
    attend_fixture f;
    test_case_begin("attend shared pages", 0, "sequence 0 reads the first pages of sequence 1");
    s.kv_tokens[0] = 12;
    attend_make(&f, &s);
    int32_t *table = (int32_t *)(void *)f.table.initial;
    for (int p = 0; p < 3; p++) table[p] = table[f.params.page_table_stride + (uint64_t)p];
    memcpy(f.keys[0], f.keys[1], 12 * 43 * sizeof(double));
    test_buffer_reset(&f.table);
    check_variants(&f);
    attend_finish(&f);
}
END_TEST

// Rows so wide that a variant may refuse them, and every variant that accepts must serve them.
START_TEST(serves_the_widest_rows) {
    attend_shape s = {.format = CLMLA_ROWS_BF16, .latent = 2040, .rope = 10, .heads = 2, .sequences = 1, .query_tokens = {2},
                      .kv_tokens = {5}, .page_tokens = 2, .lse = true, .seed = 3};
    attend_fixture f;
    test_case_begin("attend wide", 0, "2040 + 10");
    if (test_device_get()->short_form) return;
    attend_make(&f, &s);
    check_variants(&f);
    attend_finish(&f);
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_test(tcase, matches_the_reference);
    tcase_add_test(tcase, leaves_missing_pages_out);
    tcase_add_test(tcase, shows_a_nan_to_those_who_see_it);
    tcase_add_test(tcase, reads_shared_pages);
    tcase_add_test(tcase, serves_the_widest_rows);
}

int main(void) {
    return test_main("check_attend", add);
}
