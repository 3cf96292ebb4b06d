// SPDX-License-Identifier: Apache-2.0
// Attention over cached rows: the plan is updated once, as for all layers of a model's step, and clmla_attend is timed.
#include "bench.h"
#include "bench_data.h"
#include "bench_model.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct attend {
    const session *session;
    const bench_case *bench;
    bool mixed; // lengths from tokens / batch up to tokens
    clmla_plan *plan;
    clmla_rows rows;
    cl_mem query, page_table, output, lse;
    clmla_attend_params params;
} attend;

static uint32_t length(const attend *a, uint32_t sequence) {
    const bench_case *b = a->bench;
    if (!a->mixed) return b->tokens;
    uint32_t tokens = (uint32_t)((uint64_t)b->tokens * (sequence + 1) / b->batch);
    return tokens > b->query_tokens ? tokens : b->query_tokens;
}

static double all_tokens(const attend *a) {
    double sum = 0.0;
    for (uint32_t s = 0; s < a->bench->batch; s++) sum += length(a, s);
    return sum;
}

static bool update_plan(attend *a, failure *failure) {
    const bench_case *b = a->bench;
    uint32_t *lengths = malloc(2 * (size_t)b->batch * sizeof *lengths);
    if (!lengths) return failure_memory(failure);
    for (uint32_t s = 0; s < b->batch; s++) {
        lengths[s] = length(a, s);
        lengths[b->batch + s] = b->query_tokens;
    }
    clmla_lengths step = {.sequence_count = b->batch, .kv_tokens = lengths, .query_tokens = lengths + b->batch};
    clmla_status status = clmla_plan_update_lengths(a->plan, &step, a->session->queue, 0, NULL, NULL);
    free(lengths);
    return status == CLMLA_OK || failure_library(failure);
}

static bool create_plan(clmla_plan **out, clmla_row_layout *layout, const session *session, const bench_case *bench,
                        failure *failure) {
    if (clmla_row_layout_make(layout, bench->rows, CLMLA_ROPE_INTERLEAVED, bench->latent_dim, bench->rope_dim) !=
        CLMLA_OK)
        return failure_library(failure);
    clmla_plan_params params = {.head_count = bench->heads,
                                .layout = *layout,
                                .query_tokens = bench->query_tokens,
                                .compute = bench->compute,
                                .attend_variant = bench->variant};
    return clmla_plan_create(out, session->context, &params) == CLMLA_OK || failure_library(failure);
}

bool bench_attend_variant(char *out, size_t size, const session *session, const bench_case *bench, failure *failure) {
    clmla_plan *plan = NULL;
    clmla_row_layout layout;
    if (!create_plan(&plan, &layout, session, bench, failure)) return false;
    snprintf(out, size, "%s", clmla_plan_facts_get(plan).attend_variant);
    clmla_plan_destroy(&plan);
    return true;
}

static bool make_rows(attend *a, const clmla_row_layout *layout, failure *failure) {
    const bench_case *b = a->bench;
    if (b->page == 0) return bench_rows(&a->rows, a->session, layout, b->tokens, b->batch, failure);
    uint64_t pages = ((uint64_t)b->tokens + b->page - 1) / b->page;
    a->params.page_table_stride = pages;
    return bench_rows(&a->rows, a->session, layout, b->page, pages * b->batch, failure) &&
           bench_page_table(&a->page_table, a->session, pages * b->batch, failure);
}

static bool make_buffers(attend *a, failure *failure) {
    const bench_case *b = a->bench;
    uint64_t rows = (uint64_t)b->batch * b->query_tokens * b->heads;
    return bench_values(&a->query, a->session, CLMLA_TYPE_F32, rows * (b->latent_dim + b->rope_dim), failure) &&
           session_buffer(&a->output, a->session, rows * b->latent_dim * sizeof(float), NULL, failure) &&
           session_buffer(&a->lse, a->session, rows * sizeof(float), NULL, failure);
}

static bool open_attend(attend *a, failure *failure) {
    const bench_case *b = a->bench;
    clmla_row_layout layout;
    if (!create_plan(&a->plan, &layout, a->session, b, failure) || !update_plan(a, failure) ||
        !make_rows(a, &layout, failure) || !make_buffers(a, failure))
        return false;
    a->params.query.memory = a->query;
    a->params.rows = a->rows;
    a->params.page_table.memory = a->page_table;
    a->params.softmax_scale = 1.0f / sqrtf((float)(BENCH_NOPE_DIM + b->rope_dim));
    a->params.output.memory = a->output;
    a->params.lse.memory = a->lse;
    return true;
}

static void close_attend(attend *a) {
    clmla_plan_destroy(&a->plan);
    bench_release(&a->rows.latent.memory);
    bench_release(&a->query);
    bench_release(&a->page_table);
    bench_release(&a->output);
    bench_release(&a->lse);
}

static bool run(void *payload, failure *failure) {
    attend *a = payload;
    return clmla_attend(a->plan, &a->params, a->session->queue, 0, NULL, NULL) == CLMLA_OK || failure_library(failure);
}

static void describe(bench_result *out, const attend *a) {
    const bench_case *b = a->bench;
    clmla_plan_facts facts = clmla_plan_facts_get(a->plan);
    double tokens = all_tokens(a);
    snprintf(out->variant, sizeof out->variant, "%s", facts.attend_variant);
    out->parts = facts.part_count;
    out->splits = facts.split_count;
    // Scores take the whole row, sums its latent part. Masked keys of several query tokens are counted, too.
    out->flops = 2.0 * b->heads * b->query_tokens * tokens * (2.0 * b->latent_dim + b->rope_dim);
    out->bytes = bench_rows_bytes(&a->rows.layout, tokens);
}

static bool measure(bench_result *out, attend *a, const bench_effort *effort, failure *failure) {
    bool done = open_attend(a, failure) && bench_time(&out->times, a->session, effort, run, a, failure);
    if (done) describe(out, a);
    close_attend(a);
    return done;
}

bool bench_attend(bench_result *out, const session *session, const bench_case *bench, const bench_effort *effort,
                  failure *failure) {
    attend a = {.session = session, .bench = bench};
    return measure(out, &a, effort, failure);
}

bool bench_attend_mixed(bench_result *out, const session *session, const bench_case *bench, const bench_effort *effort,
                        failure *failure) {
    attend a = {.session = session, .bench = bench, .mixed = true};
    return measure(out, &a, effort, failure);
}
