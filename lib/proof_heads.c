// SPDX-License-Identifier: Apache-2.0
// The proof of a variant of attend_heads: some tokens of a prompt over two chunks of keys, the second of which carries the
// result over the first on; causal, with tokens and keys that fill no tile.
#include "host/error.h"
#include "host/event.h"
#include "host/memory.h"
#include "lib/kernels.h"
#include "lib/operation.h"
#include "lib/proof.h"
#include <math.h>
#include <stdio.h>

#define TOKENS 70u
#define KEYS 150u
#define CHUNK 96u // keys of the first call
#define HEADS 3u
#define WHAT "a proof of attend_heads"

typedef struct scene {
    proof_trial *trial;
    const proof_heads *of;
    uint32_t width;
    cl_mem query, key, rope, value, output, lse;
    float *host; // what is uploaded; then results
} scene;

static clmla_attend_heads_params call_of(const proof_heads *of) {
    return (clmla_attend_heads_params){
        .token_count = TOKENS,
        .query_first = (int32_t)(KEYS - TOKENS),
        .head_count = HEADS,
        .nope_dim = of->nope_dim,
        .rope_dim = of->rope_dim,
        .value_dim = of->value_dim,
        .query_token_stride = (uint64_t)HEADS * (of->nope_dim + of->rope_dim),
        .query_head_stride = (uint64_t)of->nope_dim + of->rope_dim,
        .key_token_stride = (uint64_t)HEADS * of->nope_dim,
        .key_head_stride = of->nope_dim,
        .key_rope_stride = of->rope_dim,
        .value_token_stride = (uint64_t)HEADS * of->value_dim,
        .value_head_stride = of->value_dim,
        .softmax_scale = 3.0f / sqrtf((float)(of->nope_dim + of->rope_dim)), // scores spread by about 1
        .output_token_stride = (uint64_t)HEADS * of->value_dim,
        .output_head_stride = of->value_dim,
        .lse_token_stride = HEADS,
        .lse_head_stride = 1,
        .compute = of->compute,
        .rounding = of->rounding,
    };
}

static clmla_status make_buffer(scene *s, cl_mem *out, size_t floats, uint32_t seed) {
    if (floats == 0) return CLMLA_OK;
    if (seed) proof_fill(s->host, floats, seed);
    return host_buffer_create(out, &s->trial->context->host, floats * sizeof(float), seed ? s->host : NULL, WHAT);
}

// Values of a row, its log-sum-exp, and a largest score, which is not told: log-sum-exps are near it.
static size_t result_floats(const scene *s) {
    return (size_t)TOKENS * HEADS * (s->of->value_dim + 1);
}

static clmla_status make_scene(scene *s) {
    size_t width = s->width > s->of->value_dim ? s->width : s->of->value_dim;
    size_t most = (size_t)KEYS * HEADS * width;
    if (2 * result_floats(s) > most) most = 2 * result_floats(s);
    s->host = host_allocate(&s->trial->context->host.allocator, most, sizeof *s->host);
    if (!s->host) return host_fail(NULL, CLMLA_E_MEMORY, 0, WHAT ": no memory for %zu floats", most);
    STATUS_OR_RETURN(make_buffer(s, &s->query, (size_t)TOKENS * HEADS * s->width, 4));
    STATUS_OR_RETURN(make_buffer(s, &s->key, (size_t)KEYS * HEADS * s->of->nope_dim, 5));
    STATUS_OR_RETURN(make_buffer(s, &s->rope, (size_t)KEYS * s->of->rope_dim, 6));
    STATUS_OR_RETURN(make_buffer(s, &s->value, (size_t)KEYS * HEADS * s->of->value_dim, 7));
    STATUS_OR_RETURN(make_buffer(s, &s->output, (size_t)TOKENS * HEADS * s->of->value_dim, 0));
    return make_buffer(s, &s->lse, (size_t)TOKENS * HEADS, 0);
}

static void drop_scene(scene *s) {
    host_context *host = &s->trial->context->host;
    cl_mem *const buffers[] = {&s->query, &s->key, &s->rope, &s->value, &s->output, &s->lse};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) host_buffer_release(host, buffers[i]);
    host_release(&host->allocator, s->host);
}

static clmla_status attend_chunk(const scene *s, uint32_t first, uint32_t count, const char *variant) {
    clmla_attend_heads_params p = call_of(s->of);
    p.key_first = first;
    p.key_count = count;
    p.carry = first > 0;
    p.query = (clmla_buffer){s->query, 0};
    p.key = (clmla_buffer){s->key, first * p.key_token_stride * sizeof(float)};
    p.key_rope = (clmla_buffer){s->rope, first * p.key_rope_stride * sizeof(float)};
    p.value = (clmla_buffer){s->value, first * p.value_token_stride * sizeof(float)};
    p.output = (clmla_buffer){s->output, 0};
    p.lse = (clmla_buffer){s->lse, 0};
    p.variant = variant;
    return clmla_attend_heads(s->trial->context, &p, s->trial->queue, 0, NULL, NULL);
}

static clmla_status attend_by(proof_result *out, const scene *s, const char *variant, float *values) {
    size_t pairs = (size_t)TOKENS * HEADS;
    float *lse = values + pairs * s->of->value_dim;
    *out = (proof_result){values, lse, lse};
    clmla_status status = attend_chunk(s, 0, CHUNK, variant);
    if (status == CLMLA_OK) status = attend_chunk(s, CHUNK, KEYS - CHUNK, variant);
    if (status == CLMLA_OK) status = proof_read(s->trial, s->output, pairs * s->of->value_dim * sizeof(float), values);
    if (status == CLMLA_OK) status = proof_read(s->trial, s->lse, pairs * sizeof(float), lse);
    return status;
}

static clmla_status compare(scene *s, const variant *candidate) {
    proof_result naive, found;
    STATUS_OR_RETURN(make_scene(s));
    STATUS_OR_RETURN(attend_by(&naive, s, "naive", s->host));
    s->trial->subject = true;
    STATUS_OR_RETURN(attend_by(&found, s, candidate->name, s->host + result_floats(s)));
    proof_compare(&s->trial->verdict, &found, &naive, (size_t)TOKENS * HEADS, s->of->value_dim,
                  proof_rounding(candidate, s->of->compute));
    return CLMLA_OK;
}

static clmla_status run(proof_trial *trial, const void *of, const variant *candidate) {
    const proof_heads *proof = of;
    scene s = {.trial = trial, .of = proof, .width = proof->nope_dim + proof->rope_dim};
    clmla_status status = compare(&s, candidate);
    drop_scene(&s);
    return status;
}

// False where tuning leaves room for no tile: whoever calls attend_heads is told.
static bool find_options(char options[OPTIONS_MAX], clmla_context *context, const clmla_attend_heads_params *call,
                         const variant *candidate) {
    host_last_failure told;
    clmla_context quiet;
    host_last_failure_keep(&told);
    context_quiet_begin(&quiet, context);
    bool found = attend_heads_options(options, &quiet, call, candidate) == CLMLA_OK;
    context_quiet_end(&quiet);
    host_last_failure_restore(&told);
    return found;
}

static clmla_status judge(variant_judge *base, char reason[VARIANT_REASON_MAX], clmla_context *context,
                          const variant *candidate) {
    const proof_heads *proof = (const proof_heads *)(const void *)base;
    clmla_attend_heads_params call = call_of(proof);
    char options[OPTIONS_MAX], what[64];
    host_claim claim = {.sources = {candidate->source, &clmla_source_attend_heads_naive}};
    reason[0] = '\0';
    if (!find_options(options, context, &call, candidate)) return CLMLA_OK;
    snprintf(claim.text, sizeof claim.text, "proof 1 attend_heads [%s] rounding %g", options,
             proof_rounding(candidate, proof->compute));
    snprintf(what, sizeof what, "attend_heads '%s'%s", candidate->name,
             proof_rounding(candidate, proof->compute) > 0 ? ", fast" : "");
    return proof_settle(base, reason, context, &claim, what, run, proof, candidate);
}

static proof_heads make(uint32_t nope, uint32_t rope, uint32_t value, clmla_compute compute, clmla_type rounding) {
    return (proof_heads){{.judge = judge}, nope, rope, value, compute, rounding};
}

proof_heads proof_heads_of(const clmla_plan_params *params, const clmla_config *config) {
    return make(config->qk_nope_head_dim, config->qk_rope_head_dim, config->v_head_dim, params->compute,
                plan_prefill_rounding(params->layout.format));
}

proof_heads proof_heads_in(const clmla_attend_heads_params *call) {
    proof_heads proof = make(call->nope_dim, call->rope_dim, call->value_dim, call->compute, call->rounding);
    proof.base.look_up = true;
    return proof;
}
