// SPDX-License-Identifier: Apache-2.0
#include "lib/plan.h"
#include "host/error.h"
#include "host/event.h"
#include "host/memory.h"
#include "lib/cache.h"
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
    if (params->lists && (params->window != 0 || world > 1))
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "plan: lists of slots have neither a window (%u) nor ranks (%u)",
                         params->window, world);
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
    plan->rules = plan_rules(context, params, attend, tile);
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

clmla_status plan_make(clmla_plan **out, clmla_context *context, const clmla_plan_params *params,
                       const plan_choice *choice) {
    clmla_plan *plan = host_allocate(&context->host.allocator, 1, sizeof *plan);
    if (!plan) return host_fail(&context->host.log, CLMLA_E_MEMORY, 0, "plan: no memory for %zu bytes", sizeof *plan);
    settle(plan, context, params, choice->attend, &choice->tile);
    plan->params.attend_heads_variant = choice->heads ? choice->heads->name : NULL;
    plan->params.config = NULL;
    plan->scheduler = choice->scheduler;
    plan->refuses_lists = choice->refuses_lists;
    clmla_status status = plan_has_capacity(plan) ? take_capacity(plan) : CLMLA_OK;
    if (status == CLMLA_OK)
        *out = plan;
    else
        clmla_plan_destroy(&plan);
    return status;
}

clmla_status clmla_plan_create(clmla_plan **out, clmla_context *context, const clmla_plan_params *params) {
    plan_choice choice;
    if (!out) return host_fail(NULL, CLMLA_E_ARGUMENT, 0, "plan: out is NULL");
    *out = NULL;
    if (!context || !params) return host_fail(NULL, CLMLA_E_ARGUMENT, 0, "plan: context or params is NULL");
    STATUS_OR_RETURN(check(context, params));
    STATUS_OR_RETURN(plan_choose(&choice, context, params));
    return plan_make(out, context, params, &choice);
}

clmla_status clmla_plan_create_for_cache(clmla_plan **out, clmla_context *context, const clmla_cache *cache) {
    if (!out || !cache) return host_fail(NULL, CLMLA_E_ARGUMENT, 0, "plan: out or cache is NULL");
    clmla_plan_params params = {
        .head_count = cache->config.head_count, .layout = cache->layout, .config = &cache->config};
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
