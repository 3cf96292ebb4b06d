// SPDX-License-Identifier: Apache-2.0
// What a plan runs: the variants, the tile that attend is built for, and the rules by which keys are shared out.
#include "host/error.h"
#include "lib/attend_matrix.h"
#include "lib/attend_matrix_ring.h"
#include "lib/attend_wgmma.h"
#include "lib/plan.h"
#include "lib/proof.h"
#include "lib/tuned_tile.h"
#include "lib/tuning.h"

// Query heads that share a row.
static uint32_t heads_of_kv_head(const clmla_plan_params *params) {
    return params->head_count / (params->kv_head_count ? params->kv_head_count : 1);
}

// New tokens of a sequence in most steps. What fixed splits come to must depend on no plan's expectations.
static uint32_t expected_tokens(const clmla_plan_params *params) {
    const clmla_plan_capacity *capacity = &params->capacity;
    if (params->split_tokens > 0) return 1;
    if (params->query_tokens > 0) return params->query_tokens;
    if (capacity->sequences == 0) return 1;
    return (uint32_t)(((uint64_t)capacity->query_tokens + capacity->sequences - 1) / capacity->sequences);
}

// What a tile is looked for.
typedef struct tile_question {
    attend_tile *tile;
    clmla_context *context;
    const variant *attend;
    const attend_tile_shape *shape;
} tile_question;

static bool search_tile(void *of, char reason[ATTEND_TILE_REASON_MAX], const attend_tile_limits *limits) {
    const tile_question *q = of;
    const clmla_device_facts *facts = &q->context->host.facts;
    if (q->attend->method == VARIANT_MATRIX) return attend_matrix_choose(q->tile, reason, facts, limits, q->shape);
    if (q->attend->method != VARIANT_MATRIX_RING) return attend_tile_choose(q->tile, reason, facts, limits, q->shape);
    uint64_t local = host_instruction_try(&q->context->host, host_ring_find(facts))->local_bytes;
    return attend_ring_choose(q->tile, reason, facts, local, limits, q->shape);
}

clmla_status plan_choose_tile(attend_tile *tile, clmla_context *context, const clmla_plan_params *params,
                              const variant *attend) {
    *tile = (attend_tile){0};
    if (!variant_has_tiles(attend)) return CLMLA_OK;
    const clmla_row_layout *layout = &params->layout;
    attend_tile_shape shape = {.format = layout->format,
                               .latent_dim = layout->latent_dim,
                               .rope_dim = layout->rope_dim,
                               .value_dim = params->value_dim,
                               .rows = attend_rows_of(heads_of_kv_head(params), expected_tokens(params)),
                               .exact = params->compute == CLMLA_COMPUTE_EXACT};
    if (attend->method == VARIANT_WGMMA) {
        *tile = attend_wgmma_tile(layout->latent_dim, layout->rope_dim, shape.exact);
        return CLMLA_OK;
    }
    tile_question question = {tile, context, attend, &shape};
    return tuned_tile_find(context, &(tuned_tile_request){.search = search_tile,
                                                          .of = &question,
                                                          .who = "plan: attend",
                                                          .variant = attend->name,
                                                          .named = params->attend_variant != NULL});
}

static void tile_rules(schedule_rules *rules, clmla_context *context, const attend_tile *tile) {
    rules->row_tile = rules->pack_rows = tile->row_tile;
    rules->row_floor = (tile->row_tile + 1) / 2; // keys are staged for fewer rows too
    rules->block_tokens = tile->key_tile;
    rules->parts_per_unit = tuning_value(context, TUNING_ATTEND_TILE_PARTS_PER_UNIT);
    rules->part_keys = tuning_value(context, TUNING_ATTEND_TILE_PART_KEYS);
    rules->least_split = tuning_value(context, TUNING_ATTEND_TILE_LEAST_SPLIT);
}

schedule_rules plan_rules(clmla_context *context, const clmla_plan_params *params, const variant *attend,
                          const attend_tile *tile) {
    const clmla_context_parallel *parallel = &params->parallel;
    const clmla_plan_capacity *capacity = &params->capacity;
    schedule_rules rules = {
        .head_count = params->head_count,
        .kv_head_count = params->kv_head_count ? params->kv_head_count : 1,
        .row_tile = tuning_value(context, TUNING_ATTEND_ROW_TILE),
        .row_floor = 1,
        .block_tokens = 1,
        .piece_keys = tuning_value(context, TUNING_ATTEND_PIECE_KEYS),
        .units = context->host.facts.compute_units ? context->host.facts.compute_units : 1,
        .parts_per_unit = tuning_value(context, TUNING_ATTEND_PARTS_PER_UNIT),
        .part_keys = tuning_value(context, TUNING_ATTEND_PART_KEYS),
        .least_split = tuning_value(context, TUNING_ATTEND_LEAST_SPLIT),
        .full = params->full,
        .window = params->window,
        .rank = parallel->rank,
        .world = parallel->world ? parallel->world : 1,
        .interleave = parallel->interleave ? parallel->interleave : 1,
        .most_query_tokens = capacity->sequences ? capacity->query_tokens : SCHEDULE_MOST,
        .most_kv_tokens = capacity->sequences ? capacity->kv_tokens : SCHEDULE_MOST,
    };
    if (variant_has_vectors(attend)) {
        rules.pack_rows = rules.row_floor = variant_vector_width(&context->host.facts);
        rules.block_tokens = tuning_value(context, attend->method == VARIANT_VECTOR ? TUNING_ATTEND_BLOCK_TOKENS
                                                   : attend->method == VARIANT_AMX  ? TUNING_ATTEND_AMX_BLOCK_TOKENS
                                                                                    : TUNING_ATTEND_DOT_BLOCK_TOKENS);
    }
    if (attend->method == VARIANT_AMX) rules.parts_per_unit = tuning_value(context, TUNING_ATTEND_AMX_PARTS_PER_UNIT);
    if (variant_has_tiles(attend)) tile_rules(&rules, context, tile);
    // A group has a unit's registers, and of wgmma its local memory.
    if (attend->method == VARIANT_WGMMA || attend->method == VARIANT_MATRIX_RING) rules.parts_per_unit = 1;
    rules.split_tokens = (uint32_t)schedule_round_up(params->split_tokens, rules.block_tokens);
    return rules;
}

static clmla_status choose_attend(const variant **out, clmla_context *context, const clmla_plan_params *params) {
    proof_attend proof = proof_attend_of(params);
    clmla_shape shape = {.format = params->layout.format,
                         .latent_dim = params->layout.latent_dim,
                         .rope_dim = params->layout.rope_dim,
                         .value_dim = params->value_dim,
                         .head_count = heads_of_kv_head(params),
                         .query_tokens = expected_tokens(params),
                         .compute = params->compute};
    return variant_choose_judged(out, context, CLMLA_OP_ATTEND, &shape, params->attend_variant,
                                 proof_is_wanted(context) ? &proof.base : NULL);
}

// The one that prompts are to be attended by, where the plan names one; its widths may be known at the first update
// alone.
static clmla_status choose_heads(const variant **out, clmla_context *context, const clmla_plan_params *params) {
    clmla_shape shape = {.head_count = params->head_count, .compute = params->compute};
    *out = NULL;
    if (params->config && !plan_prefill_refusal(params) && params->prefill != CLMLA_PREFILL_ABSORBED)
        STATUS_OR_RETURN(plan_prefill_prove(context, params));
    if (!params->attend_heads_variant) return CLMLA_OK;
    return variant_choose(out, context, CLMLA_OP_ATTEND_HEADS, &shape, params->attend_heads_variant);
}

// Of lengths that are on the device.
static clmla_status choose_scheduler(plan_choice *choice, clmla_context *context, const clmla_plan_params *params) {
    proof_plan proof = proof_plan_of(params, choice->attend, &choice->tile);
    choice->scheduler = NULL;
    if (params->capacity.sequences == 0) return CLMLA_OK;
    return variant_choose_judged(&choice->scheduler, context, CLMLA_OP_PLAN, &(clmla_shape){0}, NULL,
                                 proof_is_wanted(context) ? &proof.base : NULL);
}

clmla_status plan_choose(plan_choice *out, clmla_context *context, const clmla_plan_params *params) {
    STATUS_OR_RETURN(choose_attend(&out->attend, context, params));
    STATUS_OR_RETURN(choose_heads(&out->heads, context, params));
    out->refuses_lists = !params->lists && out->attend->method != VARIANT_NAIVE && proof_is_wanted(context);
    STATUS_OR_RETURN(plan_choose_tile(&out->tile, context, params, out->attend));
    return choose_scheduler(out, context, params);
}
