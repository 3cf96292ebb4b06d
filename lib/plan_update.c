// SPDX-License-Identifier: Apache-2.0
#include "host/error.h"
#include "host/event.h"
#include "lib/context.h"
#include "lib/plan.h"
#include <string.h>

static clmla_status check_capacity(const clmla_plan *plan, const clmla_lengths *lengths) {
    const clmla_plan_capacity *capacity = &plan->params.capacity;
    const clmla_log *log = &plan->context->host.log;
    uint64_t tokens = 0;
    if (!plan_has_capacity(plan)) return CLMLA_OK;
    if (lengths->sequence_count > capacity->sequences)
        return host_fail(log, CLMLA_E_LIMIT, 0, "plan update: %u sequences, the plan's capacity is %u",
                         lengths->sequence_count, capacity->sequences);
    for (uint32_t i = 0; i < lengths->sequence_count; i++) {
        tokens += lengths->query_tokens ? lengths->query_tokens[i] : 1;
        if (lengths->kv_tokens[i] > capacity->kv_tokens)
            return host_fail(log, CLMLA_E_LIMIT, 0, "plan update: sequence %u has %u keys, the plan's capacity is %u",
                             i, lengths->kv_tokens[i], capacity->kv_tokens);
    }
    if (tokens > capacity->query_tokens)
        return host_fail(log, CLMLA_E_LIMIT, 0, "plan update: %llu query tokens, the plan's capacity is %u",
                         (unsigned long long)tokens, capacity->query_tokens);
    return CLMLA_OK;
}

static void copy_ints(unsigned char *stage, uint64_t offset, const int32_t *from, uint64_t count) {
    if (count) memcpy(stage + offset, from, (size_t)count * sizeof *from);
}

static void copy_schedule(unsigned char *stage, const clmla_plan *plan) {
    const plan_schedule *schedule = &plan->schedule;
    const plan_offsets *at = &plan->offsets;
    copy_ints(stage, at->header, schedule->header, HEADER_INTS);
    copy_ints(stage, at->parts, schedule->parts, schedule->part_count + 1ull);
    copy_ints(stage, at->works, schedule->works, (uint64_t)schedule->work_count * WORK_INTS);
    copy_ints(stage, at->items, schedule->items, (uint64_t)schedule->item_count * ITEM_INTS);
    copy_ints(stage, at->tiles, schedule->tiles, (uint64_t)schedule->tile_count * TILE_INTS);
}

static clmla_status update(clmla_plan *plan, const clmla_lengths *lengths, clmla_cache *cache, const clmla_batch *batch,
                           host_chain *chain) {
    plan_stage *stage;
    STATUS_OR_RETURN(check_capacity(plan, lengths));
    if (!cache) plan_prefill_forget(plan);
    STATUS_OR_RETURN(plan_schedule_make(&plan->schedule, &plan->rules, lengths, &plan->context->host.log));
    // A plan with a capacity that has served a cache keeps the room for one.
    plan_lay_out(plan, cache || (plan_has_capacity(plan) && plan->table_stride));
    STATUS_OR_RETURN(plan_reserve(plan));
    if (cache) STATUS_OR_RETURN(plan_update_cache(plan, cache, batch, chain));
    STATUS_OR_RETURN(plan_stage_take(&stage, plan, plan->offsets.total));
    copy_schedule(stage->memory, plan);
    if (cache) STATUS_OR_RETURN(plan_copy_cache(stage->memory, plan, cache, batch));
    STATUS_OR_RETURN(host_chain_write(chain, plan->step, 0, plan->offsets.total, stage->memory));
    plan->cache = cache;
    plan->on_device = false;
    plan->ready = true;
    return CLMLA_OK;
}

clmla_status plan_update_enqueue(clmla_plan *plan, const clmla_lengths *lengths, clmla_cache *cache,
                                 const clmla_batch *batch, cl_command_queue queue, cl_uint wait_count,
                                 const cl_event *wait, cl_event *event) {
    host_context *host = &plan->context->host;
    host_chain chain;
    plan->ready = plan->ready_recorded = false;
    STATUS_OR_RETURN(plan_chain_begin(&chain, plan, queue, wait_count, wait));
    uint32_t stage = plan->next_stage;
    clmla_status status = plan_chain_finish(&chain, plan, update(plan, lengths, cache, batch, &chain), event);
    // The driver reads the stage until this event, also after a failure.
    if (plan->next_stage == stage) return status;
    if (host_event_retain(host, plan->last))
        plan->stages[stage].uploaded = plan->last;
    else
        (void)host_event_wait(host, plan->last);
    return status;
}

clmla_status clmla_plan_update_lengths(clmla_plan *plan, const clmla_lengths *lengths, cl_command_queue queue,
                                       cl_uint wait_count, const cl_event *wait, cl_event *event) {
    if (!plan || !lengths || (lengths->sequence_count > 0 && !lengths->kv_tokens))
        return host_fail(NULL, CLMLA_E_ARGUMENT, 0, "plan update: plan, lengths or kv_tokens is NULL");
    return plan_update_enqueue(plan, lengths, NULL, NULL, queue, wait_count, wait, event);
}
