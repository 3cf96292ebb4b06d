// SPDX-License-Identifier: Apache-2.0
// Which sequences of a step are attended by reconstructed keys and values: the rule, and the lists the layer step follows.
#include "host/error.h"
#include "host/event.h"
#include "host/instruction.h"
#include "host/memory.h"
#include "lib/cache.h"
#include "lib/plan.h"
#include "lib/proof.h"
#include "lib/tuning.h"
#include <string.h>

// By how much less reconstructed keys must take: on PoCL their multiply-adds come a little slower, and the keys go through
// memory (16 heads, 256 tokens over 4096 keys: 1.32 times less, and as fast).
#define LEAST_GAIN 1.15
// What kernels of matrix products gave on an H200, in times of attend_tile (docs/devices.md): they are not timed in a trial. Where
// both ways have the same it cancels out.
#define MATRIX_GAIN 3.5
#define WGMMA_GAIN 28.0

// What both ways cost one sequence, in multiply-adds of one head.
typedef struct prefill_costs {
    double absorbed, reconstructed;
} prefill_costs;

const char *clmla_prefill_name(clmla_prefill prefill) {
    static const char *const names[] = {"auto", "absorbed", "reconstructed"};
    return (unsigned)prefill <= CLMLA_PREFILL_RECONSTRUCTED ? names[prefill] : "?";
}

clmla_status clmla_prefill_parse(clmla_prefill *out, const char *name) {
    if (!out || !name) return host_fail(NULL, CLMLA_E_ARGUMENT, 0, "prefill: out or name is NULL");
    for (int p = CLMLA_PREFILL_AUTO; p <= CLMLA_PREFILL_RECONSTRUCTED; p++)
        if (strcmp(name, clmla_prefill_name((clmla_prefill)p)) == 0) {
            *out = (clmla_prefill)p;
            return CLMLA_OK;
        }
    return host_fail(NULL, CLMLA_E_ARGUMENT, 0, "prefill: \"%s\" is none of auto, absorbed, reconstructed", name);
}

const char *plan_prefill_refusal(const clmla_plan_params *params) {
    if (params->capacity.sequences > 0) return "what a plan with a capacity launches does not follow a step's lengths";
    if (params->split_tokens > 0) return "fixed splits are those of absorbed attention";
    if (params->kv_head_count > 1) return "several kv heads";
    if (params->parallel.world > 1) return "keys are shared out over ranks";
    if (params->value_dim > params->layout.latent_dim) return "values take the rope part in";
    return NULL;
}

// Query tokens · keys they see. The last token sees all `keys`; causal, each before it one less.
static double visible_pairs(const clmla_plan_params *params, double tokens, double keys) {
    double window = params->window ? params->window : keys, first = keys - tokens + 1.0, all = 0.0;
    if (params->full) return tokens * (keys < window ? keys : window);
    // Tokens that see less than the window allows come first.
    double short_ones = window - first < 0.0 ? 0.0 : window - first < tokens ? window - first : tokens;
    all = short_ones * first + short_ones * (short_ones - 1.0) / 2.0;
    return all + (tokens - short_ones) * window;
}

// How many times faster than f32 multiply-adds a variant computes: as its trial says.
static double gain_of(clmla_plan *plan, const variant *chosen) {
    if (chosen->method == VARIANT_WGMMA) return WGMMA_GAIN;
    if (chosen->method == VARIANT_MATRIX) return MATRIX_GAIN;
    if (chosen->method == VARIANT_MATRIX_RING) return MATRIX_GAIN; // at least: it was not measured
    if (!host_instruction_is_timed(chosen->instruction)) return 1.0;
    double gain = (double)host_instruction_try(&plan->context->host, chosen->instruction)->gain;
    return gain > 1.0 ? gain : 1.0;
}

// f16 is the more exact by far, bf16 the wider: what rows of bf16 or f32 are rebuilt to may need that.
clmla_type plan_prefill_rounding(clmla_row_format format) {
    return format == CLMLA_ROWS_BF16 || format == CLMLA_ROWS_F32 ? CLMLA_TYPE_BF16 : CLMLA_TYPE_F16;
}

static clmla_shape heads_shape(const clmla_plan_params *params, const clmla_config *config) {
    return (clmla_shape){.latent_dim = config->qk_nope_head_dim,
                         .rope_dim = config->qk_rope_head_dim,
                         .value_dim = config->v_head_dim,
                         .head_count = params->head_count,
                         .compute = params->compute};
}

const variant *plan_prefill_variant(bool *unproven, clmla_context *context, const clmla_plan_params *params,
                                    const clmla_config *config) {
    const variant *chosen;
    clmla_shape shape = heads_shape(params, config);
    proof_heads proof = proof_heads_of(params, config);
    bool wanted = proof_is_wanted(context);
    proof.base.look_up = true;
    clmla_status status = variant_choose_judged(&chosen, context, CLMLA_OP_ATTEND_HEADS, &shape,
                                                params->attend_heads_variant, wanted ? &proof.base : NULL);
    if (status != CLMLA_OK) return NULL;
    if (unproven) *unproven = wanted && chosen->method != VARIANT_NAIVE && !proof.base.proven;
    return chosen;
}

clmla_status plan_prefill_prove(clmla_context *context, const clmla_plan_params *params) {
    const variant *chosen;
    clmla_shape shape = heads_shape(params, params->config);
    proof_heads proof = proof_heads_of(params, params->config);
    if (!proof_is_wanted(context)) return CLMLA_OK;
    return variant_choose_judged(&chosen, context, CLMLA_OP_ATTEND_HEADS, &shape, params->attend_heads_variant,
                                 &proof.base);
}

clmla_status plan_prefill_prove_all(clmla_context *context, const clmla_plan_params *params) {
    clmla_shape shape = heads_shape(params, params->config);
    proof_heads proof = proof_heads_of(params, params->config);
    if (!proof_is_wanted(context)) return CLMLA_OK;
    return variant_judge_all(context, CLMLA_OP_ATTEND_HEADS, &shape, &proof.base);
}

static prefill_costs costs_of(clmla_plan *plan, const variant *heads_variant, const clmla_config *c,
                              const plan_prompt *prompt) {
    double tokens = prompt->token_count, keys = prompt->key_count, pairs = visible_pairs(&plan->params, tokens, keys);
    double nope = c->qk_nope_head_dim, rope = c->qk_rope_head_dim, value = c->v_head_dim, latent = c->kv_lora_rank;
    double rebuilt = (nope + value) * latent; // of a query token that is absorbed, or of a key that is reconstructed
    double gain = gain_of(plan, plan->attend), heads = gain_of(plan, heads_variant);
    return (prefill_costs){.absorbed = tokens * rebuilt + pairs * (2.0 * latent + rope) / gain,
                           .reconstructed = keys * rebuilt + pairs * (nope + rope + value) / heads};
}

// Why a sequence is attended absorbed; NULL when it is not.
static const char *refuse(clmla_plan *plan, const clmla_config *config, const plan_prompt *prompt) {
    if (plan->params.prefill == CLMLA_PREFILL_RECONSTRUCTED) return NULL;
    if (prompt->token_count < tuning_value(plan->context, TUNING_PREFILL_LEAST_TOKENS)) return "it has few new tokens";
    const variant *heads = plan_prefill_variant(NULL, plan->context, &plan->params, config);
    prefill_costs costs = costs_of(plan, heads, config, prompt);
    return costs.reconstructed * LEAST_GAIN < costs.absorbed ? NULL : "absorbed attention takes fewer operations";
}

const char *plan_prefill_step_refusal(clmla_context *context, const clmla_plan_params *params,
                                      const clmla_config *config) {
    if (params->prefill == CLMLA_PREFILL_ABSORBED) return "the plan asks for it";
    const char *refusal = plan_prefill_refusal(params);
    if (refusal) return refusal;
    bool unproven = false;
    const variant *chosen = plan_prefill_variant(&unproven, context, params, config);
    if (unproven) return "attend_heads is not proven on this device: clmla_plan_params.config has it proven";
    if (params->prefill == CLMLA_PREFILL_RECONSTRUCTED) return NULL;
    if (!chosen) return "the variant of attend_heads that the plan names is refused";
    if (chosen->method == VARIANT_NAIVE && !params->attend_heads_variant)
        return "attend_heads has a naive kernel alone for this device";
    return NULL;
}

// The sequence of the batch as a prompt: behind a window of the first token no key is seen.
static plan_prompt prompt_of(const clmla_plan *plan, uint32_t index, uint32_t token_first, uint32_t token_count,
                             uint32_t keys) {
    plan_prompt prompt = {.index = index, .token_first = token_first, .token_count = token_count};
    uint64_t behind = (uint64_t)token_count - 1 + plan->params.window;
    if (plan->params.window > 0 && behind < keys) prompt.key_first = (uint32_t)(keys - behind);
    prompt.key_count = keys - prompt.key_first;
    prompt.keys_before = plan->prompt_keys;
    return prompt;
}

static clmla_status reserve_prompts(clmla_plan *plan, uint32_t count) {
    const clmla_allocator *allocator = &plan->context->host.allocator;
    if (count <= plan->prompt_room) return CLMLA_OK;
    plan_prompt *larger = host_allocate(allocator, count, sizeof *larger);
    if (!larger)
        return host_fail(&plan->context->host.log, CLMLA_E_MEMORY, 0, "plan update: no memory for %u prompts", count);
    host_release(allocator, plan->prompts);
    plan->prompts = larger;
    plan->prompt_room = count;
    return CLMLA_OK;
}

void plan_prefill_forget(clmla_plan *plan) {
    plan->prompt_count = plan->prompt_tokens = 0;
    plan->prompt_keys = 0;
    plan->absorbed_reason = NULL;
}

clmla_status plan_prefill_choose(clmla_plan *plan, const clmla_cache *cache, const clmla_batch *batch) {
    uint32_t token = 0;
    plan_prefill_forget(plan);
    const char *step_reason = plan_prefill_step_refusal(plan->context, &plan->params, &cache->config);
    STATUS_OR_RETURN(reserve_prompts(plan, step_reason ? 0 : batch->sequence_count));
    for (uint32_t i = 0; i < batch->sequence_count; i++) {
        const cache_sequence *sequence = cache_pages_sequence(&cache->pages, batch->sequences[i]);
        uint32_t count = batch->query_tokens ? batch->query_tokens[i] : 1, first = token;
        token += count;
        if (count == 0) continue;
        plan_prompt prompt = prompt_of(plan, i, first, count, sequence->tokens);
        const char *reason = step_reason ? step_reason : refuse(plan, &cache->config, &prompt);
        if (reason) {
            plan->absorbed_reason = reason;
            continue;
        }
        plan->prompts[plan->prompt_count++] = prompt;
        plan->prompt_tokens += count;
        plan->prompt_keys += prompt.key_count;
    }
    return CLMLA_OK;
}

bool plan_prefill_is_mixed(const clmla_plan *plan) {
    return plan->prompt_count > 0 && plan->absorbed_reason != NULL;
}

// The batch without its prompts. Its arrays are one allocation, at *sequences.
static clmla_status rest_batch(clmla_batch *out, clmla_sequence **sequences, const clmla_plan *plan,
                               const clmla_batch *batch) {
    uint32_t count = batch->sequence_count, kept = 0, next = 0;
    *sequences = host_allocate(&plan->context->host.allocator, count, sizeof **sequences + sizeof(uint32_t));
    if (!*sequences)
        return host_fail(&plan->context->host.log, CLMLA_E_MEMORY, 0, "plan update: no memory for %u sequences", count);
    uint32_t *query_tokens = *sequences + count;
    for (uint32_t i = 0; i < count; i++) {
        if (next < plan->prompt_count && plan->prompts[next].index == i) {
            next++;
            continue;
        }
        (*sequences)[kept] = batch->sequences[i];
        query_tokens[kept++] = batch->query_tokens ? batch->query_tokens[i] : 1;
    }
    *out = (clmla_batch){.sequence_count = kept, .sequences = *sequences, .query_tokens = query_tokens};
    return CLMLA_OK;
}

clmla_status plan_prefill_update_rest(clmla_plan *plan, clmla_cache *cache, const clmla_batch *batch,
                                      cl_command_queue queue, cl_event *event) {
    clmla_plan_params params = plan->params;
    plan_choice choice = {.attend = plan->attend, .tile = plan->tile}; // nothing is to be proven in an update
    clmla_sequence *sequences = NULL;
    clmla_batch rest;
    clmla_status status = CLMLA_OK;
    params.prefill = CLMLA_PREFILL_ABSORBED;
    if (!plan->rest) STATUS_OR_OUT(plan_make(&plan->rest, plan->context, &params, &choice));
    STATUS_OR_OUT(rest_batch(&rest, &sequences, plan, batch));
    STATUS_OR_OUT(clmla_plan_update(plan->rest, cache, &rest, queue, 1, &plan->last, event));
out:
    host_release(&plan->context->host.allocator, sequences);
    plan->ready = status == CLMLA_OK;
    return status;
}

void plan_prefill_follow(clmla_plan *plan) {
    host_context *host = &plan->context->host;
    if (!plan_prefill_is_mixed(plan)) return;
    host_event_release(host, &plan->rest->last);
    if (host_event_retain(host, plan->last))
        plan->rest->last = plan->last;
    else
        (void)host_event_wait(host, plan->last);
}

void plan_prefill_finish(clmla_plan *plan) {
    clmla_plan_destroy(&plan->rest);
    host_release(&plan->context->host.allocator, plan->prompts);
}
