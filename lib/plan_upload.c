// SPDX-License-Identifier: Apache-2.0
#include "host/error.h"
#include "host/event.h"
#include "host/memory.h"
#include "host/recording.h"
#include "lib/context.h"
#include "lib/plan.h"

clmla_status plan_chain_begin(host_chain *chain, clmla_plan *plan, cl_command_queue queue, cl_uint wait_count,
                              const cl_event *wait) {
    // What is recorded does not run yet: it neither waits for the plan's last command nor becomes it.
    bool recorded = host_recording_find(&plan->context->host, queue) != NULL;
    STATUS_OR_RETURN(host_chain_begin(chain, &plan->context->host, queue, wait_count, wait, !recorded));
    clmla_status status = host_chain_wait(chain, plan->last);
    // Grids and memory of a plan without one follow its steps.
    if (recorded && !plan_has_capacity(plan)) status = host_chain_refuse_recorded(chain, "the plan has no capacity");
    return status == CLMLA_OK ? CLMLA_OK : host_chain_finish(chain, status, NULL);
}

// What was enqueued before a failure still runs: the next command of the plan waits for it.
static clmla_status fail(host_chain *chain, clmla_plan *plan, clmla_status status) {
    if (chain->last) {
        host_event_release(&plan->context->host, &plan->last);
        plan->last = chain->last;
        chain->last = NULL;
    }
    return host_chain_finish(chain, status, NULL);
}

clmla_status plan_chain_finish(host_chain *chain, clmla_plan *plan, clmla_status status, cl_event *event) {
    cl_event last = NULL;
    host_context *host = &plan->context->host;
    if (chain->recording) {
        plan->recorded |= status == CLMLA_OK;
        return host_chain_finish(chain, status, event);
    }
    if (status != CLMLA_OK) return fail(chain, plan, status);
    STATUS_OR_RETURN(host_chain_finish(chain, status, &last));
    host_event_release(host, &plan->last);
    plan->last = last;
    if (!event) return CLMLA_OK;
    if (!host_event_retain(host, last))
        return host_fail(&host->log, CLMLA_E_OPENCL, CL_OUT_OF_RESOURCES,
                         "plan: the driver gives no second hold of the step's event");
    *event = last;
    return CLMLA_OK;
}

clmla_status plan_stage_take(plan_stage **out, clmla_plan *plan, uint64_t bytes) {
    host_context *host = &plan->context->host;
    plan_stage *stage = &plan->stages[plan->next_stage];
    // A command that failed is told of once, and reads no more.
    clmla_status status = host_event_wait(host, stage->uploaded);
    host_event_release(host, &stage->uploaded);
    STATUS_OR_RETURN(status);
    if (bytes > stage->capacity) {
        // A plan with a capacity never needs more; others grow with their sequences.
        uint64_t room = plan_has_capacity(plan) ? bytes : bytes + bytes / 2;
        host_release(&host->allocator, stage->memory);
        stage->capacity = 0;
        stage->memory = host_allocate(&host->allocator, (size_t)room, 1);
        if (!stage->memory)
            return host_fail(&host->log, CLMLA_E_MEMORY, 0, "plan: no memory for %llu bytes", (unsigned long long)room);
        stage->capacity = (size_t)room;
    }
    plan->next_stage = (plan->next_stage + 1) % PLAN_STAGES;
    *out = stage;
    return CLMLA_OK;
}
