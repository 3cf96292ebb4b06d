// SPDX-License-Identifier: Apache-2.0
#include "baseline_attention.h"
#include "baseline_attention_text.h"
#include "baseline_heads_group_text.h"
#include "baseline_program.h"
#include <stdio.h>

// From so many heads a kv head on, keys are worth converting once for all of them.
#define TILE_HEADS_LEAST 8
// A split takes a multiple of both kernels' blocks; not less, or the merge would show.
#define SPLIT_TOKENS 192
// Work-items a compute unit: enough that the last ones do not leave others idle for long.
#define ITEMS_PER_UNIT 8

static uint32_t group_heads(const baseline_shape *shape) {
    return shape->head_count / shape->kv_head_count;
}

static bool is_tiled(const baseline_shape *shape) {
    return group_heads(shape) >= TILE_HEADS_LEAST && shape->shared_dim == 0;
}

static bool check(const baseline_shape *shape, failure *failure) {
    const struct {
        const char *name;
        uint32_t value;
    } dims[] = {{"key", shape->key_dim}, {"value", shape->value_dim}, {"shared key", shape->shared_dim}};
    for (size_t i = 0; i < sizeof dims / sizeof dims[0]; i++)
        if (dims[i].value % 16 || (i < 2 && dims[i].value == 0) || dims[i].value > 1024)
            return failure_set(failure, "the baseline attention needs a %s dimension of 16, 32, ... 1024, not %u",
                               dims[i].name, dims[i].value);
    if (shape->kv_head_count == 0 || shape->head_count == 0 || shape->head_count % shape->kv_head_count)
        return failure_set(failure, "%u heads are no multiple of %u kv heads", shape->head_count, shape->kv_head_count);
    if (!baseline_type_option(shape->type))
        return failure_set(failure, "the baseline attention keeps keys in f32, f16 or bf16, not %s",
                           clmla_type_name(shape->type));
    return true;
}

static void shape_options(char *out, size_t size, const baseline_shape *shape) {
    snprintf(out, size, "-cl-std=CL1.2 %s -DKEY_DIM=%u -DVALUE_DIM=%u -DSHARED_DIM=%u -DGROUP_HEADS=%u",
             baseline_type_option(shape->type), shape->key_dim, shape->value_dim, shape->shared_dim,
             group_heads(shape));
}

static bool open_for_cpu(baseline_attention *out, failure *failure) {
    const baseline_text text = {baseline_attention_text, BASELINE_ATTENTION_TEXT_LINES};
    char options[256];
    shape_options(options, sizeof options, &out->shape);
    return baseline_build(&out->program, out->session, text, options, failure) &&
           baseline_kernel(&out->pack, out->program, "pack", failure) &&
           baseline_kernel(&out->append, out->program, "append_heads", failure) &&
           baseline_kernel(&out->stream, out->program, "stream_heads", failure) &&
           baseline_kernel(&out->tile, out->program, "tile_heads", failure);
}

static bool open_for_gpu(baseline_attention *out, failure *failure) {
    const baseline_text text = {baseline_heads_group_text, BASELINE_HEADS_GROUP_TEXT_LINES};
    const clmla_device_facts *facts = clmla_context_facts(out->session->context);
    char of_shape[256], of_group[BASELINE_GROUP_OPTIONS], options[sizeof of_shape + sizeof of_group];
    if (!baseline_group_heads(&out->group, facts, &out->shape, failure)) return false;
    shape_options(of_shape, sizeof of_shape, &out->shape);
    baseline_group_options(of_group, facts, &out->group, out->shape.key_dim);
    snprintf(options, sizeof options, "%s %s", of_shape, of_group);
    return baseline_build(&out->program, out->session, text, options, failure) &&
           baseline_kernel(&out->append, out->program, "append_heads", failure) &&
           baseline_kernel(&out->of_group, out->program, out->group.head_tile ? "tile_group" : "stream_group", failure);
}

bool baseline_attention_open(baseline_attention *out, const session *session, const baseline_shape *shape,
                             failure *failure) {
    *out = (baseline_attention){.session = session, .shape = *shape};
    if (!check(shape, failure)) return false;
    return baseline_group_items(clmla_context_facts(session->context)) ? open_for_gpu(out, failure)
                                                                       : open_for_cpu(out, failure);
}

void baseline_attention_close(baseline_attention *attention) {
    baseline_release_kernel(&attention->pack);
    baseline_release_kernel(&attention->append);
    baseline_release_kernel(&attention->stream);
    baseline_release_kernel(&attention->tile);
    baseline_release_kernel(&attention->of_group);
    baseline_release(&attention->packed);
    baseline_release(&attention->states);
    baseline_release(&attention->lse);
    if (attention->program) clReleaseProgram(attention->program);
    *attention = (baseline_attention){0};
}

uint64_t baseline_bytes_a_token(const baseline_shape *shape) {
    return (uint64_t)shape->kv_head_count * (shape->key_dim + shape->value_dim) * clmla_type_bytes(shape->type);
}

bool baseline_rows_open(baseline_rows *out, const baseline_attention *attention, uint32_t capacity, failure *failure) {
    const baseline_shape *shape = &attention->shape;
    uint64_t elements = (uint64_t)capacity * shape->kv_head_count, bytes = clmla_type_bytes(shape->type);
    *out = (baseline_rows){.key_head_stride = (int64_t)capacity * shape->key_dim,
                           .key_token_stride = shape->key_dim,
                           .value_head_stride = (int64_t)capacity * shape->value_dim,
                           .value_token_stride = shape->value_dim};
    return session_buffer(&out->keys, attention->session, elements * shape->key_dim * bytes, NULL, failure) &&
           session_buffer(&out->values, attention->session, elements * shape->value_dim * bytes, NULL, failure);
}

void baseline_rows_close(baseline_rows *rows) {
    baseline_release(&rows->keys);
    baseline_release(&rows->values);
    *rows = (baseline_rows){0};
}

bool baseline_append(baseline_attention *attention, const baseline_rows *rows, cl_mem k, cl_mem v, uint32_t first,
                     uint32_t count, failure *failure) {
    const baseline_shape *shape = &attention->shape;
    cl_int kv_heads = (cl_int)shape->kv_head_count, from = (cl_int)first;
    const baseline_argument arguments[] = {BASELINE_ARGUMENT(k),
                                           BASELINE_ARGUMENT(v),
                                           BASELINE_ARGUMENT(rows->keys),
                                           BASELINE_ARGUMENT(rows->values),
                                           BASELINE_ARGUMENT(rows->key_head_stride),
                                           BASELINE_ARGUMENT(rows->key_token_stride),
                                           BASELINE_ARGUMENT(rows->value_head_stride),
                                           BASELINE_ARGUMENT(rows->value_token_stride),
                                           BASELINE_ARGUMENT(kv_heads),
                                           BASELINE_ARGUMENT(from)};
    uint32_t width = shape->key_dim > shape->value_dim ? shape->key_dim : shape->value_dim;
    const size_t global[3] = {(size_t)shape->kv_head_count * width, count, 1};
    return baseline_launch(attention->session, attention->append, global, attention->group.items ? 0 : 1, arguments,
                           sizeof arguments / sizeof arguments[0], failure);
}

// Makes sure that a buffer has `bytes`.
static bool grow(cl_mem *memory, uint64_t *held, const session *session, uint64_t bytes, failure *failure) {
    if (*held >= bytes) return true;
    baseline_release(memory);
    *held = 0;
    if (!session_buffer(memory, session, bytes, NULL, failure)) return false;
    *held = bytes;
    return true;
}

// One launch of the attention kernel: where its states go, and how the keys are shared out.
typedef struct launch {
    cl_mem output, lse;
    uint32_t query_tokens, kv_tokens, split_count, split_tokens, first_split;
} launch;

static bool pack_queries(baseline_attention *attention, cl_mem query, uint32_t query_tokens, failure *failure) {
    const baseline_shape *shape = &attention->shape;
    uint32_t heads = group_heads(shape), sets = query_tokens * shape->kv_head_count;
    uint64_t bytes = (uint64_t)sets * ((heads + 15) / 16 * 16) * shape->key_dim * sizeof(float);
    return grow(&attention->packed, &attention->packed_bytes, attention->session, bytes, failure) &&
           baseline_pack(attention->session, attention->pack, query, attention->packed, sets, heads, shape->key_dim,
                         shape->softmax_scale * 1.44269504088896341f, failure);
}

static cl_kernel kernel_of(const baseline_attention *attention) {
    if (attention->group.items) return attention->of_group;
    return is_tiled(&attention->shape) ? attention->tile : attention->stream;
}

static size_t groups_of_part(const baseline_attention *attention) {
    const baseline_group *group = &attention->group;
    size_t tiles = group->head_tile ? (group_heads(&attention->shape) + group->head_tile - 1) / group->head_tile : 1;
    return tiles * attention->shape.kv_head_count;
}

static bool attend(baseline_attention *attention, const baseline_rows *rows, cl_mem query, const launch *launch,
                   failure *failure) {
    const baseline_shape *shape = &attention->shape;
    const baseline_group *group = &attention->group;
    bool tiled = !group->items && is_tiled(shape); // both kernels for GPUs are called as stream_heads is
    if (tiled && !pack_queries(attention, query, launch->query_tokens, failure)) return false;
    cl_int heads = (cl_int)shape->head_count, kv_tokens = (cl_int)launch->kv_tokens;
    cl_int split_tokens = (cl_int)launch->split_tokens, first_split = (cl_int)launch->first_split;
    cl_mem shared = rows->shared ? rows->shared : query; // never read without shared_dim
    const baseline_argument of_tile[] = {BASELINE_ARGUMENT(attention->packed), BASELINE_ARGUMENT(rows->keys),
                                         BASELINE_ARGUMENT(rows->values)};
    const baseline_argument of_stream[] = {BASELINE_ARGUMENT(query), BASELINE_ARGUMENT(rows->keys),
                                           BASELINE_ARGUMENT(rows->values), BASELINE_ARGUMENT(shared)};
    const baseline_argument of_both[] = {BASELINE_ARGUMENT(launch->output),
                                         BASELINE_ARGUMENT(launch->lse),
                                         BASELINE_ARGUMENT(rows->key_head_stride),
                                         BASELINE_ARGUMENT(rows->key_token_stride),
                                         BASELINE_ARGUMENT(rows->value_head_stride),
                                         BASELINE_ARGUMENT(rows->value_token_stride),
                                         BASELINE_ARGUMENT(rows->value_offset),
                                         BASELINE_ARGUMENT(heads),
                                         BASELINE_ARGUMENT(kv_tokens),
                                         BASELINE_ARGUMENT(split_tokens),
                                         BASELINE_ARGUMENT(first_split),
                                         BASELINE_ARGUMENT(rows->shared_stride), // stream alone from here on
                                         BASELINE_ARGUMENT(rows->shared_offset),
                                         BASELINE_ARGUMENT(shape->softmax_scale)};
    baseline_argument arguments[18];
    size_t count = 0;
    for (size_t i = 0; i < (tiled ? 3u : 4u); i++) arguments[count++] = tiled ? of_tile[i] : of_stream[i];
    for (size_t i = 0; i < (tiled ? 11u : 14u); i++) arguments[count++] = of_both[i];
    const size_t items = group->items ? group->items : 1;
    const size_t global[3] = {groups_of_part(attention) * items, launch->split_count, launch->query_tokens};
    return baseline_launch(attention->session, kernel_of(attention), global, items, arguments, count, failure);
}

static bool merge(baseline_attention *attention, const launch *launch, cl_mem output, failure *failure) {
    const clmla_merge_params params = {.state_count = launch->split_count,
                                       .token_count = launch->query_tokens,
                                       .head_count = attention->shape.head_count,
                                       .width = attention->shape.value_dim,
                                       .states = {launch->output, 0},
                                       .lse = {launch->lse, 0},
                                       .output = {output, 0}};
    return clmla_merge(attention->session->context, &params, attention->session->queue, 0, NULL, NULL) == CLMLA_OK ||
           failure_library(failure);
}

static void share_out_groups(launch *launch, const baseline_attention *attention) {
    baseline_parts parts =
        baseline_group_parts(clmla_context_facts(attention->session->context),
                             (uint64_t)groups_of_part(attention) * launch->query_tokens, launch->kv_tokens);
    launch->split_tokens = parts.tokens;
    launch->split_count = parts.count;
}

// Splits enough to give every compute unit ITEMS_PER_UNIT work-items.
static void share_out(launch *launch, const baseline_attention *attention) {
    if (attention->group.items) {
        share_out_groups(launch, attention);
        return;
    }
    uint64_t wanted = (uint64_t)clmla_context_facts(attention->session->context)->compute_units * ITEMS_PER_UNIT;
    uint64_t items = (uint64_t)attention->shape.kv_head_count * launch->query_tokens;
    uint64_t most = launch->kv_tokens / SPLIT_TOKENS, splits = (wanted + items - 1) / items;
    if (splits > most) splits = most;
    if (splits < 1) splits = 1;
    uint64_t tokens = (launch->kv_tokens + splits - 1) / splits;
    launch->split_tokens = (uint32_t)((tokens + SPLIT_TOKENS - 1) / SPLIT_TOKENS * SPLIT_TOKENS);
    launch->split_count = (launch->kv_tokens + launch->split_tokens - 1) / launch->split_tokens;
}

bool baseline_attend(baseline_attention *attention, const baseline_rows *rows, cl_mem query, uint32_t query_tokens,
                     uint32_t kv_tokens, cl_mem output, failure *failure) {
    launch launch = {.query_tokens = query_tokens, .kv_tokens = kv_tokens};
    share_out(&launch, attention);
    uint64_t states = (uint64_t)launch.split_count * query_tokens * attention->shape.head_count * sizeof(float);
    if (!grow(&attention->lse, &attention->lse_bytes, attention->session, states, failure)) return false;
    launch.lse = attention->lse;
    launch.output = output;
    if (launch.split_count == 1) return attend(attention, rows, query, &launch, failure);
    if (!grow(&attention->states, &attention->states_bytes, attention->session, states * attention->shape.value_dim,
              failure))
        return false;
    launch.output = attention->states;
    return attend(attention, rows, query, &launch, failure) && merge(attention, &launch, output, failure);
}

// CPUs are given one part after the other, whole.
static launch part_launch(const baseline_attention *attention, uint32_t kv_tokens) {
    launch launch = {.query_tokens = 1, .kv_tokens = kv_tokens, .split_count = 1, .split_tokens = kv_tokens};
    if (attention->group.items) share_out_groups(&launch, attention);
    return launch;
}

uint32_t baseline_state_count(const baseline_attention *attention, uint32_t kv_tokens) {
    return part_launch(attention, kv_tokens).split_count;
}

bool baseline_attend_part(baseline_attention *attention, const baseline_rows *rows, cl_mem query, uint32_t kv_tokens,
                          cl_mem states, cl_mem lse, uint32_t first, failure *failure) {
    launch launch = part_launch(attention, kv_tokens);
    launch.output = states;
    launch.lse = lse;
    launch.first_split = first;
    return attend(attention, rows, query, &launch, failure);
}
