// SPDX-License-Identifier: Apache-2.0
#include "tests/kernel/attend_fixture.h"
#include "tests/support/compare.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SCALE 0.1147f // about what YaRN gives for 192-wide heads

clmla_status attend_enqueue_step(void *payload, cl_command_queue queue, cl_uint count, const cl_event *wait, cl_event *event) {
    attend_fixture *f = payload;
    return clmla_attend(f->plan, &f->params, queue, count, wait, event);
}

uint64_t attend_cost(const attend_shape *s) {
    uint64_t pairs = 0;
    for (uint32_t i = 0; i < s->sequences; i++) pairs += (uint64_t)s->query_tokens[i] * s->kv_tokens[i];
    return pairs * s->heads * (2 * s->latent + s->rope);
}

clmla_shape attend_variant_shape(const attend_shape *s) {
    return (clmla_shape){.format = s->format, .latent_dim = s->latent, .rope_dim = s->rope, .head_count = s->heads};
}

static uint32_t longest(const attend_shape *s) {
    uint32_t most = 0;
    for (uint32_t i = 0; i < s->sequences; i++) most = s->kv_tokens[i] > most ? s->kv_tokens[i] : most;
    return most;
}

// A direction all queries share, so that one key can dominate for every head.
static void make_direction(float *out, uint32_t width) {
    test_random random = test_random_make(99);
    double square = 0;
    test_random_fill(&random, out, width, 0.0, 1.0);
    for (uint32_t i = 0; i < width; i++) square += (double)out[i] * (double)out[i];
    for (uint32_t i = 0; i < width; i++) out[i] = (float)((double)out[i] / sqrt(square));
}

// Narrow rows have a mean: their weighted sums could cancel to nothing, and their peak would be no measure.
static void make_key(float *key, const attend_shape *s, uint32_t index, uint32_t count, test_random *random) {
    bool narrow = s->latent < 16;
    test_random_fill(random, key, s->latent, narrow ? 1.5 : 0.0, narrow ? 0.5 : 1.0);
    test_random_fill(random, key + s->latent, s->rope, 0.0, 1.0);
    if (s->scores != ATTEND_DOMINANT || index != count / 2) return;
    make_direction(key, s->latent + s->rope);
    for (uint32_t i = 0; i < s->latent + s->rope; i++) key[i] *= 40.0f;
}

static void fill_query(float *query, const attend_shape *s, test_random *random) {
    uint32_t width = s->latent + s->rope;
    double deviation = 2.0 / ((double)SCALE * sqrt(width));
    if (s->scores == ATTEND_HUGE) deviation *= 1500.0;
    if (s->scores == ATTEND_ZERO) deviation = 0.0;
    test_random_fill(random, query, width, 0.0, deviation);
    if (s->scores != ATTEND_DOMINANT) return;
    float direction[2048];
    make_direction(direction, width);
    for (uint32_t i = 0; i < width; i++) query[i] += direction[i] * (float)(10000.0 / 40.0 / (double)SCALE);
}

static void make_query(attend_fixture *f, test_random *random) {
    const attend_shape *s = &f->shape;
    uint32_t head = s->latent + s->rope + (s->padded ? 3 : 0), token = s->heads * head + (s->padded ? 5 : 0);
    size_t bytes = (size_t)f->tokens * token * sizeof(float);
    float *query = test_nan_bytes(bytes);
    for (uint32_t i = 0; i < f->tokens * s->heads; i++)
        fill_query(query + (size_t)(i / s->heads) * token + (size_t)(i % s->heads) * head, s, random);
    test_buffer_make(&f->query, bytes, query);
    free(query);
    f->params.query = f->query.view;
    f->params.query_token_stride = token;
    f->params.query_head_stride = head;
}

static uint32_t pages_of(const attend_shape *s, uint32_t sequence) {
    return s->page_tokens ? (s->kv_tokens[sequence] + s->page_tokens - 1) / s->page_tokens : 1;
}

// Table entries: pages in a random order; unused ones hold garbage, some of it a page that exists.
static int32_t *make_table(attend_fixture *f, test_random *random) {
    const attend_shape *s = &f->shape;
    static const int32_t garbage[] = {-1, 2147480000, INT32_MIN, 0};
    uint64_t page_count = f->rows.view.page_count, stride = 2;
    for (uint32_t i = 0; i < s->sequences; i++) stride = pages_of(s, i) + 2 > stride ? pages_of(s, i) + 2 : stride;
    int32_t *order = test_allocate((size_t)page_count, sizeof *order), *next = order;
    int32_t *table = test_allocate((size_t)(s->sequences * stride), sizeof *table);
    test_random_permutation(random, order, (size_t)page_count);
    for (uint32_t i = 0; i < s->sequences; i++)
        for (uint64_t p = 0; p < stride; p++)
            table[i * stride + p] = p < pages_of(s, i) ? *next++ : garbage[(i + p) % 4];
    free(order);
    f->params.page_table_stride = stride;
    return table;
}

static void store_keys(attend_fixture *f, const int32_t *table, test_random *random) {
    const attend_shape *s = &f->shape;
    uint32_t width = s->latent + s->rope, page_tokens = f->rows.view.page_tokens;
    float *key = test_allocate(width, sizeof *key);
    for (uint32_t i = 0; i < s->sequences; i++) {
        f->keys[i] = test_allocate((size_t)s->kv_tokens[i] * width, sizeof(double));
        f->present[i] = test_allocate(s->kv_tokens[i], sizeof(bool));
        for (uint32_t j = 0; j < s->kv_tokens[i]; j++) {
            if (s->scores != ATTEND_SAME_KEYS || j == 0) make_key(key, s, j, s->kv_tokens[i], random);
            int32_t page = table ? table[i * f->params.page_table_stride + j / page_tokens] : (int32_t)i;
            f->present[i][j] = page >= 0;
            double *stored = f->keys[i] + (size_t)j * width;
            if (page >= 0) test_rows_store(stored, &f->rows, (uint64_t)page, j % page_tokens, key);
        }
    }
    free(key);
    test_rows_upload(&f->rows);
}

static void make_rows(attend_fixture *f, test_random *random) {
    const attend_shape *s = &f->shape;
    uint64_t pages = 2;
    for (uint32_t i = 0; i < s->sequences; i++) pages += pages_of(s, i);
    uint32_t page_tokens = s->page_tokens ? s->page_tokens : longest(s) + 3;
    test_rows_make(&f->rows, s->format, s->latent, s->rope, page_tokens, pages, s->layout);
    f->params.rows = f->rows.view;
    if (s->page_tokens == 0) {
        store_keys(f, NULL, random);
        return;
    }
    int32_t *table = make_table(f, random);
    if (s->missing_page) table[0] = -7;
    store_keys(f, table, random);
    test_buffer_make(&f->table, (size_t)(s->sequences * f->params.page_table_stride) * sizeof *table, table);
    f->params.page_table = f->table.view;
    free(table);
}

static void list_buffers(attend_fixture *f) {
    int inputs = 0;
    f->run = (test_run){.enqueue = attend_enqueue_step, .payload = f, .outputs = {&f->output, &f->lse}};
    f->run.inputs[inputs++] = &f->query;
    f->run.inputs[inputs++] = &f->rows.latent;
    if (f->rows.rope.bytes) f->run.inputs[inputs++] = &f->rows.rope;
    if (f->table.bytes) f->run.inputs[inputs++] = &f->table;
}

void attend_make(attend_fixture *f, const attend_shape *shape) {
    test_random random = test_random_make(shape->seed);
    *f = (attend_fixture){.shape = *shape};
    for (uint32_t i = 0; i < shape->sequences; i++) f->tokens += shape->query_tokens[i];
    size_t pairs = (size_t)f->tokens * shape->heads;
    make_query(f, &random);
    make_rows(f, &random);
    test_buffer_make(&f->output, pairs * shape->latent * sizeof(float), NULL);
    test_buffer_make(&f->lse, pairs * sizeof(float), NULL);
    f->params.softmax_scale = SCALE;
    f->params.output = f->output.view;
    if (shape->lse) f->params.lse = f->lse.view;
    f->expected = test_allocate(pairs * shape->latent, sizeof(double));
    f->expected_lse = test_allocate(pairs, sizeof(double));
    f->largest_score = test_allocate(pairs, sizeof(double));
    list_buffers(f);
}

void attend_finish(attend_fixture *f) {
    clmla_plan_destroy(&f->plan);
    test_rows_free(&f->rows);
    test_buffer_free(&f->query);
    test_buffer_free(&f->table);
    test_buffer_free(&f->output);
    test_buffer_free(&f->lse);
    for (int i = 0; i < ATTEND_SEQUENCES_MAX; i++) {
        free(f->keys[i]);
        free(f->present[i]);
    }
    free(f->expected);
    free(f->expected_lse);
    free(f->largest_score);
}

clmla_lengths attend_lengths(const attend_fixture *f) {
    return (clmla_lengths){f->shape.sequences, f->shape.query_tokens, f->shape.kv_tokens};
}

void attend_plan(attend_fixture *f, const char *variant) {
    const test_device *device = test_device_get();
    clmla_plan_params params = {
        .head_count = f->shape.heads,
        .layout = f->rows.view.layout,
        .split_tokens = f->shape.split_tokens,
        .full = f->shape.full,
        .attend_variant = variant,
    };
    clmla_lengths lengths = attend_lengths(f);
    clmla_plan_destroy(&f->plan);
    TEST_OK(clmla_plan_create(&f->plan, device->context, &params));
    TEST_OK(clmla_plan_update_lengths(f->plan, &lengths, device->queue, 0, NULL, NULL));
    clmla_plan_facts facts = clmla_plan_facts_get(f->plan);
    TEST_ASSERT(facts.query_tokens == f->tokens && facts.sequence_count == f->shape.sequences, "%u tokens, %u sequences",
                facts.query_tokens, facts.sequence_count);
    TEST_ASSERT(!variant || strcmp(facts.attend_variant, variant) == 0, "%s instead of %s", facts.attend_variant, variant);
}

void attend_expect(attend_fixture *f) {
    const attend_shape *s = &f->shape;
    size_t token = 0;
    for (uint32_t i = 0; i < s->sequences; i++) {
        ref_keys keys = {f->keys[i], f->present[i], s->kv_tokens[i], s->latent, s->rope};
        for (uint32_t t = 0; t < s->query_tokens[i]; t++, token++)
            for (uint32_t h = 0; h < s->heads; h++) {
                size_t pair = token * s->heads + h;
                const float *query =
                    test_buffer_floats(&f->query) + token * f->params.query_token_stride + h * f->params.query_head_stride;
                ref_attended result = ref_attend(f->expected + pair * s->latent, query, &keys,
                                                 ref_visible(s->query_tokens[i], s->kv_tokens[i], t, f->shape.full),
                                                 (double)f->params.softmax_scale);
                f->expected_lse[pair] = result.lse;
                f->largest_score[pair] = result.largest_score;
            }
    }
}

void attend_compare(attend_fixture *f, const char *variant) {
    size_t latent = f->shape.latent;
    for (size_t pair = 0; pair < (size_t)f->tokens * f->shape.heads; pair++) {
        double bar = TEST_BAR_F32 * fmax(1.0, f->largest_score[pair] / 8.0), lse = f->expected_lse[pair];
        double lse_bar = 1e-6 * fmax(1.0, f->largest_score[pair]);
        char name[64];
        snprintf(name, sizeof name, "%s token %zu head %zu", variant, pair / f->shape.heads, pair % f->shape.heads);
        test_compare_rows(test_buffer_found(&f->output) + pair * latent, latent, f->expected + pair * latent, 1, latent, bar, name);
        if (!f->shape.lse) continue;
        test_difference d = test_compare(test_buffer_found(&f->lse) + pair, &lse, 1);
        TEST_ASSERT(d.first_misplaced == 1 && d.largest_error <= lse_bar, "%s: lse is %.9g, expected %.9g, allowed %.2e", name,
                    (double)test_buffer_found(&f->lse)[pair], lse, lse_bar);
    }
    if (!f->shape.lse) test_buffer_check_unchanged(&f->lse);
}
