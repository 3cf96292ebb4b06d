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

// Everything one step works with. Buffers of the workspace, T = tokens:
//   q_a [T][q_lora]   q [T][H·(N+R)]   row [T][L+R]   query [T][H][L+R]   attended [T][H][L]   heads [T][H·V]
typedef struct layer_step {
    const clmla_layer *layer;
    clmla_context *context;
    clmla_plan *plan;
    const clmla_cache *cache;
    uint32_t tokens;
    clmla_buffer input, output;
    clmla_buffer q_a, q, row, query, attended, heads;
} layer_step;

static uint64_t place(uint64_t *end, uint64_t tokens, uint64_t width) {
    uint64_t begin = *end;
    *end = (begin + tokens * width * sizeof(float) + SPACE_ALIGN - 1) / SPACE_ALIGN * SPACE_ALIGN;
    return begin;
}

static clmla_status find_space(layer_step *step) {
    const clmla_config *c = &step->layer->config;
    uint64_t tokens = step->tokens, heads = step->layer->head_count, end = 0;
    uint64_t width = (uint64_t)c->kv_lora_rank + c->qk_rope_head_dim;
    step->q_a.offset = place(&end, tokens, c->q_lora_rank);
    step->q.offset = place(&end, tokens, heads * (c->qk_nope_head_dim + c->qk_rope_head_dim));
    step->row.offset = place(&end, tokens, width);
    step->query.offset = place(&end, tokens, heads * width);
    step->attended.offset = place(&end, tokens, heads * c->kv_lora_rank);
    step->heads.offset = place(&end, tokens, heads * c->v_head_dim);
    cl_mem memory;
    STATUS_OR_RETURN(plan_workspace_get(&memory, step->plan, PLAN_WORKSPACE_LAYER, end));
    step->q_a.memory = step->q.memory = step->row.memory = memory;
    step->query.memory = step->attended.memory = step->heads.memory = memory;
    return CLMLA_OK;
}

static clmla_buffer at(clmla_buffer buffer, uint64_t elements) {
    return (clmla_buffer){buffer.memory, buffer.offset + elements * sizeof(float)};
}

static clmla_status project(const layer_step *step, const clmla_matrix *matrix, clmla_buffer input, clmla_buffer output,
                            host_chain *chain) {
    clmla_project_params params = {
        .matrix = *matrix,
        .row_count = step->tokens,
        .input = input,
        .input_stride = matrix->columns,
        .output = output,
        .output_stride = matrix->rows,
    };
    return project_enqueue(step->context, &params, chain);
}

static clmla_status norm(const layer_step *step, clmla_buffer rows, uint64_t stride, uint32_t width,
                         clmla_buffer weight, host_chain *chain) {
    clmla_rms_norm_params params = {
        .row_count = step->tokens,
        .width = width,
        .input = rows,
        .input_stride = stride,
        .weight = weight,
        .epsilon = step->layer->config.latent_norm_eps,
        .output = rows,
        .output_stride = stride,
    };
    return rms_norm_enqueue(step->context, &params, chain);
}

static clmla_status make_queries(const layer_step *step, host_chain *chain) {
    const clmla_layer *layer = step->layer;
    uint32_t q_lora = layer->config.q_lora_rank;
    if (q_lora == 0) return project(step, &layer->q, step->input, step->q, chain);
    STATUS_OR_RETURN(project(step, &layer->q_a, step->input, step->q_a, chain));
    STATUS_OR_RETURN(norm(step, step->q_a, q_lora, q_lora, layer->q_a_norm, chain));
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
    uint32_t latent = c->kv_lora_rank, rope = c->qk_rope_head_dim, width = latent + rope;
    clmla_append_params params = {
        .token_count = step->tokens,
        .latent = step->row,
        .latent_stride = width,
        .rope = at(step->row, latent),
        .rope_stride = width,
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
    STATUS_OR_RETURN(project(step, &step->layer->kv_a, step->input, step->row, chain));
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
        .query = step->q,
        .query_token_stride = heads * q_head,
        .query_head_stride = q_head,
        .output = step->query,
        .output_token_stride = heads * width,
        .output_head_stride = width,
    };
    STATUS_OR_RETURN(absorb_enqueue(step->context, &params, chain));
    return rotate(step, heads, at(step->q, nope), heads * q_head, q_head, at(step->query, c->kv_lora_rank),
                  heads * width, width, chain);
}

static clmla_status attend_rows(const layer_step *step, const clmla_rows *rows, host_chain *chain) {
    const clmla_config *c = &step->layer->config;
    uint64_t width = (uint64_t)c->kv_lora_rank + c->qk_rope_head_dim;
    clmla_attend_params params = {
        .query = step->query,
        .query_token_stride = step->layer->head_count * width,
        .query_head_stride = width,
        .rows = *rows,
        .softmax_scale = (float)step->layer->values.softmax_scale,
        .output = step->attended,
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
        .attended = step->attended,
        .heads = step->heads,
        .output = step->output,
        .output_stride = c->hidden_size,
    };
    return output_enqueue(step->context, &params, chain);
}

static clmla_status run(const layer_step *step, host_chain *chain) {
    clmla_rows rows;
    STATUS_OR_RETURN(clmla_cache_rows(&rows, step->cache, step->layer->cache_layer));
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
