// SPDX-License-Identifier: Apache-2.0
// Prefill by reconstructed keys. For each prompt, a chunk of its keys after the other: rows are gathered and decoded,
// then for some heads at a time kv_b_proj makes keys and values of them, and attend_heads takes the prompt's tokens
// through these; results over earlier chunks are carried on. What is rebuilt never passes prefill.workspace_kib,
// whatever the context's length, or 48 keys of 8 heads if that is more.
#include "host/error.h"
#include "lib/layer_step.h"
#include "lib/operation.h"
#include "lib/tuning.h"

// A chunk is shortened rather than taken for fewer heads than this: too few groups would share a launch.
#define LEAST_HEADS 8u
#define KEYS_STEP 48u // of attend_heads_vector's block
#define KV_PAD 16u    // floats

static uint64_t divide_up(uint64_t a, uint64_t b) {
    return (a + b - 1) / b;
}

// How many keys and heads at a time, at most: all keys if they fit for LEAST_HEADS, and as many heads as fit then; in
// pieces of equal size.
static void choose_chunk(step_chunk *chunk, const clmla_config *c, uint64_t heads, uint64_t keys, uint64_t budget) {
    uint64_t row = c->kv_lora_rank + c->qk_rope_head_dim + KV_PAD, head = c->qk_nope_head_dim + c->v_head_dim;
    uint64_t least = heads < LEAST_HEADS ? heads : LEAST_HEADS, fit = budget / sizeof(float) / (row + least * head);
    fit = fit < KEYS_STEP ? KEYS_STEP : fit / KEYS_STEP * KEYS_STEP;
    uint64_t each = divide_up(divide_up(keys, divide_up(keys, fit)), KEYS_STEP) * KEYS_STEP;
    each = each < keys ? each : keys;
    uint64_t room = budget / sizeof(float) / each, most = room > row + least * head ? (room - row) / head : least;
    most = most < heads ? most : heads;
    chunk->keys = (uint32_t)each;
    chunk->heads = (uint32_t)divide_up(heads, divide_up(heads, most));
}

// N + V values of each head, and what keeps a key's first from falling into the same places of a cache as the next
// one's.
static uint64_t kv_stride(const layer_step *step, uint32_t heads) {
    const clmla_config *c = &step->layer->config;
    return (uint64_t)heads * (c->qk_nope_head_dim + c->v_head_dim) + KV_PAD;
}

void layer_prefill_place(layer_step *step, uint64_t *end) {
    const clmla_config *c = &step->layer->config;
    const clmla_plan *plan = step->plan;
    uint32_t heads = step->layer->head_count, keys = 0, tokens = 0;
    for (uint32_t i = 0; i < plan->prompt_count; i++) {
        if (plan->prompts[i].key_count > keys) keys = plan->prompts[i].key_count;
        if (plan->prompts[i].token_count > tokens) tokens = plan->prompts[i].token_count;
    }
    if (keys == 0) return;
    step_chunk *chunk = &step->chunk;
    uint64_t budget = (uint64_t)tuning_value(step->context, TUNING_PREFILL_WORKSPACE_KIB) << 10;
    choose_chunk(chunk, c, heads, keys, budget);
    chunk->rows = step_place(end, chunk->keys, c->kv_lora_rank + c->qk_rope_head_dim).memory;
    chunk->kv = step_place(end, chunk->keys, kv_stride(step, chunk->heads)).memory;
    chunk->lse = step_place(end, chunk->keys < keys ? tokens : 0, heads).memory;
}

static clmla_buffer past(clmla_buffer buffer, uint64_t bytes) {
    return (clmla_buffer){buffer.memory, buffer.offset + bytes};
}

static clmla_status gather_chunk(const layer_step *step, const clmla_rows *rows, uint64_t key, uint32_t count,
                                 host_chain *chain) {
    const plan_offsets *at = &step->plan->offsets;
    clmla_buffer plan = {step->plan->step, 0};
    clmla_gather_params params = {
        .token_count = count,
        .places = {.slots = past(plan, at->key_slots + key * sizeof(int64_t))},
        .rows = *rows,
        .output = step->chunk.rows,
        .output_stride = (uint64_t)rows->layout.latent_dim + rows->layout.rope_dim,
    };
    if (step->plan->shifted_pages) {
        params.deltas = past(plan, at->key_deltas + key * sizeof(int32_t));
        params.rope_turns = past(plan, at->turns);
    }
    return gather_enqueue(step->context, &params, chain);
}

// Of kv_b_proj the rows of these heads.
static clmla_status reconstruct(const layer_step *step, uint32_t head, uint32_t heads, uint32_t count,
                                host_chain *chain) {
    const clmla_config *c = &step->layer->config;
    const clmla_matrix *kv_b = &step->layer->kv_b;
    uint32_t width = c->qk_nope_head_dim + c->v_head_dim, first = head * width;
    clmla_project_params params = {
        .matrix = *kv_b,
        .row_count = count,
        .input = step->chunk.rows,
        .input_stride = (uint64_t)c->kv_lora_rank + c->qk_rope_head_dim,
        .output = step->chunk.kv,
        .output_stride = kv_stride(step, heads),
    };
    params.matrix.rows = heads * width;
    params.matrix.values = past(kv_b->values, first * kv_b->row_stride * clmla_type_bytes(kv_b->type));
    params.matrix.scale_row += first;
    return project_enqueue(step->context, &params, chain);
}

// The prompt's tokens against `count` keys from `key` on, of heads that are reconstructed.
static clmla_status attend(const layer_step *step, const plan_prompt *prompt, uint32_t key, uint32_t count,
                           uint32_t head, uint32_t heads, host_chain *chain) {
    const clmla_config *c = &step->layer->config;
    uint64_t nope = c->qk_nope_head_dim, rope = c->qk_rope_head_dim, value = c->v_head_dim;
    uint64_t all = step->layer->head_count, token = prompt->token_first;
    clmla_attend_heads_params params = {
        .token_count = prompt->token_count,
        .key_count = count,
        .key_first = prompt->key_first + key,
        .query_first = (int32_t)(prompt->key_first + prompt->key_count - prompt->token_count),
        .full = step->plan->params.full,
        .window = step->plan->params.window,
        .head_count = heads,
        .nope_dim = c->qk_nope_head_dim,
        .rope_dim = c->qk_rope_head_dim,
        .value_dim = c->v_head_dim,
        .query = step_at(step->q, token * step->q.stride + head * (nope + rope)),
        .query_token_stride = step->q.stride,
        .query_head_stride = nope + rope,
        .key = step->chunk.kv,
        .key_token_stride = kv_stride(step, heads),
        .key_head_stride = nope + value,
        .key_rope = past(step->chunk.rows, c->kv_lora_rank * sizeof(float)),
        .key_rope_stride = c->kv_lora_rank + rope,
        .value = past(step->chunk.kv, nope * sizeof(float)),
        .value_token_stride = kv_stride(step, heads),
        .value_head_stride = nope + value,
        .softmax_scale = (float)step->layer->values.softmax_scale,
        .carry = key > 0,
        .output = step_at(step->heads, token * step->heads.stride + head * value),
        .output_token_stride = step->heads.stride,
        .output_head_stride = value,
        .lse_token_stride = all,
        .lse_head_stride = 1,
        .variant = step->plan->params.attend_heads_variant,
        .compute = step->plan->params.compute,
        .rounding = plan_prefill_rounding(step->plan->params.layout.format),
    };
    if (step->chunk.keys < prompt->key_count) params.lse = past(step->chunk.lse, head * sizeof(float));
    return attend_heads_enqueue(step->context, &params, chain);
}

static clmla_status attend_prompt(const layer_step *step, const clmla_rows *rows, const plan_prompt *prompt,
                                  host_chain *chain) {
    const step_chunk *chunk = &step->chunk;
    uint32_t all = step->layer->head_count;
    for (uint32_t key = 0; key < prompt->key_count; key += chunk->keys) {
        uint32_t left = prompt->key_count - key, count = left < chunk->keys ? left : chunk->keys;
        STATUS_OR_RETURN(gather_chunk(step, rows, prompt->keys_before + key, count, chain));
        for (uint32_t head = 0; head < all; head += chunk->heads) {
            uint32_t heads = all - head < chunk->heads ? all - head : chunk->heads;
            STATUS_OR_RETURN(reconstruct(step, head, heads, count, chain));
            STATUS_OR_RETURN(attend(step, prompt, key, count, head, heads, chain));
        }
    }
    return CLMLA_OK;
}

clmla_status layer_prefill_attend(const layer_step *step, const clmla_rows *rows, host_chain *chain) {
    for (uint32_t i = 0; i < step->plan->prompt_count; i++)
        STATUS_OR_RETURN(attend_prompt(step, rows, &step->plan->prompts[i], chain));
    return CLMLA_OK;
}
