// SPDX-License-Identifier: Apache-2.0
// attend over lists of slots: every variant over list lengths, counts, invalid and repeated indices, one scope and two,
// against tests/ref/ref_attend.c; and lists against the same keys behind a page table.
#include "tests/kernel/attend_fixture.h"
#include "tests/support/pairwise.h"
#include <stdlib.h>
#include <string.h>

enum {
    ROWS,
    HEADS,
    KV_HEADS,
    TOKENS,
    FIRST,
    SECOND,
    COUNTS,
    NONE,
    QUERY,
    RESULTS,
    SINK,
    SOFTCAP,
    LAYOUT,
    SPLIT,
    FACTORS
};
// Of up to 4 heads for a key attend_vector is another program: each of these rows has the one or the other.
static const struct {
    clmla_row_format format;
    uint32_t latent, rope, value;
    bool few;
} rows[] = {{CLMLA_ROWS_FP8, 512, 64, 0, false}, {CLMLA_ROWS_FP8_PAGED, 448, 64, 512, false},
            {CLMLA_ROWS_F16, 37, 6, 0, true},    {CLMLA_ROWS_F32, 5, 2, 6, false},
            {CLMLA_ROWS_Q6, 64, 16, 0, false},   {CLMLA_ROWS_Q5, 40, 6, 43, true}};
static const uint32_t head_counts[2][5] = {{10, 16, 40, 64, 128}, {1, 2, 3, 4, 8}}, // many, few
    token_counts[] = {1, 2, 4, 17, 74};
static const uint32_t list_lengths[] = {1, 64, 576, 2048};
static const struct {
    uint32_t page_tokens, page_count;
} places[] = {{2, 200}, {53, 9}, {61, 4}, {64, 7}, {69, 3}, {576, 2}};
#define PLACES 6
enum { COUNTS_GIVEN_NONE, COUNTS_FIRST, COUNTS_BOTH, COUNTS_KINDS };
enum { NONE_VALID_NEITHER, NONE_VALID_FIRST, NONE_VALID_BOTH, NONE_KINDS };
enum { RESULTS_F32, RESULTS_BF16, RESULTS_F16_BASE2, RESULTS_NO_OUTPUT, RESULTS_KINDS };

#define FIRSTS 6 // every length and every place once; of the second list, or none
#define SECONDS 7

// Few heads of quantised rows, the slowest of these to compile, are the full form's.
static bool has_few(const int *chosen) {
    return rows[chosen[ROWS]].few && (rows[chosen[ROWS]].format == CLMLA_ROWS_F16 || !test_device_get()->short_form);
}

static attend_list list_of(int chosen, bool counted, bool none) {
    uint32_t count = list_lengths[chosen % 4];
    return (attend_list){.index_count = count,
                         .page_tokens = places[chosen % PLACES].page_tokens,
                         .page_count = places[chosen % PLACES].page_count,
                         .counted = counted ? count : 0,
                         .none = none};
}

static void choose_results(attend_shape *s, int kind) {
    s->no_output = kind == RESULTS_NO_OUTPUT;
    s->lse = kind != RESULTS_BF16;
    s->base2 = kind == RESULTS_F16_BASE2;
    s->max_logit = kind == RESULTS_F32 || kind == RESULTS_NO_OUTPUT;
    if (kind == RESULTS_BF16) s->output_type = CLMLA_TYPE_BF16, s->output_form = ATTEND_PADDED;
    if (kind == RESULTS_F16_BASE2) s->output_type = CLMLA_TYPE_F16, s->output_form = ATTEND_HEADS_FIRST;
}

static void set_tokens(attend_shape *s, uint32_t tokens) {
    uint32_t keys = 0;
    for (uint32_t i = 0; i < s->list_count; i++) keys += s->lists[i].index_count;
    s->sequences = tokens;
    for (uint32_t t = 0; t < tokens; t++) {
        s->query_tokens[t] = 1;
        s->kv_tokens[t] = keys;
    }
}

static attend_shape shape_of(const int *chosen, uint64_t seed) {
    bool few = has_few(chosen);
    uint32_t heads = head_counts[few][chosen[HEADS]], kv_heads = few && heads > 4 ? 2 : 1 + (uint32_t)chosen[KV_HEADS];
    attend_shape s = {
        .format = rows[chosen[ROWS]].format,
        .latent = rows[chosen[ROWS]].latent,
        .rope = rows[chosen[ROWS]].rope,
        .value = rows[chosen[ROWS]].value,
        .heads = heads,
        .kv_heads = heads % kv_heads == 0 ? kv_heads : 1,
        .list_count = chosen[SECOND] < FIRSTS ? 2 : 1,
        .query_type = (clmla_type)(CLMLA_TYPE_F32 + chosen[QUERY] % 3),
        .query_form = (attend_form)(chosen[QUERY] % ATTEND_FORMS),
        .sink = (attend_sink)chosen[SINK],
        .softcap = chosen[SOFTCAP] ? 20.0f : 0.0f,
        .layout = (test_rows_layout)chosen[LAYOUT],
        .split_tokens = chosen[SPLIT] ? 50 : 0,
        .seed = seed,
    };
    choose_results(&s, chosen[RESULTS]);
    s.lists[0] = list_of(chosen[FIRST], chosen[COUNTS] != COUNTS_GIVEN_NONE, chosen[NONE] != NONE_VALID_NEITHER);
    s.lists[1] = list_of(chosen[SECOND] + 1, chosen[COUNTS] == COUNTS_BOTH, chosen[NONE] == NONE_VALID_BOTH);
    set_tokens(&s, token_counts[chosen[TOKENS]]);
    return s;
}

static bool accept(const int *chosen, const void *payload) {
    (void)payload;
    attend_shape s = shape_of(chosen, 0);
    if (test_device_get()->short_form)
        return attend_cost(&s) <= 60000 && (s.format == CLMLA_ROWS_F16 || s.format == CLMLA_ROWS_Q5);
    // Ten heads over 2048 of the widest rows are more than the others.
    return attend_cost(&s) <= (s.kv_tokens[0] >= 2048 ? 48000000 : 12000000);
}

static void run_case(int number, const int *chosen) {
    attend_shape s = shape_of(chosen, (uint64_t)number + 6000);
    test_case_begin(
        "attend lists", number,
        "%s %u + %u (%u), heads %u of %u kv, tokens %u, lists %u of %u in pages of %u and %u in %u, counts %d, none "
        "valid %d, query %d, results %d, sink %d, softcap %g, layout %d, split %u",
        clmla_row_format_name(s.format), s.latent, s.rope, s.value, s.heads, s.kv_heads, s.sequences, s.list_count,
        s.lists[0].index_count, s.lists[0].page_tokens, s.lists[1].index_count, s.lists[1].page_tokens, chosen[COUNTS],
        chosen[NONE], chosen[QUERY], chosen[RESULTS], (int)s.sink, (double)s.softcap, (int)s.layout, s.split_tokens);
    attend_fixture f;
    attend_make(&f, &s);
    attend_check_variants(&f);
    attend_finish(&f);
}

START_TEST(matches_the_reference) {
    pairwise cases = {.factor_count = FACTORS,
                      .levels = {sizeof rows / sizeof *rows, 5, 2, 5, FIRSTS, SECONDS, COUNTS_KINDS, NONE_KINDS, 12,
                                 RESULTS_KINDS, ATTEND_SINKS, 2, TEST_ROWS_LAYOUTS, 2},
                      .accept = accept,
                      .seed = 28};
    test_left_out(test_device_get()->short_form, "few heads of q5 rows, and all rows but those of f16 and q5");
    pairwise_run(&cases, "attend lists", run_case);
}
END_TEST

static attend_shape small(void) {
    attend_shape s = {.format = CLMLA_ROWS_F16,
                      .latent = 37,
                      .rope = 6,
                      .heads = 3,
                      .lse = true,
                      .max_logit = true,
                      .list_count = 2,
                      .lists = {{20, 4, 9, 20, false}, {7, 3, 8, 0, false}},
                      .seed = 78};
    set_tokens(&s, 4);
    return s;
}

START_TEST(honours_events) {
    attend_shape s = small();
    attend_fixture f;
    test_case_begin("attend lists events", 0, "two scopes");
    attend_make(&f, &s);
    attend_check_variants(&f);
    test_run_gated(&f.run);
    attend_finish(&f);
}
END_TEST

// A list that names the slots of a sequence in order gives the bits of the page table.
START_TEST(agrees_with_a_page_table) {
    attend_shape s = {.format = CLMLA_ROWS_F16,
                      .latent = 37,
                      .rope = 6,
                      .heads = 3,
                      .sequences = 2,
                      .query_tokens = {1, 1},
                      .kv_tokens = {60, 60},
                      .page_tokens = 7,
                      .lse = true,
                      .seed = 79};
    attend_fixture f;
    int32_t slots[2][60];
    test_case_begin("attend lists and tables", 0, "60 keys");
    attend_make(&f, &s);
    attend_plan(&f, NULL);
    test_run_twice(&f.run);
    float *dense = test_allocate(f.output.bytes, 1);
    memcpy(dense, f.output.found, f.output.bytes);
    const int32_t *table = (const int32_t *)(const void *)f.table.initial;
    for (int i = 0; i < 2; i++)
        for (int j = 0; j < 60; j++)
            slots[i][j] = table[(uint64_t)i * f.params.page_table_stride + (uint64_t)j / 7] * 7 + j % 7;
    test_buffer_make(&f.indices[0], sizeof slots, slots);
    f.scopes[0] = (clmla_attend_scope){
        .rows = f.params.rows, .indices = f.indices[0].view, .index_stride = 60, .index_count = 60};
    f.params.scopes = f.scopes;
    f.params.scope_count = 1;
    f.params.page_table = (clmla_buffer){0};
    test_run_twice(&f.run);
    TEST_ASSERT(memcmp(dense, f.output.found, f.output.bytes) == 0, "the bits differ");
    free(dense);
    attend_finish(&f);
}
END_TEST

#define REFUSED(change, word) TEST_REFUSED(&f.run, clmla_attend_params, &f.params, f.params.change, word)
#define SCOPE_REFUSED(change, word) TEST_REFUSED(&f.run, clmla_attend_scope, &f.scopes[1], f.scopes[1].change, word)

START_TEST(refuses_wrong_arguments) {
    attend_fixture f;
    attend_shape s = small();
    test_case_begin("attend lists arguments", 0, "two scopes");
    attend_make(&f, &s);
    attend_plan(&f, NULL);
    REFUSED(scope_count = 3, "scope_count");
    REFUSED(scopes = NULL, "scopes");
    REFUSED(scope_count = 1, "27 keys");
    REFUSED(scope_count = 0, "0 are needed");
    REFUSED(page_table = test_buffer_tiny(), "page_table");
    REFUSED(page_indptr = test_buffer_tiny(), "page_indptr is given");
    REFUSED(page_rows = test_buffer_tiny(), "page_rows are given");
    REFUSED(page_deltas = test_buffer_tiny(), "page_deltas are given");
    SCOPE_REFUSED(index_stride = 6, "index_stride");
    SCOPE_REFUSED(index_count = 6, "27 keys");
    SCOPE_REFUSED(indices = test_buffer_tiny(), "scopes.indices");
    SCOPE_REFUSED(indices.memory = NULL, "scopes.indices");
    SCOPE_REFUSED(indices.offset += 2, "scopes.indices");
    SCOPE_REFUSED(counts = test_buffer_tiny(), "scopes.counts");
    SCOPE_REFUSED(rows.layout.format = CLMLA_ROWS_BF16, "rows");
    SCOPE_REFUSED(rows.latent = test_buffer_tiny(), "rows.latent");
    SCOPE_REFUSED(rows.page_count += 1000, "rows.latent");
    SCOPE_REFUSED(rows.kv_head_count = 3, "kv heads");
    test_run_wrong_waits(&f.run);
    attend_finish(&f);
}
END_TEST

// Plans that are not a sequence for each token without a mask.
START_TEST(refuses_wrong_plans) {
    attend_fixture f;
    attend_shape s = small();
    test_case_begin("attend lists plans", 0, "windows, ranks and sequences of several tokens");
    attend_make(&f, &s);
    f.shape.window = 3;
    attend_plan(&f, NULL);
    test_run_refused(&f.run, "window");
    f.shape.window = 0;
    f.shape.parallel = (clmla_context_parallel){0, 2, 1};
    attend_plan(&f, NULL);
    test_run_refused(&f.run, "ranks");
    f.shape.parallel = (clmla_context_parallel){0};
    f.shape.query_tokens[0] = 2;
    f.shape.query_tokens[1] = 0;
    attend_plan(&f, NULL);
    test_run_refused(&f.run, "2 query tokens");
    attend_finish(&f);
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_test(tcase, matches_the_reference);
    tcase_add_test(tcase, honours_events);
    tcase_add_test(tcase, agrees_with_a_page_table);
    tcase_add_test(tcase, refuses_wrong_arguments);
    tcase_add_test(tcase, refuses_wrong_plans);
}

int main(void) {
    return test_main("check_attend_sparse", add);
}
