// SPDX-License-Identifier: Apache-2.0
// MLA's three forms. Their layer steps are the same public operations but for what happens between query and heads.
#include "baseline_latent.h"
#include "bench_data.h"
#include "compare.h"
#include "compare_data.h"
#include "compare_refusal.h"
#include <math.h>
#include <stdlib.h>

#define PAGE_TOKENS 64 // of clmla's cache; the other two forms read one long page

typedef struct latent_run {
    const latent_data *data;
    compare_attention attention;
    clmla_rows rows;
    cl_mem page_table, slots; // slots [tokens]
    cl_mem query;             // [H][N + R]
    cl_mem absorbed;          // [H][L + R]
    cl_mem attended;          // [H][L]
    cl_mem heads;             // [H][V]
    clmla_plan *plan;         // clmla's
    baseline_latent baseline; // the others'
    // The layer step.
    clmla_matrix q_a, q_b, kv_a, kv_b, o; // without q_lora q_b is q_proj
    cl_mem x, q_latent, q_norm, latent, kv_norm, table, y;
} latent_run;

static const session *session_of(const latent_run *run) {
    return run->data->task->session;
}

static const compare_shape *shape_of(const latent_run *run) {
    return &run->data->task->shape;
}

static bool library(clmla_status status, failure *failure) {
    return status == CLMLA_OK || failure_library(failure);
}

// --- rows
// --------------------------------------------------------------------------------------------------------

// Token j's slot, through the page table if there is one.
static bool make_slots(latent_run *run, const int32_t *pages, failure *failure) {
    uint32_t tokens = run->data->task->tokens;
    int64_t *slots = malloc(tokens * sizeof *slots);
    if (!slots) return failure_memory(failure);
    for (uint32_t j = 0; j < tokens; j++)
        slots[j] = pages ? (int64_t)pages[j / PAGE_TOKENS] * PAGE_TOKENS + j % PAGE_TOKENS : (int64_t)j;
    bool made = session_buffer(&run->slots, session_of(run), tokens * sizeof *slots, slots, failure);
    free(slots);
    return made;
}

// Pages in no order, as a cache that has been in use gives them.
static bool make_paged_slots(latent_run *run, uint32_t page_count, failure *failure) {
    int32_t *pages = malloc(page_count * sizeof *pages);
    if (!pages) return failure_memory(failure);
    bool made = bench_page_table(&run->page_table, session_of(run), page_count, failure);
    if (made) {
        cl_int code = clEnqueueReadBuffer(session_of(run)->queue, run->page_table, CL_TRUE, 0,
                                          page_count * sizeof *pages, pages, 0, NULL, NULL);
        made = code == CL_SUCCESS || failure_opencl(failure, "clEnqueueReadBuffer", code);
    }
    made = made && make_slots(run, pages, failure);
    free(pages);
    return made;
}

static bool make_layout(clmla_row_layout *out, const latent_run *run, clmla_row_format format, failure *failure) {
    const compare_shape *s = shape_of(run);
    return library(clmla_row_layout_make(out, format, CLMLA_ROPE_INTERLEAVED, s->latent_dim, s->rope_dim), failure);
}

static bool make_rows(latent_run *run, clmla_row_format format, failure *failure) {
    uint32_t tokens = run->data->task->tokens;
    bool paged = run->attention == COMPARE_MLA;
    uint32_t page = paged ? PAGE_TOKENS : tokens, count = (tokens + page - 1) / page;
    clmla_row_layout layout;
    cl_mem memory;
    if (!make_layout(&layout, run, format, failure) ||
        !(paged ? make_paged_slots(run, count, failure) : make_slots(run, NULL, failure)) ||
        !session_buffer(&memory, session_of(run), clmla_row_layout_page_bytes(&layout, page) * count, NULL, failure))
        return false;
    clmla_status status = clmla_rows_from_tensor(&run->rows, &layout, (clmla_buffer){memory, 0}, page, count);
    run->rows.latent.memory = memory;
    return library(status, failure) && compare_append(run->data, &run->rows, run->slots, failure);
}

// --- attention alone
// ---------------------------------------------------------------------------------------------

static bool make_buffers(latent_run *run, failure *failure) {
    const compare_shape *s = shape_of(run);
    uint64_t heads = sizeof(float) * (uint64_t)s->heads;
    return session_buffer(&run->query, session_of(run), heads * (s->nope_dim + s->rope_dim), run->data->query,
                          failure) &&
           session_buffer(&run->absorbed, session_of(run), heads * compare_row_width(s), run->data->absorbed,
                          failure) &&
           session_buffer(&run->attended, session_of(run), heads * s->latent_dim, NULL, failure) &&
           session_buffer(&run->heads, session_of(run), heads * s->value_dim, NULL, failure);
}

static bool open_plan(latent_run *run, failure *failure) {
    const clmla_plan_params params = {
        .head_count = shape_of(run)->heads, .layout = run->rows.layout, .compute = run->data->task->compute};
    const clmla_lengths lengths = {.sequence_count = 1, .kv_tokens = &run->data->task->tokens};
    return library(clmla_plan_create(&run->plan, session_of(run)->context, &params), failure) &&
           library(clmla_plan_update_lengths(run->plan, &lengths, session_of(run)->queue, 0, NULL, NULL), failure);
}

// kv_b widened to f32, as the naive form packs it.
static bool widen_weights(cl_mem *out, const latent_run *run, failure *failure) {
    const compare_shape *s = shape_of(run);
    uint64_t count = (uint64_t)s->heads * (s->nope_dim + s->value_dim) * s->latent_dim;
    float *values = malloc(count * sizeof *values);
    if (!values) return failure_memory(failure);
    for (uint64_t i = 0; i < count; i++) values[i] = run->data->kv_b.values[i % COMPARE_BLOCK];
    bool made = session_buffer(out, session_of(run), count * sizeof *values, values, failure);
    free(values);
    return made;
}

static bool open_baseline(latent_run *run, failure *failure) {
    const compare_shape *s = shape_of(run);
    const latent_shape shape = {.head_count = s->heads,
                                .latent_dim = s->latent_dim,
                                .rope_dim = s->rope_dim,
                                .nope_dim = s->nope_dim,
                                .value_dim = s->value_dim,
                                .type = CLMLA_TYPE_F16,
                                .softmax_scale = run->data->softmax_scale};
    cl_mem weights = NULL;
    if (run->attention == COMPARE_MLA_NAIVE && !widen_weights(&weights, run, failure)) return false;
    bool opened = latent_open(&run->baseline, session_of(run), &shape, weights, failure);
    bench_release(&weights);
    return opened;
}

static bool attend_fused(latent_run *run, failure *failure) {
    const clmla_attend_params params = {.query = {run->absorbed, 0},
                                        .rows = run->rows,
                                        .page_table = {run->page_table, 0},
                                        .page_table_stride = run->rows.page_count,
                                        .softmax_scale = run->data->softmax_scale,
                                        .output = {run->attended, 0}};
    return library(clmla_attend(run->plan, &params, session_of(run)->queue, 0, NULL, NULL), failure);
}

static bool attend(void *payload, failure *failure) {
    latent_run *run = payload;
    uint32_t tokens = run->data->task->tokens;
    switch (run->attention) {
    case COMPARE_MLA_NAIVE:
        return latent_attend_rebuilt(&run->baseline, run->rows.latent.memory, run->query, tokens, run->heads, failure);
    case COMPARE_MLA_UNFUSED:
        return latent_attend_unfused(&run->baseline, run->rows.latent.memory, run->absorbed, tokens, run->attended,
                                     failure);
    default:
        return attend_fused(run, failure);
    }
}

static bool judge(double *cos_diff, const latent_run *run, failure *failure) {
    const compare_shape *s = shape_of(run);
    bool naive = run->attention == COMPARE_MLA_NAIVE;
    size_t count = (size_t)s->heads * (naive ? s->value_dim : s->latent_dim);
    float *found = malloc(count * sizeof *found);
    if (!found) return failure_memory(failure);
    cl_int code = clEnqueueReadBuffer(session_of(run)->queue, naive ? run->heads : run->attended, CL_TRUE, 0,
                                      count * sizeof *found, found, 0, NULL, NULL);
    if (code == CL_SUCCESS) *cos_diff = compare_cos_diff(found, naive ? run->data->heads : run->data->attended, count);
    free(found);
    return code == CL_SUCCESS || failure_opencl(failure, "clEnqueueReadBuffer", code);
}

// --- the layer step
// ----------------------------------------------------------------------------------------------

static bool make_table(latent_run *run, failure *failure) {
    float table[CLMLA_MAX_ROPE_DIM] = {0};
    uint32_t dim = shape_of(run)->rope_dim;
    for (uint32_t i = 0; i < dim / 2; i++) {
        double angle = run->data->task->tokens * pow(10000.0, -2.0 * i / dim);
        table[2 * i] = (float)cos(angle);
        table[2 * i + 1] = (float)sin(angle);
    }
    return session_buffer(&run->table, session_of(run), sizeof table, table, failure);
}

static bool make_kv_b(latent_run *run, failure *failure) {
    const compare_shape *s = shape_of(run);
    uint32_t rows = s->heads * (s->nope_dim + s->value_dim);
    uint64_t count = (uint64_t)rows * s->latent_dim;
    run->kv_b =
        (clmla_matrix){.type = CLMLA_TYPE_F16, .rows = rows, .columns = s->latent_dim, .row_stride = s->latent_dim};
    return session_buffer(&run->kv_b.values.memory, session_of(run), count * 2, NULL, failure) &&
           compare_block_write(&run->data->kv_b, session_of(run), run->kv_b.values.memory, count, failure);
}

static bool make_layer(latent_run *run, failure *failure) {
    const compare_shape *s = shape_of(run);
    const session *session = session_of(run);
    uint32_t queries = s->heads * (s->nope_dim + s->rope_dim), before = s->q_lora ? s->q_lora : s->hidden;
    return (!s->q_lora || (bench_matrix(&run->q_a, session, CLMLA_TYPE_F16, s->q_lora, s->hidden, failure) &&
                           bench_values(&run->q_norm, session, CLMLA_TYPE_F32, s->q_lora, failure) &&
                           session_buffer(&run->q_latent, session, sizeof(float) * s->q_lora, NULL, failure))) &&
           bench_matrix(&run->q_b, session, CLMLA_TYPE_F16, queries, before, failure) &&
           bench_matrix(&run->kv_a, session, CLMLA_TYPE_F16, compare_row_width(s), s->hidden, failure) &&
           bench_matrix(&run->o, session, CLMLA_TYPE_F16, s->hidden, s->heads * s->value_dim, failure) &&
           bench_values(&run->x, session, CLMLA_TYPE_F32, s->hidden, failure) &&
           bench_values(&run->kv_norm, session, CLMLA_TYPE_F32, s->latent_dim, failure) &&
           session_buffer(&run->latent, session, sizeof(float) * compare_row_width(s), NULL, failure) &&
           session_buffer(&run->y, session, sizeof(float) * s->hidden, NULL, failure) && make_kv_b(run, failure) &&
           make_table(run, failure);
}

static bool norm(const latent_run *run, cl_mem values, cl_mem weight, uint32_t width, failure *failure) {
    const clmla_rms_norm_params params = {.row_count = 1,
                                          .width = width,
                                          .input = {values, 0},
                                          .input_stride = width,
                                          .weight = {weight, 0},
                                          .epsilon = 1e-6f,
                                          .output = {values, 0},
                                          .output_stride = width};
    return library(clmla_rms_norm(session_of(run)->context, &params, session_of(run)->queue, 0, NULL, NULL), failure);
}

static bool make_query(latent_run *run, failure *failure) {
    if (!shape_of(run)->q_lora) return compare_project(session_of(run), &run->q_b, run->x, run->query, failure);
    return compare_project(session_of(run), &run->q_a, run->x, run->q_latent, failure) &&
           norm(run, run->q_latent, run->q_norm, shape_of(run)->q_lora, failure) &&
           compare_project(session_of(run), &run->q_b, run->q_latent, run->query, failure);
}

static bool append(latent_run *run, failure *failure) {
    const compare_shape *s = shape_of(run);
    const clmla_append_params params = {
        .token_count = 1,
        .latent = {run->latent, 0},
        .latent_stride = compare_row_width(s),
        .rope = {s->rope_dim ? run->latent : NULL, s->latent_dim * sizeof(float)},
        .rope_stride = compare_row_width(s),
        .rope_table = {s->rope_dim ? run->table : NULL, 0},
        .rope_table_rows = 1,
        .input_order = CLMLA_ROPE_INTERLEAVED,
        .places = {.slots = {run->slots, (uint64_t)(run->data->task->tokens - 1) * sizeof(int64_t)}},
        .rows = run->rows};
    return compare_project(session_of(run), &run->kv_a, run->x, run->latent, failure) &&
           norm(run, run->latent, run->kv_norm, s->latent_dim, failure) &&
           library(clmla_append(session_of(run)->context, &params, session_of(run)->queue, 0, NULL, NULL), failure);
}

// Absorbed forms get the rotated values behind the absorbed ones, the naive form in place.
static bool rotate(latent_run *run, failure *failure) {
    const compare_shape *s = shape_of(run);
    if (s->rope_dim == 0) return true;
    bool naive = run->attention == COMPARE_MLA_NAIVE;
    uint32_t from = s->nope_dim + s->rope_dim, to = naive ? from : compare_row_width(s);
    const clmla_rope_params params = {
        .token_count = 1,
        .head_count = s->heads,
        .rope_dim = s->rope_dim,
        .input = {run->query, s->nope_dim * sizeof(float)},
        .input_token_stride = (uint64_t)s->heads * from,
        .input_head_stride = from,
        .output = {naive ? run->query : run->absorbed, (naive ? s->nope_dim : s->latent_dim) * sizeof(float)},
        .output_token_stride = (uint64_t)s->heads * to,
        .output_head_stride = to,
        .table = {run->table, 0},
        .table_rows = 1};
    return library(clmla_rope(session_of(run)->context, &params, session_of(run)->queue, 0, NULL, NULL), failure);
}

static bool absorb(latent_run *run, failure *failure) {
    const compare_shape *s = shape_of(run);
    uint32_t from = s->nope_dim + s->rope_dim, to = compare_row_width(s);
    const clmla_absorb_params params = {.token_count = 1,
                                        .head_count = s->heads,
                                        .nope_dim = s->nope_dim,
                                        .value_dim = s->value_dim,
                                        .kv_b = run->kv_b,
                                        .query = {run->query, 0},
                                        .query_token_stride = (uint64_t)s->heads * from,
                                        .query_head_stride = from,
                                        .output = {run->absorbed, 0},
                                        .output_token_stride = (uint64_t)s->heads * to,
                                        .output_head_stride = to};
    return library(clmla_absorb(session_of(run)->context, &params, session_of(run)->queue, 0, NULL, NULL), failure);
}

static bool output(latent_run *run, failure *failure) {
    const compare_shape *s = shape_of(run);
    if (run->attention == COMPARE_MLA_NAIVE)
        return compare_project(session_of(run), &run->o, run->heads, run->y, failure);
    const clmla_output_params params = {.token_count = 1,
                                        .head_count = s->heads,
                                        .nope_dim = s->nope_dim,
                                        .value_dim = s->value_dim,
                                        .kv_b = run->kv_b,
                                        .o_proj = run->o,
                                        .attended = {run->attended, 0},
                                        .heads = {run->heads, 0},
                                        .output = {run->y, 0},
                                        .output_stride = s->hidden};
    return library(clmla_output(session_of(run)->context, &params, session_of(run)->queue, 0, NULL, NULL), failure);
}

static bool step(void *payload, failure *failure) {
    latent_run *run = payload;
    return make_query(run, failure) && append(run, failure) && rotate(run, failure) &&
           (run->attention == COMPARE_MLA_NAIVE || absorb(run, failure)) && attend(run, failure) &&
           output(run, failure);
}

// --- both
// --------------------------------------------------------------------------------------------------------

static void close_run(latent_run *run) {
    cl_mem *buffers[] = {&run->rows.latent.memory,
                         &run->page_table,
                         &run->slots,
                         &run->query,
                         &run->absorbed,
                         &run->attended,
                         &run->heads,
                         &run->x,
                         &run->q_latent,
                         &run->q_norm,
                         &run->latent,
                         &run->kv_norm,
                         &run->table,
                         &run->y};
    clmla_matrix *matrices[] = {&run->q_a, &run->q_b, &run->kv_a, &run->kv_b, &run->o};
    for (size_t i = 0; i < sizeof buffers / sizeof buffers[0]; i++) bench_release(buffers[i]);
    for (size_t i = 0; i < sizeof matrices / sizeof matrices[0]; i++) bench_matrix_release(matrices[i]);
    clmla_plan_destroy(&run->plan);
    latent_close(&run->baseline);
}

static bool time_of(double *seconds, latent_run *run, bench_run what, failure *failure) {
    // Rebuilding takes seconds: two runs of it are enough.
    const bench_effort twice = {.repeat = 2};
    const compare_task *task = run->data->task;
    bench_times times;
    if (!bench_time(&times, task->session, run->attention == COMPARE_MLA_NAIVE ? &twice : &task->effort, what, run,
                    failure))
        return false;
    *seconds = times.minimum;
    return true;
}

// Rows, for the naive form kv_b in f32, and for the unfused one scores.
static bool can_run(compare_row *out, const latent_run *run, const clmla_row_layout *layout) {
    const clmla_device_facts *facts = clmla_context_facts(session_of(run)->context);
    const compare_shape *s = shape_of(run);
    uint64_t tokens = run->data->task->tokens, heads = s->heads;
    const uint64_t buffers[] = {
        clmla_row_layout_page_bytes(layout, PAGE_TOKENS) * ((tokens + PAGE_TOKENS - 1) / PAGE_TOKENS),
        run->attention == COMPARE_MLA_NAIVE     ? sizeof(float) * heads * (s->nope_dim + s->value_dim) * s->latent_dim
        : run->attention == COMPARE_MLA_UNFUSED ? sizeof(float) * heads * tokens
                                                : 0};
    return compare_fits(out, facts, buffers, 2) && (run->attention == COMPARE_MLA || compare_has_latent(out, facts, s));
}

bool compare_latent(compare_row *out, const latent_data *data, failure *failure) {
    latent_run run = {.data = data, .attention = out->attention};
    bool alone = data->task->attention_alone;
    clmla_row_layout layout;
    if (!make_layout(&layout, &run, out->format, failure)) return false;
    out->bytes_per_token = bench_rows_bytes(&layout, 1.0);
    if (!can_run(out, &run, &layout)) return true;
    bool done = make_rows(&run, out->format, failure) && make_buffers(&run, failure) &&
                (run.attention == COMPARE_MLA ? open_plan(&run, failure) : open_baseline(&run, failure)) &&
                time_of(&out->attention_seconds, &run, attend, failure);
    done = done && (alone || (judge(&out->cos_diff, &run, failure) && make_layer(&run, failure) &&
                              time_of(&out->step_seconds, &run, step, failure)));
    close_run(&run);
    return done;
}
