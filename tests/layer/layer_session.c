// SPDX-License-Identifier: Apache-2.0
#include "tests/layer/layer_session.h"
#include "tests/support/compare.h"
#include "tests/support/rows.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static clmla_status enqueue(void *payload, cl_command_queue queue, cl_uint count, const cl_event *wait,
                            cl_event *event) {
    layer_session *s = payload;
    return clmla_layer_enqueue(s->layer, s->plan, s->cache, s->input.view, s->output.view, queue, count, wait, event);
}

static void make_plan(layer_session *s) {
    clmla_rows rows;
    if (s->shape.split_tokens == 0) {
        TEST_OK(clmla_plan_create_for_cache(&s->plan, s->context, s->cache));
        return;
    }
    TEST_OK(clmla_cache_rows(&rows, s->cache, 0));
    clmla_plan_params params = {
        .head_count = s->model->shape.heads, .layout = rows.layout, .split_tokens = s->shape.split_tokens};
    TEST_OK(clmla_plan_create(&s->plan, s->context, &params));
}

void layer_session_open(layer_session *out, const layer_model *model, clmla_context *context,
                        const session_shape *shape) {
    *out = (layer_session){
        .model = model, .shape = *shape, .context = context, .random = test_random_make(model->shape.seed + 1)};
    clmla_cache_params params = {.format = shape->format,
                                 .rope_order = shape->order,
                                 .rope_order_given = true,
                                 .page_tokens = shape->page_tokens,
                                 .page_count = shape->page_count};
    out->layer = layer_model_load(model, context, 0, 0);
    TEST_OK(clmla_cache_create(&out->cache, context, &model->config, &params));
    for (int i = 0; i < SESSION_SEQUENCES; i++) TEST_OK(clmla_cache_sequence_create(&out->sequences[i], out->cache));
    make_plan(out);
}

void layer_session_end(layer_session *session) {
    test_buffer_free(&session->input);
    test_buffer_free(&session->output);
}

void layer_session_close(layer_session *session) {
    layer_session_end(session);
    clmla_plan_destroy(&session->plan);
    clmla_cache_destroy(&session->cache);
    clmla_layer_destroy(&session->layer);
}

void layer_session_begin(layer_session *s, const uint32_t new_tokens[SESSION_SEQUENCES], cl_command_queue queue) {
    int32_t positions[SESSION_SEQUENCES * SESSION_TOKENS_MAX];
    size_t hidden = s->model->shape.hidden;
    clmla_batch batch = {
        .sequence_count = SESSION_SEQUENCES, .sequences = s->sequences, .query_tokens = s->query_tokens};
    s->tokens = 0;
    for (uint32_t i = 0; i < SESSION_SEQUENCES; i++) {
        s->query_tokens[i] = new_tokens[i];
        for (uint32_t t = 0; t < new_tokens[i]; t++)
            positions[s->tokens++] = s->shape.first_position + (int32_t)(s->lengths[i] + t);
        s->lengths[i] += new_tokens[i];
    }
    if (s->shape.first_position) batch.positions = positions;
    test_buffer_make_rows(&s->input, &s->random, s->tokens, hidden, hidden, 0.0, 1.0);
    test_buffer_make(&s->output, s->tokens * hidden * sizeof(float), NULL);
    s->run = (test_run){.enqueue = enqueue, .payload = s, .inputs = {&s->input}, .outputs = {&s->output}};
    TEST_OK(clmla_cache_reserve(s->cache, &batch));
    TEST_OK(clmla_plan_update(s->plan, s->cache, &batch, queue, 0, NULL, NULL));
    memset(positions, 0x55, sizeof positions);
}

// The cache as rows of the layer's own rotary order: [tokens][latent + rope] of one sequence.
static double *read_rows(const layer_session *s, uint32_t index) {
    const model_shape *m = &s->model->shape;
    test_rows rows = {0};
    int32_t pages[SESSION_TOKENS_MAX];
    size_t count, width = m->latent + m->rope;
    TEST_OK(clmla_cache_rows(&rows.view, s->cache, 0));
    TEST_OK(clmla_cache_sequence_pages(pages, SESSION_TOKENS_MAX, &count, s->cache, s->sequences[index]));
    size_t bytes = (size_t)(rows.view.page_count * rows.view.latent_page_stride);
    rows.latent.found = test_allocate(bytes, 1);
    TEST_CL(clEnqueueReadBuffer(test_device_get()->queue, rows.view.latent.memory, CL_TRUE,
                                (size_t)rows.view.latent.offset, bytes, rows.latent.found, 0, NULL, NULL));
    double *out = test_allocate(s->lengths[index] * width, sizeof *out), *row = test_allocate(width, sizeof *row);
    for (uint32_t t = 0; t < s->lengths[index]; t++) {
        test_rows_load(row, &rows, (uint64_t)pages[t / rows.view.page_tokens], t % rows.view.page_tokens);
        double *to = out + t * width;
        memcpy(to, row, width * sizeof *row);
        for (uint32_t i = 0; s->shape.order != m->order && i < m->rope; i++) {
            bool halves = m->order == CLMLA_ROPE_HALVES; // then element i comes from the interleaved place, else back
            uint32_t half = m->rope / 2, from = halves ? 2 * (i % half) + i / half : i / 2 + i % 2 * half;
            to[m->latent + i] = row[m->latent + from];
        }
    }
    free(row);
    free(rows.latent.found);
    return out;
}

// Relative to the row's own length: the format's rounding and no more.
static void check_row(const layer_session *s, const double *stored, const double *expected, uint32_t sequence,
                      uint32_t token) {
    static const double bars[] = {
        [CLMLA_ROWS_F32] = 2e-6, [CLMLA_ROWS_F16] = 5e-4,  [CLMLA_ROWS_BF16] = 3e-3, [CLMLA_ROWS_Q8] = 1.5e-2,
        [CLMLA_ROWS_Q6] = 4e-2,  [CLMLA_ROWS_Q5] = 6.5e-2, [CLMLA_ROWS_Q4] = 0.15};
    size_t width = s->model->shape.latent + s->model->shape.rope;
    double error = 0, square = 0;
    for (size_t i = 0; i < width; i++) {
        error += (stored[i] - expected[i]) * (stored[i] - expected[i]);
        square += expected[i] * expected[i];
    }
    TEST_ASSERT(sqrt(error / square) <= bars[s->shape.format], "sequence %u, row %u: relative error %.2e, allowed %.2e",
                sequence, token, sqrt(error / square), bars[s->shape.format]);
}

void layer_session_check(layer_session *s) {
    const model_shape *m = &s->model->shape;
    size_t width = m->latent + m->rope, token = 0;
    float angles[CLMLA_MAX_ROPE_DIM];
    double *row = test_allocate(width, sizeof *row), *expected = test_allocate(m->hidden, sizeof *expected);
    for (uint32_t i = 0; i < SESSION_SEQUENCES; i++) {
        double *rows = read_rows(s, i);
        for (uint32_t t = s->lengths[i] - s->query_tokens[i]; t < s->lengths[i]; t++, token++) {
            const float *input = test_buffer_floats(&s->input) + token * m->hidden;
            char name[64];
            layer_model_angles(angles, s->model, s->shape.first_position + (int32_t)t);
            ref_layer_row(row, &s->model->reference, input, angles);
            check_row(s, rows + t * width, row, i, t);
            ref_layer_token(expected, &s->model->reference, input, angles, rows, t + 1);
            snprintf(name, sizeof name, "sequence %u token %u", i, t);
            test_compare_rows(test_buffer_found(&s->output) + token * m->hidden, m->hidden, expected, 1, m->hidden,
                              4e-6, name);
        }
        free(rows);
    }
    free(row);
    free(expected);
}
