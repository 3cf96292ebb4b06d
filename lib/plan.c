// SPDX-License-Identifier: Apache-2.0
#include "lib/plan.h"
#include "host/error.h"
#include "host/event.h"
#include "host/memory.h"
#include "lib/attend_matrix.h"
#include "lib/attend_matrix_ring.h"
#include "lib/attend_wgmma.h"
#include "lib/cache.h"
#include "lib/tuning.h"
#include <string.h>

static clmla_status check_heads(const clmla_log *log, const clmla_plan_params *params) {
    uint32_t latent = params->layout.latent_dim, width = latent + params->layout.rope_dim;
    if (params->head_count == 0 || params->head_count > CLMLA_MAX_HEADS)
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "plan: head_count must be 1 to %d, not %u", CLMLA_MAX_HEADS,
                         params->head_count);
    if (params->kv_head_count > 0 && params->head_count % params->kv_head_count != 0)
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "plan: kv_head_count %u does not divide head_count %u",
                         params->kv_head_count, params->head_count);
    if (params->value_dim > 0 && (params->value_dim < latent || params->value_dim > width))
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "plan: value_dim must be %u to %u for rows of %u + %u, not %u",
                         latent, width, latent, params->layout.rope_dim, params->value_dim);
    return CLMLA_OK;
}

static clmla_status check_mask(const clmla_log *log, const clmla_plan_params *params) {
    const clmla_context_parallel *p = &params->parallel;
    uint32_t world = p->world ? p->world : 1, interleave = p->interleave ? p->interleave : 1;
    if (params->window > CLMLA_MAX_CONTEXT)
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "plan: window %u is over %d; 0 is for none", params->window,
                         CLMLA_MAX_CONTEXT);
    if (p->rank >= world)
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "plan: parallel.rank is %u of a world of %u: ranks count from 0",
                         p->rank, world);
    if ((uint64_t)world * interleave > CLMLA_MAX_CONTEXT)
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "plan: parallel.world %u times interleave %u is over %d keys", world,
                         interleave, CLMLA_MAX_CONTEXT);
    if (params->split_tokens > CLMLA_MAX_CONTEXT / 2)
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "plan: split_tokens %u is over %d", params->split_tokens,
                         CLMLA_MAX_CONTEXT / 2);
    return CLMLA_OK;
}

static clmla_status check_capacity(const clmla_log *log, const clmla_plan_params *params) {
    const clmla_plan_capacity *c = &params->capacity;
    if (c->sequences == 0 && c->query_tokens == 0 && c->kv_tokens == 0) return CLMLA_OK;
    if (c->sequences == 0 || c->query_tokens == 0 || c->kv_tokens == 0)
        return host_fail(log, CLMLA_E_ARGUMENT, 0,
                         "plan: a capacity of %u sequences, %u query tokens and %u keys holds no step: all are 0, or "
                         "none is",
                         c->sequences, c->query_tokens, c->kv_tokens);
    if (c->sequences > SCHEDULE_MOST || c->kv_tokens > SCHEDULE_MOST ||
        (uint64_t)c->query_tokens * params->head_count > SCHEDULE_MOST)
        return host_fail(log, CLMLA_E_LIMIT, 0,
                         "plan: a capacity of %u sequences, %u query tokens of %u heads and %u keys: sequences, tokens "
                         "times heads, and keys must not pass %d",
                         c->sequences, c->query_tokens, params->head_count, c->kv_tokens, SCHEDULE_MOST);
    return CLMLA_OK;
}

static clmla_status check_compute(const clmla_log *log, const clmla_plan_params *params) {
    if (params->compute == CLMLA_COMPUTE_EXACT || params->compute == CLMLA_COMPUTE_FAST) return CLMLA_OK;
    return host_fail(log, CLMLA_E_ARGUMENT, 0, "plan: compute is %d, neither exact (0) nor fast (1)",
                     (int)params->compute);
}

static clmla_status check_prefill(const clmla_log *log, const clmla_plan_params *params) {
    const char *refusal = plan_prefill_refusal(params);
    if ((unsigned)params->prefill > CLMLA_PREFILL_RECONSTRUCTED)
        return host_fail(log, CLMLA_E_ARGUMENT, 0,
                         "plan: prefill is %d, none of auto (0), absorbed (1) and reconstructed (2)",
                         (int)params->prefill);
    if (params->prefill != CLMLA_PREFILL_RECONSTRUCTED || !refusal) return CLMLA_OK;
    return host_fail(log, CLMLA_E_ARGUMENT, 0, "plan: prefill by reconstructed keys is refused: %s", refusal);
}

static clmla_status check(clmla_context *context, const clmla_plan_params *params) {
    const clmla_log *log = &context->host.log;
    const clmla_row_layout *l = &params->layout;
    clmla_row_layout layout;
    STATUS_OR_RETURN(clmla_row_layout_make(&layout, l->format, l->rope_order, l->latent_dim, l->rope_dim));
    STATUS_OR_RETURN(check_heads(log, params));
    STATUS_OR_RETURN(check_mask(log, params));
    STATUS_OR_RETURN(check_compute(log, params));
    STATUS_OR_RETURN(check_prefill(log, params));
    return check_capacity(log, params);
}

// More than any tile has: what lies beyond changes no choice.
#define ROWS_PLENTY 65536u

// A step of a plan with a capacity has as many rows as that says; fixed splits must not depend on it.
static uint32_t expected_rows(const clmla_plan_params *params) {
    const clmla_plan_capacity *capacity = &params->capacity;
    uint32_t heads = params->head_count / (params->kv_head_count ? params->kv_head_count : 1);
    if (capacity->sequences == 0 || params->split_tokens > 0) return heads;
    uint64_t tokens = ((uint64_t)capacity->query_tokens + capacity->sequences - 1) / capacity->sequences;
    return tokens < ROWS_PLENTY / heads ? (uint32_t)(heads * tokens) : ROWS_PLENTY;
}

static bool choose_of(const variant *attend, attend_tile *tile, char reason[ATTEND_TILE_REASON_MAX],
                      clmla_context *context, const attend_tile_limits *limits, const attend_tile_shape *shape) {
    const clmla_device_facts *facts = &context->host.facts;
    if (attend->method == VARIANT_MATRIX) return attend_matrix_choose(tile, reason, facts, limits, shape);
    if (attend->method != VARIANT_MATRIX_RING) return attend_tile_choose(tile, reason, facts, limits, shape);
    uint64_t local = host_instruction_try(&context->host, host_ring_find(facts))->local_bytes;
    return attend_ring_choose(tile, reason, facts, local, limits, shape);
}

static clmla_status choose_tile(attend_tile *tile, clmla_context *context, const clmla_plan_params *params,
                                const variant *attend) {
    const clmla_row_layout *layout = &params->layout;
    char reason[ATTEND_TILE_REASON_MAX];
    attend_tile_limits limits = {.group = tuning_value(context, TUNING_ATTEND_TILE_GROUP),
                                 .rows = tuning_value(context, TUNING_ATTEND_TILE_ROWS),
                                 .keys = tuning_value(context, TUNING_ATTEND_TILE_KEYS),
                                 .local_bytes = 1024ull * tuning_value(context, TUNING_ATTEND_TILE_LOCAL_KIB)};
    attend_tile_shape shape = {.format = layout->format,
                               .latent_dim = layout->latent_dim,
                               .rope_dim = layout->rope_dim,
                               .value_dim = params->value_dim,
                               .rows = expected_rows(params),
                               .exact = params->compute == CLMLA_COMPUTE_EXACT};
    if (attend->method == VARIANT_WGMMA) {
        *tile = attend_wgmma_tile(layout->latent_dim, layout->rope_dim, shape.exact);
        return CLMLA_OK;
    }
    if (choose_of(attend, tile, reason, context, &limits, &shape)) return CLMLA_OK;
    return host_fail(&context->host.log, CLMLA_E_LIMIT, 0,
                     "plan: attend's variant '%s' %s (see attend.tile.* of the tuning)", attend->name, reason);
}

static void tile_rules(schedule_rules *rules, clmla_context *context, const attend_tile *tile) {
    rules->row_tile = rules->pack_rows = tile->row_tile;
    rules->row_floor = (tile->row_tile + 1) / 2; // keys are staged for fewer rows too
    rules->block_tokens = tile->key_tile;
    rules->parts_per_unit = tuning_value(context, TUNING_ATTEND_TILE_PARTS_PER_UNIT);
    rules->part_keys = tuning_value(context, TUNING_ATTEND_TILE_PART_KEYS);
    rules->least_split = tuning_value(context, TUNING_ATTEND_TILE_LEAST_SPLIT);
}

static schedule_rules rules_for(clmla_context *context, const clmla_plan_params *params, const variant *attend,
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

static clmla_status choose(const variant **out, clmla_context *context, const clmla_plan_params *params) {
    clmla_shape shape = {.format = params->layout.format,
                         .latent_dim = params->layout.latent_dim,
                         .rope_dim = params->layout.rope_dim,
                         .value_dim = params->value_dim,
                         .head_count = params->head_count,
                         .compute = params->compute};
    return variant_choose(out, context, CLMLA_OP_ATTEND, &shape, params->attend_variant);
}

// The one that prompts are to be attended by, where the plan names one; its widths are known at the first update.
static clmla_status choose_heads(const variant **out, clmla_context *context, const clmla_plan_params *params) {
    clmla_shape shape = {.head_count = params->head_count, .compute = params->compute};
    if (!params->attend_heads_variant) return CLMLA_OK;
    return variant_choose(out, context, CLMLA_OP_ATTEND_HEADS, &shape, params->attend_heads_variant);
}

static void settle(clmla_plan *plan, clmla_context *context, const clmla_plan_params *params, const variant *attend,
                   const attend_tile *tile) {
    plan->context = context;
    plan->params = *params;
    plan->params.attend_variant = attend->name;
    plan->attend = attend;
    plan->tile = *tile;
    plan->packed_width =
        variant_has_tiles(attend) ? tile->query_stride : params->layout.latent_dim + params->layout.rope_dim;
    // In steps of 32 columns, as cl/attend_amx.cl says.
    if (attend->method == VARIANT_AMX) plan->packed_width = (uint32_t)schedule_round_up(plan->packed_width, 32);
    plan->rules = rules_for(context, params, attend, tile);
    plan->group_heads = plan->rules.head_count / plan->rules.kv_head_count;
    plan->value_dim = params->value_dim ? params->value_dim : params->layout.latent_dim;
    plan->schedule.allocator = &context->host.allocator;
}

static clmla_status take_capacity(clmla_plan *plan) {
    const clmla_plan_capacity *capacity = &plan->params.capacity;
    STATUS_OR_RETURN(plan_schedule_bounds(&plan->bounds, &plan->rules, capacity, &plan->context->host.log));
    plan_lay_out(plan, false);
    return plan_reserve(plan);
}

clmla_status clmla_plan_create(clmla_plan **out, clmla_context *context, const clmla_plan_params *params) {
    if (!out) return host_fail(NULL, CLMLA_E_ARGUMENT, 0, "plan: out is NULL");
    *out = NULL;
    if (!context || !params) return host_fail(NULL, CLMLA_E_ARGUMENT, 0, "plan: context or params is NULL");
    STATUS_OR_RETURN(check(context, params));
    const variant *attend, *heads = NULL;
    attend_tile tile = {0};
    STATUS_OR_RETURN(choose(&attend, context, params));
    STATUS_OR_RETURN(choose_heads(&heads, context, params));
    if (variant_has_tiles(attend)) STATUS_OR_RETURN(choose_tile(&tile, context, params, attend));
    clmla_plan *plan = host_allocate(&context->host.allocator, 1, sizeof *plan);
    if (!plan) return host_fail(&context->host.log, CLMLA_E_MEMORY, 0, "plan: no memory for %zu bytes", sizeof *plan);
    settle(plan, context, params, attend, &tile);
    plan->params.attend_heads_variant = heads ? heads->name : NULL;
    clmla_status status = plan_has_capacity(plan) ? take_capacity(plan) : CLMLA_OK;
    if (status == CLMLA_OK)
        *out = plan;
    else
        clmla_plan_destroy(&plan);
    return status;
}

clmla_status clmla_plan_create_for_cache(clmla_plan **out, clmla_context *context, const clmla_cache *cache) {
    if (!out || !cache) return host_fail(NULL, CLMLA_E_ARGUMENT, 0, "plan: out or cache is NULL");
    clmla_plan_params params = {.head_count = cache->config.head_count, .layout = cache->layout};
    return clmla_plan_create(out, context, &params);
}

void clmla_plan_destroy(clmla_plan **plan) {
    if (!plan || !*plan) return;
    clmla_plan *p = *plan;
    host_context *host = &p->context->host;
    for (int i = 0; i < PLAN_STAGES; i++) {
        // The driver reads a stage until its upload is done: its memory must not go before.
        host_event_wait(host, p->stages[i].uploaded);
        host_event_release(host, &p->stages[i].uploaded);
        host_release(&host->allocator, p->stages[i].memory);
    }
    host_event_release(host, &p->last);
    host_buffer_release(host, &p->step);
    for (int i = 0; i < PLAN_WORKSPACE_COUNT; i++) host_buffer_release(host, &p->workspace[i]);
    for (plan_kept *kept = p->kept, *before; kept; kept = before) {
        before = kept->before;
        host_buffer_release(host, &kept->memory);
        host_release(&host->allocator, kept);
    }
    plan_prefill_finish(p);
    plan_schedule_finish(&p->schedule);
    host_release(&host->allocator, p->kv_tokens);
    host_release(&host->allocator, p);
    *plan = NULL;
}

clmla_plan_facts clmla_plan_facts_get(const clmla_plan *plan) {
    if (!plan) return (clmla_plan_facts){.attend_variant = "", .absorbed_reason = ""};
    const plan_schedule *s = &plan->schedule;
    clmla_plan_facts facts = {
        .attend_variant = plan->attend->name,
        .query_tokens = s->query_tokens,
        .sequence_count = s->sequence_count,
        .work_count = s->work_count,
        .part_count = s->part_count,
        .split_count = s->state_rows,
        .workspace_bytes = plan->step_bytes,
        .reconstructed_tokens = plan->prompt_tokens,
        .absorbed_reason = plan->absorbed_reason ? plan->absorbed_reason : "",
    };
    if (plan->on_device) {
        facts.query_tokens = plan->extent.query_tokens;
        facts.sequence_count = plan->extent.sequence_count;
        facts.work_count = (uint32_t)plan->bounds.works;
        facts.part_count = (uint32_t)plan->bounds.parts;
        facts.split_count = (uint32_t)plan->bounds.state_rows;
    }
    for (int i = 0; i < PLAN_WORKSPACE_COUNT; i++) facts.workspace_bytes += plan->workspace_bytes[i];
    for (const plan_kept *kept = plan->kept; kept; kept = kept->before) facts.workspace_bytes += kept->bytes;
    if (plan->rest) facts.workspace_bytes += clmla_plan_facts_get(plan->rest).workspace_bytes;
    return facts;
}

uint64_t clmla_context_parallel_share(const clmla_context_parallel *parallel, uint64_t tokens) {
    uint64_t world = parallel && parallel->world ? parallel->world : 1, rank = parallel ? parallel->rank : 0;
    uint64_t interleave = parallel && parallel->interleave ? parallel->interleave : 1, round = world * interleave;
    uint64_t rest = tokens % round, before = rank * interleave;
    rest = rest > before ? rest - before : 0;
    return tokens / round * interleave + (rest < interleave ? rest : interleave);
}
