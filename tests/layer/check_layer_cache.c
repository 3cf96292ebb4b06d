// SPDX-License-Identifier: Apache-2.0
// The layer step over sequences that were forked, edited and found again: forked ones give the bits of unforked ones
// and share pages; after edits outputs are those of the rows that are left, wherever they lie.
#include "tests/layer/layer_model.h"
#include "tests/support/compare.h"
#include <stdlib.h>
#include <string.h>

#define PAGE 4
#define PAGES 64
#define STEP_MOST 24
#define TOKENS_MOST 64

static const model_shape model_of = {51, 3, 37, 0, 10, 6, 7, REF_F32, false, false, CLMLA_ROPE_INTERLEAVED, 1};

typedef struct session {
    layer_model model;
    clmla_context *context;
    clmla_layer *layer;
    clmla_cache *cache;
    clmla_plan *plan;
    test_random random;
    test_buffer input, output;
    double row_bar;
    uint64_t evictions;
} session;

typedef enum plan_kind { PLAN_PLAIN, PLAN_FIXED, PLAN_CAPACITY, PLAN_RECONSTRUCTED } plan_kind;

// Scaled rows are shifted by deltas that their pages keep.
static const struct {
    plan_kind kind;
    clmla_row_format format;
    double bar; // of a row's values
} edit_cases[] = {{PLAN_PLAIN, CLMLA_ROWS_F32, 1e-5},    {PLAN_FIXED, CLMLA_ROWS_F32, 1e-5},
                  {PLAN_CAPACITY, CLMLA_ROWS_F32, 1e-5}, {PLAN_PLAIN, CLMLA_ROWS_Q5, 0.3},
                  {PLAN_FIXED, CLMLA_ROWS_FP8, 0.2},     {PLAN_CAPACITY, CLMLA_ROWS_Q6, 0.2},
                  {PLAN_CAPACITY, CLMLA_ROWS_Q4, 0.7},   {PLAN_FIXED, CLMLA_ROWS_Q8, 0.1},
                  {PLAN_RECONSTRUCTED, CLMLA_ROWS_F32, 1e-5}, {PLAN_RECONSTRUCTED, CLMLA_ROWS_Q5, 0.3}};

// Frees the oldest sequence that is there.
static bool evict(void *payload, clmla_cache *cache, uint64_t pages_missing) {
    session *s = payload;
    ck_assert_uint_gt(pages_missing, 0);
    s->evictions++;
    for (clmla_sequence id = 1; id < 8; id++)
        if (clmla_cache_sequence_drop(cache, id) == CLMLA_OK) return true;
    return false;
}

static void open_session_of(session *s, plan_kind kind, clmla_row_format format, double row_bar, uint32_t pages) {
    clmla_rows rows;
    *s = (session){.context = test_device_get()->context, .random = test_random_make(11), .row_bar = row_bar};
    layer_model_make(&s->model, &model_of);
    s->layer = layer_model_load(&s->model, s->context, 0, 0);
    clmla_cache_params params = {.format = format,
                                 .page_tokens = PAGE,
                                 .page_count = pages,
                                 .share_prefixes = true,
                                 .evict = evict,
                                 .evict_payload = s};
    TEST_OK(clmla_cache_create(&s->cache, s->context, &s->model.config, &params));
    TEST_OK(clmla_cache_rows(&rows, s->cache, 0));
    clmla_plan_params plan = {.head_count = model_of.heads, .layout = rows.layout};
    if (kind == PLAN_FIXED || kind == PLAN_CAPACITY) plan.split_tokens = 5;
    if (kind == PLAN_RECONSTRUCTED) plan.prefill = CLMLA_PREFILL_RECONSTRUCTED;
    if (kind == PLAN_CAPACITY) plan.capacity = (clmla_plan_capacity){4, STEP_MOST, TOKENS_MOST};
    TEST_OK(clmla_plan_create(&s->plan, s->context, &plan));
}

static void open_session(session *s, plan_kind kind, uint32_t pages) {
    open_session_of(s, kind, CLMLA_ROWS_F32, 1e-5, pages);
}

static void close_session(session *s) {
    test_buffer_free(&s->input);
    test_buffer_free(&s->output);
    clmla_plan_destroy(&s->plan);
    clmla_cache_destroy(&s->cache);
    clmla_layer_destroy(&s->layer);
    layer_model_free(&s->model);
}

// Runs a step of count new tokens for each sequence. values: [sum][hidden], NULL = random. Output in `found`. The
// buffers hold STEP_MOST rows, as a plan with a capacity wants.
static void run(session *s, uint32_t sequences, const clmla_sequence *ids, uint32_t count, const float *values) {
    uint32_t counts[4] = {count, count, count, count};
    clmla_batch batch = {.sequence_count = sequences, .sequences = ids, .query_tokens = counts};
    cl_command_queue queue = test_device_get()->queue;
    size_t hidden = model_of.hidden;
    test_buffer_free(&s->input);
    test_buffer_free(&s->output);
    test_buffer_make_rows(&s->input, &s->random, STEP_MOST, hidden, hidden, 0.0, 1.0);
    if (values) {
        memcpy(s->input.initial, values, (size_t)sequences * count * hidden * sizeof *values);
        test_buffer_reset(&s->input);
    }
    test_buffer_make(&s->output, STEP_MOST * hidden * sizeof(float), NULL);
    TEST_OK(clmla_cache_reserve(s->cache, &batch));
    TEST_OK(clmla_plan_update(s->plan, s->cache, &batch, queue, 0, NULL, NULL));
    TEST_OK(clmla_layer_enqueue(s->layer, s->plan, s->cache, s->input.view, s->output.view, queue, 0, NULL, NULL));
    test_buffer_fetch(&s->output);
}

// The rows of a sequence as they lie in the cache: [tokens][latent + rope] in double.
static double *read_rows(const session *s, clmla_sequence id, uint32_t tokens) {
    size_t width = model_of.latent + model_of.rope;
    int64_t *slots = test_allocate(tokens, sizeof *slots);
    test_buffer places, found, pending, turning;
    int32_t deltas[TOKENS_MOST];
    uint64_t turns[CLMLA_MAX_ROPE_DIM / 2];
    bool any = false;
    TEST_OK(clmla_cache_sequence_slots(slots, s->cache, id, 0, tokens));
    TEST_OK(clmla_cache_sequence_deltas(deltas, s->cache, id, 0, tokens));
    TEST_OK(clmla_rope_turns(turns, &s->model.config));
    for (uint32_t i = 0; i < tokens; i++) any |= deltas[i] != 0;
    test_buffer_make(&pending, tokens * sizeof *deltas, deltas);
    test_buffer_make(&turning, model_of.rope / 2 * sizeof *turns, turns);
    test_buffer_make(&places, tokens * sizeof *slots, slots);
    test_buffer_make(&found, tokens * width * sizeof(float), NULL);
    clmla_gather_params params = {
        .token_count = tokens, .places = {.slots = places.view}, .output = found.view, .output_stride = width};
    if (any) params.deltas = pending.view;
    if (any) params.rope_turns = turning.view;
    TEST_OK(clmla_cache_rows(&params.rows, s->cache, 0));
    TEST_OK(clmla_gather(s->context, &params, test_device_get()->queue, 0, NULL, NULL));
    test_buffer_fetch(&found);
    double *rows = test_allocate(tokens * width, sizeof *rows);
    for (size_t i = 0; i < tokens * width; i++) rows[i] = test_buffer_found(&found)[i];
    test_buffer_free(&pending);
    test_buffer_free(&turning);
    test_buffer_free(&places);
    test_buffer_free(&found);
    free(slots);
    return rows;
}

// The last step's outputs of one sequence against the reference over the rows the cache holds, which end with its own.
static void check_outputs(const session *s, clmla_sequence id, uint32_t index, uint32_t count) {
    uint32_t tokens;
    int32_t positions[TOKENS_MOST];
    float angles[CLMLA_MAX_ROPE_DIM];
    size_t hidden = model_of.hidden, width = model_of.latent + model_of.rope;
    TEST_OK(clmla_cache_sequence_length(&tokens, s->cache, id));
    TEST_OK(clmla_cache_sequence_positions(positions, s->cache, id, 0, tokens));
    double *rows = read_rows(s, id, tokens), *expected = test_allocate(hidden, sizeof *expected);
    double *row = test_allocate(width, sizeof *row);
    for (uint32_t t = 0; t < count; t++) {
        uint32_t at = tokens - count + t;
        const float *input = test_buffer_floats(&s->input) + (index * count + t) * hidden;
        layer_model_angles(angles, &s->model, positions[at]);
        ref_layer_row(row, &s->model.reference, input, angles);
        for (size_t i = 0; i < width; i++)
            TEST_ASSERT(row[i] - rows[at * width + i] < s->row_bar && rows[at * width + i] - row[i] < s->row_bar,
                        "row %u, value %zu: %g, expected %g", at, i, rows[at * width + i], row[i]);
        ref_layer_token(expected, &s->model.reference, input, angles, rows, at + 1);
        test_compare_rows(test_buffer_found(&s->output) + (index * count + t) * hidden, hidden, expected, 1, hidden,
                          4e-6, "output");
    }
    free(rows);
    free(row);
    free(expected);
}

static float *random_values(session *s, size_t rows) {
    float *values = test_allocate(rows * model_of.hidden, sizeof *values);
    test_random_fill(&s->random, values, rows * model_of.hidden, 0.0, 1.0);
    return values;
}

// Two forks and a sequence that was run by itself decode the same tokens, in one batch.
START_TEST(forks_give_the_same_bits) {
    session s;
    clmla_sequence ids[3];
    size_t hidden = model_of.hidden;
    test_case_begin("layer fork", _i, "plan kind %d", _i);
    open_session(&s, _i ? PLAN_CAPACITY : PLAN_FIXED, PAGES);
    float *prompt = random_values(&s, 10);
    TEST_OK(clmla_cache_sequence_create(&ids[0], s.cache));
    TEST_OK(clmla_cache_sequence_create(&ids[2], s.cache));
    run(&s, 1, &ids[0], 10, prompt);
    run(&s, 1, &ids[2], 10, prompt);
    TEST_OK(clmla_cache_sequence_fork(&ids[1], s.cache, ids[0]));
    clmla_cache_usage usage = clmla_cache_usage_get(s.cache);
    ck_assert_uint_eq(usage.pages_used, 6); // 3 for 10 tokens, twice; the fork has none of its own
    ck_assert_uint_eq(usage.pages_shared, 3);
    ck_assert_uint_eq(usage.tokens, 30);
    for (int step = 0; step < 7; step++) {
        float *one = random_values(&s, 1), three[3 * 51];
        for (int i = 0; i < 3; i++) memcpy(three + i * hidden, one, hidden * sizeof *one);
        run(&s, 3, ids, 1, three);
        const float *found = test_buffer_found(&s.output);
        ck_assert_int_eq(memcmp(found, found + 2 * hidden, hidden * sizeof *found), 0);
        ck_assert_int_eq(memcmp(found + hidden, found + 2 * hidden, hidden * sizeof *found), 0);
        check_outputs(&s, ids[1], 1, 1);
        free(one);
    }
    usage = clmla_cache_usage_get(s.cache);
    ck_assert_uint_eq(usage.pages_shared, 2); // full ones; the last was copied when the first fork wrote it
    ck_assert_uint_eq(usage.pages_used, 2 + 3 * 3 + 2);
    free(prompt);
    close_session(&s);
}
END_TEST

// Forks that go ways of their own do not see each other.
START_TEST(forks_part) {
    session s;
    clmla_sequence ids[2];
    open_session(&s, (plan_kind)_i, PAGES);
    TEST_OK(clmla_cache_sequence_create(&ids[0], s.cache));
    run(&s, 1, ids, 6, NULL);
    TEST_OK(clmla_cache_sequence_fork(&ids[1], s.cache, ids[0]));
    for (int step = 0; step < 4; step++) {
        run(&s, 2, ids, 1 + (uint32_t)step, NULL);
        check_outputs(&s, ids[0], 0, 1 + (uint32_t)step);
        check_outputs(&s, ids[1], 1, 1 + (uint32_t)step);
    }
    close_session(&s);
}
END_TEST

// Context shift: the middle goes, the rest moves up in positions, decoding goes on.
START_TEST(edits_leave_the_other_rows) {
    session s;
    clmla_sequence ids[2];
    uint32_t tokens;
    test_case_begin("layer edit", _i, "plan kind %d, %s", (int)edit_cases[_i].kind,
                    clmla_row_format_name(edit_cases[_i].format));
    open_session_of(&s, edit_cases[_i].kind, edit_cases[_i].format, edit_cases[_i].bar, PAGES);
    TEST_OK(clmla_cache_sequence_create(&ids[0], s.cache));
    TEST_OK(clmla_cache_sequence_create(&ids[1], s.cache));
    run(&s, 2, ids, 11, NULL);
    run(&s, 2, ids, 11, NULL);
    double *before = read_rows(&s, ids[0], 22);
    TEST_OK(clmla_cache_sequence_remove(s.cache, ids[0], 5, 10)); // 1 row of page 1 and 2 of page 2 stay
    TEST_OK(clmla_cache_flush(s.cache, test_device_get()->queue, 0, NULL, NULL));
    double *after = read_rows(&s, ids[0], 17);
    size_t row = (model_of.latent + model_of.rope) * sizeof(double);
    ck_assert_int_eq(memcmp(before, after, 5 * row), 0);
    ck_assert_int_eq(memcmp((char *)before + 10 * row, (char *)after + 5 * row, 12 * row), 0);
    for (uint32_t step = 0; step < 6; step++) {
        if (step == 2) TEST_OK(clmla_cache_sequence_shift(s.cache, ids[0], 5, 19, -5));
        if (step == 3) TEST_OK(clmla_cache_sequence_shift(s.cache, ids[1], 0, 25, 1000000));
        if (step == 3) TEST_OK(clmla_cache_sequence_remove(s.cache, ids[0], 3, 7));
        if (step == 4) TEST_OK(clmla_cache_sequence_truncate(s.cache, ids[0], 4));
        run(&s, 2, ids, 1 + step % 3, NULL);
        check_outputs(&s, ids[0], 0, 1 + step % 3);
        check_outputs(&s, ids[1], 1, 1 + step % 3);
    }
    TEST_OK(clmla_cache_sequence_length(&tokens, s.cache, ids[0]));
    ck_assert_uint_eq(tokens, 4 + 2 + 3);
    free(before);
    free(after);
    close_session(&s);
}
END_TEST

// A second sequence with a known prefix computes the rest alone, and gets what it would have got.
START_TEST(known_prefixes_are_not_run_again) {
    session s;
    clmla_sequence ids[2];
    uint32_t shared;
    int32_t tokens[15];
    size_t hidden = model_of.hidden;
    open_session(&s, PLAN_FIXED, PAGES);
    float *prompt = random_values(&s, 15);
    for (int i = 0; i < 15; i++) tokens[i] = 700 + i;
    TEST_OK(clmla_cache_sequence_create_with_tokens(&ids[0], s.cache, tokens, 15, &shared));
    ck_assert_uint_eq(shared, 0);
    run(&s, 1, &ids[0], 12, prompt);
    run(&s, 1, &ids[0], 3, prompt + 12 * hidden);
    float *expected = test_allocate(3 * hidden, sizeof *expected);
    memcpy(expected, test_buffer_found(&s.output), 3 * hidden * sizeof *expected);
    TEST_OK(clmla_cache_commit_tokens(s.cache, ids[0], tokens, 15));
    TEST_OK(clmla_cache_sequence_drop(s.cache, ids[0]));
    clmla_cache_usage usage = clmla_cache_usage_get(s.cache);
    ck_assert_uint_eq(usage.pages_kept, 3);
    ck_assert_uint_eq(usage.pages_free, PAGES);
    TEST_OK(clmla_cache_sequence_create_with_tokens(&ids[1], s.cache, tokens, 15, &shared));
    ck_assert_uint_eq(shared, 12);
    run(&s, 1, &ids[1], 3, prompt + 12 * hidden);
    ck_assert_int_eq(memcmp(expected, test_buffer_found(&s.output), 3 * hidden * sizeof *expected), 0);
    usage = clmla_cache_usage_get(s.cache);
    ck_assert_uint_eq(usage.prefix_tokens_asked, 30);
    ck_assert_uint_eq(usage.prefix_tokens_shared, 12);
    ck_assert_uint_eq(usage.pages_kept, 0);
    free(expected);
    free(prompt);
    close_session(&s);
}
END_TEST

START_TEST(owners_evict) {
    session s;
    clmla_sequence ids[3];
    open_session(&s, PLAN_PLAIN, 5);
    for (int i = 0; i < 3; i++) TEST_OK(clmla_cache_sequence_create(&ids[i], s.cache));
    run(&s, 1, &ids[0], 8, NULL);
    run(&s, 1, &ids[1], 8, NULL);
    run(&s, 1, &ids[2], 8, NULL); // one page is free: the first sequence goes
    ck_assert_uint_eq(s.evictions, 1);
    check_outputs(&s, ids[2], 0, 8);
    ck_assert_int_eq(clmla_cache_sequence_drop(s.cache, ids[0]), CLMLA_E_SEQUENCE);
    close_session(&s);
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_loop_test(tcase, forks_give_the_same_bits, 0, 2);
    tcase_add_loop_test(tcase, forks_part, 0, 3);
    tcase_add_loop_test(tcase, edits_leave_the_other_rows, 0, sizeof edit_cases / sizeof *edit_cases);
    tcase_add_test(tcase, known_prefixes_are_not_run_again);
    tcase_add_test(tcase, owners_evict);
}

int main(void) {
    return test_main("check_layer_cache", add);
}
