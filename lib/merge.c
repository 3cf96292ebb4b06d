// SPDX-License-Identifier: Apache-2.0
#include "cl/common/merge_call.h"
#include "host/error.h"
#include "host/memory.h"
#include "lib/group.h"
#include "lib/operation.h"
#include "lib/tensor.h"

#define NAIVE_GROUP 64u // work-items a (token, head)

// Values or log-sum-exps of n states: strides in elements.
typedef struct merge_strides {
    uint64_t state, token, head;
} merge_strides;

// Both calls, with every stride given. State 0 is `first`, the others begin at `rest`; clmla_merge has them in one
// tensor.
typedef struct merge_job {
    const char *operation;
    uint32_t state_count, token_count, head_count, width;
    clmla_type type;
    clmla_lse_base lse_base;
    clmla_buffer first, rest, first_lse, rest_lse, mask, output, output_lse;
    merge_strides states, lse, out, out_lse; // .state of outputs is unused
    const char *variant;
} merge_job;

static clmla_status check_numbers(clmla_context *context, merge_job *job) {
    const clmla_log *log = &context->host.log;
    const char *op = job->operation;
    if (job->state_count == 0 || job->width == 0)
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "%s: state_count %u, width %u: both must be at least 1", op,
                         job->state_count, job->width);
    STATUS_OR_RETURN(tensor_type(&job->type, context, job->type, op, "type"));
    if (job->lse_base != CLMLA_LSE_NATURAL && job->lse_base != CLMLA_LSE_BASE2)
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "%s: lse_base %d is no base", op, (int)job->lse_base);
    STATUS_OR_RETURN(operation_check_count(context, job->state_count, op, "state_count"));
    STATUS_OR_RETURN(operation_check_count(context, (uint64_t)job->token_count * job->head_count, op, "rows"));
    return operation_check_count(context, job->width, op, "width");
}

static clmla_status check_tensor(clmla_context *context, const merge_job *job, clmla_buffer buffer, uint32_t bytes,
                                 uint64_t states, uint64_t width, merge_strides strides, const char *name) {
    tensor_dim dims[] = {{"state", states, strides.state},
                         {"token", job->token_count, strides.token},
                         {"head", job->head_count, strides.head}};
    return tensor_check(context, buffer, bytes, width, dims, 3, job->operation, name);
}

// A tensor that is written over what it is read from must lie exactly as that does.
static clmla_status check_in_place(clmla_context *context, const merge_job *job, clmla_buffer out, merge_strides a,
                                   clmla_buffer in, merge_strides b, const char *name) {
    bool tokens_differ = job->token_count > 1 && a.token != b.token;
    bool heads_differ = job->head_count > 1 && a.head != b.head;
    if (!out.memory || out.memory != in.memory || out.offset != in.offset || (!tokens_differ && !heads_differ))
        return CLMLA_OK;
    return host_fail(&context->host.log, CLMLA_E_ARGUMENT, 0,
                     "%s: %s in place of the first state has strides %llu and %llu, the state %llu and %llu",
                     job->operation, name, (unsigned long long)a.token, (unsigned long long)a.head,
                     (unsigned long long)b.token, (unsigned long long)b.head);
}

static clmla_status check_outputs(clmla_context *context, const merge_job *job) {
    uint32_t bytes = (uint32_t)clmla_type_bytes(job->type);
    STATUS_OR_RETURN(check_tensor(context, job, job->output, bytes, 1, job->width, job->out, "output"));
    STATUS_OR_RETURN(check_in_place(context, job, job->output, job->out, job->first, job->states, "output"));
    if (job->mask.memory)
        STATUS_OR_RETURN(host_buffer_check(&context->host, job->mask, job->token_count, 1, job->operation, "mask"));
    if (!job->output_lse.memory) return CLMLA_OK;
    STATUS_OR_RETURN(check_tensor(context, job, job->output_lse, sizeof(float), 1, 1, job->out_lse, "output_lse"));
    return check_in_place(context, job, job->output_lse, job->out_lse, job->first_lse, job->lse, "output_lse");
}

static merge_call call_of(const merge_job *job) {
    return (merge_call){
        .first = (int64_t)job->first.offset,
        .rest = (int64_t)job->rest.offset,
        .state_stride = (int64_t)job->states.state,
        .token_stride = (int64_t)job->states.token,
        .head_stride = (int64_t)job->states.head,
        .first_lse = (int64_t)(job->first_lse.offset / sizeof(float)),
        .rest_lse = (int64_t)(job->rest_lse.offset / sizeof(float)),
        .lse_state_stride = (int64_t)job->lse.state,
        .lse_token_stride = (int64_t)job->lse.token,
        .lse_head_stride = (int64_t)job->lse.head,
        .output = (int64_t)job->output.offset,
        .output_token_stride = (int64_t)job->out.token,
        .output_head_stride = (int64_t)job->out.head,
        .output_lse = (int64_t)(job->output_lse.offset / sizeof(float)),
        .output_lse_token_stride = (int64_t)job->out_lse.token,
        .output_lse_head_stride = (int64_t)job->out_lse.head,
        .mask = (int64_t)job->mask.offset,
        .type = (int32_t)job->type,
        .base2 = job->lse_base == CLMLA_LSE_BASE2,
        .state_count = (int32_t)job->state_count,
        .token_count = (int32_t)job->token_count,
        .head_count = (int32_t)job->head_count,
        .width = (int32_t)job->width,
    };
}

static clmla_status launch(clmla_context *context, const merge_job *job, const variant *chosen, host_chain *chain) {
    merge_call call = call_of(job);
    char options[OPTIONS_MAX];
    STATUS_OR_RETURN(operation_options(options, context, chosen, NULL, NULL));
    host_launch launch = host_launch_begin(&context->host, "merge", chosen->source, options, chosen->source->name);
    host_arg_buffer(&launch, job->first.memory);
    host_arg_buffer(&launch, job->rest.memory);
    host_arg_buffer(&launch, job->first_lse.memory);
    host_arg_buffer(&launch, job->rest_lse.memory);
    host_arg_buffer(&launch, job->mask.memory);
    host_arg_buffer(&launch, job->output.memory);
    host_arg_buffer(&launch, job->output_lse.memory);
    host_arg_bytes(&launch, sizeof call, &call);
    size_t per_pair[2] = {job->head_count, job->token_count}, alone[2] = {1, 1};
    size_t group_local[2] = {group_size(&context->host.facts), 1};
    size_t grouped[2] = {group_local[0] * per_pair[0], per_pair[1]};
    if (chosen->method == VARIANT_VECTOR) return host_launch_enqueue(&launch, chain, 2, per_pair, alone);
    if (chosen->method == VARIANT_GROUP) return host_launch_enqueue(&launch, chain, 2, grouped, group_local);
    uint64_t most = context->host.facts.max_group_size;
    size_t group = most > 0 && most < NAIVE_GROUP ? (size_t)most : NAIVE_GROUP;
    size_t global = group * job->token_count * job->head_count;
    return host_launch_enqueue(&launch, chain, 1, &global, &group);
}

// Inputs that lie in one tensor or in two are checked by the callers.
static clmla_status run(clmla_context *context, merge_job *job, host_chain *chain) {
    const variant *chosen;
    clmla_shape shape = {.latent_dim = job->width, .head_count = job->head_count, .row_count = job->token_count};
    STATUS_OR_RETURN(check_outputs(context, job));
    STATUS_OR_RETURN(variant_choose(&chosen, context, CLMLA_OP_MERGE, &shape, job->variant));
    if (job->token_count == 0 || job->head_count == 0) return CLMLA_OK;
    return launch(context, job, chosen, chain);
}

// All strides 0 stand for a dense tensor [states][tokens][heads][width].
static merge_strides strides_or_dense(uint64_t state, uint64_t token, uint64_t head, const merge_job *job,
                                      uint64_t width) {
    if (state != 0 || token != 0 || head != 0) return (merge_strides){state, token, head};
    return (merge_strides){job->token_count * job->head_count * width, job->head_count * width, width};
}

// Where states 1 and on begin, if there are any.
static clmla_buffer rest_of(clmla_buffer states, const merge_job *job, uint64_t stride, uint64_t bytes) {
    return job->state_count < 2 ? states : (clmla_buffer){states.memory, states.offset + stride * bytes};
}

static clmla_status merge_enqueue(clmla_context *context, const clmla_merge_params *params, host_chain *chain) {
    const clmla_merge_params *p = params;
    merge_job job = {
        .operation = "merge",
        .state_count = p->state_count,
        .token_count = p->token_count,
        .head_count = p->head_count,
        .width = p->width,
        .type = p->type,
        .lse_base = p->lse_base,
        .first = p->states,
        .first_lse = p->lse,
        .mask = p->mask,
        .output = p->output,
        .output_lse = p->output_lse,
        .variant = p->variant,
    };
    STATUS_OR_RETURN(check_numbers(context, &job));
    job.states = strides_or_dense(p->state_stride, p->token_stride, p->head_stride, &job, p->width);
    job.lse = strides_or_dense(p->lse_state_stride, p->lse_token_stride, p->lse_head_stride, &job, 1);
    job.out = strides_or_dense(0, p->output_token_stride, p->output_head_stride, &job, p->width);
    job.out_lse = strides_or_dense(0, p->output_lse_token_stride, p->output_lse_head_stride, &job, 1);
    uint32_t bytes = (uint32_t)clmla_type_bytes(job.type);
    STATUS_OR_RETURN(check_tensor(context, &job, p->states, bytes, p->state_count, p->width, job.states, "states"));
    STATUS_OR_RETURN(check_tensor(context, &job, p->lse, sizeof(float), p->state_count, 1, job.lse, "lse"));
    job.rest = rest_of(p->states, &job, job.states.state, bytes);
    job.rest_lse = rest_of(p->lse, &job, job.lse.state, sizeof(float));
    return run(context, &job, chain);
}

static clmla_status merge_pair_enqueue(clmla_context *context, const clmla_merge_pair_params *params,
                                       host_chain *chain) {
    const clmla_merge_pair_params *p = params;
    merge_job job = {
        .operation = "merge_pair",
        .state_count = 2,
        .token_count = p->token_count,
        .head_count = p->head_count,
        .width = p->width,
        .type = p->type,
        .lse_base = p->lse_base,
        .first = p->a,
        .rest = p->b,
        .first_lse = p->a_lse,
        .rest_lse = p->b_lse,
        .mask = p->mask,
        .output = p->output,
        .output_lse = p->output_lse,
        .variant = p->variant,
    };
    STATUS_OR_RETURN(check_numbers(context, &job));
    job.states = job.out = strides_or_dense(0, 0, 0, &job, p->width);
    job.lse = job.out_lse = strides_or_dense(0, 0, 0, &job, 1);
    uint32_t bytes = (uint32_t)clmla_type_bytes(job.type);
    STATUS_OR_RETURN(check_tensor(context, &job, p->a, bytes, 1, p->width, job.states, "a"));
    STATUS_OR_RETURN(check_tensor(context, &job, p->b, bytes, 1, p->width, job.states, "b"));
    STATUS_OR_RETURN(check_tensor(context, &job, p->a_lse, sizeof(float), 1, 1, job.lse, "a_lse"));
    STATUS_OR_RETURN(check_tensor(context, &job, p->b_lse, sizeof(float), 1, 1, job.lse, "b_lse"));
    return run(context, &job, chain);
}

clmla_status clmla_merge(clmla_context *context, const clmla_merge_params *params, cl_command_queue queue,
                         cl_uint wait_count, const cl_event *wait, cl_event *event) {
    host_chain chain;
    STATUS_OR_RETURN(operation_begin(&chain, context, params, "merge", queue, wait_count, wait, event));
    return host_chain_finish(&chain, merge_enqueue(context, params, &chain), event);
}

clmla_status clmla_merge_pair(clmla_context *context, const clmla_merge_pair_params *params, cl_command_queue queue,
                              cl_uint wait_count, const cl_event *wait, cl_event *event) {
    host_chain chain;
    STATUS_OR_RETURN(operation_begin(&chain, context, params, "merge_pair", queue, wait_count, wait, event));
    return host_chain_finish(&chain, merge_pair_enqueue(context, params, &chain), event);
}
