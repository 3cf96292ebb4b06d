// SPDX-License-Identifier: Apache-2.0
// One step of a layer: project, norm and append, absorb and rotate, attend, output, on one chain. Prompts of the plan
// are attended by reconstructed keys (layer_prefill.c); what lies between them in the batch is absorbed.
#include "lib/layer_step.h"
#include "host/error.h"
#include "host/memory.h"
#include "host/recording.h"
#include "lib/cache.h"
#include "lib/operation.h"
#include "lib/tensor.h"

#define SPACE_ALIGN 64u

step_rows step_place(uint64_t *end, uint64_t rows, uint64_t width) {
    step_rows out = {.memory = {NULL, *end}, .stride = width};
    *end = (*end + rows * width * sizeof(float) + SPACE_ALIGN - 1) / SPACE_ALIGN * SPACE_ALIGN;
    return out;
}

static clmla_status find_space(layer_step *step) {
    const clmla_layer *layer = step->layer;
    const clmla_config *c = &layer->config;
    uint64_t tokens = step->tokens, absorbed = tokens - step->plan->prompt_tokens, heads = layer->head_count, end = 0;
    uint64_t width = (uint64_t)c->kv_lora_rank + c->qk_rope_head_dim;
    step_rows *upper = c->q_lora_rank ? &step->q_a : &step->q;
    step->q_a = step_place(&end, layer->joint.rows ? 0 : tokens, c->q_lora_rank);
    step->q = step_place(&end, tokens, heads * (c->qk_nope_head_dim + c->qk_rope_head_dim));
    step->row = step_place(&end, layer->joint.rows ? 0 : tokens, width);
    step->joint = step_place(&end, tokens, layer->joint.rows);
    step->query = step_place(&end, absorbed, heads * width);
    step->attended = step_place(&end, absorbed, heads * c->kv_lora_rank);
    step->heads = step_place(&end, tokens, heads * c->v_head_dim);
    layer_prefill_place(step, &end);
    if (layer->joint.rows) {
        *upper = step->row = step->joint;
        step->row.memory = step_at(step->joint, layer->joint.rows - width);
    }
    cl_mem memory;
    STATUS_OR_RETURN(plan_workspace_get(&memory, step->plan, PLAN_WORKSPACE_LAYER, end));
    step_rows *all[] = {&step->q_a, &step->q, &step->row, &step->query, &step->attended, &step->heads, &step->joint};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) all[i]->memory.memory = memory;
    step->chunk.rows.memory = step->chunk.kv.memory = step->chunk.lse.memory = memory;
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

// Of q_a, in place.
static clmla_rms_norm_params norm_of(const layer_step *step) {
    const clmla_layer *layer = step->layer;
    return (clmla_rms_norm_params){
        .row_count = step->tokens,
        .width = layer->config.q_lora_rank,
        .input = step->q_a.memory,
        .input_stride = step->q_a.stride,
        .weight = layer->q_a_norm,
        .epsilon = layer->config.latent_norm_eps,
        .output = step->q_a.memory,
        .output_stride = step->q_a.stride,
    };
}

// Tokens of the step that lie together and are attended one way.
typedef struct step_span {
    uint32_t first, count;
    uint32_t absorbed_before; // tokens of earlier spans that are absorbed
    bool absorbed;
} step_span;

// The span behind this one; false at the end. Begins with a zeroed one. Prompts are spans of their own.
static bool next_span(step_span *span, const layer_step *step) {
    const clmla_plan *plan = step->plan;
    uint32_t first = span->first + span->count, prompt = 0, end = step->tokens;
    if (span->absorbed) span->absorbed_before += span->count;
    while (prompt < plan->prompt_count && plan->prompts[prompt].token_first < first) prompt++;
    if (prompt < plan->prompt_count) end = plan->prompts[prompt].token_first;
    span->first = first;
    span->absorbed = first < end;
    span->count = span->absorbed ? end - first : first < step->tokens ? plan->prompts[prompt].token_count : 0;
    return span->count > 0;
}

// {cos, sin} of the span's tokens.
static clmla_buffer angles_of(const layer_step *step, const step_span *span) {
    uint64_t before = (uint64_t)span->first * step->layer->config.qk_rope_head_dim * sizeof(float);
    return (clmla_buffer){step->plan->step, step->plan->offsets.angles + before};
}

// Rotates q_pe of a prompt, whose pairs stand as in the weights, in place into the cache's order.
static clmla_status rotate_prompt(const layer_step *step, const step_span *span, host_chain *chain) {
    const clmla_config *c = &step->layer->config;
    clmla_buffer q_pe = step_at(step->q, span->first * step->q.stride + c->qk_nope_head_dim);
    uint64_t head = (uint64_t)c->qk_nope_head_dim + c->qk_rope_head_dim;
    if (c->qk_rope_head_dim == 0) return CLMLA_OK;
    clmla_rope_params params = {
        .token_count = span->count,
        .head_count = step->layer->head_count,
        .rope_dim = c->qk_rope_head_dim,
        .input = q_pe,
        .input_token_stride = step->q.stride,
        .input_head_stride = head,
        .output = q_pe,
        .output_token_stride = step->q.stride,
        .output_head_stride = head,
        .table = angles_of(step, span),
        .table_rows = span->count,
        .input_order = c->rope_order,
        .output_order = step->cache->layout.rope_order,
    };
    return rope_enqueue(step->context, &params, chain);
}

// New rows to the cache, and beside them the norm of q_a: both take what the first products gave, so that they are one
// launch.
static clmla_status append_rows(const layer_step *step, const clmla_rows *rows, host_chain *chain) {
    const clmla_config *c = &step->layer->config;
    uint32_t latent = c->kv_lora_rank, rope = c->qk_rope_head_dim;
    clmla_append_params params = {
        .token_count = step->tokens,
        .latent = step->row.memory,
        .latent_stride = step->row.stride,
        .rope = step_at(step->row, latent),
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
    clmla_rms_norm_params norm = norm_of(step);
    bool beside = c->q_lora_rank && !append_norm_refusal(step->context, &params);
    if (c->q_lora_rank && !beside) STATUS_OR_RETURN(rms_norm_enqueue(step->context, &norm, chain));
    return append_enqueue(step->context, &params, beside ? &norm : NULL, chain);
}

// The plan of the tokens that are absorbed: beside prompts one of their own has their schedule.
static clmla_plan *absorbed_plan(const layer_step *step) {
    return plan_prefill_is_mixed(step->plan) ? step->plan->rest : step->plan;
}

static clmla_absorb_params absorb_of(const layer_step *step, const step_span *span) {
    const clmla_config *c = &step->layer->config;
    return (clmla_absorb_params){
        .token_count = span->count,
        .head_count = step->layer->head_count,
        .nope_dim = c->qk_nope_head_dim,
        .value_dim = c->v_head_dim,
        .kv_b = step->layer->kv_b,
        .query = step_at(step->q, span->first * step->q.stride),
        .query_token_stride = step->q.stride,
        .query_head_stride = (uint64_t)c->qk_nope_head_dim + c->qk_rope_head_dim,
        .output = step_at(step->query, span->absorbed_before * step->query.stride),
        .output_token_stride = step->query.stride,
        .output_head_stride = (uint64_t)c->kv_lora_rank + c->qk_rope_head_dim,
        .rope_dim = c->qk_rope_head_dim,
        .rope_table = angles_of(step, span),
        .rope_table_rows = span->count,
        .input_order = c->rope_order,
        .output_order = step->cache->layout.rope_order,
    };
}

// q_nope through W_UK and q_pe through the rotation, side by side: what attend takes.
static clmla_status absorb_queries(const layer_step *step, const step_span *span, host_chain *chain) {
    clmla_absorb_params params = absorb_of(step, span);
    absorb_packed packed = {absorbed_plan(step), span->absorbed_before, (float)step->layer->values.softmax_scale};
    return absorb_enqueue(step->context, &params, step->neighbours.packed ? &packed : NULL, chain);
}

static clmla_status prepare_queries(const layer_step *step, host_chain *chain) {
    step_span span = {0};
    while (next_span(&span, step))
        STATUS_OR_RETURN(span.absorbed ? absorb_queries(step, &span, chain) : rotate_prompt(step, &span, chain));
    return CLMLA_OK;
}

// All tokens that are absorbed.
static clmla_status attend_rows(const layer_step *step, const clmla_rows *rows, host_chain *chain) {
    const clmla_config *c = &step->layer->config;
    uint64_t width = (uint64_t)c->kv_lora_rank + c->qk_rope_head_dim;
    if (step->plan->prompt_tokens == step->tokens) return CLMLA_OK;
    clmla_attend_params params = {
        .query = step->query.memory,
        .query_token_stride = step->query.stride,
        .query_head_stride = width,
        .rows = *rows,
        .softmax_scale = (float)step->layer->values.softmax_scale,
        .output = step->attended.memory,
    };
    return attend_enqueue_between(absorbed_plan(step), &params, step->neighbours, chain);
}

// o_proj of a prompt's heads.
static clmla_status write_prompt(const layer_step *step, const step_span *span, host_chain *chain) {
    uint64_t hidden = step->layer->config.hidden_size;
    clmla_project_params params = {
        .matrix = step->layer->o,
        .row_count = span->count,
        .input = step_at(step->heads, span->first * step->heads.stride),
        .input_stride = step->heads.stride,
        .output = {step->output.memory, step->output.offset + span->first * hidden * sizeof(float)},
        .output_stride = hidden,
    };
    return project_enqueue(step->context, &params, chain);
}

static clmla_output_params output_of(const layer_step *step, const step_span *span) {
    const clmla_config *c = &step->layer->config;
    return (clmla_output_params){
        .token_count = span->count,
        .head_count = step->layer->head_count,
        .nope_dim = c->qk_nope_head_dim,
        .value_dim = c->v_head_dim,
        .kv_b = step->layer->kv_b,
        .o_proj = step->layer->o,
        .attended = step_at(step->attended, span->absorbed_before * step->attended.stride),
        .heads = step_at(step->heads, span->first * step->heads.stride),
        .output = {step->output.memory, step->output.offset + (uint64_t)span->first * c->hidden_size * sizeof(float)},
        .output_stride = c->hidden_size,
    };
}

static clmla_status write_absorbed(const layer_step *step, const step_span *span, host_chain *chain) {
    clmla_output_params params = output_of(step, span);
    output_states states = {absorbed_plan(step), span->absorbed_before};
    return output_enqueue(step->context, &params, step->neighbours.merges ? &states : NULL, chain);
}

static clmla_status write_output(const layer_step *step, host_chain *chain) {
    step_span span = {0};
    while (next_span(&span, step))
        STATUS_OR_RETURN(span.absorbed ? write_absorbed(step, &span, chain) : write_prompt(step, &span, chain));
    return CLMLA_OK;
}

// Attention is one call for all spans that are absorbed: what is done of it beside is done for all of them.
static attend_neighbours neighbours_of(const layer_step *step) {
    const clmla_plan *plan = absorbed_plan(step);
    attend_neighbours all = {true, true};
    step_span span = {0};
    while (next_span(&span, step)) {
        clmla_absorb_params absorb = absorb_of(step, &span);
        clmla_output_params output = output_of(step, &span);
        if (!span.absorbed) continue;
        all.packed &= absorb_pack_refusal(step->context, &absorb, plan) == NULL;
        all.merges &= output_merge_refusal(step->context, &output, plan) == NULL;
    }
    return all;
}

static clmla_status run(layer_step *step, host_chain *chain) {
    clmla_rows rows;
    step->neighbours = neighbours_of(step);
    STATUS_OR_RETURN(clmla_cache_rows(&rows, step->cache, step->layer->cache_layer));
    STATUS_OR_RETURN(project_input(step, chain));
    STATUS_OR_RETURN(append_rows(step, &rows, chain));
    if (step->layer->config.q_lora_rank) STATUS_OR_RETURN(project(step, &step->layer->q, step->q_a, step->q, chain));
    STATUS_OR_RETURN(prepare_queries(step, chain));
    STATUS_OR_RETURN(attend_rows(step, &rows, chain));
    STATUS_OR_RETURN(layer_prefill_attend(step, &rows, chain));
    return write_output(step, chain);
}

// The plan's angles are those of the cache's config.
static clmla_status check_rotation(const layer_step *step) {
    const clmla_config_values *a = &step->layer->values, *b = &step->cache->values;
    const clmla_log *log = &step->context->host.log;
    for (uint32_t i = 0; i < step->layer->config.qk_rope_head_dim / 2; i++)
        if (a->inverse_frequency[i] != b->inverse_frequency[i])
            return host_fail(log, CLMLA_E_ARGUMENT, 0,
                             "layer: it rotates pair %u by %g a position, the cache's config says %g", i,
                             a->inverse_frequency[i], b->inverse_frequency[i]);
    if (a->rope_attention_factor != b->rope_attention_factor)
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "layer: rope_attention_factor is %g, of the cache's config %g",
                         a->rope_attention_factor, b->rope_attention_factor);
    return CLMLA_OK;
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
    STATUS_OR_RETURN(check_rotation(step));
    if (layer->cache_layer >= step->cache->layer_count)
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "layer: it writes cache layer %u, the cache has %u",
                         layer->cache_layer, step->cache->layer_count);
    STATUS_OR_RETURN(tensor_check_rows(layer->context, step->input, step->tokens, hidden, hidden, "layer", "input"));
    return tensor_check_rows(layer->context, step->output, step->tokens, hidden, hidden, "layer", "output");
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
    status = plan_prefill_is_mixed(plan) ? host_chain_wait(&chain, plan->rest->last) : CLMLA_OK;
    if (status == CLMLA_OK && step.tokens > 0) status = run(&step, &chain);
    status = plan_chain_finish(&chain, plan, status, event);
    plan_prefill_follow(plan);
    return status;
}
