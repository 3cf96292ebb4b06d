// SPDX-License-Identifier: Apache-2.0
// The step of a whole layer over a cache, enqueued anew each time or recorded once and replayed; and the step of a
// whole prompt. Reserve and plan, which all layers of a model share, are done before; every run writes the same new
// rows.
#include "bench.h"
#include "bench_data.h"
#include "bench_model.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct step {
    const session *session;
    const bench_case *bench;
    clmla_prefill prefill;
    clmla_config config;
    clmla_layer *layer;
    clmla_cache *cache;
    clmla_plan *plan;
    clmla_sequence *sequences; // [batch]
    uint32_t *counts;          // [batch] tokens of each to reserve
    clmla_rows rows;           // the cache's, as a view
    cl_mem input, output;
    clmla_recording *recording; // NULL = enqueued anew
} step;

static uint32_t new_tokens(const bench_case *b) {
    return b->batch * b->query_tokens;
}

// --- weights
// -----------------------------------------------------------------------------------------------------------

static uint64_t largest(const clmla_config *c) {
    uint64_t heads = c->head_count, columns = c->q_lora_rank ? c->q_lora_rank : c->hidden_size;
    uint64_t sizes[] = {
        heads * (c->qk_nope_head_dim + c->qk_rope_head_dim) * columns, (uint64_t)c->q_lora_rank * c->hidden_size,
        (uint64_t)(c->kv_lora_rank + c->qk_rope_head_dim) * c->hidden_size,
        heads * (c->qk_nope_head_dim + c->v_head_dim) * c->kv_lora_rank, heads * c->v_head_dim * c->hidden_size};
    uint64_t most = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) most = sizes[i] > most ? sizes[i] : most;
    return most;
}

// All matrices are the same random values: what they are does not change what a step takes.
static bool load_layer(step *s, failure *failure) {
    uint64_t count = largest(&s->config);
    clmla_type type = s->bench->type;
    void *values = malloc((size_t)(count * clmla_type_bytes(type)));
    if (!values) return failure_memory(failure);
    bench_fill(values, type, count);
    clmla_host_matrix matrix = {.type = type, .values = values};
    clmla_layer_tensors tensors = {.kv_a_proj_with_mqa = matrix,
                                   .kv_b_proj = matrix,
                                   .o_proj = matrix,
                                   .q_a_layernorm_type = type,
                                   .kv_a_layernorm_type = type,
                                   .q_a_layernorm = values,
                                   .kv_a_layernorm = values};
    if (s->config.q_lora_rank)
        tensors.q_a_proj = tensors.q_b_proj = matrix;
    else
        tensors.q_proj = matrix;
    clmla_status status = clmla_layer_create(&s->layer, s->session->context, &s->config, &tensors, 0, NULL);
    free(values);
    return status == CLMLA_OK || failure_library(failure);
}

// --- cache and plan
// ----------------------------------------------------------------------------------------------------

// Lengthens every sequence.
static bool reserve(step *s, uint32_t tokens, clmla_batch *batch, failure *failure) {
    for (uint32_t i = 0; i < s->bench->batch; i++) s->counts[i] = tokens;
    *batch = (clmla_batch){.sequence_count = s->bench->batch, .sequences = s->sequences, .query_tokens = s->counts};
    return clmla_cache_reserve(s->cache, batch) == CLMLA_OK || failure_library(failure);
}

static bool make_cache(step *s, failure *failure) {
    const bench_case *b = s->bench;
    uint32_t page = b->page ? b->page : b->tokens;
    clmla_cache_params params = {.format = b->rows,
                                 .layer_count = 1,
                                 .page_tokens = page,
                                 .page_count = ((uint64_t)b->tokens + page - 1) / page * b->batch};
    if (clmla_cache_create(&s->cache, s->session->context, &s->config, &params) != CLMLA_OK ||
        clmla_cache_rows(&s->rows, s->cache, 0) != CLMLA_OK)
        return failure_library(failure);
    for (uint32_t i = 0; i < b->batch; i++)
        if (clmla_cache_sequence_create(&s->sequences[i], s->cache) != CLMLA_OK) return failure_library(failure);
    return bench_rows_fill(&s->rows, s->session, failure);
}

static bool make_plan(step *s, bool replayed, failure *failure) {
    const bench_case *b = s->bench;
    clmla_batch batch;
    bool rebuilt = s->prefill == CLMLA_PREFILL_RECONSTRUCTED;
    clmla_plan_params params = {.head_count = b->heads,
                                .layout = s->rows.layout,
                                .query_tokens = b->query_tokens,
                                .compute = b->compute,
                                .attend_variant = rebuilt ? NULL : b->variant,
                                .prefill = s->prefill,
                                .attend_heads_variant = rebuilt ? b->variant : NULL,
                                .config = &s->config};
    if (replayed) params.capacity = (clmla_plan_capacity){b->batch, new_tokens(b), b->tokens};
    if (clmla_plan_create(&s->plan, s->session->context, &params) != CLMLA_OK) return failure_library(failure);
    if (b->tokens > b->query_tokens && !reserve(s, b->tokens - b->query_tokens, &batch, failure)) return false;
    if (!reserve(s, b->query_tokens, &batch, failure)) return false;
    if (clmla_plan_update(s->plan, s->cache, &batch, s->session->queue, 0, NULL, NULL) != CLMLA_OK)
        return failure_library(failure);
    cl_int code = clFinish(s->session->queue);
    return code == CL_SUCCESS || failure_opencl(failure, "clFinish", code);
}

// --- running
// -----------------------------------------------------------------------------------------------------------

static bool enqueue(void *payload, failure *failure) {
    step *s = payload;
    return clmla_layer_enqueue(s->layer, s->plan, s->cache, (clmla_buffer){s->input, 0}, (clmla_buffer){s->output, 0},
                               s->session->queue, 0, NULL, NULL) == CLMLA_OK ||
           failure_library(failure);
}

static bool replay(void *payload, failure *failure) {
    step *s = payload;
    return clmla_recording_replay(s->recording, 0, NULL, NULL) == CLMLA_OK || failure_library(failure);
}

static bool record(step *s, failure *failure) {
    if (clmla_recording_begin(&s->recording, s->session->context, s->session->queue) != CLMLA_OK)
        return failure_library(failure);
    return enqueue(s, failure) && (clmla_recording_end(s->recording) == CLMLA_OK || failure_library(failure));
}

static bool open_step(step *s, bool replayed, failure *failure) {
    const bench_case *b = s->bench;
    uint64_t values = (uint64_t)new_tokens(b) * s->config.hidden_size;
    s->sequences = calloc(b->batch, sizeof *s->sequences);
    s->counts = calloc(b->batch, sizeof *s->counts);
    if (!s->sequences || !s->counts) return failure_memory(failure);
    return load_layer(s, failure) && make_cache(s, failure) && make_plan(s, replayed, failure) &&
           bench_values(&s->input, s->session, CLMLA_TYPE_F32, values, failure) &&
           session_buffer(&s->output, s->session, values * sizeof(float), NULL, failure) &&
           (!replayed || record(s, failure));
}

static void close_step(step *s) {
    clFinish(s->session->queue);
    clmla_recording_destroy(&s->recording);
    clmla_plan_destroy(&s->plan);
    clmla_cache_destroy(&s->cache);
    clmla_layer_destroy(&s->layer);
    bench_release(&s->input);
    bench_release(&s->output);
    free(s->sequences);
    free(s->counts);
}

// --- what a step takes
// -----------------------------------------------------------------------------------------------

static void add_work(bench_result *out, const char *operation, double flops, double bytes) {
    out->works[out->work_count++] = (bench_work){operation, flops, bytes};
    out->flops += flops;
    out->bytes += bytes;
}

static void add_product(bench_result *out, const step *s, const char *operation, double columns, double rows) {
    add_work(out, operation, 2.0 * new_tokens(s->bench) * columns * rows,
             columns * rows * (double)clmla_type_bytes(s->bench->type));
}

// Queries, their norm apart, and new rows: kv_a_proj goes with the first product.
static void add_inputs(bench_result *out, const step *s) {
    const clmla_config *c = &s->config;
    double heads = s->bench->heads, queries = heads * (BENCH_NOPE_DIM + s->bench->rope_dim);
    double row = (double)s->bench->latent_dim + s->bench->rope_dim, lora = c->q_lora_rank;
    add_product(out, s, "project", c->hidden_size, (lora > 0.0 ? lora : queries) + row);
    add_work(out, "append", 0.0, bench_rows_bytes(&s->rows.layout, new_tokens(s->bench)));
    if (lora > 0.0) add_product(out, s, "project", lora, queries);
}

static void add_output(bench_result *out, const step *s) {
    add_product(out, s, "project", (double)s->bench->heads * BENCH_VALUE_DIM, s->config.hidden_size);
}

// `pairs` of a new token and a key it sees.
static void add_absorbed(bench_result *out, const step *s, double pairs) {
    const bench_case *b = s->bench;
    double heads = b->heads, latent = b->latent_dim, rope = b->rope_dim;
    add_inputs(out, s);
    add_product(out, s, "absorb", heads * BENCH_NOPE_DIM, latent);
    add_work(out, "attend", 2.0 * heads * pairs * (2.0 * latent + rope),
             bench_rows_bytes(&s->rows.layout, (double)b->tokens * b->batch));
    add_product(out, s, "output", heads * BENCH_VALUE_DIM, latent);
    add_output(out, s);
}

// Keys are as many as tokens: to rebuild them takes what absorbing queries and outputs takes.
static void add_reconstructed(bench_result *out, const step *s, double pairs) {
    const bench_case *b = s->bench;
    double pair = BENCH_NOPE_DIM + b->rope_dim + BENCH_VALUE_DIM;
    add_inputs(out, s);
    add_work(out, "gather", 0.0, bench_rows_bytes(&s->rows.layout, (double)b->tokens * b->batch));
    add_product(out, s, "project", (double)b->heads * (BENCH_NOPE_DIM + BENCH_VALUE_DIM), b->latent_dim);
    add_work(out, "attend_heads", 2.0 * b->heads * pairs * pair, 0.0);
    add_output(out, s);
}

static void set_session(void *payload, const session *session) {
    ((step *)payload)->session = session;
}

// A recording's kernels are not told of.
static bool profile_step(bench_result *out, step *s, const bench_effort *effort, failure *failure) {
    if (!effort->profile || s->recording) return true;
    return bench_profile_run(&out->launches, effort->profile, s->session, enqueue, set_session, s, failure);
}

// `pairs` of a new token and a key it sees.
static bool measure_step(bench_result *out, step *s, bool replayed, const bench_effort *effort, double pairs,
                         bool *reconstructed, failure *failure) {
    const bench_case *b = s->bench;
    s->config = bench_config(b, b->tokens);
    bool done = open_step(s, replayed, failure) &&
                bench_time(&out->times, s->session, effort, replayed ? replay : enqueue, s, failure) &&
                profile_step(out, s, effort, failure);
    if (done) {
        clmla_plan_facts facts = clmla_plan_facts_get(s->plan);
        snprintf(out->variant, sizeof out->variant, "%s", facts.attend_variant);
        *reconstructed = facts.reconstructed_tokens > 0;
        out->parts = facts.part_count;
        out->splits = facts.split_count;
        if (*reconstructed)
            add_reconstructed(out, s, pairs);
        else
            add_absorbed(out, s, pairs);
    }
    close_step(s);
    return done;
}

static bool measure(bench_result *out, step *s, bool replayed, const bench_effort *effort, failure *failure) {
    bool reconstructed;
    double pairs = (double)new_tokens(s->bench) * s->bench->tokens;
    return measure_step(out, s, replayed, effort, pairs, &reconstructed, failure);
}

bool bench_layer(bench_result *out, const session *session, const bench_case *bench, const bench_effort *effort,
                 failure *failure) {
    step s = {.session = session, .bench = bench, .prefill = CLMLA_PREFILL_ABSORBED};
    return measure(out, &s, false, effort, failure);
}

bool bench_layer_replayed(bench_result *out, const session *session, const bench_case *bench,
                          const bench_effort *effort, failure *failure) {
    step s = {.session = session, .bench = bench, .prefill = CLMLA_PREFILL_ABSORBED};
    return measure(out, &s, true, effort, failure);
}

// --- a prompt
// ----------------------------------------------------------------------------------------------------------

#define PROMPT_RUNS 3 // seconds each

// All its tokens are new, and a causal mask leaves half of the pairs.
static bool measure_prompt(bench_result *out, const session *session, const bench_case *bench, clmla_prefill prefill,
                           const bench_effort *effort, failure *failure) {
    bench_case whole = *bench;
    whole.query_tokens = whole.tokens;
    step s = {.session = session, .bench = &whole, .prefill = prefill};
    bench_effort few = effort->repeat ? *effort : (bench_effort){.repeat = PROMPT_RUNS};
    bool reconstructed = false;
    few.profile = NULL; // its kernels are many
    double pairs = 0.5 * bench->batch * bench->tokens * (bench->tokens + 1.0);
    if (!measure_step(out, &s, false, &few, pairs, &reconstructed, failure)) return false;
    snprintf(out->variant, sizeof out->variant, "%s", reconstructed ? "reconstructed" : "absorbed");
    if (reconstructed) out->parts = out->splits = 0;
    return true;
}

bool bench_prefill(bench_result *out, const session *session, const bench_case *bench, const bench_effort *effort,
                   failure *failure) {
    return measure_prompt(out, session, bench, CLMLA_PREFILL_AUTO, effort, failure);
}

bool bench_prefill_absorbed(bench_result *out, const session *session, const bench_case *bench,
                            const bench_effort *effort, failure *failure) {
    return measure_prompt(out, session, bench, CLMLA_PREFILL_ABSORBED, effort, failure);
}

bool bench_prefill_reconstructed(bench_result *out, const session *session, const bench_case *bench,
                                 const bench_effort *effort, failure *failure) {
    return measure_prompt(out, session, bench, CLMLA_PREFILL_RECONSTRUCTED, effort, failure);
}
