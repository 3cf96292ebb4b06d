// SPDX-License-Identifier: Apache-2.0
#include "cl/common/attend_heads_call.h"
#include "host/error.h"
#include "host/memory.h"
#include "lib/attend_heads_matrix.h"
#include "lib/operation.h"
#include "lib/proof.h"
#include "lib/tensor.h"
#include "lib/tuned_tile.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

// Of cl/attend_heads_vector.cl: 128 tokens and 48 keys of 192 + 128 stay in a second-level cache. The kernel sums 4
// rows at a time with vectors of 16 floats, 6 with shorter ones.
#define BLOCK_KEYS 48
#define ROW_TILE 128
#define ROW_TILE_SHORT_VECTORS 96

static clmla_status check_numbers(clmla_context *context, const clmla_attend_heads_params *p) {
    const clmla_log *log = &context->host.log;
    const char *op = "attend_heads";
    if (p->head_count > CLMLA_MAX_HEADS)
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "%s: head_count must be 0 to %d, not %u", op, CLMLA_MAX_HEADS,
                         p->head_count);
    if ((uint64_t)p->nope_dim + p->rope_dim == 0 || p->value_dim == 0)
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "%s: nope_dim %u + rope_dim %u and value_dim %u must be at least 1",
                         op, p->nope_dim, p->rope_dim, p->value_dim);
    STATUS_OR_RETURN(operation_check_count(context, p->token_count, op, "token_count"));
    STATUS_OR_RETURN(
        operation_check_count(context, (uint64_t)p->key_first + p->key_count, op, "key_first + key_count"));
    STATUS_OR_RETURN(operation_check_count(context, (uint64_t)p->nope_dim + p->rope_dim, op, "nope_dim + rope_dim"));
    STATUS_OR_RETURN(operation_check_count(context, p->value_dim, op, "value_dim"));
    if (!(p->softmax_scale > 0.0f) || isinf(p->softmax_scale))
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "%s: softmax_scale must be above 0, not %g", op,
                         (double)p->softmax_scale);
    if (!(p->softcap >= 0.0f) || isinf(p->softcap))
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "%s: softcap must be above 0, or 0 for none, not %g", op,
                         (double)p->softcap);
    if (p->compute != CLMLA_COMPUTE_EXACT && p->compute != CLMLA_COMPUTE_FAST)
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "%s: compute is %d, neither exact (0) nor fast (1)", op,
                         (int)p->compute);
    if (p->rounding != CLMLA_TYPE_NONE && p->rounding != CLMLA_TYPE_F16 && p->rounding != CLMLA_TYPE_BF16)
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "%s: rounding must be f16 or bf16, or none, not %s", op,
                         clmla_type_name(p->rounding));
    if (p->carry && !p->lse.memory)
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "%s: carry needs the lse that goes with the output", op);
    return CLMLA_OK;
}

static clmla_status check_tensor(clmla_context *context, const clmla_attend_heads_params *p, clmla_buffer buffer,
                                 uint64_t pieces, uint64_t stride, uint64_t head_stride, uint64_t width,
                                 const char *name) {
    tensor_heads tensor = {buffer, pieces, stride, p->head_count, head_stride, width};
    return tensor_check_heads(context, &tensor, sizeof(float), "attend_heads", name);
}

static clmla_status check(clmla_context *context, const clmla_attend_heads_params *p) {
    uint64_t width = (uint64_t)p->nope_dim + p->rope_dim;
    STATUS_OR_RETURN(check_numbers(context, p));
    STATUS_OR_RETURN(check_tensor(context, p, p->query, p->token_count, p->query_token_stride, p->query_head_stride,
                                  width, "query"));
    STATUS_OR_RETURN(
        check_tensor(context, p, p->key, p->key_count, p->key_token_stride, p->key_head_stride, p->nope_dim, "key"));
    STATUS_OR_RETURN(check_tensor(context, p, p->value, p->key_count, p->value_token_stride, p->value_head_stride,
                                  p->value_dim, "value"));
    STATUS_OR_RETURN(tensor_check_rows(context, p->key_rope, p->key_count, p->key_rope_stride, p->rope_dim,
                                       "attend_heads", "key_rope"));
    STATUS_OR_RETURN(check_tensor(context, p, p->output, p->token_count, p->output_token_stride, p->output_head_stride,
                                  p->value_dim, "output"));
    if (!p->lse.memory) return CLMLA_OK;
    return check_tensor(context, p, p->lse, p->token_count, p->lse_token_stride, p->lse_head_stride, 1, "lse");
}

static int64_t elements(clmla_buffer buffer) {
    return (int64_t)(buffer.offset / sizeof(float));
}

static attend_heads_call call_of(const clmla_attend_heads_params *p) {
    return (attend_heads_call){
        .query = elements(p->query),
        .query_token = (int64_t)p->query_token_stride,
        .query_head = (int64_t)p->query_head_stride,
        .key = elements(p->key),
        .key_token = (int64_t)p->key_token_stride,
        .key_head = (int64_t)p->key_head_stride,
        .key_rope = elements(p->key_rope),
        .key_rope_token = (int64_t)p->key_rope_stride,
        .value = elements(p->value),
        .value_token = (int64_t)p->value_token_stride,
        .value_head = (int64_t)p->value_head_stride,
        .output = elements(p->output),
        .output_token = (int64_t)p->output_token_stride,
        .output_head = (int64_t)p->output_head_stride,
        .lse = elements(p->lse),
        .lse_token = (int64_t)p->lse_token_stride,
        .lse_head = (int64_t)p->lse_head_stride,
        .window = p->window,
        .token_count = (int32_t)p->token_count,
        .key_count = (int32_t)p->key_count,
        .key_first = (int32_t)p->key_first,
        .query_first = p->query_first,
        .head_count = (int32_t)p->head_count,
        .nope_dim = (int32_t)p->nope_dim,
        .rope_dim = (int32_t)p->rope_dim,
        .value_dim = (int32_t)p->value_dim,
        .full = p->full,
        .carry = p->carry,
        .scale = p->softmax_scale,
        .softcap = p->softcap,
    };
}

// How a variant is built for a call, and started.
typedef struct heads_form {
    char options[OPTIONS_MAX];
    cl_uint dimensions;
    size_t global[2], local[2];
    bool is_grid; // of the groups `local`; otherwise a work-item for each of `global`
} heads_form;

static clmla_status form_naive(heads_form *form, clmla_context *context, const clmla_attend_heads_params *p,
                               const variant *chosen) {
    *form = (heads_form){.dimensions = 2, .global = {p->head_count, p->token_count}};
    return operation_options(form->options, context, chosen, NULL, NULL);
}

static clmla_status form_vector(heads_form *form, clmla_context *context, const clmla_attend_heads_params *p,
                                const variant *chosen) {
    uint32_t row_tile = variant_has_long_vectors(&context->host.facts) ? ROW_TILE : ROW_TILE_SHORT_VECTORS;
    *form = (heads_form){.dimensions = 2,
                         .global = {((size_t)p->token_count + row_tile - 1) / row_tile, p->head_count},
                         .local = {1, 1},
                         .is_grid = true};
    char more[OPTIONS_MAX];
    snprintf(more, sizeof more, "-DNOPE_DIM=%u -DROPE_DIM=%u -DVALUE_DIM=%u -DROW_TILE=%u -DBLOCK_KEYS=%d", p->nope_dim,
             p->rope_dim, p->value_dim, row_tile, BLOCK_KEYS);
    return operation_options(form->options, context, chosen, NULL, more);
}

// What a tile is looked for.
typedef struct tile_question {
    const clmla_device_facts *facts;
    attend_heads_shape shape;
    attend_heads_tile tile;     // of the variant "tile"
    attend_heads_matrix matrix; // of "matrix"
} tile_question;

static bool search_tile(void *of, char reason[ATTEND_TILE_REASON_MAX], const attend_tile_limits *limits) {
    tile_question *q = of;
    return attend_heads_tile_choose(&q->tile, reason, q->facts, limits, &q->shape);
}

static bool search_matrix(void *of, char reason[ATTEND_TILE_REASON_MAX], const attend_tile_limits *limits) {
    tile_question *q = of;
    return attend_heads_matrix_choose(&q->matrix, reason, q->facts, limits, &q->shape);
}

static clmla_status find_tile(tile_question *out, clmla_context *context, const clmla_attend_heads_params *p,
                              const variant *chosen) {
    *out = (tile_question){.facts = &context->host.facts, .shape = {p->nope_dim, p->rope_dim, p->value_dim}};
    return tuned_tile_find(
        context, &(tuned_tile_request){.search = chosen->method == VARIANT_MATRIX ? search_matrix : search_tile,
                                       .of = out,
                                       .who = "attend_heads",
                                       .variant = chosen->name,
                                       .named = p->variant != NULL,
                                       .every_call = true});
}

// A group for so many tokens of a head.
static heads_form grid_of(const clmla_attend_heads_params *p, uint32_t group, uint32_t row_tile) {
    size_t tiles = ((size_t)p->token_count + row_tile - 1) / row_tile;
    return (heads_form){
        .dimensions = 2, .global = {tiles * group, p->head_count}, .local = {group, 1}, .is_grid = true};
}

static clmla_status form_tile(heads_form *form, clmla_context *context, const clmla_attend_heads_params *p,
                              const variant *chosen) {
    tile_question found;
    char more[OPTIONS_MAX], width[64] = "";
    STATUS_OR_RETURN(find_tile(&found, context, p, chosen));
    const attend_heads_tile tile = found.tile;
    if (tile.sub_group) snprintf(width, sizeof width, " -DSUB_GROUP=%u", tile.sub_group);
    if (tile.large_registers) strcat(width, " -cl-intel-256-GRF-per-thread");
    snprintf(more, sizeof more,
             "-DNOPE_DIM=%u -DROPE_DIM=%u -DVALUE_DIM=%u -DTILE_GROUP=%u -DKEY_SIDE=%u -DDEPTH=%u -DVALUE_KEYS=%u%s",
             p->nope_dim, p->rope_dim, p->value_dim, tile.group, tile.key_side, tile.depth, tile.value_keys, width);
    *form = grid_of(p, tile.group, tile.row_tile);
    return operation_options(form->options, context, chosen, NULL, more);
}

static clmla_status form_matrix(heads_form *form, clmla_context *context, const clmla_attend_heads_params *p,
                                const variant *chosen) {
    tile_question found;
    char more[OPTIONS_MAX];
    STATUS_OR_RETURN(find_tile(&found, context, p, chosen));
    const attend_heads_matrix tile = found.matrix;
    snprintf(more, sizeof more,
             "%s -DROWS_%s -DNOPE_DIM=%u -DROPE_DIM=%u -DVALUE_DIM=%u -DTILE_GROUP=%u -DROW_TILE=%u -DKEY_TILE=%u",
             host_matrix_find(&context->host.facts)->option, p->rounding == CLMLA_TYPE_F16 ? "F16" : "BF16",
             p->nope_dim, p->rope_dim, p->value_dim, tile.group, tile.row_tile, tile.key_tile);
    *form = grid_of(p, tile.group, tile.row_tile);
    return operation_options(form->options, context, chosen, NULL, more);
}

static clmla_status form_of(heads_form *form, clmla_context *context, const clmla_attend_heads_params *p,
                            const variant *chosen) {
    if (chosen->method == VARIANT_TILE) return form_tile(form, context, p, chosen);
    if (chosen->method == VARIANT_MATRIX) return form_matrix(form, context, p, chosen);
    return chosen->method == VARIANT_VECTOR ? form_vector(form, context, p, chosen)
                                            : form_naive(form, context, p, chosen);
}

clmla_status attend_heads_options(char options[OPTIONS_MAX], clmla_context *context, const clmla_attend_heads_params *p,
                                  const variant *chosen) {
    heads_form form;
    STATUS_OR_RETURN(form_of(&form, context, p, chosen));
    memcpy(options, form.options, OPTIONS_MAX);
    return CLMLA_OK;
}

static clmla_status launch(clmla_context *context, const clmla_attend_heads_params *p, const variant *chosen,
                           host_chain *chain) {
    attend_heads_call call = call_of(p);
    heads_form form;
    STATUS_OR_RETURN(form_of(&form, context, p, chosen));
    host_launch launch =
        host_launch_begin(&context->host, "attend_heads", chosen->source, form.options, chosen->source->name);
    host_arg_buffer(&launch, p->query.memory);
    host_arg_buffer(&launch, p->key.memory);
    host_arg_buffer(&launch, p->key_rope.memory);
    host_arg_buffer(&launch, p->value.memory);
    host_arg_buffer(&launch, p->output.memory);
    host_arg_buffer(&launch, p->lse.memory);
    host_arg_bytes(&launch, sizeof call, &call);
    if (form.is_grid) return host_launch_enqueue(&launch, chain, form.dimensions, form.global, form.local);
    return operation_launch_items(&launch, chain, form.dimensions, form.global);
}

clmla_status attend_heads_enqueue_by(clmla_context *context, const clmla_attend_heads_params *params,
                                     const variant *chosen, host_chain *chain) {
    if (params->token_count == 0 || params->head_count == 0) return CLMLA_OK;
    return launch(context, params, chosen, chain);
}

clmla_status attend_heads_enqueue(clmla_context *context, const clmla_attend_heads_params *params, host_chain *chain) {
    const variant *chosen;
    clmla_shape shape = {.latent_dim = params->nope_dim,
                         .rope_dim = params->rope_dim,
                         .value_dim = params->value_dim,
                         .head_count = params->head_count,
                         .compute = params->compute,
                         .row_count = params->token_count};
    STATUS_OR_RETURN(check(context, params));
    // What was found wrong is left out; nothing is found out here.
    proof_heads proof = proof_heads_in(params);
    STATUS_OR_RETURN(variant_choose_judged(&chosen, context, CLMLA_OP_ATTEND_HEADS, &shape, params->variant,
                                           proof_is_wanted(context) ? &proof.base : NULL));
    return attend_heads_enqueue_by(context, params, chosen, chain);
}

clmla_status clmla_attend_heads(clmla_context *context, const clmla_attend_heads_params *params, cl_command_queue queue,
                                cl_uint wait_count, const cl_event *wait, cl_event *event) {
    host_chain chain;
    STATUS_OR_RETURN(operation_begin(&chain, context, params, "attend_heads", queue, wait_count, wait, event));
    return host_chain_finish(&chain, attend_heads_enqueue(context, params, &chain), event);
}
