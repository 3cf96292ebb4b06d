// SPDX-License-Identifier: Apache-2.0
#include "lib/attend.h"
#include "host/error.h"
#include "host/instruction_dot.h"
#include "host/instruction_matrix.h"
#include "host/instruction_ring.h"
#include "host/instruction_wgmma.h"
#include "lib/context.h"
#include "lib/kernels.h"
#include "lib/rows.h"
#include <stdio.h>

static int64_t elements(uint64_t bytes) {
    return (int64_t)(bytes / sizeof(int32_t));
}

static void call_plan(attend_call *call, const clmla_plan *plan) {
    const plan_offsets *at = &plan->offsets;
    const plan_space *space = &plan->space;
    const clmla_context_parallel *parallel = &plan->params.parallel;
    call->header = elements(at->header);
    call->parts = elements(at->parts);
    call->works = elements(at->works);
    call->items = elements(at->items);
    call->tiles = elements(at->tiles);
    call->packed = elements(space->packed);
    call->sums = elements(space->sums);
    call->states = elements(space->states);
    call->state_lse = elements(space->state_lse);
    call->state_max = elements(space->state_max);
    call->latent_dim = (int32_t)plan->params.layout.latent_dim;
    call->rope_dim = (int32_t)plan->params.layout.rope_dim;
    call->value_dim = (int32_t)plan->value_dim;
    call->sum_rows = (int32_t)plan_sum_rows(plan);
    call->head_count = (int32_t)plan->params.head_count;
    call->group_heads = (int32_t)plan->group_heads;
    call->full = plan->params.full;
    call->units = (int32_t)plan->rules.units;
    call->window = plan->params.window;
    call->rank = (int32_t)parallel->rank;
    call->world = parallel->world ? (int32_t)parallel->world : 1;
    call->interleave = parallel->interleave ? (int32_t)parallel->interleave : 1;
}

static void call_results(attend_call *call, const clmla_plan *plan, const clmla_attend_params *params) {
    uint64_t heads = plan->params.head_count, token = params->output_token_stride, head = params->output_head_stride;
    attend_dense_strides(&token, &head, heads, plan->value_dim);
    call->output_type = (int32_t)attend_type(params->output_type);
    call->output = (int64_t)params->output.offset;
    call->output_token = (int64_t)token;
    call->output_head = (int64_t)head;
    token = params->lse_token_stride, head = params->lse_head_stride;
    attend_dense_strides(&token, &head, heads, 1);
    call->lse_base2 = params->lse_base == CLMLA_LSE_BASE2;
    call->lse = elements(params->lse.offset);
    call->max_logit = elements(params->max_logit.offset);
    call->lse_token = (int64_t)token;
    call->lse_head = (int64_t)head;
    call->sink = elements(params->sink.offset);
}

// The rotated values lie behind the others of their head, or in a tensor of their own.
static void call_queries(attend_job *job) {
    const clmla_attend_params *params = job->params;
    attend_call *call = &job->call;
    uint64_t plain = params->absorb ? params->absorb->nope_dim : job->plan->params.layout.latent_dim,
             token = params->query_token_stride, head = params->query_head_stride,
             rope = params->query_rope_token_stride, rope_head = params->query_rope_head_stride;
    bool apart = params->query_rope.memory != NULL;
    attend_dense_strides(&token, &head, job->plan->params.head_count,
                         apart ? plain : plain + job->plan->params.layout.rope_dim);
    attend_dense_strides(&rope, &rope_head, job->plan->params.head_count, job->plan->params.layout.rope_dim);
    job->query = params->query;
    job->query_rope = apart ? params->query_rope : params->query;
    call->query_type = (int32_t)attend_type(params->query_type);
    call->query = (int64_t)params->query.offset;
    call->query_token = (int64_t)token;
    call->query_head = (int64_t)head;
    call->query_rope = (int64_t)(apart ? params->query_rope.offset
                                       : params->query.offset + plain * clmla_type_bytes((clmla_type)call->query_type));
    call->query_rope_token = (int64_t)(apart ? rope : token);
    call->query_rope_head = (int64_t)(apart ? rope_head : head);
}

void attend_job_queries(attend_job *job, clmla_buffer query, uint64_t token_stride, uint64_t head_stride) {
    attend_call *call = &job->call;
    job->query = job->query_rope = query;
    call->query_type = CLMLA_TYPE_F32;
    call->query = (int64_t)query.offset;
    call->query_rope = (int64_t)(query.offset + job->plan->params.layout.latent_dim * sizeof(float));
    call->query_token = call->query_rope_token = (int64_t)token_stride;
    call->query_head = call->query_rope_head = (int64_t)head_stride;
}

static attend_job begin(clmla_plan *plan, const clmla_attend_params *params, host_chain *chain) {
    attend_job job = {.plan = plan, .params = params, .chain = chain, .table = attend_find_table(plan, params)};
    attend_call *call = &job.call;
    call_plan(call, plan);
    call_results(call, plan, params);
    call_queries(&job);
    call->table = elements(job.table.table.offset);
    call->table_stride = (int64_t)job.table.stride;
    call->table_count = (int64_t)job.table.count;
    call->indptr = elements(job.table.indptr.offset);
    call->page_rows = elements(job.table.page_rows.offset);
    call->page_deltas = elements(job.table.page_deltas.offset);
    call->turns = (int64_t)(job.table.turns.offset / sizeof(uint64_t));
    call->scale = params->softmax_scale;
    call->softcap = params->softcap;
    return job;
}

// Whether a query token of a sequence has so few rows that attend_vector takes them another way
// (cl/common/attend_few.clh).
static const char *few_rows_option(const clmla_plan *plan) {
    uint32_t kv_heads = plan->params.kv_head_count ? plan->params.kv_head_count : 1;
    bool few = plan->attend->method == VARIANT_VECTOR && plan->params.head_count / kv_heads <= ATTEND_FEW_ROWS;
    return few ? " -DHAS_FEW_ROWS" : "";
}

clmla_status attend_options(char options[OPTIONS_MAX], const clmla_plan *plan, bool lists) {
    const clmla_row_layout *layout = &plan->params.layout;
    const char *sparse = lists ? "-DSPARSE" : "";
    const char *exact = plan->params.compute == CLMLA_COMPUTE_EXACT ? "-DEXACT " : "";
    const attend_tile *tile = &plan->tile;
    char more[OPTIONS_MAX], dims[80], width[32] = "";
    snprintf(dims, sizeof dims, "-DLATENT_DIM=%u -DROPE_DIM=%u -DVALUE_DIM=%u", layout->latent_dim, layout->rope_dim,
             plan->value_dim);
    if (variant_has_vectors(plan->attend))
        snprintf(more, sizeof more, "%s -DBLOCK_TOKENS=%u -DROW_TILE=%u %s%s%s", dims, plan->rules.block_tokens,
                 plan->rules.row_tile, sparse, few_rows_option(plan),
                 host_dot_option(host_instruction_form(&plan->context->host, plan->attend->instruction)));
    else if (plan->attend->method == VARIANT_MATRIX)
        snprintf(more, sizeof more, "%s %s -DTILE_GROUP=%u -DROW_TILE=%u -DKEY_TILE=%u -DPARTIALS=%u %s%s",
                 host_matrix_find(&plan->context->host.facts)->option, dims, tile->group, tile->row_tile,
                 tile->key_tile, tile->partials, exact, sparse);
    else if (plan->attend->method == VARIANT_MATRIX_RING)
        snprintf(more, sizeof more, "%s %s -DKEY_TILE=%u -DSTAGES=%u %s%s",
                 host_ring_option(host_ring_find(&plan->context->host.facts)), dims, tile->key_tile, tile->stages,
                 exact, sparse);
    else if (plan->attend->method == VARIANT_WGMMA)
        snprintf(more, sizeof more, "%s %s %s%s", host_wgmma_option(host_wgmma_find(&plan->context->host.facts)), dims,
                 exact, sparse);
    else if (plan->attend->method == VARIANT_TILE) {
        if (tile->sub_group) snprintf(width, sizeof width, "-DSUB_GROUP=%u ", tile->sub_group);
        snprintf(more, sizeof more, "%s -DTILE_GROUP=%u -DROW_TILE=%u -DKEY_TILE=%u -DSCORE_ROWS=%u -DPARTIALS=%u %s%s",
                 dims, tile->group, tile->row_tile, tile->key_tile, tile->score_rows, tile->partials, width, sparse);
    } else
        snprintf(more, sizeof more, "%s", sparse);
    return operation_options(options, plan->context, plan->attend, rows_option(layout->format), more);
}

static clmla_status specialise(char options[OPTIONS_MAX], const attend_job *job) {
    return attend_options(options, job->plan, job->params->scope_count > 0);
}

static const char *pack_kernel(const variant *attend) {
    return attend->method == VARIANT_INT16_DOT  ? "attend_pack_int16"
           : attend->method == VARIANT_INT8_DOT ? "attend_pack_int8"
           : attend->method == VARIANT_BF16_DOT ? "attend_pack_bf16"
           : attend->method == VARIANT_AMX      ? "attend_pack_amx"
           : attend->method == VARIANT_TILE     ? "attend_pack_rows"
                                                : "attend_pack";
}

// Of the attend program itself, whose options say in which order a tile's values lie.
static const char *pack_matrix_kernel(const variant *attend, bool exact) {
    if (attend->method == VARIANT_WGMMA) return exact ? "attend_pack_wgmma_parts" : "attend_pack_wgmma";
    if (attend->method == VARIANT_MATRIX_RING) return exact ? "attend_pack_ring_parts" : "attend_pack_ring";
    return exact ? "attend_pack_matrix_parts" : "attend_pack_matrix";
}

static clmla_status launch_pack_matrix(attend_job *job) {
    clmla_plan *plan = job->plan;
    char options[OPTIONS_MAX];
    bool wgmma = plan->attend->method == VARIANT_WGMMA, exact = plan->params.compute == CLMLA_COMPUTE_EXACT;
    STATUS_OR_RETURN(specialise(options, job));
    host_launch launch = host_launch_begin(&plan->context->host, "attend", plan->attend->source, options,
                                           pack_matrix_kernel(plan->attend, exact));
    host_arg_buffer(&launch, job->query.memory);
    host_arg_buffer(&launch, job->query_rope.memory);
    host_arg_buffer(&launch, plan->step);
    host_arg_buffer(&launch, job->space.memory);
    host_arg_float(&launch, job->params->softmax_scale * LOG2_E);
    host_arg_bytes(&launch, sizeof job->call, &job->call);
    size_t per_value[3] = {(size_t)plan->tile.query_stride * 32, plan->tile.row_tile / 16, plan->grid_tiles};
    size_t per_pair[2] = {(size_t)plan->tile.query_stride * 2 * plan->tile.row_tile / 8, plan->grid_tiles};
    size_t group[2] = {plan->tile.group, 1}, per_group[2] = {group[0] * (wgmma ? 1 : per_value[1]), plan->grid_tiles};
    if (exact) return host_launch_enqueue(&launch, job->chain, 2, per_group, group);
    return wgmma ? operation_launch_items(&launch, job->chain, 2, per_pair)
                 : operation_launch_items(&launch, job->chain, 3, per_value);
}

static clmla_status launch_pack(attend_job *job) {
    if (variant_has_matrix_units(job->plan->attend)) return launch_pack_matrix(job);
    clmla_plan *plan = job->plan;
    char options[OPTIONS_MAX];
    STATUS_OR_RETURN(operation_options(options, plan->context, plan->attend, "ELEMENT_F32", NULL));
    bool rows = plan->attend->method == VARIANT_TILE;
    host_launch launch = host_launch_begin(&plan->context->host, "attend", &clmla_source_attend_queries, options,
                                           pack_kernel(plan->attend));
    host_arg_buffer(&launch, job->query.memory);
    host_arg_buffer(&launch, job->query_rope.memory);
    host_arg_buffer(&launch, plan->step);
    host_arg_buffer(&launch, job->space.memory);
    host_arg_float(&launch, job->params->softmax_scale * LOG2_E);
    if (rows) host_arg_int(&launch, (int32_t)plan->tile.row_tile);
    if (rows) host_arg_int(&launch, (int32_t)plan->tile.query_stride);
    host_arg_bytes(&launch, sizeof job->call, &job->call);
    size_t global = plan->grid_tiles, local = 1,
           per_value[3] = {plan->tile.query_stride, plan->tile.row_tile, plan->grid_tiles};
    if (rows) return operation_launch_items(&launch, job->chain, 3, per_value);
    return host_launch_enqueue(&launch, job->chain, 1, &global, &local);
}

static clmla_status prepare_queries(attend_job *job) {
    if (job->params->absorb) STATUS_OR_RETURN(attend_absorb_run(job));
    return job->plan->grid_tiles > 0 ? launch_pack(job) : CLMLA_OK;
}

// In the order of RESULT_ARGUMENTS in cl/common/result.clh.
static void results_arguments(host_launch *launch, const clmla_attend_params *params) {
    host_arg_buffer(launch, params->output.memory);
    host_arg_buffer(launch, params->lse.memory);
    host_arg_buffer(launch, params->max_logit.memory);
    host_arg_buffer(launch, params->sink.memory);
}

// One work-item a row. Groups of one width, whatever a step's rows: another width would be another compilation on PoCL.
#define ROW_GROUP 64

static clmla_status enqueue_rows(host_launch *launch, const attend_job *job, size_t count) {
    uint64_t most = job->plan->context->host.facts.max_group_size;
    size_t local[2] = {most > 0 && most < ROW_GROUP ? (size_t)most : ROW_GROUP, 1};
    size_t global[2] = {(job->plan->grid_rows + local[0] - 1) / local[0] * local[0], count};
    return host_launch_enqueue(launch, job->chain, 2, global, local);
}

static clmla_status launch_attend(attend_job *job) {
    const clmla_plan *plan = job->plan;
    char options[OPTIONS_MAX];
    STATUS_OR_RETURN(specialise(options, job));
    host_launch launch =
        host_launch_begin(&plan->context->host, "attend", plan->attend->source, options, plan->attend->source->name);
    host_arg_buffer(&launch, job->query.memory);
    host_arg_buffer(&launch, job->query_rope.memory);
    attend_keys_arguments(&launch, job);
    host_arg_buffer(&launch, plan->step);
    host_arg_buffer(&launch, job->space.memory);
    results_arguments(&launch, job->params);
    host_arg_bytes(&launch, sizeof job->call, &job->call);
    size_t units = plan->rules.units, local = 1,
           per_part = plan->grid_parts <= units ? plan->grid_parts : (plan->grid_parts + units - 1) / units * units;
    if (variant_has_vectors(plan->attend)) return host_launch_enqueue(&launch, job->chain, 1, &per_part, &local);
    if (variant_has_tiles(plan->attend)) {
        size_t group = plan->tile.group, items = group * plan->grid_parts;
        return host_launch_enqueue(&launch, job->chain, 1, &items, &group);
    }
    return enqueue_rows(&launch, job, plan->grid_parts);
}

#define MERGE_GROUP 128 // by 4 columns each: 512

static clmla_status launch_merge(attend_job *job) {
    const clmla_plan *plan = job->plan;
    char options[OPTIONS_MAX];
    STATUS_OR_RETURN(operation_options(options, plan->context, plan->attend, NULL, NULL));
    bool wide = variant_has_tiles(plan->attend);
    host_launch launch = host_launch_begin(&plan->context->host, "attend", &clmla_source_attend_merge, options,
                                           wide ? "attend_merge_wide" : "attend_merge");
    host_arg_buffer(&launch, plan->step);
    host_arg_buffer(&launch, job->space.memory);
    results_arguments(&launch, job->params);
    host_arg_bytes(&launch, sizeof job->call, &job->call);
    size_t global[2] = {plan->grid_rows, plan->grid_items}, local[2] = {1, 1};
    if (wide) {
        local[0] = plan->tile.group < MERGE_GROUP ? plan->tile.group : MERGE_GROUP;
        global[0] *= local[0];
        return host_launch_enqueue(&launch, job->chain, 2, global, local);
    }
    if (variant_has_vectors(plan->attend)) return host_launch_enqueue(&launch, job->chain, 2, global, local);
    return enqueue_rows(&launch, job, plan->grid_items);
}

clmla_status attend_enqueue_between(clmla_plan *plan, const clmla_attend_params *params, attend_neighbours neighbours,
                                    host_chain *chain) {
    STATUS_OR_RETURN(attend_check(plan, params, chain->recording != NULL));
    if (plan->extent.query_tokens == 0) return CLMLA_OK;
    attend_job job = begin(plan, params, chain);
    STATUS_OR_RETURN(plan_attend_space(&job.space.memory, plan));
    if (!neighbours.packed) STATUS_OR_RETURN(prepare_queries(&job));
    STATUS_OR_RETURN(launch_attend(&job));
    return plan->grid_items > 0 && !neighbours.merges ? launch_merge(&job) : CLMLA_OK;
}

clmla_status clmla_attend(clmla_plan *plan, const clmla_attend_params *params, cl_command_queue queue,
                          cl_uint wait_count, const cl_event *wait, cl_event *event) {
    host_chain chain;
    if (!plan || !params) return host_fail(NULL, CLMLA_E_ARGUMENT, 0, "attend: plan or params is NULL");
    STATUS_OR_RETURN(plan_chain_begin(&chain, plan, queue, wait_count, wait));
    clmla_status status = attend_enqueue_between(plan, params, (attend_neighbours){0}, &chain);
    return plan_chain_finish(&chain, plan, status, event);
}
