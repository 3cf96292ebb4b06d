// SPDX-License-Identifier: Apache-2.0
// The proof of a variant of attend. Two sequences over shuffled pages of 16, one of them with several new tokens, causal, in
// splits of two blocks, so that tiles, their edges, masks and the merge all take part. Rows are stored by append's naive
// variant; whatever lies beside them is NaN. Over lists of slots the same kernel reads keys at other places: not proven.
#include "host/error.h"
#include "host/event.h"
#include "host/memory.h"
#include "lib/attend.h"
#include "lib/kernels.h"
#include "lib/proof_scene.h"
#include "lib/rows.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

#define SEQUENCES 2
#define PAGE_TOKENS 16
#define PAGES 29 // a prime: multiples of another number reach all of them
#define TABLE_STRIDE 20
#define SPLIT_TOKENS 128
#define KEYS_MOST (PAGES * PAGE_TOKENS)
#define VALUES_MOST (1u << 20) // of a token's queries: heads beyond are left out
#define WHAT "a proof of attend"

static const uint32_t query_tokens[SEQUENCES] = {1, 3}, kv_tokens[SEQUENCES] = {309, 133};
#define TOKENS 4 // of queries

typedef struct scene {
    proof_scene base;
    const clmla_plan_params *params; // of the trial's plans
    uint32_t heads, width, value_dim;
    cl_mem latent, rope, slots, table, rows, query, output, lse, largest;
} scene;

static uint32_t page_of(uint32_t sequence, uint32_t index) {
    return (sequence * TABLE_STRIDE + index) * 11 % PAGES;
}

// As the plan's own, but for what a trial has otherwise.
static clmla_plan_params trial_params(const clmla_plan_params *params) {
    clmla_plan_params out = *params;
    uint32_t width = params->layout.latent_dim + params->layout.rope_dim, most = VALUES_MOST / width;
    out.head_count = params->head_count / (params->kv_head_count ? params->kv_head_count : 1);
    if (out.head_count > most) out.head_count = most ? most : 1;
    out.kv_head_count = 0;
    out.full = false;
    out.window = 0;
    out.parallel = (clmla_context_parallel){0};
    out.capacity = (clmla_plan_capacity){0};
    out.split_tokens = SPLIT_TOKENS;
    out.prefill = CLMLA_PREFILL_ABSORBED;
    out.attend_heads_variant = NULL;
    out.config = NULL;
    return out;
}

// Where the keys of both sequences are stored, one sequence after the other.
static clmla_status make_places(scene *s) {
    int64_t slots[KEYS_MOST];
    int32_t table[SEQUENCES * TABLE_STRIDE];
    uint32_t key = 0;
    for (uint32_t q = 0; q < SEQUENCES; q++)
        for (uint32_t k = 0; k < kv_tokens[q]; k++)
            slots[key++] = (int64_t)page_of(q, k / PAGE_TOKENS) * PAGE_TOKENS + k % PAGE_TOKENS;
    for (uint32_t i = 0; i < SEQUENCES * TABLE_STRIDE; i++)
        table[i] = i % TABLE_STRIDE * PAGE_TOKENS < kv_tokens[i / TABLE_STRIDE]
                       ? (int32_t)page_of(i / TABLE_STRIDE, i % TABLE_STRIDE)
                       : -1;
    STATUS_OR_RETURN(proof_scene_buffer(&s->slots, &s->base, key * sizeof *slots, slots));
    return proof_scene_buffer(&s->table, &s->base, sizeof table, table);
}

static clmla_status view_rows(clmla_rows *rows, const scene *s) {
    return clmla_rows_from_tensor(rows, &s->params->layout, (clmla_buffer){s->rows, 0}, PAGE_TOKENS, PAGES);
}

static clmla_status store_rows(scene *s) {
    const clmla_row_layout *layout = &s->params->layout;
    clmla_append_params append = {.token_count = kv_tokens[0] + kv_tokens[1],
                                  .latent = {s->latent, 0},
                                  .latent_stride = layout->latent_dim,
                                  .rope = {s->rope, 0},
                                  .rope_stride = layout->rope_dim,
                                  .input_order = layout->rope_order,
                                  .places = {.slots = {s->slots, 0}},
                                  .variant = "naive"};
    clmla_context *context = s->base.trial->context;
    uint64_t bytes = clmla_row_layout_page_bytes(layout, PAGE_TOKENS) * PAGES;
    unsigned char *nothing = host_allocate(&context->host.allocator, (size_t)bytes, 1);
    if (!nothing)
        return host_fail(NULL, CLMLA_E_MEMORY, 0, WHAT ": no memory for %llu bytes", (unsigned long long)bytes);
    memset(nothing, 0xff, (size_t)bytes); // NaN, in every format's values or scales
    clmla_status status = proof_scene_buffer(&s->rows, &s->base, bytes, nothing);
    host_release(&context->host.allocator, nothing);
    if (status == CLMLA_OK) status = view_rows(&append.rows, s);
    if (status == CLMLA_OK) status = clmla_append(context, &append, s->base.trial->queue, 0, NULL, NULL);
    // The places are in a buffer of the driver's already; only what fails here must not be laid to the variant.
    return status == CLMLA_OK ? host_queue_finish(&context->host, s->base.trial->queue) : status;
}

static size_t result_floats(const scene *s) {
    return (size_t)TOKENS * s->heads * (s->value_dim + 2);
}

static clmla_status make_scene(scene *s, proof_trial *trial) {
    size_t keys = kv_tokens[0] + kv_tokens[1], pairs = (size_t)TOKENS * s->heads;
    const clmla_row_layout *layout = &s->params->layout;
    size_t most = keys * s->width > pairs * s->width ? keys * s->width : pairs * s->width;
    if (2 * result_floats(s) > most) most = 2 * result_floats(s);
    STATUS_OR_RETURN(proof_scene_begin(&s->base, trial, WHAT, most));
    STATUS_OR_RETURN(proof_scene_values(&s->latent, &s->base, keys * layout->latent_dim, 1));
    STATUS_OR_RETURN(proof_scene_values(&s->rope, &s->base, keys * layout->rope_dim, 2));
    STATUS_OR_RETURN(proof_scene_values(&s->query, &s->base, pairs * s->width, 3));
    STATUS_OR_RETURN(make_places(s));
    STATUS_OR_RETURN(proof_scene_values(&s->output, &s->base, pairs * s->value_dim, 0));
    STATUS_OR_RETURN(proof_scene_values(&s->lse, &s->base, pairs, 0));
    STATUS_OR_RETURN(proof_scene_values(&s->largest, &s->base, pairs, 0));
    return store_rows(s);
}

static clmla_status read_result(proof_result *out, const scene *s, float *values) {
    size_t pairs = (size_t)TOKENS * s->heads;
    float *lse = values + pairs * s->value_dim, *largest = lse + pairs;
    *out = (proof_result){values, lse, largest};
    STATUS_OR_RETURN(proof_scene_read(&s->base, s->output, pairs * s->value_dim * sizeof(float), values));
    STATUS_OR_RETURN(proof_scene_read(&s->base, s->lse, pairs * sizeof(float), lse));
    return proof_scene_read(&s->base, s->largest, pairs * sizeof(float), largest);
}

// Runs a plan over the scene. NaN lies in the results before, so that what is not written shows.
static clmla_status attend_by(proof_result *out, scene *s, const plan_choice *choice, float *values) {
    const clmla_lengths lengths = {SEQUENCES, query_tokens, kv_tokens};
    clmla_plan *plan = NULL;
    clmla_status status = CLMLA_OK;
    clmla_attend_params params = {.query = {s->query, 0},
                                  .page_table = {s->table, 0},
                                  .page_table_stride = TABLE_STRIDE,
                                  .softmax_scale = 3.0f / sqrtf((float)s->width), // scores spread by about 1
                                  .output = {s->output, 0},
                                  .lse = {s->lse, 0},
                                  .max_logit = {s->largest, 0}};
    STATUS_OR_OUT(view_rows(&params.rows, s));
    STATUS_OR_OUT(plan_make(&plan, s->base.trial->context, s->params, choice));
    STATUS_OR_OUT(clmla_plan_update_lengths(plan, &lengths, s->base.trial->queue, 0, NULL, NULL));
    STATUS_OR_OUT(clmla_attend(plan, &params, s->base.trial->queue, 0, NULL, NULL));
    STATUS_OR_OUT(read_result(out, s, values));
out:
    if (status != CLMLA_OK) (void)host_queue_finish(&s->base.trial->context->host, s->base.trial->queue);
    clmla_plan_destroy(&plan);
    return status;
}

static clmla_status choose_naive(plan_choice *out, clmla_context *context, const clmla_plan_params *params) {
    clmla_shape shape = {.format = params->layout.format, .compute = params->compute};
    *out = (plan_choice){0};
    return variant_choose(&out->attend, context, CLMLA_OP_ATTEND, &shape, "naive");
}

typedef struct attend_of {
    const clmla_plan_params *params; // of the trial's plans
    attend_tile tile;
} attend_of;

static clmla_status compare(scene *s, proof_trial *trial, const plan_choice *choice) {
    proof_result naive, found;
    plan_choice naive_choice;
    STATUS_OR_RETURN(make_scene(s, trial));
    STATUS_OR_RETURN(choose_naive(&naive_choice, trial->context, s->params));
    STATUS_OR_RETURN(attend_by(&naive, s, &naive_choice, s->base.host));
    trial->subject = true;
    STATUS_OR_RETURN(attend_by(&found, s, choice, s->base.host + result_floats(s)));
    proof_compare(&trial->verdict, &found, &naive, (size_t)TOKENS * s->heads, s->value_dim,
                  proof_rounding(choice->attend, s->params->compute));
    return CLMLA_OK;
}

static clmla_status run(proof_trial *trial, const void *of_, const variant *candidate) {
    const attend_of *of = of_;
    const clmla_plan_params *params = of->params;
    plan_choice choice = {.attend = candidate, .tile = of->tile};
    scene s = {.params = params,
               .heads = params->head_count,
               .width = params->layout.latent_dim + params->layout.rope_dim,
               .value_dim = params->value_dim ? params->value_dim : params->layout.latent_dim};
    clmla_status status = compare(&s, trial, &choice);
    proof_scene_end(&s.base);
    return status;
}

// What the proof stands on: the plan's own options, and the number of heads.
static clmla_status claim_of(host_claim *out, clmla_context *context, const attend_of *of, const variant *candidate) {
    char options[OPTIONS_MAX];
    clmla_plan *plan = NULL;
    STATUS_OR_RETURN(plan_make(&plan, context, of->params, &(plan_choice){.attend = candidate, .tile = of->tile}));
    clmla_status status = attend_options(options, plan, false);
    clmla_plan_destroy(&plan);
    STATUS_OR_RETURN(status);
    *out = (host_claim){.sources = {candidate->source, &clmla_source_attend_queries, &clmla_source_attend_merge,
                                    &clmla_source_attend_naive, &clmla_source_append_naive}};
    snprintf(out->text, sizeof out->text, "proof 1 attend [%s] rounding %g, %u heads", options,
             proof_rounding(candidate, of->params->compute), of->params->head_count);
    return CLMLA_OK;
}

typedef struct tile_question {
    attend_tile *out;
    const clmla_plan_params *params;
    const variant *candidate;
} tile_question;

static clmla_status ask_tile(clmla_context *quiet, void *of) {
    const tile_question *question = of;
    return plan_choose_tile(question->out, quiet, question->params, question->candidate);
}

static clmla_status judge(variant_judge *base, char reason[VARIANT_REASON_MAX], clmla_context *context,
                          const variant *candidate) {
    const proof_attend *proof = (const proof_attend *)(const void *)base;
    clmla_plan_params params = trial_params(proof->params);
    attend_of of = {.params = &params};
    host_claim claim;
    char what[64];
    reason[0] = '\0';
    // Tuning may leave room for none: whoever makes the plan says so.
    if (!proof_ask(context, ask_tile, &(tile_question){&of.tile, proof->params, candidate})) return CLMLA_OK;
    STATUS_OR_RETURN(claim_of(&claim, context, &of, candidate));
    snprintf(what, sizeof what, "attend '%s' of %s rows%s", candidate->name,
             clmla_row_format_name(params.layout.format),
             proof_rounding(candidate, params.compute) > 0 ? ", fast" : "");
    return proof_settle(base, reason, context, &claim, what, run, &of, candidate);
}

proof_attend proof_attend_of(const clmla_plan_params *params) {
    return (proof_attend){.base = {.judge = judge}, .params = params};
}
