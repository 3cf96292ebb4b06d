// SPDX-License-Identifier: Apache-2.0
#include "host/error.h"
#include "host/memory.h"
#include "host/recording.h"
#include "lib/group.h"
#include "lib/operation.h"
#include "lib/plan.h"

static void pass_rules(host_launch *launch, const schedule_rules *rules) {
    const uint32_t values[] = {rules->head_count,    rules->kv_head_count, rules->row_tile,
                               rules->pack_rows,     rules->row_floor,     rules->block_tokens,
                               rules->piece_keys,    rules->units,         rules->parts_per_unit,
                               rules->part_keys,     rules->least_split,   rules->split_tokens,
                               rules->full,          rules->window,        rules->rank,
                               rules->world,         rules->interleave,    rules->most_query_tokens,
                               rules->most_kv_tokens};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) host_arg_int(launch, (int32_t)values[i]);
}

static clmla_status launch(clmla_plan *plan, const clmla_device_lengths *lengths, host_chain *chain) {
    const variant *chosen = plan->scheduler;
    const plan_offsets *at = &plan->offsets;
    const uint64_t sections[] = {at->header, at->parts, at->works, at->items, at->tiles};
    char options[OPTIONS_MAX];
    STATUS_OR_RETURN(operation_options(options, plan->context, chosen, NULL, NULL));
    host_launch launch = host_launch_begin(&plan->context->host, "plan", chosen->source, options, chosen->source->name);
    operation_argument_elements(&launch, lengths->query_tokens, sizeof(int32_t));
    operation_argument_elements(&launch, lengths->kv_tokens, sizeof(int32_t));
    host_arg_int(&launch, (int32_t)lengths->sequence_count);
    host_arg_buffer(&launch, plan->step);
    for (int i = 0; i < 5; i++) host_arg_long(&launch, (int64_t)(sections[i] / sizeof(int32_t)));
    pass_rules(&launch, &plan->rules);
    size_t items = chosen->method == VARIANT_GROUP ? group_size(&plan->context->host.facts) : 1;
    return host_launch_enqueue(&launch, chain, 1, &items, &items);
}

static clmla_status check(const clmla_plan *plan, const clmla_device_lengths *lengths) {
    host_context *host = &plan->context->host;
    uint64_t bytes = lengths->sequence_count * sizeof(int32_t);
    if (!plan_has_capacity(plan))
        return host_fail(&host->log, CLMLA_E_ARGUMENT, 0,
                         "plan update: lengths on the device need a plan with a capacity");
    if (lengths->sequence_count > plan->params.capacity.sequences)
        return host_fail(&host->log, CLMLA_E_ARGUMENT, 0, "plan update: %u sequences, the plan's capacity is %u",
                         lengths->sequence_count, plan->params.capacity.sequences);
    STATUS_OR_RETURN(host_buffer_check(host, lengths->kv_tokens, bytes, sizeof(int32_t), "plan update", "kv_tokens"));
    if (!lengths->query_tokens.memory) return CLMLA_OK;
    return host_buffer_check(host, lengths->query_tokens, bytes, sizeof(int32_t), "plan update", "query_tokens");
}

// The step on the device is now that of lengths there.
static void scheduled(void *payload) {
    clmla_plan *plan = payload;
    plan_prefill_forget(plan);
    plan->cache = NULL;
    plan->on_device = true;
    plan->ready = true;
}

static clmla_status update(clmla_plan *plan, const clmla_device_lengths *lengths, host_chain *chain) {
    plan_lay_out(plan, plan->table_stride > 0);
    STATUS_OR_RETURN(launch(plan, lengths, chain));
    scheduled(plan);
    if (!chain->recording) return CLMLA_OK;
    // Nothing is there before a replay.
    plan->ready = false;
    plan->ready_recorded = true;
    return host_recording_on_replay(chain->recording, scheduled, plan);
}

clmla_status clmla_plan_update_device(clmla_plan *plan, const clmla_device_lengths *lengths, cl_command_queue queue,
                                      cl_uint wait_count, const cl_event *wait, cl_event *event) {
    host_chain chain;
    if (!plan || !lengths) return host_fail(NULL, CLMLA_E_ARGUMENT, 0, "plan update: plan or lengths is NULL");
    clmla_status status = check(plan, lengths);
    if (status != CLMLA_OK) return host_recording_refused(&plan->context->host, queue, status);
    plan->ready = plan->ready_recorded = false;
    STATUS_OR_RETURN(plan_chain_begin(&chain, plan, queue, wait_count, wait));
    return plan_chain_finish(&chain, plan, update(plan, lengths, &chain), event);
}
