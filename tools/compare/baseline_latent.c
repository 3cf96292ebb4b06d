// SPDX-License-Identifier: Apache-2.0
#include "baseline_latent.h"
#include "baseline_latent_group.h"
#include "baseline_latent_text.h"
#include "baseline_program.h"
#include <stdio.h>

#define LOG2_E 1.44269504088896341f
// As in baseline_latent.cl.
#define TILE_BLOCK 48
#define VALUE_STRIP 64
#define VALUE_HEADS 64
#define REBUILD_TILES 64
// Tokens whose keys and values are rebuilt before they are attended to: some ten megabytes at DeepSeek's dimensions.
#define CHUNK_TOKENS (TILE_BLOCK * 4)

static size_t groups(uint64_t count, uint32_t size) {
    return (size_t)((count + size - 1) / size);
}

static uint32_t row_width(const latent_shape *shape) {
    return shape->latent_dim + shape->rope_dim;
}

static uint32_t head_tiles(const latent_shape *shape) {
    return (shape->head_count + 15) / 16;
}

static uint32_t rebuilt_width(const latent_shape *shape) {
    return shape->head_count * (shape->nope_dim + shape->value_dim);
}

static bool check(const latent_shape *shape, failure *failure) {
    if (shape->latent_dim % 16 || shape->rope_dim % 16 || shape->latent_dim == 0)
        return failure_set(failure,
                           "unfused and naive MLA need latent and rope dimensions that 16 divides, not %u and %u",
                           shape->latent_dim, shape->rope_dim);
    return baseline_type_option(shape->type) ||
           failure_set(failure, "unfused and naive MLA take rows in f32, f16 or bf16, not %s",
                       clmla_type_name(shape->type));
}

static bool open_for_cpu(baseline_latent *out, failure *failure) {
    uint64_t column = sizeof(float) * (uint64_t)head_tiles(&out->shape) * 16;
    char options[128];
    snprintf(options, sizeof options, "-cl-std=CL1.2 %s -DLATENT_DIM=%u -DROPE_DIM=%u",
             baseline_type_option(out->shape.type), out->shape.latent_dim, out->shape.rope_dim);
    const baseline_text text = {baseline_latent_text, BASELINE_LATENT_TEXT_LINES};
    return baseline_build(&out->program, out->session, text, options, failure) &&
           baseline_kernel(&out->pack, out->program, "pack", failure) &&
           baseline_kernel(&out->scores, out->program, "latent_scores", failure) &&
           baseline_kernel(&out->softmax, out->program, "latent_softmax", failure) &&
           baseline_kernel(&out->values, out->program, "latent_values", failure) &&
           baseline_kernel(&out->widen, out->program, "widen", failure) &&
           baseline_kernel(&out->rebuild, out->program, "rebuild", failure) &&
           session_buffer(&out->packed, out->session, column * row_width(&out->shape), NULL, failure) &&
           session_buffer(&out->totals, out->session, column, NULL, failure);
}

// For GPUs kv_b is read as it is.
static bool keep_weights(baseline_latent *out, cl_mem kv_b, failure *failure) {
    const latent_shape *shape = &out->shape;
    uint32_t width = rebuilt_width(shape);
    if (!out->group.items)
        return session_buffer(&out->kv_b, out->session, sizeof(float) * (uint64_t)width * shape->latent_dim, NULL,
                              failure) &&
               baseline_pack(out->session, out->pack, kv_b, out->kv_b, 1, width, shape->latent_dim, 1.0f, failure);
    cl_int code = clRetainMemObject(kv_b);
    if (code == CL_SUCCESS) out->kv_b = kv_b;
    return code == CL_SUCCESS || failure_opencl(failure, "clRetainMemObject", code);
}

// What rebuilding needs: the weights, room for a chunk, and multi-head attention over it.
static bool open_rebuilt(baseline_latent *out, cl_mem kv_b, failure *failure) {
    const latent_shape *shape = &out->shape;
    const baseline_shape heads = {.head_count = shape->head_count,
                                  .kv_head_count = shape->head_count,
                                  .key_dim = shape->nope_dim,
                                  .value_dim = shape->value_dim,
                                  .shared_dim = shape->rope_dim,
                                  .type = CLMLA_TYPE_F32,
                                  .softmax_scale = shape->softmax_scale};
    out->chunk = out->group.items ? latent_group_chunk(out) : CHUNK_TOKENS;
    uint64_t chunk = sizeof(float) * (uint64_t)out->chunk;
    return baseline_attention_open(&out->attention, out->session, &heads, failure) &&
           keep_weights(out, kv_b, failure) &&
           session_buffer(&out->rebuilt, out->session, chunk * rebuilt_width(shape), NULL, failure) &&
           session_buffer(&out->widened, out->session, chunk * row_width(shape), NULL, failure);
}

bool latent_open(baseline_latent *out, const session *session, const latent_shape *shape, cl_mem kv_b,
                 failure *failure) {
    *out = (baseline_latent){.session = session, .shape = *shape};
    if (!check(shape, failure)) return false;
    bool gpu = baseline_group_items(clmla_context_facts(session->context)) != 0;
    return (gpu ? latent_group_open(out, failure) : open_for_cpu(out, failure)) &&
           (!kv_b || open_rebuilt(out, kv_b, failure));
}

void latent_close(baseline_latent *latent) {
    cl_kernel *kernels[] = {&latent->pack,  &latent->scores,  &latent->softmax, &latent->values,
                            &latent->widen, &latent->rebuild, &latent->total};
    cl_mem *buffers[] = {&latent->packed,  &latent->weights, &latent->totals, &latent->sums, &latent->kv_b,
                         &latent->widened, &latent->rebuilt, &latent->states, &latent->lse};
    for (size_t i = 0; i < sizeof kernels / sizeof kernels[0]; i++) baseline_release_kernel(kernels[i]);
    for (size_t i = 0; i < sizeof buffers / sizeof buffers[0]; i++) baseline_release(buffers[i]);
    if (latent->program) clReleaseProgram(latent->program);
    baseline_attention_close(&latent->attention);
    *latent = (baseline_latent){0};
}

// --- absorbed, not fused -------------------------------------------------------------------------------------------

static bool enqueue_scores(baseline_latent *latent, cl_mem rows, uint32_t kv_tokens, failure *failure) {
    cl_long stride = row_width(&latent->shape);
    cl_int tiles = (cl_int)head_tiles(&latent->shape), tokens = (cl_int)kv_tokens;
    const baseline_argument arguments[] = {BASELINE_ARGUMENT(latent->packed),  BASELINE_ARGUMENT(rows),
                                           BASELINE_ARGUMENT(latent->weights), BASELINE_ARGUMENT(stride),
                                           BASELINE_ARGUMENT(tiles),           BASELINE_ARGUMENT(tokens)};
    const size_t global[3] = {groups(kv_tokens, TILE_BLOCK), 1, 1};
    return baseline_launch(latent->session, latent->scores, global, 1, arguments, 6, failure);
}

static bool enqueue_softmax(baseline_latent *latent, uint32_t kv_tokens, failure *failure) {
    cl_int tokens = (cl_int)kv_tokens;
    const baseline_argument arguments[] = {BASELINE_ARGUMENT(latent->weights), BASELINE_ARGUMENT(latent->totals),
                                           BASELINE_ARGUMENT(tokens)};
    const size_t global[3] = {head_tiles(&latent->shape), 1, 1};
    return baseline_launch(latent->session, latent->softmax, global, 1, arguments, 3, failure);
}

static bool enqueue_values(baseline_latent *latent, cl_mem rows, uint32_t kv_tokens, cl_mem output, failure *failure) {
    cl_long stride = row_width(&latent->shape);
    cl_int heads = (cl_int)latent->shape.head_count, padded = (cl_int)head_tiles(&latent->shape) * 16;
    cl_int tokens = (cl_int)kv_tokens;
    const baseline_argument arguments[] = {
        BASELINE_ARGUMENT(latent->weights), BASELINE_ARGUMENT(latent->totals), BASELINE_ARGUMENT(rows),
        BASELINE_ARGUMENT(output),          BASELINE_ARGUMENT(stride),         BASELINE_ARGUMENT(heads),
        BASELINE_ARGUMENT(padded),          BASELINE_ARGUMENT(tokens)};
    const size_t global[3] = {groups(latent->shape.latent_dim, VALUE_STRIP), groups((uint64_t)padded, VALUE_HEADS), 1};
    return baseline_launch(latent->session, latent->values, global, 1, arguments, 8, failure);
}

static bool room_for_weights(baseline_latent *latent, uint32_t kv_tokens, failure *failure) {
    if (latent->capacity >= kv_tokens) return true;
    baseline_release(&latent->weights);
    latent->capacity = 0;
    uint64_t bytes = sizeof(float) * 16 * (uint64_t)head_tiles(&latent->shape) * kv_tokens;
    if (!session_buffer(&latent->weights, latent->session, bytes, NULL, failure)) return false;
    latent->capacity = kv_tokens;
    return true;
}

bool latent_attend_unfused(baseline_latent *latent, cl_mem rows, cl_mem query, uint32_t kv_tokens, cl_mem output,
                           failure *failure) {
    if (latent->group.items) return latent_group_unfused(latent, rows, query, kv_tokens, output, failure);
    return room_for_weights(latent, kv_tokens, failure) &&
           baseline_pack(latent->session, latent->pack, query, latent->packed, 1, latent->shape.head_count,
                         row_width(&latent->shape), latent->shape.softmax_scale * LOG2_E, failure) &&
           enqueue_scores(latent, rows, kv_tokens, failure) && enqueue_softmax(latent, kv_tokens, failure) &&
           enqueue_values(latent, rows, kv_tokens, output, failure);
}

// --- not absorbed --------------------------------------------------------------------------------------------------

static bool room_for_states(baseline_latent *latent, uint32_t count, failure *failure) {
    if (latent->state_capacity >= count) return true;
    uint64_t lse = sizeof(float) * (uint64_t)count * latent->shape.head_count;
    baseline_release(&latent->states);
    baseline_release(&latent->lse);
    latent->state_capacity = 0;
    if (!session_buffer(&latent->states, latent->session, lse * latent->shape.value_dim, NULL, failure) ||
        !session_buffer(&latent->lse, latent->session, lse, NULL, failure))
        return false;
    latent->state_capacity = count;
    return true;
}

// widened = rows first .. first + count - 1 in f32; rebuilt = kv_b . their latents.
static bool enqueue_rebuild(baseline_latent *latent, cl_mem rows, uint32_t first, uint32_t count, failure *failure) {
    if (latent->group.items) return latent_group_rebuild(latent, rows, first, count, failure);
    cl_long stride = row_width(&latent->shape);
    cl_int from = (cl_int)first, tokens = (cl_int)count, tiles = (cl_int)(rebuilt_width(&latent->shape) / 16);
    const baseline_argument of_widen[] = {BASELINE_ARGUMENT(rows), BASELINE_ARGUMENT(latent->widened),
                                          BASELINE_ARGUMENT(from)};
    const baseline_argument of_rebuild[] = {BASELINE_ARGUMENT(latent->kv_b),    BASELINE_ARGUMENT(latent->widened),
                                            BASELINE_ARGUMENT(latent->rebuilt), BASELINE_ARGUMENT(stride),
                                            BASELINE_ARGUMENT(tiles),           BASELINE_ARGUMENT(tokens)};
    const size_t widen[3] = {count, 1, 1};
    const size_t rebuild[3] = {groups(count, TILE_BLOCK), groups((uint64_t)tiles, REBUILD_TILES), 1};
    return baseline_launch(latent->session, latent->widen, widen, 1, of_widen, 3, failure) &&
           baseline_launch(latent->session, latent->rebuild, rebuild, 1, of_rebuild, 6, failure);
}

static bool attend_chunk(baseline_latent *latent, cl_mem query, uint32_t count, uint32_t state, failure *failure) {
    const latent_shape *shape = &latent->shape;
    // A key head is the first N of N + V rebuilt values, a value head the rest; k_pe is the end of the row.
    const baseline_rows rows = {.keys = latent->rebuilt,
                                .values = latent->rebuilt,
                                .key_head_stride = shape->nope_dim + shape->value_dim,
                                .key_token_stride = rebuilt_width(shape),
                                .value_head_stride = shape->nope_dim + shape->value_dim,
                                .value_token_stride = rebuilt_width(shape),
                                .value_offset = shape->nope_dim,
                                .shared = latent->widened,
                                .shared_stride = row_width(shape),
                                .shared_offset = shape->latent_dim};
    return baseline_attend_part(&latent->attention, &rows, query, count, latent->states, latent->lse, state, failure);
}

bool latent_attend_rebuilt(baseline_latent *latent, cl_mem rows, cl_mem query, uint32_t kv_tokens, cl_mem output,
                           failure *failure) {
    uint32_t of_chunk = baseline_state_count(&latent->attention, latent->chunk);
    uint32_t last = kv_tokens > 0 ? (kv_tokens - 1) % latent->chunk + 1 : 0;
    uint32_t states = (kv_tokens - last) / latent->chunk * of_chunk + baseline_state_count(&latent->attention, last);
    if (!room_for_states(latent, states, failure)) return false;
    for (uint32_t first = 0, state = 0; first < kv_tokens; first += latent->chunk, state += of_chunk) {
        uint32_t count = kv_tokens - first < latent->chunk ? kv_tokens - first : latent->chunk;
        if (!enqueue_rebuild(latent, rows, first, count, failure) ||
            !attend_chunk(latent, query, count, state, failure))
            return false;
    }
    const clmla_merge_params params = {.state_count = states,
                                       .token_count = 1,
                                       .head_count = latent->shape.head_count,
                                       .width = latent->shape.value_dim,
                                       .states = {latent->states, 0},
                                       .lse = {latent->lse, 0},
                                       .output = {output, 0}};
    return clmla_merge(latent->session->context, &params, latent->session->queue, 0, NULL, NULL) == CLMLA_OK ||
           failure_library(failure);
}
