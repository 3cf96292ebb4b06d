// SPDX-License-Identifier: Apache-2.0
// The proof of a variant of attend_heads: some tokens of a prompt over two chunks of keys, the second of which carries
// the result over the first on; causal, with tokens and keys that fill no tile.
#include "host/error.h"
#include "host/event.h"
#include "host/memory.h"
#include "lib/kernels.h"
#include "lib/operation.h"
#include "lib/proof_scene.h"
#include <math.h>
#include <stdio.h>

#define TOKENS 70u
#define KEYS 150u
#define CHUNK 96u // keys of the first call
#define HEADS 3u
#define WHAT "a proof of attend_heads"

typedef struct scene {
    proof_scene base;
    const proof_heads *of;
    uint32_t width;
    cl_mem query, key, rope, value;
    cl_mem results; // values, then log-sum-exps
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
        .variant = of->named,
        .compute = of->compute,
        .rounding = of->rounding,
    };
}

// Values of a row, its log-sum-exp, and a largest score, which is not told: log-sum-exps are near it.
static size_t result_floats(const scene *s) {
    return (size_t)TOKENS * HEADS * (s->of->value_dim + 1);
}

static clmla_status make_scene(scene *s, proof_trial *trial) {
    size_t width = s->width > s->of->value_dim ? s->width : s->of->value_dim;
    size_t most = (size_t)KEYS * HEADS * width;
    if (2 * result_floats(s) > most) most = 2 * result_floats(s);
    STATUS_OR_RETURN(proof_scene_begin(&s->base, trial, WHAT, most));
    STATUS_OR_RETURN(proof_scene_values(&s->query, &s->base, (size_t)TOKENS * HEADS * s->width, 4));
    STATUS_OR_RETURN(proof_scene_values(&s->key, &s->base, (size_t)KEYS * HEADS * s->of->nope_dim, 5));
    STATUS_OR_RETURN(proof_scene_values(&s->rope, &s->base, (size_t)KEYS * s->of->rope_dim, 6));
    STATUS_OR_RETURN(proof_scene_values(&s->value, &s->base, (size_t)KEYS * HEADS * s->of->value_dim, 7));
    return proof_scene_values(&s->results, &s->base, result_floats(s), 0);
}

static clmla_status attend_chunk(const scene *s, uint32_t first, uint32_t count, const variant *by) {
    clmla_context *context = s->base.trial->context;
    clmla_attend_heads_params p = call_of(s->of);
    host_chain chain;
    p.key_first = first;
    p.key_count = count;
    p.carry = first > 0;
    p.query = (clmla_buffer){s->query, 0};
    p.key = (clmla_buffer){s->key, first * p.key_token_stride * sizeof(float)};
    p.key_rope = (clmla_buffer){s->rope, first * p.key_rope_stride * sizeof(float)};
    p.value = (clmla_buffer){s->value, first * p.value_token_stride * sizeof(float)};
    p.output = (clmla_buffer){s->results, 0};
    p.lse = (clmla_buffer){s->results, (uint64_t)TOKENS * HEADS * s->of->value_dim * sizeof(float)};
    STATUS_OR_RETURN(operation_begin(&chain, context, &p, WHAT, s->base.trial->queue, 0, NULL, NULL));
    return host_chain_finish(&chain, attend_heads_enqueue_by(context, &p, by, &chain), NULL);
}

static clmla_status attend_by(proof_result *out, const scene *s, const variant *by, float *values) {
    size_t pairs = (size_t)TOKENS * HEADS;
    float *lse = values + pairs * s->of->value_dim;
    *out = (proof_result){values, lse, lse};
    STATUS_OR_RETURN(proof_scene_spoil(&s->base, s->results, result_floats(s) * sizeof(float)));
    clmla_status status = attend_chunk(s, 0, CHUNK, by);
    if (status == CLMLA_OK) status = attend_chunk(s, CHUNK, KEYS - CHUNK, by);
    if (status == CLMLA_OK) status = proof_scene_read(&s->base, s->results, result_floats(s) * sizeof(float), values);
    return status;
}

static clmla_status compare(scene *s, proof_trial *trial, const variant *candidate) {
    proof_result naive, found;
    const variant *naive_variant;
    STATUS_OR_RETURN(make_scene(s, trial));
    STATUS_OR_RETURN(variant_choose(&naive_variant, trial->context, CLMLA_OP_ATTEND_HEADS, &(clmla_shape){0}, "naive"));
    STATUS_OR_RETURN(attend_by(&naive, s, naive_variant, s->base.host));
    trial->subject = true;
    STATUS_OR_RETURN(attend_by(&found, s, candidate, s->base.host + result_floats(s)));
    proof_compare(&trial->verdict, &found, &naive, (size_t)TOKENS * HEADS, s->of->value_dim,
                  proof_rounding(candidate, s->of->compute));
    return CLMLA_OK;
}

static clmla_status run(proof_trial *trial, const void *of, const variant *candidate) {
    const proof_heads *proof = of;
    scene s = {.of = proof, .width = proof->nope_dim + proof->rope_dim};
    clmla_status status = compare(&s, trial, candidate);
    proof_scene_end(&s.base);
    return status;
}

typedef struct options_question {
    char *options; // OPTIONS_MAX
    const clmla_attend_heads_params *call;
    const variant *candidate;
} options_question;

static clmla_status ask_options(clmla_context *quiet, void *of) {
    const options_question *question = of;
    return attend_heads_options(question->options, quiet, question->call, question->candidate);
}

static clmla_status judge(variant_judge *base, char reason[VARIANT_REASON_MAX], clmla_context *context,
                          const variant *candidate) {
    const proof_heads *proof = (const proof_heads *)(const void *)base;
    clmla_attend_heads_params call = call_of(proof);
    char options[OPTIONS_MAX], what[64];
    host_claim claim = {.sources = {candidate->source, &clmla_source_attend_heads_naive}};
    reason[0] = '\0';
    // Tuning may leave room for no tile of one that is named: whoever calls attend_heads is told.
    if (!proof_ask(context, ask_options, &(options_question){options, &call, candidate})) return CLMLA_OK;
    snprintf(claim.text, sizeof claim.text, "proof 2 attend_heads [%s] rounding %g", options,
             proof_rounding(candidate, proof->compute));
    snprintf(what, sizeof what, "attend_heads '%s'%s", candidate->name,
             proof_rounding(candidate, proof->compute) > 0 ? ", fast" : "");
    return proof_settle(base, reason, context, &claim, what, run, proof, candidate);
}

static proof_heads make(uint32_t nope, uint32_t rope, uint32_t value, clmla_compute compute, clmla_type rounding,
                        const char *named) {
    return (proof_heads){{.judge = judge}, nope, rope, value, compute, rounding, named};
}

proof_heads proof_heads_of(const clmla_plan_params *params, const clmla_config *config) {
    return make(config->qk_nope_head_dim, config->qk_rope_head_dim, config->v_head_dim, params->compute,
                plan_prefill_rounding(params->layout.format), params->attend_heads_variant);
}

proof_heads proof_heads_in(const clmla_attend_heads_params *call) {
    proof_heads proof =
        make(call->nope_dim, call->rope_dim, call->value_dim, call->compute, call->rounding, call->variant);
    proof.base.look_up = true;
    return proof;
}
