// SPDX-License-Identifier: Apache-2.0
// One step of a layer: project, norm, rotate, append, absorb, attend, output, on one chain.
#include "host/error.h"
#include "host/memory.h"
#include "host/recording.h"
#include "lib/cache.h"
#include "lib/layer.h"
#include "lib/operation.h"
#include "lib/plan.h"

#define SPACE_ALIGN 64u

// [T][stride] f32 in the workspace, T = tokens.
typedef struct step_rows {
    clmla_buffer memory;
    uint64_t stride;
} step_rows;

// Everything one step works with. Rows of the workspace:
//   q_a [q_lora]   q [H·(N+R)]   row [L+R]   query [H][L+R]   attended [H][L]   heads [H·V]
// Where the layer's input matrices are one, so are the rows it writes: q_a, or q, and then row.
typedef struct layer_step {
    const clmla_layer *layer;
    clmla_context *context;
    clmla_plan *plan;
    const clmla_cache *cache;
    uint32_t tokens;
    clmla_buffer input, output;
    step_rows q_a, q, row, query, attended, heads, joint;
} layer_step;

static step_rows place(uint64_t *end, uint64_t tokens, uint64_t width) {
    step_rows rows = {.memory = {NULL, *end}, .stride = width};
    *end = (*end + tokens * width * sizeof(float) + SPACE_ALIGN - 1) / SPACE_ALIGN * SPACE_ALIGN;
    return rows;
}

static clmla_buffer at(step_rows rows, uint64_t elements) {
    return (clmla_buffer){rows.memory.memory, rows.memory.offset + elements * sizeof(float)};
}

static clmla_status find_space(layer_step *step) {
    const clmla_layer *layer = step->layer;
    const clmla_config *c = &layer->config;
    uint64_t tokens = step->tokens, heads = layer->head_count, end = 0;
    uint64_t width = (uint64_t)c->kv_lora_rank + c->qk_rope_head_dim;
    step_rows *upper = c->q_lora_rank ? &step->q_a : &step->q;
    step->q_a = place(&end, layer->joint.rows ? 0 : tokens, c->q_lora_rank);
    step->q = place(&end, tokens, heads * (c->qk_nope_head_dim + c->qk_rope_head_dim));
    step->row = place(&end, layer->joint.rows ? 0 : tokens, width);
    step->joint = place(&end, tokens, layer->joint.rows);
    step->query = place(&end, tokens, heads * width);
    step->attended = place(&end, tokens, heads * c->kv_lora_rank);
    step->heads = place(&end, tokens, heads * c->v_head_dim);
    if (layer->joint.rows) {
        *upper = step->row = step->joint;
        step->row.memory = at(step->joint, layer->joint.rows - width);
    }
    cl_mem memory;
    STATUS_OR_RETURN(plan_workspace_get(&memory, step->plan, PLAN_WORKSPACE_LAYER, end));
    step_rows *all[] = {&step->q_a, &step->q, &step->row, &step->query, &step->attended, &step->heads, &step->joint};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) all[i]->memory.memory = memory;
    return CLMLA_OK;
}

static clmla_status project(const layer_step *step, const clmla_matrix *matrix, step_rows input, step_rows output,
                            host_chain *chain) {
    clmla_project_params params = {
        .matrix = *matrix,
        .row_count = step->tokens,
        .input = input.memory,
        .input_stride = input.stride,
        .output = output.memory,
        .output_stride = output.stride,
    };
    return project_enqueue(step->context, &params, chain);
}

// The new tokens through q_a_proj or q_proj, and through kv_a_proj.
static clmla_status project_input(const layer_step *step, host_chain *chain) {
    const clmla_layer *layer = step->layer;
    step_rows input = {step->input, layer->config.hidden_size};
    if (layer->joint.rows) return project(step, &layer->joint, input, step->joint, chain);
    STATUS_OR_RETURN(layer->config.q_lora_rank ? project(step, &layer->q_a, input, step->q_a, chain)
                                               : project(step, &layer->q, input, step->q, chain));
    return project(step, &layer->kv_a, input, step->row, chain);
}

static clmla_status make_queries(const layer_step *step, host_chain *chain) {
    const clmla_layer *layer = step->layer;
    if (layer->config.q_lora_rank == 0) return CLMLA_OK;
    clmla_rms_norm_params params = {
        .row_count = step->tokens,
        .width = layer->config.q_lora_rank,
        .input = step->q_a.memory,
        .input_stride = step->q_a.stride,
        .weight = layer->q_a_norm,
        .epsilon = layer->config.latent_norm_eps,
        .output = step->q_a.memory,
        .output_stride = step->q_a.stride,
    };
    STATUS_OR_RETURN(rms_norm_enqueue(step->context, &params, chain));
    return project(step, &layer->q, step->q_a, step->q, chain);
}

// Rotates heads whose pairs stand as in the weights into the cache's order.
static clmla_status rotate(const layer_step *step, uint32_t heads, clmla_buffer input, uint64_t input_stride,
                           uint64_t input_head, clmla_buffer output, uint64_t output_stride, uint64_t output_head,
                           host_chain *chain) {
    const clmla_config *config = &step->layer->config;
    if (config->qk_rope_head_dim == 0) return CLMLA_OK;
    clmla_rope_params params = {
        .token_count = step->tokens,
        .head_count = heads,
        .rope_dim = config->qk_rope_head_dim,
        .input = input,
        .input_token_stride = input_stride,
        .input_head_stride = input_head,
        .output = output,
        .output_token_stride = output_stride,
        .output_head_stride = output_head,
        .table = {step->plan->step, step->plan->offsets.angles},
        .table_rows = step->tokens,
        .input_order = config->rope_order,
        .output_order = step->cache->layout.rope_order,
    };
    return rope_enqueue(step->context, &params, chain);
}

static clmla_status append_rows(const layer_step *step, const clmla_rows *rows, host_chain *chain) {
    const clmla_config *c = &step->layer->config;
    uint32_t latent = c->kv_lora_rank, rope = c->qk_rope_head_dim;
    clmla_append_params params = {
        .token_count = step->tokens,
        .latent = step->row.memory,
        .latent_stride = step->row.stride,
        .rope = at(step->row, latent),
        .rope_stride = step->row.stride,
        .latent_norm = step->layer->kv_a_norm,
        .latent_norm_epsilon = c->latent_norm_eps,
        .input_order = c->rope_order,
        .places = {.slots = {step->plan->step, step->plan->offsets.slots}},
        .rows = *rows,
    };
    if (rope > 0) {
        params.rope_table = (clmla_buffer){step->plan->step, step->plan->offsets.angles};
        params.rope_table_rows = step->tokens;
    }
    return append_enqueue(step->context, &params, chain);
}

// q_nope through W_UK and q_pe through the rotation, side by side: what attend takes.
static clmla_status absorb_queries(const layer_step *step, host_chain *chain) {
    const clmla_config *c = &step->layer->config;
    uint32_t heads = step->layer->head_count, nope = c->qk_nope_head_dim, rope = c->qk_rope_head_dim;
    uint64_t q_head = nope + rope, width = (uint64_t)c->kv_lora_rank + rope;
    clmla_absorb_params params = {
        .token_count = step->tokens,
        .head_count = heads,
        .nope_dim = nope,
        .value_dim = c->v_head_dim,
        .kv_b = step->layer->kv_b,
        .query = step->q.memory,
        .query_token_stride = step->q.stride,
        .query_head_stride = q_head,
        .output = step->query.memory,
        .output_token_stride = step->query.stride,
        .output_head_stride = width,
    };
    STATUS_OR_RETURN(absorb_enqueue(step->context, &params, chain));
    return rotate(step, heads, at(step->q, nope), step->q.stride, q_head, at(step->query, c->kv_lora_rank),
                  step->query.stride, width, chain);
}

static clmla_status attend_rows(const layer_step *step, const clmla_rows *rows, host_chain *chain) {
    const clmla_config *c = &step->layer->config;
    uint64_t width = (uint64_t)c->kv_lora_rank + c->qk_rope_head_dim;
    clmla_attend_params params = {
        .query = step->query.memory,
        .query_token_stride = step->query.stride,
        .query_head_stride = width,
        .rows = *rows,
        .softmax_scale = (float)step->layer->values.softmax_scale,
        .output = step->attended.memory,
    };
    return attend_enqueue(step->plan, &params, chain);
}

static clmla_status write_output(const layer_step *step, host_chain *chain) {
    const clmla_config *c = &step->layer->config;
    clmla_output_params params = {
        .token_count = step->tokens,
        .head_count = step->layer->head_count,
        .nope_dim = c->qk_nope_head_dim,
        .value_dim = c->v_head_dim,
        .kv_b = step->layer->kv_b,
        .o_proj = step->layer->o,
        .attended = step->attended.memory,
        .heads = step->heads.memory,
        .output = step->output,
        .output_stride = c->hidden_size,
    };
    return output_enqueue(step->context, &params, chain);
}

static clmla_status run(const layer_step *step, host_chain *chain) {
    clmla_rows rows;
    STATUS_OR_RETURN(clmla_cache_rows(&rows, step->cache, step->layer->cache_layer));
    STATUS_OR_RETURN(project_input(step, chain));
    STATUS_OR_RETURN(make_queries(step, chain));
    STATUS_OR_RETURN(append_rows(step, &rows, chain));
    STATUS_OR_RETURN(absorb_queries(step, chain));
    STATUS_OR_RETURN(attend_rows(step, &rows, chain));
    return write_output(step, chain);
}

static clmla_status check(const layer_step *step) {
    const clmla_layer *layer = step->layer;
    const clmla_plan *plan = step->plan;
    const clmla_config *a = &layer->config, *b = &step->cache->config;
    const clmla_log *log = &layer->context->host.log;
    uint64_t hidden = a->hidden_size;
    if (plan->context != layer->context || step->cache->context != layer->context)
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "layer: plan, cache and layer belong to different contexts");
    if (!plan->ready || plan->cache != step->cache)
        return host_fail(log, CLMLA_E_ARGUMENT, 0,
                         "layer: the plan holds no step of this cache: call clmla_plan_update first");
    if (plan->params.head_count != layer->head_count)
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "layer: the plan is for %u heads, the layer has %u",
                         plan->params.head_count, layer->head_count);
    if (a->kv_lora_rank != b->kv_lora_rank || a->qk_rope_head_dim != b->qk_rope_head_dim)
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "layer: rows of %u + %u, the cache's are %u + %u", a->kv_lora_rank,
                         a->qk_rope_head_dim, b->kv_lora_rank, b->qk_rope_head_dim);
    if (layer->cache_layer >= step->cache->layer_count)
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "layer: it writes cache layer %u, the cache has %u",
                         layer->cache_layer, step->cache->layer_count);
    STATUS_OR_RETURN(operation_check_rows(layer->context, step->input, step->tokens, hidden, hidden, "layer", "input"));
    return operation_check_rows(layer->context, step->output, step->tokens, hidden, hidden, "layer", "output");
}

clmla_status clmla_layer_enqueue(const clmla_layer *layer, clmla_plan *plan, clmla_cache *cache, clmla_buffer input,
                                 clmla_buffer output, cl_command_queue queue, cl_uint wait_count, const cl_event *wait,
                                 cl_event *event) {
    if (!layer || !plan || !cache) return host_fail(NULL, CLMLA_E_ARGUMENT, 0, "layer: layer, plan or cache is NULL");
    layer_step step = {.layer = layer,
                       .context = layer->context,
                       .plan = plan,
                       .cache = cache,
                       .tokens = plan->extent.query_tokens,
                       .input = input,
                       .output = output};
    host_chain chain;
    clmla_status status = check(&step);
    if (status == CLMLA_OK && step.tokens > 0) status = find_space(&step);
    if (status != CLMLA_OK) return host_recording_refused(&step.context->host, queue, status);
    STATUS_OR_RETURN(plan_chain_begin(&chain, plan, queue, wait_count, wait));
    return plan_chain_finish(&chain, plan, step.tokens > 0 ? run(&step, &chain) : CLMLA_OK, event);
}
