// SPDX-License-Identifier: Apache-2.0
#include "lib/plan.h"
#include "host/error.h"
#include "host/event.h"
#include "host/memory.h"
#include "lib/cache.h"
#include "lib/tuning.h"
#include <string.h>

static clmla_status check(clmla_context *context, const clmla_plan_params *params) {
    const clmla_log *log = &context->host.log;
    clmla_row_layout layout;
    if (params->head_count == 0 || params->head_count > CLMLA_MAX_HEADS)
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "plan: head_count must be 1 to %d, not %u", CLMLA_MAX_HEADS,
                         params->head_count);
    if (params->split_tokens > CLMLA_MAX_CONTEXT / 2)
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "plan: split_tokens %u is too large", params->split_tokens);
    return clmla_row_layout_make(&layout, params->layout.format, params->layout.rope_order, params->layout.latent_dim,
                                 params->layout.rope_dim);
}

static schedule_rules rules_for(clmla_context *context, const clmla_plan_params *params, const variant *attend) {
    schedule_rules rules = {
        .head_count = params->head_count,
        .row_tile = tuning_value(context, TUNING_ATTEND_ROW_TILE),
        .block_tokens = 1,
        .least_split = tuning_value(context, TUNING_ATTEND_LEAST_SPLIT),
        .split_tokens = params->split_tokens,
    };
    uint32_t units = context->host.facts.compute_units ? context->host.facts.compute_units : 1;
    rules.works_wanted = units * tuning_value(context, TUNING_ATTEND_WORKS_PER_UNIT);
    if (attend->method == VARIANT_VECTOR) {
        rules.pack_rows = variant_vector_width(&context->host.facts);
        rules.block_tokens = tuning_value(context, TUNING_ATTEND_BLOCK_TOKENS);
    }
    return rules;
}

clmla_status clmla_plan_create(clmla_plan **out, clmla_context *context, const clmla_plan_params *params) {
    if (!out) return host_fail(NULL, CLMLA_E_ARGUMENT, 0, "plan: out is NULL");
    *out = NULL;
    if (!context || !params) return host_fail(NULL, CLMLA_E_ARGUMENT, 0, "plan: context or params is NULL");
    STATUS_OR_RETURN(check(context, params));
    const variant *attend;
    clmla_shape shape = {.format = params->layout.format,
                         .latent_dim = params->layout.latent_dim,
                         .rope_dim = params->layout.rope_dim,
                         .head_count = params->head_count};
    STATUS_OR_RETURN(variant_choose(&attend, context, CLMLA_OP_ATTEND, &shape, params->attend_variant));

    clmla_plan *plan = host_allocate(&context->host.allocator, 1, sizeof *plan);
    if (!plan) return host_fail(&context->host.log, CLMLA_E_MEMORY, 0, "plan: no memory for %zu bytes", sizeof *plan);
    plan->context = context;
    plan->params = *params;
    plan->params.attend_variant = attend->name;
    plan->attend = attend;
    plan->rules = rules_for(context, params, attend);
    plan->schedule.allocator = &context->host.allocator;
    *out = plan;
    return CLMLA_OK;
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
    plan_schedule_finish(&p->schedule);
    host_release(&host->allocator, p);
    *plan = NULL;
}

clmla_plan_facts clmla_plan_facts_get(const clmla_plan *plan) {
    return (clmla_plan_facts){
        .attend_variant = plan->attend->name,
        .query_tokens = plan->schedule.query_tokens,
        .sequence_count = plan->schedule.sequence_count,
        .work_count = plan->schedule.work_count,
        .split_count = plan->schedule.state_count,
        .workspace_bytes = plan->workspace_bytes[PLAN_WORKSPACE_ATTEND] + plan->workspace_bytes[PLAN_WORKSPACE_LAYER],
    };
}
