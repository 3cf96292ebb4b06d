// SPDX-License-Identifier: Apache-2.0
#include "host/error.h"
#include "lib/attend.h"
#include "lib/kernels.h"
#include "lib/kv_b.h"
#include "lib/matrix.h"

#define TILES_MAX 4 // of cl/attend_queries.cl
#define STRIP 4     // vectors

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

bool attend_absorb_apart(const clmla_plan *plan, const clmla_attend_params *params) {
    (void)params;
    return plan->attend->method != VARIANT_VECTOR;
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

static host_launch begin(const attend_job *job, const char *kernel) {
    clmla_plan *plan = job->plan;
    char options[OPTIONS_MAX];
    operation_options(options, plan->context, plan->attend, matrix_element(job->params->absorb->kv_b.type), NULL);
    host_launch launch =
        host_launch_begin(&plan->context->host, "attend", &clmla_source_attend_queries, options, kernel);
    host_arg_buffer(&launch, job->query.memory);
    host_arg_buffer(&launch, job->query_rope.memory);
    host_arg_buffer(&launch, plan->step);
    return launch;
}

clmla_status attend_absorb_run(attend_job *job) {
    clmla_plan *plan = job->plan;
    const clmla_row_layout *layout = &plan->params.layout;
    uint64_t tokens = plan->extent.query_tokens, heads = plan->params.head_count,
             width = (uint64_t)layout->latent_dim + layout->rope_dim;
    cl_mem absorbed = NULL;
    STATUS_OR_RETURN(
        plan_workspace_get(&absorbed, plan, PLAN_WORKSPACE_ABSORB, tokens * heads * width * sizeof(float)));
    host_launch launch = begin(job, "attend_absorb");
    weights_arguments(&launch, job->params->absorb);
    host_arg_buffer(&launch, absorbed);
    host_arg_bytes(&launch, sizeof job->call, &job->call);
    size_t global[3] = {width, heads, tokens};
    STATUS_OR_RETURN(operation_launch_items(&launch, job->chain, 3, global));
    attend_job_queries(job, (clmla_buffer){absorbed, 0}, heads * width, width);
    return CLMLA_OK;
}

clmla_status attend_absorb_pack(attend_job *job, float factor) {
    clmla_plan *plan = job->plan;
    uint64_t strip = (uint64_t)STRIP * plan->rules.pack_rows, latent = plan->params.layout.latent_dim,
             tokens = plan->extent.query_tokens;
    // With one kv head and heads that fill whole tiles, tile i of every token holds the same heads.
    bool aligned = plan->group_heads == plan->params.head_count && plan->group_heads % plan->rules.pack_rows == 0;
    uint64_t tile_step = aligned ? plan->group_heads / plan->rules.pack_rows : 0;
    host_launch launch = begin(job, "attend_pack_absorb");
    host_arg_buffer(&launch, job->space.memory);
    weights_arguments(&launch, job->params->absorb);
    host_arg_int(&launch, (int32_t)tile_step);
    host_arg_float(&launch, factor);
    host_arg_bytes(&launch, sizeof job->call, &job->call);
    size_t global[2] = {aligned ? tile_step * ((tokens + TILES_MAX - 1) / TILES_MAX) : plan->grid_tiles,
                        (latent + strip - 1) / strip + 1},
           local[2] = {1, 1};
    return host_launch_enqueue(&launch, job->chain, 2, global, local);
}
