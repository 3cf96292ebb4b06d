// SPDX-License-Identifier: Apache-2.0
// Prepare: every kernel a layer can use is built and launched before the first real step, because drivers finish
// compiling at first launch (PoCL takes 0.1 s more then). It runs real steps over a small cache of its own.
#include "host/error.h"
#include "host/event.h"
#include "host/memory.h"
#include "lib/cache.h"
#include "lib/layer.h"
#include "lib/plan.h"
#include "lib/tuning.h"

#define PREPARE_TOKENS 8 // more than a product's tile of tokens

// What a plan attends by.
typedef struct way {
    const variant *attend;
    attend_tile tile;
    clmla_compute compute;
} way;

typedef struct rehearsal {
    clmla_layer layer; // a copy that writes cache layer 0
    clmla_cache *cache;
    clmla_plan *plan;
    cl_mem input, output;
    way ways[2 * PREPARE_TOKENS]; // whose programs were built
    uint32_t way_count;
} rehearsal;

// One step of `tokens` new tokens for a new sequence.
static clmla_status play(rehearsal *r, uint32_t tokens, cl_command_queue queue) {
    clmla_sequence sequence;
    clmla_status status = CLMLA_OK;
    STATUS_OR_RETURN(clmla_cache_sequence_create(&sequence, r->cache));
    clmla_batch batch = {.sequence_count = 1, .sequences = &sequence, .query_tokens = &tokens};
    STATUS_OR_OUT(clmla_cache_reserve(r->cache, &batch));
    STATUS_OR_OUT(clmla_plan_update(r->plan, r->cache, &batch, queue, 0, NULL, NULL));
    STATUS_OR_OUT(clmla_layer_enqueue(&r->layer, r->plan, r->cache, (clmla_buffer){r->input, 0},
                                      (clmla_buffer){r->output, 0}, queue, 0, NULL, NULL));
    STATUS_OR_OUT(host_queue_finish(&r->layer.context->host, queue));
out:
    clmla_cache_sequence_drop(r->cache, sequence);
    return status;
}

// What forks, shifts and removed rows leave to the device.
static clmla_status play_edits(rehearsal *r, cl_command_queue queue) {
    clmla_sequence sequence, fork = 0;
    uint32_t tokens = PREPARE_TOKENS;
    clmla_status status = CLMLA_OK;
    STATUS_OR_RETURN(clmla_cache_sequence_create(&sequence, r->cache));
    STATUS_OR_OUT(clmla_cache_reserve(
        r->cache, &(clmla_batch){.sequence_count = 1, .sequences = &sequence, .query_tokens = &tokens}));
    STATUS_OR_OUT(clmla_cache_sequence_fork(&fork, r->cache, sequence));
    STATUS_OR_OUT(clmla_cache_sequence_remove(r->cache, fork, 0, 1));
    STATUS_OR_OUT(clmla_cache_sequence_shift(r->cache, fork, 0, 1, 1));
    STATUS_OR_OUT(clmla_cache_flush(r->cache, queue, 0, NULL, NULL));
    STATUS_OR_OUT(host_queue_finish(&r->layer.context->host, queue));
out:
    clmla_cache_sequence_drop(r->cache, sequence);
    if (fork) clmla_cache_sequence_drop(r->cache, fork);
    return status;
}

// Splits of one block: with more keys than a block, states are merged as well.
static clmla_status make(rehearsal *r, const clmla_cache *cache, uint32_t tokens) {
    clmla_context *context = r->layer.context;
    uint64_t bytes = (uint64_t)tokens * r->layer.config.hidden_size * sizeof(float);
    clmla_cache_params params = {.format = cache->layout.format,
                                 .rope_order = cache->layout.rope_order,
                                 .rope_order_given = true,
                                 .layer_count = 1,
                                 .page_tokens = PREPARE_TOKENS,
                                 .page_count = (tokens + PREPARE_TOKENS - 1) / PREPARE_TOKENS};
    clmla_plan_params plan = {.head_count = r->layer.head_count, .layout = cache->layout, .split_tokens = 1};
    STATUS_OR_RETURN(clmla_cache_create(&r->cache, context, &cache->config, &params));
    STATUS_OR_RETURN(clmla_plan_create(&r->plan, context, &plan));
    float *zeros = host_allocate(&context->host.allocator, (size_t)bytes, 1);
    if (!zeros)
        return host_fail(&context->host.log, CLMLA_E_MEMORY, 0, "prepare: no memory for %llu bytes",
                         (unsigned long long)bytes);
    clmla_status status = host_buffer_create(&r->input, &context->host, bytes, zeros, "prepare: input");
    host_release(&context->host.allocator, zeros);
    if (status == CLMLA_OK) status = host_buffer_create(&r->output, &context->host, bytes, NULL, "prepare: output");
    return status;
}

static bool same_tile(const attend_tile *a, const attend_tile *b) {
    return a->group == b->group && a->row_tile == b->row_tile && a->key_tile == b->key_tile &&
           a->score_rows == b->score_rows && a->partials == b->partials && a->stages == b->stages;
}

// Matrix units' programs of exact and of fast compute differ.
static bool same_programs(const way *a, const way *b) {
    return a->attend == b->attend && same_tile(&a->tile, &b->tile) &&
           (a->compute == b->compute || !variant_has_matrix_units(a->attend));
}

// Whether the plan's way is one that was not there yet; it is from then on.
static bool takes_new_way(rehearsal *r) {
    const way way = {r->plan->attend, r->plan->tile, r->plan->params.compute};
    for (uint32_t i = 0; i < r->way_count; i++)
        if (same_programs(&way, &r->ways[i])) return false;
    r->ways[r->way_count++] = way;
    return true;
}

// Steps of plans that expect several tokens of a sequence, which may attend by another variant or by larger tiles, each
// a program of its own; `params` says what else they are. With and without a capacity each is proven.
static clmla_status play_many_rows(rehearsal *r, clmla_plan_params params, cl_command_queue queue) {
    for (uint32_t tokens = 2; tokens <= PREPARE_TOKENS; tokens++) {
        params.query_tokens = tokens;
        params.capacity = (clmla_plan_capacity){1, tokens, tokens};
        STATUS_OR_RETURN(clmla_plan_create(&r->plan, r->layer.context, &params));
        bool new = takes_new_way(r);
        if (new) STATUS_OR_RETURN(play(r, tokens, queue));
        clmla_plan_destroy(&r->plan);
        params.capacity = (clmla_plan_capacity){0};
        if (new) STATUS_OR_RETURN(clmla_plan_create(&r->plan, r->layer.context, &params));
        clmla_plan_destroy(&r->plan);
    }
    return CLMLA_OK;
}

// Leaves the plan as it is.
static clmla_status play_expectations(rehearsal *r, cl_command_queue queue) {
    clmla_plan *kept = r->plan;
    r->plan = NULL;
    clmla_status status = play_many_rows(r,
                                         (clmla_plan_params){.head_count = kept->params.head_count,
                                                             .layout = kept->params.layout,
                                                             .compute = kept->params.compute},
                                         queue);
    clmla_plan_destroy(&r->plan);
    r->plan = kept;
    return status;
}

static clmla_status play_exact(rehearsal *r, uint32_t tokens, cl_command_queue queue) {
    (void)takes_new_way(r);
    // Kernels of products are for 1, 2, 4 and 8 tokens, or for many.
    for (uint32_t few = 1; few <= PREPARE_TOKENS; few *= 2) STATUS_OR_RETURN(play(r, few, queue));
    STATUS_OR_RETURN(play(r, tokens, queue));
    STATUS_OR_RETURN(play_edits(r, queue));
    return play_expectations(r, queue);
}

// A plan of fast compute may attend with a kernel of its own, or with another build of the same.
static clmla_status play_fast(rehearsal *r, uint32_t tokens, cl_command_queue queue) {
    clmla_plan_params params = r->plan->params;
    params.compute = CLMLA_COMPUTE_FAST;
    params.attend_variant = NULL;
    clmla_plan_destroy(&r->plan);
    STATUS_OR_RETURN(clmla_plan_create(&r->plan, r->layer.context, &params));
    if (takes_new_way(r)) STATUS_OR_RETURN(play(r, tokens, queue));
    return play_expectations(r, queue);
}

// Prompts, if any may be reconstructed without being asked to; of fast compute, if attend_heads has a kernel of its own
// for it.
static clmla_status play_prompt(rehearsal *r, uint32_t tokens, clmla_compute compute, cl_command_queue queue) {
    clmla_context *context = r->layer.context;
    const clmla_config *config = &r->layer.config;
    clmla_plan_params params = {
        .head_count = r->layer.head_count, .layout = r->plan->params.layout, .prefill = CLMLA_PREFILL_AUTO};
    params.config = config;
    // All: plans that name one may not know the model, and then have it proven by nobody else.
    STATUS_OR_RETURN(plan_prefill_prove_all(context, &params));
    const variant *exact = plan_prefill_variant(NULL, context, &params, config);
    params.compute = compute;
    STATUS_OR_RETURN(plan_prefill_prove_all(context, &params));
    if (compute != CLMLA_COMPUTE_EXACT && plan_prefill_variant(NULL, context, &params, config) == exact)
        return CLMLA_OK;
    if (plan_prefill_step_refusal(context, &params, config)) return CLMLA_OK;
    params.prefill = CLMLA_PREFILL_RECONSTRUCTED;
    clmla_plan_destroy(&r->plan);
    STATUS_OR_RETURN(clmla_plan_create(&r->plan, context, &params));
    return play(r, tokens, queue);
}

clmla_status clmla_layer_prepare(const clmla_layer *layer, const clmla_cache *cache, cl_command_queue queue) {
    if (!layer || !cache) return host_fail(NULL, CLMLA_E_ARGUMENT, 0, "prepare: layer or cache is NULL");
    clmla_status status = CLMLA_OK;
    rehearsal r = {.layer = *layer};
    r.layer.cache_layer = 0;
    uint32_t tokens = tuning_value(layer->context, TUNING_ATTEND_BLOCK_TOKENS) + PREPARE_TOKENS;
    if (tokens < VARIANT_MANY_ROWS) tokens = VARIANT_MANY_ROWS;
    STATUS_OR_OUT(make(&r, cache, tokens));
    STATUS_OR_OUT(play_exact(&r, tokens, queue));
    STATUS_OR_OUT(play_fast(&r, tokens, queue));
    STATUS_OR_OUT(play_prompt(&r, tokens, CLMLA_COMPUTE_EXACT, queue));
    STATUS_OR_OUT(play_prompt(&r, tokens, CLMLA_COMPUTE_FAST, queue));
out:
    if (r.input) host_buffer_release(&layer->context->host, &r.input);
    if (r.output) host_buffer_release(&layer->context->host, &r.output);
    clmla_plan_destroy(&r.plan);
    clmla_cache_destroy(&r.cache);
    return status;
}
