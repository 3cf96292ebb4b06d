// SPDX-License-Identifier: Apache-2.0
#include "compare_data.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define APPENDED_TOKENS 2048 // of one clmla_append

static float weight(const latent_data *data, uint64_t row, uint32_t column) {
    return data->kv_b.values[(row * data->task->shape.latent_dim + column) % COMPARE_BLOCK];
}

// Queries whose scores spread as wanted over rows of deviation 0.1, through weights of deviation 0.1.
static void fill_queries(latent_data *data, compare_random *random) {
    const compare_shape *s = &data->task->shape;
    double in_latent_space = COMPARE_SCORE_SPREAD / ((double)data->softmax_scale * 0.1 * sqrt(compare_row_width(s)));
    double before = in_latent_space / (0.1 * sqrt(s->nope_dim));
    for (uint32_t h = 0; h < s->heads; h++) {
        float *q = data->query + (size_t)h * (s->nope_dim + s->rope_dim);
        for (uint32_t n = 0; n < s->nope_dim; n++) q[n] = (float)(before * compare_normal(random));
        for (uint32_t r = 0; r < s->rope_dim; r++)
            q[s->nope_dim + r] = (float)(in_latent_space * compare_normal(random));
    }
}

static void absorb(latent_data *data) {
    const compare_shape *s = &data->task->shape;
    for (uint32_t h = 0; h < s->heads; h++) {
        const float *q = data->query + (size_t)h * (s->nope_dim + s->rope_dim);
        float *to = data->absorbed + (size_t)h * compare_row_width(s);
        uint64_t first = (uint64_t)h * (s->nope_dim + s->value_dim);
        for (uint32_t l = 0; l < s->latent_dim; l++) {
            double sum = 0.0;
            for (uint32_t n = 0; n < s->nope_dim; n++) sum += (double)q[n] * weight(data, first + n, l);
            to[l] = (float)sum;
        }
        memcpy(to + s->latent_dim, q + s->nope_dim, s->rope_dim * sizeof *q);
    }
}

static void read_row(const void *payload, uint64_t j, float *key, float *value) {
    const latent_data *data = payload;
    uint32_t width = compare_row_width(&data->task->shape);
    memcpy(key, data->rows + j * width, width * sizeof *key);
    memcpy(value, key, data->task->shape.latent_dim * sizeof *value);
}

static bool expect(latent_data *data, failure *failure) {
    const compare_shape *s = &data->task->shape;
    const compare_keys keys = {read_row, data, data->task->tokens, compare_row_width(s), s->latent_dim};
    data->attended = malloc((size_t)s->heads * s->latent_dim * sizeof *data->attended);
    data->heads = malloc((size_t)s->heads * s->value_dim * sizeof *data->heads);
    if (!data->attended || !data->heads) return failure_memory(failure);
    if (!compare_reference(data->attended, data->absorbed, s->heads, &keys, (double)data->softmax_scale, failure))
        return false;
    for (uint32_t h = 0; h < s->heads; h++)
        for (uint32_t v = 0; v < s->value_dim; v++) {
            uint64_t row = (uint64_t)h * (s->nope_dim + s->value_dim) + s->nope_dim + v;
            double sum = 0.0;
            for (uint32_t l = 0; l < s->latent_dim; l++)
                sum += weight(data, row, l) * data->attended[(size_t)h * s->latent_dim + l];
            data->heads[(size_t)h * s->value_dim + v] = sum;
        }
    return true;
}

bool latent_data_open(latent_data **out, const compare_task *task, failure *failure) {
    const compare_shape *s = &task->shape;
    compare_random random = {.state = 3};
    latent_data *data = *out = calloc(1, sizeof *data);
    if (!data) return failure_memory(failure);
    *data = (latent_data){.task = task, .softmax_scale = 1.0f / sqrtf((float)(s->nope_dim + s->rope_dim))};
    uint64_t values = (uint64_t)task->tokens * compare_row_width(s);
    data->rows = malloc(values * sizeof *data->rows);
    data->query = malloc((size_t)s->heads * (s->nope_dim + s->rope_dim) * sizeof *data->query);
    data->absorbed = malloc((size_t)s->heads * compare_row_width(s) * sizeof *data->absorbed);
    if (!data->rows || !data->query || !data->absorbed) return failure_memory(failure);
    if (!compare_block_make(&data->kv_b, &random, failure)) return false;
    for (uint64_t i = 0; i < values; i++) data->rows[i] = compare_value(&random);
    fill_queries(data, &random);
    absorb(data);
    return task->attention_alone || expect(data, failure);
}

void latent_data_close(latent_data **data) {
    if (!*data) return;
    free((*data)->rows);
    free((*data)->query);
    free((*data)->absorbed);
    free((*data)->attended);
    free((*data)->heads);
    compare_block_free(&(*data)->kv_b);
    free(*data);
    *data = NULL;
}

static bool append_some(const latent_data *data, const clmla_rows *rows, cl_mem slots, cl_mem staging, uint32_t first,
                        uint32_t count, failure *failure) {
    const session *session = data->task->session;
    uint32_t width = compare_row_width(&data->task->shape);
    cl_int code = clEnqueueWriteBuffer(session->queue, staging, CL_TRUE, 0, (size_t)count * width * sizeof(float),
                                       data->rows + (size_t)first * width, 0, NULL, NULL);
    if (code != CL_SUCCESS) return failure_opencl(failure, "clEnqueueWriteBuffer", code);
    const clmla_append_params params = {
        .token_count = count,
        .latent = {staging, 0},
        .latent_stride = width,
        .rope = {data->task->shape.rope_dim ? staging : NULL, data->task->shape.latent_dim * sizeof(float)},
        .rope_stride = width,
        .input_order = rows->layout.rope_order,
        .places = {.slots = {slots, (uint64_t)first * sizeof(int64_t)}},
        .rows = *rows};
    return clmla_append(session->context, &params, session->queue, 0, NULL, NULL) == CLMLA_OK ||
           failure_library(failure);
}

bool compare_append(const latent_data *data, const clmla_rows *rows, cl_mem slots, failure *failure) {
    cl_mem staging;
    uint64_t bytes = sizeof(float) * (uint64_t)APPENDED_TOKENS * compare_row_width(&data->task->shape);
    if (!session_buffer(&staging, data->task->session, bytes, NULL, failure)) return false;
    bool done = true;
    for (uint32_t first = 0; done && first < data->task->tokens; first += APPENDED_TOKENS) {
        uint32_t left = data->task->tokens - first;
        done = append_some(data, rows, slots, staging, first, left < APPENDED_TOKENS ? left : APPENDED_TOKENS, failure);
    }
    clReleaseMemObject(staging);
    return done;
}
