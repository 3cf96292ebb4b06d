// SPDX-License-Identifier: Apache-2.0
#include "baseline_latent_group.h"
#include "baseline_latent_group_text.h"
#include "baseline_program.h"
#include <stdio.h>

#define CHUNK_TOKENS 1024u
#define CHUNK_TOKENS_LEAST 64u
#define CHUNK_BYTES 268435456u // of rebuilt keys and values
#define COUNT(list) (sizeof(list) / sizeof(list)[0])

static const clmla_device_facts *facts_of(const baseline_latent *latent) {
    return clmla_context_facts(latent->session->context);
}

static uint32_t row_width(const latent_shape *shape) {
    return shape->latent_dim + shape->rope_dim;
}

bool latent_group_open(baseline_latent *latent, failure *failure) {
    const latent_shape *shape = &latent->shape;
    const baseline_text text = {baseline_latent_group_text, BASELINE_LATENT_GROUP_TEXT_LINES};
    char of_group[BASELINE_GROUP_OPTIONS], options[BASELINE_GROUP_OPTIONS + 128];
    if (!baseline_group_latent(&latent->group, facts_of(latent), shape->head_count, row_width(shape), shape->latent_dim,
                               shape->type, failure))
        return false;
    baseline_group_options(of_group, facts_of(latent), &latent->group, row_width(shape));
    snprintf(options, sizeof options, "-cl-std=CL1.2 %s -DLATENT_DIM=%u -DROPE_DIM=%u %s",
             baseline_type_option(shape->type), shape->latent_dim, shape->rope_dim, of_group);
    return baseline_build(&latent->program, latent->session, text, options, failure) &&
           baseline_kernel(&latent->scores, latent->program, "latent_scores_group", failure) &&
           baseline_kernel(&latent->softmax, latent->program, "latent_softmax_group", failure) &&
           baseline_kernel(&latent->values, latent->program, "latent_values_group", failure) &&
           baseline_kernel(&latent->total, latent->program, "latent_total", failure) &&
           baseline_kernel(&latent->widen, latent->program, "widen", failure) &&
           session_buffer(&latent->totals, latent->session, sizeof(float) * (uint64_t)shape->head_count, NULL, failure);
}

// --- absorbed, not fused -------------------------------------------------------------------------------------------

static size_t head_tiles(const baseline_latent *latent) {
    return baseline_pieces(latent->shape.head_count, latent->group.head_tile);
}

static size_t column_tiles(const baseline_latent *latent) {
    return latent->shape.latent_dim / latent->group.value_tile;
}

static baseline_parts parts_of(const baseline_latent *latent, uint32_t kv_tokens) {
    return baseline_group_parts(facts_of(latent), head_tiles(latent) * column_tiles(latent), kv_tokens);
}

static bool make_room(baseline_latent *latent, uint32_t kv_tokens, failure *failure) {
    if (latent->capacity == kv_tokens) return true;
    baseline_release(&latent->weights);
    baseline_release(&latent->sums);
    latent->capacity = 0;
    uint64_t heads = head_tiles(latent) * latent->group.head_tile;
    uint64_t sums = (uint64_t)parts_of(latent, kv_tokens).count * latent->shape.head_count * latent->shape.latent_dim;
    if (!session_buffer(&latent->weights, latent->session, sizeof(float) * heads * kv_tokens, NULL, failure) ||
        !session_buffer(&latent->sums, latent->session, sizeof(float) * sums, NULL, failure))
        return false;
    latent->capacity = kv_tokens;
    return true;
}

static bool enqueue_scores(baseline_latent *latent, cl_mem rows, cl_mem query, uint32_t kv_tokens, failure *failure) {
    cl_long stride = kv_tokens;
    cl_int heads = (cl_int)latent->shape.head_count, tokens = (cl_int)kv_tokens;
    const baseline_argument arguments[] = {BASELINE_ARGUMENT(query),
                                           BASELINE_ARGUMENT(rows),
                                           BASELINE_ARGUMENT(latent->weights),
                                           BASELINE_ARGUMENT(stride),
                                           BASELINE_ARGUMENT(heads),
                                           BASELINE_ARGUMENT(tokens),
                                           BASELINE_ARGUMENT(latent->shape.softmax_scale)};
    size_t items = latent->group.items;
    const size_t global[3] = {baseline_pieces(kv_tokens, latent->group.key_tile) * items, head_tiles(latent), 1};
    return baseline_launch(latent->session, latent->scores, global, items, arguments, COUNT(arguments), failure);
}

static bool enqueue_softmax(baseline_latent *latent, uint32_t kv_tokens, failure *failure) {
    cl_long stride = kv_tokens;
    cl_int tokens = (cl_int)kv_tokens;
    const baseline_argument arguments[] = {BASELINE_ARGUMENT(latent->weights), BASELINE_ARGUMENT(latent->totals),
                                           BASELINE_ARGUMENT(stride), BASELINE_ARGUMENT(tokens)};
    size_t items = latent->group.items;
    const size_t global[3] = {latent->shape.head_count * items, 1, 1};
    return baseline_launch(latent->session, latent->softmax, global, items, arguments, COUNT(arguments), failure);
}

static bool enqueue_values(baseline_latent *latent, cl_mem rows, uint32_t kv_tokens, failure *failure) {
    baseline_parts parts = parts_of(latent, kv_tokens);
    cl_long stride = kv_tokens;
    cl_int heads = (cl_int)latent->shape.head_count, tokens = (cl_int)kv_tokens, of_part = (cl_int)parts.tokens;
    const baseline_argument arguments[] = {BASELINE_ARGUMENT(latent->weights), BASELINE_ARGUMENT(rows),
                                           BASELINE_ARGUMENT(latent->sums),    BASELINE_ARGUMENT(stride),
                                           BASELINE_ARGUMENT(heads),           BASELINE_ARGUMENT(tokens),
                                           BASELINE_ARGUMENT(of_part)};
    size_t items = latent->group.items;
    const size_t global[3] = {column_tiles(latent) * items, head_tiles(latent), parts.count};
    return baseline_launch(latent->session, latent->values, global, items, arguments, COUNT(arguments), failure);
}

static bool enqueue_total(baseline_latent *latent, uint32_t kv_tokens, cl_mem output, failure *failure) {
    cl_int parts = (cl_int)parts_of(latent, kv_tokens).count;
    const baseline_argument arguments[] = {BASELINE_ARGUMENT(latent->sums), BASELINE_ARGUMENT(latent->totals),
                                           BASELINE_ARGUMENT(output), BASELINE_ARGUMENT(parts)};
    const size_t global[3] = {latent->shape.latent_dim, latent->shape.head_count, 1};
    return baseline_launch(latent->session, latent->total, global, 0, arguments, COUNT(arguments), failure);
}

bool latent_group_unfused(baseline_latent *latent, cl_mem rows, cl_mem query, uint32_t kv_tokens, cl_mem output,
                          failure *failure) {
    return make_room(latent, kv_tokens, failure) && enqueue_scores(latent, rows, query, kv_tokens, failure) &&
           enqueue_softmax(latent, kv_tokens, failure) && enqueue_values(latent, rows, kv_tokens, failure) &&
           enqueue_total(latent, kv_tokens, output, failure);
}

// --- not absorbed --------------------------------------------------------------------------------------------------

static uint32_t rebuilt_width(const latent_shape *shape) {
    return shape->head_count * (shape->nope_dim + shape->value_dim);
}

uint32_t latent_group_chunk(const baseline_latent *latent) {
    uint64_t row = sizeof(float) * (uint64_t)rebuilt_width(&latent->shape);
    uint32_t tokens = CHUNK_TOKENS;
    while (tokens > CHUNK_TOKENS_LEAST && tokens * row > CHUNK_BYTES) tokens /= 2;
    return tokens;
}

bool latent_group_rebuild(baseline_latent *latent, cl_mem rows, uint32_t first, uint32_t count, failure *failure) {
    const latent_shape *shape = &latent->shape;
    const session *session = latent->session;
    cl_int from = (cl_int)first;
    const baseline_argument of_widen[] = {BASELINE_ARGUMENT(rows), BASELINE_ARGUMENT(latent->widened),
                                          BASELINE_ARGUMENT(from)};
    const size_t vector = 16 / clmla_type_bytes(shape->type), widen[3] = {row_width(shape) / vector, count, 1};
    const clmla_project_params params = {.matrix = {.type = CLMLA_TYPE_F32,
                                                    .rows = rebuilt_width(shape),
                                                    .columns = shape->latent_dim,
                                                    .row_stride = shape->latent_dim,
                                                    .values = {latent->kv_b, 0}},
                                         .row_count = count,
                                         .input = {latent->widened, 0},
                                         .input_stride = row_width(shape),
                                         .output = {latent->rebuilt, 0},
                                         .output_stride = rebuilt_width(shape)};
    return baseline_launch(session, latent->widen, widen, 0, of_widen, COUNT(of_widen), failure) &&
           (clmla_project(session->context, &params, session->queue, 0, NULL, NULL) == CLMLA_OK ||
            failure_library(failure));
}
