// SPDX-License-Identifier: Apache-2.0
// The operations around attention, each alone: project, absorb, output, append, gather, attend_heads, merge.
#include "bench.h"
#include "bench_data.h"
#include "bench_model.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define MERGED_STATES 4

// An operation's buffers and parameters. Its make function fills it and states what a run takes.
typedef struct part {
    const session *session;
    const bench_case *bench;
    clmla_matrix matrices[2];
    clmla_rows rows;
    cl_mem buffers[4];
    union {
        clmla_project_params project;
        clmla_absorb_params absorb;
        clmla_output_params output;
        clmla_append_params append;
        clmla_gather_params gather;
        clmla_attend_heads_params attend_heads;
        clmla_merge_params merge;
    } params;
    double flops, bytes;
} part;

typedef struct part_kind {
    clmla_operation operation;
    bool (*make)(part *part, failure *failure);
    bench_run run;
} part_kind;

static uint32_t new_tokens(const bench_case *b) {
    return b->batch * b->query_tokens;
}

// --- products
// ----------------------------------------------------------------------------------------------------------

static bool values(part *p, int index, uint64_t count, failure *failure) {
    return bench_values(&p->buffers[index], p->session, CLMLA_TYPE_F32, count, failure);
}

static bool matrix(part *p, int index, uint32_t rows, uint32_t columns, failure *failure) {
    p->bytes += (double)rows * columns * (double)clmla_type_bytes(p->bench->type);
    return bench_matrix(&p->matrices[index], p->session, p->bench->type, rows, columns, failure);
}

// The product that makes the queries: q_proj, or q_b_proj where the model has a q-LoRA.
static bool make_project(part *p, failure *failure) {
    const bench_case *b = p->bench;
    uint32_t hidden = bench_hidden_size(b->heads), lora = bench_q_lora_rank(b->heads), tokens = new_tokens(b);
    uint32_t rows = b->heads * (BENCH_NOPE_DIM + b->rope_dim), columns = lora ? lora : hidden;
    if (!matrix(p, 0, rows, columns, failure) || !values(p, 0, (uint64_t)tokens * columns, failure) ||
        !values(p, 1, (uint64_t)tokens * rows, failure))
        return false;
    p->flops = 2.0 * tokens * rows * columns;
    p->params.project = (clmla_project_params){.matrix = p->matrices[0],
                                               .row_count = tokens,
                                               .input = {p->buffers[0], 0},
                                               .input_stride = columns,
                                               .output = {p->buffers[1], 0},
                                               .output_stride = rows,
                                               .variant = b->variant};
    return true;
}

static bool run_project(void *payload, failure *failure) {
    part *p = payload;
    return clmla_project(p->session->context, &p->params.project, p->session->queue, 0, NULL, NULL) == CLMLA_OK ||
           failure_library(failure);
}

static bool make_kv_b(part *p, failure *failure) {
    const bench_case *b = p->bench;
    return matrix(p, 0, b->heads * (BENCH_NOPE_DIM + BENCH_VALUE_DIM), b->latent_dim, failure);
}

// Half of kv_b_proj is read.
static bool make_absorb(part *p, failure *failure) {
    const bench_case *b = p->bench;
    uint64_t rows = (uint64_t)new_tokens(b) * b->heads, width = BENCH_NOPE_DIM + b->rope_dim;
    if (!make_kv_b(p, failure) || !values(p, 0, rows * width, failure) || !values(p, 1, rows * b->latent_dim, failure))
        return false;
    p->bytes *= (double)BENCH_NOPE_DIM / (BENCH_NOPE_DIM + BENCH_VALUE_DIM);
    p->flops = 2.0 * (double)rows * BENCH_NOPE_DIM * b->latent_dim;
    p->params.absorb = (clmla_absorb_params){.token_count = new_tokens(b),
                                             .head_count = b->heads,
                                             .nope_dim = BENCH_NOPE_DIM,
                                             .value_dim = BENCH_VALUE_DIM,
                                             .kv_b = p->matrices[0],
                                             .query = {p->buffers[0], 0},
                                             .query_token_stride = b->heads * width,
                                             .query_head_stride = width,
                                             .output = {p->buffers[1], 0},
                                             .output_token_stride = (uint64_t)b->heads * b->latent_dim,
                                             .output_head_stride = b->latent_dim,
                                             .variant = b->variant};
    return true;
}

static bool run_absorb(void *payload, failure *failure) {
    part *p = payload;
    return clmla_absorb(p->session->context, &p->params.absorb, p->session->queue, 0, NULL, NULL) == CLMLA_OK ||
           failure_library(failure);
}

// W_UV, half of kv_b_proj, and o_proj.
static bool make_output(part *p, failure *failure) {
    const bench_case *b = p->bench;
    uint32_t hidden = bench_hidden_size(b->heads), tokens = new_tokens(b), width = b->heads * BENCH_VALUE_DIM;
    if (!make_kv_b(p, failure)) return false;
    p->bytes *= (double)BENCH_VALUE_DIM / (BENCH_NOPE_DIM + BENCH_VALUE_DIM);
    if (!matrix(p, 1, hidden, width, failure) || !values(p, 0, (uint64_t)tokens * b->heads * b->latent_dim, failure) ||
        !values(p, 1, (uint64_t)tokens * width, failure) || !values(p, 2, (uint64_t)tokens * hidden, failure))
        return false;
    p->flops = 2.0 * tokens * width * ((double)b->latent_dim + hidden);
    p->params.output = (clmla_output_params){.token_count = tokens,
                                             .head_count = b->heads,
                                             .nope_dim = BENCH_NOPE_DIM,
                                             .value_dim = BENCH_VALUE_DIM,
                                             .kv_b = p->matrices[0],
                                             .o_proj = p->matrices[1],
                                             .attended = {p->buffers[0], 0},
                                             .heads = {p->buffers[1], 0},
                                             .output = {p->buffers[2], 0},
                                             .output_stride = hidden,
                                             .variant = b->variant};
    return true;
}

static bool run_output(void *payload, failure *failure) {
    part *p = payload;
    return clmla_output(p->session->context, &p->params.output, p->session->queue, 0, NULL, NULL) == CLMLA_OK ||
           failure_library(failure);
}

// --- rows
// --------------------------------------------------------------------------------------------------------------

// Rows for all tokens of the batch.
static bool make_rows(part *p, failure *failure) {
    const bench_case *b = p->bench;
    clmla_row_layout layout;
    uint32_t page = b->page ? b->page : b->tokens;
    uint64_t pages = ((uint64_t)b->tokens + page - 1) / page * b->batch;
    if (clmla_row_layout_make(&layout, b->rows, CLMLA_ROPE_INTERLEAVED, b->latent_dim, b->rope_dim) != CLMLA_OK)
        return failure_library(failure);
    return bench_rows(&p->rows, p->session, &layout, page, pages, failure);
}

// New tokens' rows, each in another page as long as there are pages, rotated on the way.
static bool make_append(part *p, failure *failure) {
    const bench_case *b = p->bench;
    uint32_t tokens = new_tokens(b);
    if (!make_rows(p, failure) || !values(p, 0, (uint64_t)tokens * b->latent_dim, failure) ||
        (b->rope_dim && !values(p, 1, (uint64_t)tokens * b->rope_dim, failure)) ||
        !bench_slots_apart(&p->buffers[2], p->session, &p->rows, tokens, failure) ||
        (b->rope_dim && !bench_rope_table(&p->buffers[3], p->session, b, tokens, failure)))
        return false;
    p->bytes = bench_rows_bytes(&p->rows.layout, tokens);
    p->params.append = (clmla_append_params){.token_count = tokens,
                                             .latent = {p->buffers[0], 0},
                                             .latent_stride = b->latent_dim,
                                             .rope = {p->buffers[1], 0},
                                             .rope_stride = b->rope_dim,
                                             .rope_table = {p->buffers[3], 0},
                                             .rope_table_rows = b->rope_dim ? tokens : 0,
                                             .places = {.slots = {p->buffers[2], 0}},
                                             .rows = p->rows,
                                             .variant = b->variant};
    return true;
}

static bool run_append(void *payload, failure *failure) {
    part *p = payload;
    return clmla_append(p->session->context, &p->params.append, p->session->queue, 0, NULL, NULL) == CLMLA_OK ||
           failure_library(failure);
}

// All rows, page after page in no order.
static bool make_gather(part *p, failure *failure) {
    const bench_case *b = p->bench;
    uint32_t width = b->latent_dim + b->rope_dim;
    uint64_t tokens = (uint64_t)b->tokens * b->batch;
    if (tokens > INT32_MAX) return failure_set(failure, "%llu rows are too many", (unsigned long long)tokens);
    if (!make_rows(p, failure) || !values(p, 0, tokens * width, failure) ||
        !bench_slots_by_page(&p->buffers[1], p->session, &p->rows, tokens, failure))
        return false;
    p->bytes = bench_rows_bytes(&p->rows.layout, (double)tokens);
    p->params.gather = (clmla_gather_params){.token_count = (uint32_t)tokens,
                                             .places = {.slots = {p->buffers[1], 0}},
                                             .rows = p->rows,
                                             .output = {p->buffers[0], 0},
                                             .output_stride = width,
                                             .variant = b->variant};
    return true;
}

static bool run_gather(void *payload, failure *failure) {
    part *p = payload;
    return clmla_gather(p->session->context, &p->params.gather, p->session->queue, 0, NULL, NULL) == CLMLA_OK ||
           failure_library(failure);
}

// --- keys and values of all heads
// --------------------------------------------------------------------------------------

// A prompt's own attention: every token sees those before it. Keys and values lie as kv_b_proj gives them.
static bool make_attend_heads(part *p, failure *failure) {
    const bench_case *b = p->bench;
    uint64_t width = BENCH_NOPE_DIM + b->rope_dim, pair = BENCH_NOPE_DIM + BENCH_VALUE_DIM,
             rows = b->heads * (uint64_t)b->tokens;
    double pairs = 0.5 * b->tokens * (b->tokens + 1.0) * b->heads * b->batch;
    if (!values(p, 0, rows * width, failure) || !values(p, 1, rows * pair, failure) ||
        (b->rope_dim && !values(p, 2, (uint64_t)b->tokens * b->rope_dim, failure)) ||
        !values(p, 3, rows * BENCH_VALUE_DIM, failure))
        return false;
    p->flops = 2.0 * pairs * (double)(width + BENCH_VALUE_DIM);
    p->bytes = sizeof(float) * (double)b->batch * (double)(rows * pair + (uint64_t)b->tokens * b->rope_dim);
    p->params.attend_heads = (clmla_attend_heads_params){.token_count = b->tokens,
                                                         .key_count = b->tokens,
                                                         .head_count = b->heads,
                                                         .nope_dim = BENCH_NOPE_DIM,
                                                         .rope_dim = b->rope_dim,
                                                         .value_dim = BENCH_VALUE_DIM,
                                                         .query = {p->buffers[0], 0},
                                                         .query_token_stride = b->heads * width,
                                                         .query_head_stride = width,
                                                         .key = {p->buffers[1], 0},
                                                         .key_token_stride = b->heads * pair,
                                                         .key_head_stride = pair,
                                                         .key_rope = {p->buffers[2], 0},
                                                         .key_rope_stride = b->rope_dim,
                                                         .value = {p->buffers[1], BENCH_NOPE_DIM * sizeof(float)},
                                                         .value_token_stride = b->heads * pair,
                                                         .value_head_stride = pair,
                                                         .softmax_scale = 1.0f / sqrtf((float)width),
                                                         .output = {p->buffers[3], 0},
                                                         .output_token_stride = (uint64_t)b->heads * BENCH_VALUE_DIM,
                                                         .output_head_stride = BENCH_VALUE_DIM,
                                                         .variant = b->variant};
    return true;
}

// One call a sequence.
static bool run_attend_heads(void *payload, failure *failure) {
    part *p = payload;
    for (uint32_t s = 0; s < p->bench->batch; s++)
        if (clmla_attend_heads(p->session->context, &p->params.attend_heads, p->session->queue, 0, NULL, NULL) !=
            CLMLA_OK)
            return failure_library(failure);
    return true;
}

// --- states
// ------------------------------------------------------------------------------------------------------------

static bool make_merge(part *p, failure *failure) {
    const bench_case *b = p->bench;
    uint64_t rows = (uint64_t)new_tokens(b) * b->heads, element = clmla_type_bytes(b->type);
    if (!bench_values(&p->buffers[0], p->session, b->type, MERGED_STATES * rows * b->latent_dim, failure) ||
        !values(p, 1, MERGED_STATES * rows, failure) ||
        !session_buffer(&p->buffers[2], p->session, rows * b->latent_dim * element, NULL, failure))
        return false;
    p->flops = 2.0 * MERGED_STATES * (double)rows * b->latent_dim;
    p->bytes = MERGED_STATES * (double)rows * ((double)b->latent_dim * (double)element + sizeof(float));
    p->params.merge = (clmla_merge_params){.state_count = MERGED_STATES,
                                           .token_count = new_tokens(b),
                                           .head_count = b->heads,
                                           .width = b->latent_dim,
                                           .type = b->type,
                                           .states = {p->buffers[0], 0},
                                           .lse = {p->buffers[1], 0},
                                           .output = {p->buffers[2], 0},
                                           .variant = b->variant};
    return true;
}

static bool run_merge(void *payload, failure *failure) {
    part *p = payload;
    return clmla_merge(p->session->context, &p->params.merge, p->session->queue, 0, NULL, NULL) == CLMLA_OK ||
           failure_library(failure);
}

// --- measuring
// ---------------------------------------------------------------------------------------------------------

static bool name_variant(bench_result *out, const part *p, clmla_operation operation, failure *failure) {
    const bench_case *b = p->bench;
    clmla_variant variants[16];
    size_t count = 0;
    clmla_shape shape = {.weights = b->type,
                         .format = b->rows,
                         .latent_dim = b->latent_dim,
                         .rope_dim = b->rope_dim,
                         .head_count = b->heads,
                         .row_count = new_tokens(b)};
    if (operation == CLMLA_OP_ATTEND_HEADS) {
        shape.latent_dim = BENCH_NOPE_DIM;
        shape.value_dim = BENCH_VALUE_DIM;
    }
    snprintf(out->variant, sizeof out->variant, "%s", b->variant ? b->variant : "");
    if (b->variant) return true;
    if (clmla_variant_list(variants, 16, &count, clmla_context_facts(p->session->context), operation, &shape) !=
        CLMLA_OK)
        return failure_library(failure);
    for (size_t i = 0; i < count && i < 16; i++)
        if (variants[i].chosen) snprintf(out->variant, sizeof out->variant, "%s", variants[i].name);
    return true;
}

static void release(part *p) {
    for (int i = 0; i < 2; i++) bench_matrix_release(&p->matrices[i]);
    for (int i = 0; i < 4; i++) bench_release(&p->buffers[i]);
    bench_release(&p->rows.latent.memory);
}

bool bench_part(bench_result *out, const session *session, const bench_case *bench, const bench_effort *effort,
                failure *failure) {
    static const part_kind kinds[] = {{CLMLA_OP_PROJECT, make_project, run_project},
                                      {CLMLA_OP_ABSORB, make_absorb, run_absorb},
                                      {CLMLA_OP_OUTPUT, make_output, run_output},
                                      {CLMLA_OP_APPEND, make_append, run_append},
                                      {CLMLA_OP_GATHER, make_gather, run_gather},
                                      {CLMLA_OP_MERGE, make_merge, run_merge},
                                      {CLMLA_OP_ATTEND_HEADS, make_attend_heads, run_attend_heads}};
    const part_kind *kind = kinds;
    while (kind->operation != bench->operation->operation) kind++;
    part p = {.session = session, .bench = bench};
    bool done = kind->make(&p, failure) && bench_time(&out->times, session, effort, kind->run, &p, failure) &&
                name_variant(out, &p, kind->operation, failure);
    out->flops = p.flops;
    out->bytes = p.bytes;
    release(&p);
    return done;
}
