// SPDX-License-Identifier: Apache-2.0
#include "host/error.h"
#include "lib/attend.h"
#include "lib/kernels.h"
#include "lib/kv_b.h"
#include "lib/matrix.h"

#define ABSORB_TOKENS 8 // of cl/common/absorb.clh

clmla_status attend_absorb_check(const clmla_plan *plan, const clmla_attend_params *params) {
    const clmla_attend_absorb *absorb = params->absorb;
    uint32_t latent = plan->params.layout.latent_dim;
    if (absorb->kv_b.columns != latent)
        return host_fail(&plan->context->host.log, CLMLA_E_ARGUMENT, 0,
                         "attend: absorb.kv_b: rows have %u latent values, the matrix has %u columns", latent,
                         absorb->kv_b.columns);
    return kv_b_check(plan->context, &absorb->kv_b, plan->extent.query_tokens, plan->params.head_count,
                      absorb->nope_dim, absorb->value_dim, "attend");
}

static void weights_arguments(host_launch *launch, const clmla_attend_absorb *absorb) {
    const clmla_matrix *kv_b = &absorb->kv_b;
    absorb_call call = {
        .weights = (int64_t)(kv_b->values.offset / clmla_type_bytes(kv_b->type)),
        .row_stride = (int64_t)kv_b->row_stride,
        .scales = (int64_t)(kv_b->scales.offset / sizeof(float)),
        .scale_stride = (int32_t)kv_b->scale_stride,
        .scale_row = (int32_t)kv_b->scale_row,
        .nope_dim = (int32_t)absorb->nope_dim,
        .value_dim = (int32_t)absorb->value_dim,
    };
    host_arg_buffer(launch, kv_b->values.memory);
    host_arg_buffer(launch, kv_b->scales.memory);
    host_arg_bytes(launch, sizeof call, &call);
}

// Into a tensor of their own, which attend then reads or packs. A kernel that wrote straight into packed tiles took
// longer on PoCL (2 cores, f16 weights, 512 + 64, nope 128; absorb and attend over 16 keys): 1.4 times the processor
// time at 16 heads and 1 token, 1.3 at 16 and 8, 1.16 at 128 and 1, 1.06 at 128 and 8, 1.4 at 40 and 8. A tile holds 16
// heads, so its work-item takes each head's weights in narrow strips; packing, which that saves, is the smaller cost.
clmla_status attend_absorb_run(attend_job *job) {
    clmla_plan *plan = job->plan;
    const clmla_row_layout *layout = &plan->params.layout;
    uint64_t tokens = plan->extent.query_tokens, heads = plan->params.head_count,
             width = (uint64_t)layout->latent_dim + layout->rope_dim;
    bool vector = variant_has_vectors(plan->attend);
    cl_mem absorbed = NULL;
    char options[OPTIONS_MAX];
    STATUS_OR_RETURN(
        plan_workspace_get(&absorbed, plan, PLAN_WORKSPACE_ABSORB, tokens * heads * width * sizeof(float)));
    STATUS_OR_RETURN(
        operation_options(options, plan->context, plan->attend, matrix_element(job->params->absorb->kv_b.type), NULL));
    host_launch launch = host_launch_begin(&plan->context->host, "attend", &clmla_source_attend_queries, options,
                                           vector ? "attend_absorb_heads" : "attend_absorb");
    host_arg_buffer(&launch, job->query.memory);
    host_arg_buffer(&launch, job->query_rope.memory);
    host_arg_buffer(&launch, plan->step);
    weights_arguments(&launch, job->params->absorb);
    host_arg_buffer(&launch, absorbed);
    host_arg_bytes(&launch, sizeof job->call, &job->call);
    size_t per_value[3] = {width, heads, tokens}, per_head[2] = {(tokens + ABSORB_TOKENS - 1) / ABSORB_TOKENS, heads},
           local[2] = {1, 1};
    STATUS_OR_RETURN(vector ? host_launch_enqueue(&launch, job->chain, 2, per_head, local)
                            : operation_launch_items(&launch, job->chain, 3, per_value));
    attend_job_queries(job, (clmla_buffer){absorbed, 0}, heads * width, width);
    return CLMLA_OK;
}
