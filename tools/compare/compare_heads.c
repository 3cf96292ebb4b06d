// SPDX-License-Identifier: Apache-2.0
// Multi-head, grouped-query and multi-query attention, with keys and values in f16 as they are commonly kept.
#include "baseline_attention.h"
#include "bench_data.h"
#include "compare.h"
#include "compare_refusal.h"
#include "compare_values.h"
#include <math.h>
#include <stdlib.h>

typedef struct heads_run {
    const compare_task *task;
    baseline_shape shape;
    baseline_attention attention;
    baseline_rows rows;
    compare_block keys, values;
    float *query; // [heads][key_dim]
    cl_mem device_query, output;
    // The layer step.
    clmla_matrix q, k, v, o;
    cl_mem x, new_k, new_v, y, table;
    uint32_t rope_dim; // of the key dimension, from its start
} heads_run;

static baseline_shape shape_of(compare_attention attention, const compare_shape *shape) {
    uint32_t kv_heads = attention == COMPARE_MHA ? shape->heads : attention == COMPARE_GQA8 ? 8 : 1;
    return (baseline_shape){.head_count = shape->heads,
                            .kv_head_count = kv_heads,
                            .key_dim = shape->nope_dim,
                            .value_dim = shape->value_dim,
                            .type = CLMLA_TYPE_F16,
                            .softmax_scale = 1.0f / sqrtf((float)shape->nope_dim)};
}

// --- attention alone
// ---------------------------------------------------------------------------------------------

static bool make_rows(heads_run *run, failure *failure) {
    compare_random random = {.state = 1};
    const baseline_shape *s = &run->shape;
    const session *session = run->task->session;
    uint64_t count = (uint64_t)run->task->tokens * s->kv_head_count;
    return compare_block_make(&run->keys, &random, failure) && compare_block_make(&run->values, &random, failure) &&
           baseline_rows_open(&run->rows, &run->attention, run->task->tokens, failure) &&
           compare_block_write(&run->keys, session, run->rows.keys, count * s->key_dim, failure) &&
           compare_block_write(&run->values, session, run->rows.values, count * s->value_dim, failure);
}

// Queries whose scores spread as wanted over keys of deviation 0.1.
static bool make_query(heads_run *run, failure *failure) {
    compare_random random = {.state = 2};
    const baseline_shape *s = &run->shape;
    size_t count = (size_t)s->head_count * s->key_dim;
    double deviation = COMPARE_SCORE_SPREAD / (0.1 * (double)s->softmax_scale * sqrt((double)s->key_dim));
    run->query = malloc(count * sizeof *run->query);
    if (!run->query) return failure_memory(failure);
    for (size_t i = 0; i < count; i++) run->query[i] = (float)(deviation * compare_normal(&random));
    return session_buffer(&run->device_query, run->task->session, count * sizeof(float), run->query, failure) &&
           session_buffer(&run->output, run->task->session, sizeof(float) * (uint64_t)s->head_count * s->value_dim,
                          NULL, failure);
}

static bool attend(void *payload, failure *failure) {
    heads_run *run = payload;
    return baseline_attend(&run->attention, &run->rows, run->device_query, 1, run->task->tokens, run->output, failure);
}

typedef struct head_keys {
    const heads_run *run;
    uint32_t kv_head;
} head_keys;

static void read_key(const void *payload, uint64_t j, float *key, float *value) {
    const head_keys *keys = payload;
    const baseline_shape *s = &keys->run->shape;
    uint64_t row = (uint64_t)keys->kv_head * keys->run->task->tokens + j;
    for (uint32_t d = 0; d < s->key_dim; d++) key[d] = keys->run->keys.values[(row * s->key_dim + d) % COMPARE_BLOCK];
    for (uint32_t d = 0; d < s->value_dim; d++)
        value[d] = keys->run->values.values[(row * s->value_dim + d) % COMPARE_BLOCK];
}

static bool reference(double *out, const heads_run *run, failure *failure) {
    const baseline_shape *s = &run->shape;
    uint32_t group = s->head_count / s->kv_head_count;
    for (uint32_t g = 0; g < s->kv_head_count; g++) {
        const head_keys payload = {run, g};
        const compare_keys keys = {read_key, &payload, run->task->tokens, s->key_dim, s->value_dim};
        if (!compare_reference(out + (size_t)g * group * s->value_dim, run->query + (size_t)g * group * s->key_dim,
                               group, &keys, (double)s->softmax_scale, failure))
            return false;
    }
    return true;
}

static bool judge(double *cos_diff, const heads_run *run, failure *failure) {
    size_t count = (size_t)run->shape.head_count * run->shape.value_dim;
    float *found = malloc(count * sizeof *found);
    double *expected = malloc(count * sizeof *expected);
    bool done = (found && expected) || failure_memory(failure);
    if (done) {
        cl_int code = clEnqueueReadBuffer(run->task->session->queue, run->output, CL_TRUE, 0, count * sizeof *found,
                                          found, 0, NULL, NULL);
        done = code == CL_SUCCESS || failure_opencl(failure, "clEnqueueReadBuffer", code);
    }
    done = done && reference(expected, run, failure);
    if (done) *cos_diff = compare_cos_diff(found, expected, count);
    free(found);
    free(expected);
    return done;
}

// --- the layer step: projections, rope, append, attention, output projection
// -------------------------------------

// A table of one position for vectors of `dim` values.
static bool make_table(heads_run *run, failure *failure) {
    uint32_t dim = run->shape.key_dim;
    run->rope_dim = dim < CLMLA_MAX_ROPE_DIM ? dim : CLMLA_MAX_ROPE_DIM;
    float table[CLMLA_MAX_ROPE_DIM];
    for (uint32_t i = 0; i < run->rope_dim / 2; i++) {
        double angle = run->task->tokens * pow(10000.0, -2.0 * i / run->rope_dim);
        table[2 * i] = (float)cos(angle);
        table[2 * i + 1] = (float)sin(angle);
    }
    return session_buffer(&run->table, run->task->session, run->rope_dim * sizeof(float), table, failure);
}

static bool make_layer(heads_run *run, failure *failure) {
    const session *session = run->task->session;
    const baseline_shape *s = &run->shape;
    uint32_t hidden = run->task->shape.hidden, k = s->kv_head_count * s->key_dim, v = s->kv_head_count * s->value_dim;
    return bench_matrix(&run->q, session, CLMLA_TYPE_F16, s->head_count * s->key_dim, hidden, failure) &&
           bench_matrix(&run->k, session, CLMLA_TYPE_F16, k, hidden, failure) &&
           bench_matrix(&run->v, session, CLMLA_TYPE_F16, v, hidden, failure) &&
           bench_matrix(&run->o, session, CLMLA_TYPE_F16, hidden, s->head_count * s->value_dim, failure) &&
           bench_values(&run->x, session, CLMLA_TYPE_F32, hidden, failure) &&
           session_buffer(&run->new_k, session, sizeof(float) * (uint64_t)k, NULL, failure) &&
           session_buffer(&run->new_v, session, sizeof(float) * (uint64_t)v, NULL, failure) &&
           session_buffer(&run->y, session, sizeof(float) * (uint64_t)hidden, NULL, failure) &&
           make_table(run, failure);
}

static bool rotate(const heads_run *run, cl_mem values, uint32_t heads, failure *failure) {
    uint64_t token = (uint64_t)heads * run->shape.key_dim;
    const clmla_rope_params params = {.token_count = 1,
                                      .head_count = heads,
                                      .rope_dim = run->rope_dim,
                                      .input = {values, 0},
                                      .input_token_stride = token,
                                      .input_head_stride = run->shape.key_dim,
                                      .output = {values, 0},
                                      .output_token_stride = token,
                                      .output_head_stride = run->shape.key_dim,
                                      .table = {run->table, 0},
                                      .table_rows = 1,
                                      .input_order = CLMLA_ROPE_HALVES,
                                      .output_order = CLMLA_ROPE_HALVES};
    const session *session = run->task->session;
    return clmla_rope(session->context, &params, session->queue, 0, NULL, NULL) == CLMLA_OK || failure_library(failure);
}

static bool step(void *payload, failure *failure) {
    heads_run *run = payload;
    return compare_project(run->task->session, &run->q, run->x, run->device_query, failure) &&
           compare_project(run->task->session, &run->k, run->x, run->new_k, failure) &&
           compare_project(run->task->session, &run->v, run->x, run->new_v, failure) &&
           rotate(run, run->device_query, run->shape.head_count, failure) &&
           rotate(run, run->new_k, run->shape.kv_head_count, failure) &&
           baseline_append(&run->attention, &run->rows, run->new_k, run->new_v, run->task->tokens - 1, 1, failure) &&
           attend(run, failure) && compare_project(run->task->session, &run->o, run->output, run->y, failure);
}

// --- both
// --------------------------------------------------------------------------------------------------------

static void close_run(heads_run *run) {
    cl_mem *buffers[] = {&run->device_query, &run->output, &run->x, &run->new_k, &run->new_v, &run->y, &run->table};
    for (size_t i = 0; i < sizeof buffers / sizeof buffers[0]; i++) bench_release(buffers[i]);
    clmla_matrix *matrices[] = {&run->q, &run->k, &run->v, &run->o};
    for (size_t i = 0; i < sizeof matrices / sizeof matrices[0]; i++) bench_matrix_release(matrices[i]);
    baseline_rows_close(&run->rows);
    baseline_attention_close(&run->attention);
    compare_block_free(&run->keys);
    compare_block_free(&run->values);
    free(run->query);
}

static bool measure_attention(compare_row *out, heads_run *run, failure *failure) {
    const compare_task *task = run->task;
    bench_times times;
    if (!make_rows(run, failure) || !make_query(run, failure) ||
        !bench_time(&times, task->session, &task->effort, attend, run, failure))
        return false;
    out->attention_seconds = times.minimum;
    return task->attention_alone || judge(&out->cos_diff, run, failure);
}

static bool measure_step(compare_row *out, heads_run *run, failure *failure) {
    bench_times times;
    if (run->task->attention_alone) return true;
    if (!make_layer(run, failure) || !bench_time(&times, run->task->session, &run->task->effort, step, run, failure))
        return false;
    out->step_seconds = times.minimum;
    return true;
}

static bool can_run(compare_row *out, const heads_run *run) {
    const clmla_device_facts *facts = clmla_context_facts(run->task->session->context);
    const baseline_shape *s = &run->shape;
    uint64_t elements = (uint64_t)run->task->tokens * s->kv_head_count * clmla_type_bytes(s->type);
    const uint64_t buffers[] = {elements * s->key_dim, elements * s->value_dim};
    return compare_fits(out, facts, buffers, 2) && compare_has_heads(out, facts, s);
}

bool compare_heads(compare_row *out, const compare_task *task, failure *failure) {
    heads_run run = {.task = task, .shape = shape_of(out->attention, &task->shape)};
    out->bytes_per_token = (double)baseline_bytes_a_token(&run.shape);
    if (!can_run(out, &run)) return true;
    bool done = baseline_attention_open(&run.attention, task->session, &run.shape, failure) &&
                measure_attention(out, &run, failure) && measure_step(out, &run, failure);
    close_run(&run);
    return done;
}
