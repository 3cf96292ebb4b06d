// SPDX-License-Identifier: Apache-2.0
#include "host/error.h"
#include "host/memory.h"
#include "lib/context.h"
#include "lib/matrix.h"
#include "lib/operation.h"
#include "lib/plan.h"
#include "lib/rows.h"
#include <stdio.h>

#define SPACE_ALIGN 64u // bytes; a cache line, so that vectors of states do not straddle two

static clmla_status check_plan(const clmla_plan *plan, const clmla_attend_params *params) {
    const clmla_row_layout *a = &plan->params.layout, *b = &params->rows.layout;
    const clmla_log *log = &plan->context->host.log;
    if (!plan->ready) return host_fail(log, CLMLA_E_ARGUMENT, 0, "attend: the plan has no step: update it first");
    if (a->format != b->format || a->latent_dim != b->latent_dim || a->rope_dim != b->rope_dim)
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "attend: the plan is for %s rows of %u + %u, rows are %s of %u + %u",
                         clmla_row_format_name(a->format), a->latent_dim, a->rope_dim, clmla_row_format_name(b->format),
                         b->latent_dim, b->rope_dim);
    if (!(params->softmax_scale > 0.0f))
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "attend: softmax_scale must be above 0, not %g",
                         (double)params->softmax_scale);
    return CLMLA_OK;
}

// The page table the kernels read: the caller's, the plan's own, or none.
static clmla_status check_table(clmla_buffer *table, uint64_t *stride, const clmla_plan *plan,
                                const clmla_attend_params *params) {
    const clmla_log *log = &plan->context->host.log;
    const plan_schedule *schedule = &plan->schedule;
    uint64_t page_tokens = params->rows.page_tokens;
    *table = params->page_table;
    *stride = params->page_table_stride;
    if (!table->memory && plan->cache) {
        *table = (clmla_buffer){plan->step, plan->offsets.table};
        *stride = plan->table_stride;
        return CLMLA_OK;
    }
    if (!table->memory) {
        if (schedule->longest_kv > page_tokens)
            return host_fail(log, CLMLA_E_ARGUMENT, 0,
                             "attend: without a page table a sequence is one page of %llu keys, the longest has %u",
                             (unsigned long long)page_tokens, schedule->longest_kv);
        return CLMLA_OK;
    }
    if (schedule->longest_kv > 0 && *stride < (schedule->longest_kv + page_tokens - 1) / page_tokens)
        return host_fail(log, CLMLA_E_ARGUMENT, 0,
                         "attend: page_table_stride %llu: the longest sequence has %u keys, %llu a page",
                         (unsigned long long)*stride, schedule->longest_kv, (unsigned long long)page_tokens);
    if (*stride > INT64_MAX / 8 / (schedule->sequence_count ? schedule->sequence_count : 1))
        return host_fail(log, CLMLA_E_LIMIT, 0, "attend: page_table_stride %llu is too large",
                         (unsigned long long)*stride);
    return host_buffer_check(&plan->context->host, *table, schedule->sequence_count * *stride * sizeof(int32_t),
                             sizeof(int32_t), "attend", "page_table");
}

static clmla_status check(const clmla_plan *plan, const clmla_attend_params *params) {
    clmla_context *context = plan->context;
    uint64_t tokens = plan->schedule.query_tokens, heads = plan->params.head_count;
    uint64_t latent = params->rows.layout.latent_dim, width = latent + params->rows.layout.rope_dim;
    STATUS_OR_RETURN(check_plan(plan, params));
    STATUS_OR_RETURN(rows_check(context, &params->rows, "attend"));
    STATUS_OR_RETURN(operation_check_heads(context, params->query, tokens, params->query_token_stride, heads,
                                           params->query_head_stride, width, "attend", "query"));
    STATUS_OR_RETURN(operation_check_rows(context, params->output, tokens * heads, latent, latent, "attend", "output"));
    if (!params->lse.memory) return CLMLA_OK;
    return operation_check_rows(context, params->lse, tokens * heads, 1, 1, "attend", "lse");
}

// The workspace of one step: packed queries, partial states, their log-sum-exps.
typedef struct attend_space {
    clmla_buffer packed, states, state_lse;
} attend_space;

static clmla_status find_space(attend_space *out, clmla_plan *plan) {
    const plan_schedule *schedule = &plan->schedule;
    uint64_t latent = plan->params.layout.latent_dim, width = latent + plan->params.layout.rope_dim;
    uint64_t packed = (uint64_t)schedule->tile_count * plan->rules.pack_rows * width * sizeof(float);
    uint64_t pairs = (uint64_t)schedule->state_count * plan->params.head_count;
    uint64_t states = pairs * latent * sizeof(float);
    packed = (packed + SPACE_ALIGN - 1) / SPACE_ALIGN * SPACE_ALIGN;
    *out = (attend_space){0};
    if (packed + states == 0) return CLMLA_OK;
    cl_mem memory;
    STATUS_OR_RETURN(plan_workspace_get(&memory, plan, PLAN_WORKSPACE_ATTEND, packed + states + pairs * sizeof(float)));
    out->packed = (clmla_buffer){memory, 0};
    out->states = (clmla_buffer){memory, packed};
    out->state_lse = (clmla_buffer){memory, packed + states};
    return CLMLA_OK;
}

static void specialise(char options[OPTIONS_MAX], const clmla_plan *plan) {
    const clmla_row_layout *layout = &plan->params.layout;
    char more[160];
    snprintf(more, sizeof more, "-DLATENT_DIM=%u -DROPE_DIM=%u -DBLOCK_TOKENS=%u -DROW_TILE=%u", layout->latent_dim,
             layout->rope_dim, plan->rules.block_tokens, plan->rules.row_tile);
    operation_options(options, plan->context, plan->attend, rows_element(layout->format),
                      plan->attend->method == VARIANT_VECTOR ? more : NULL);
}

static clmla_status launch_pack(clmla_plan *plan, const clmla_attend_params *params, const attend_space *space,
                                const char *options, host_chain *chain) {
    host_launch launch =
        host_launch_begin(&plan->context->host, "attend", plan->attend->source, options, "attend_vector_pack");
    operation_argument_f32(&launch, params->query);
    host_arg_long(&launch, (int64_t)params->query_token_stride);
    host_arg_long(&launch, (int64_t)params->query_head_stride);
    operation_argument_f32(&launch, (clmla_buffer){plan->step, plan->offsets.tiles});
    host_arg_int(&launch, (int32_t)plan->schedule.tile_count);
    host_arg_float(&launch, params->softmax_scale);
    host_arg_int(&launch, (int32_t)plan->params.head_count);
    operation_argument_f32(&launch, space->packed);
    size_t global = plan->schedule.tile_count, local = 1;
    return host_launch_enqueue(&launch, chain, 1, &global, &local);
}

static clmla_status launch_attend(clmla_plan *plan, const clmla_attend_params *params, const attend_space *space,
                                  clmla_buffer table, uint64_t table_stride, const char *options, host_chain *chain) {
    bool vector = plan->attend->method == VARIANT_VECTOR;
    host_launch launch =
        host_launch_begin(&plan->context->host, "attend", plan->attend->source, options, plan->attend->source->name);
    operation_argument_f32(&launch, params->query);
    host_arg_long(&launch, (int64_t)params->query_token_stride);
    host_arg_long(&launch, (int64_t)params->query_head_stride);
    rows_arguments(&launch, &params->rows);
    host_arg_int(&launch, (int32_t)params->rows.page_tokens);
    host_arg_long(&launch, (int64_t)params->rows.page_count);
    operation_argument_f32(&launch, table); // int32: 4 bytes as well
    host_arg_long(&launch, (int64_t)table_stride);
    operation_argument_f32(&launch, (clmla_buffer){plan->step, plan->offsets.works});
    host_arg_int(&launch, (int32_t)plan->schedule.work_count);
    host_arg_float(&launch, params->softmax_scale);
    host_arg_int(&launch, plan->params.full);
    operation_argument_f32(&launch, params->output);
    operation_argument_f32(&launch, params->lse);
    operation_argument_f32(&launch, space->states);
    operation_argument_f32(&launch, space->state_lse);
    host_arg_int(&launch, (int32_t)params->rows.layout.latent_dim);
    host_arg_int(&launch, (int32_t)params->rows.layout.rope_dim);
    host_arg_int(&launch, (int32_t)plan->params.head_count);
    if (vector) operation_argument_f32(&launch, space->packed);
    size_t per_row[2] = {plan->schedule.most_rows, plan->schedule.work_count};
    size_t per_work = plan->schedule.work_count, local = 1;
    if (vector) return host_launch_enqueue(&launch, chain, 1, &per_work, &local);
    return operation_launch_items(&launch, chain, 2, per_row);
}

static clmla_status launch_merge(clmla_plan *plan, const clmla_attend_params *params, const attend_space *space,
                                 host_chain *chain) {
    merge_work work = {
        .states = space->states,
        .lse = space->state_lse,
        .items = {plan->step, plan->offsets.items},
        .output = params->output,
        .output_lse = params->lse,
        .state_stride = 1,
        .item_count = plan->schedule.item_count,
        .head_count = plan->params.head_count,
        .width = params->rows.layout.latent_dim,
    };
    return merge_launch(plan->context, &work, chain);
}

clmla_status attend_enqueue(clmla_plan *plan, const clmla_attend_params *params, host_chain *chain) {
    clmla_buffer table;
    uint64_t table_stride;
    attend_space space;
    char options[OPTIONS_MAX];
    STATUS_OR_RETURN(check(plan, params));
    STATUS_OR_RETURN(check_table(&table, &table_stride, plan, params));
    if (plan->schedule.query_tokens == 0) return CLMLA_OK;
    STATUS_OR_RETURN(find_space(&space, plan));
    specialise(options, plan);
    if (plan->schedule.tile_count) STATUS_OR_RETURN(launch_pack(plan, params, &space, options, chain));
    STATUS_OR_RETURN(launch_attend(plan, params, &space, table, table_stride, options, chain));
    return plan->schedule.item_count ? launch_merge(plan, params, &space, chain) : CLMLA_OK;
}

clmla_status clmla_attend(clmla_plan *plan, const clmla_attend_params *params, cl_command_queue queue,
                          cl_uint wait_count, const cl_event *wait, cl_event *event) {
    host_chain chain;
    if (!plan || !params) return host_fail(NULL, CLMLA_E_ARGUMENT, 0, "attend: plan or params is NULL");
    STATUS_OR_RETURN(plan_chain_begin(&chain, plan, queue, wait_count, wait));
    return plan_chain_finish(&chain, plan, attend_enqueue(plan, params, &chain), event);
}
