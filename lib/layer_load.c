// SPDX-License-Identifier: Apache-2.0
// A layer's tensors by their Hugging Face names, with shapes and types checked against the config.
#include "host/error.h"
#include "lib/layer_parts.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define NAME_MAX_BYTES 128 // the longest name here has 77

typedef struct layer_source {
    const clmla_log *log;
    const clmla_config *config;
    const clmla_checkpoint *checkpoint;
    uint32_t index;
} layer_source;

static void make_name(char out[NAME_MAX_BYTES], uint32_t index, layer_part part, const char *ending) {
    snprintf(out, NAME_MAX_BYTES, "model.layers.%" PRIu32 ".self_attn.%s.%s", index, layer_part_name(part), ending);
}

// A tensor the layer cannot do without.
static clmla_status find(clmla_tensor *out, const layer_source *source, layer_part part, const char *ending) {
    char name[NAME_MAX_BYTES];
    make_name(name, source->index, part, ending);
    return host_log_failure(source->log, clmla_checkpoint_find(out, source->checkpoint, name));
}

// A tensor that may be absent: a success must leave the thread's sentence as it was, so nothing here may fail.
static bool find_optional(clmla_tensor *out, const layer_source *source, layer_part part, const char *ending) {
    char name[NAME_MAX_BYTES];
    size_t low = 0, high = clmla_checkpoint_count(source->checkpoint);
    make_name(name, source->index, part, ending);
    while (low < high) { // tensors are in name order
        size_t middle = low + (high - low) / 2;
        if (clmla_checkpoint_at(out, source->checkpoint, middle) != CLMLA_OK) return false;
        int order = strcmp(name, out->name);
        if (order == 0) return true;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return false;
}

static void print_shape(char *out, size_t size, uint32_t rank, const uint64_t *shape) {
    size_t used = (size_t)snprintf(out, size, "[");
    for (uint32_t i = 0; i < rank && used < size; i++)
        used += (size_t)snprintf(out + used, size - used, "%s%" PRIu64, i ? ", " : "", shape[i]);
    if (used < size) snprintf(out + used, size - used, "]");
}

static clmla_status check_shape(const clmla_log *log, const clmla_tensor *tensor, uint32_t rank,
                                const uint64_t *expected) {
    if (tensor->rank == rank && memcmp(tensor->shape, expected, rank * sizeof *expected) == 0) return CLMLA_OK;
    char wanted[64], found[CLMLA_MAX_TENSOR_RANK * 24];
    print_shape(wanted, sizeof wanted, rank, expected);
    print_shape(found, sizeof found, tensor->rank, tensor->shape);
    return host_fail(log, CLMLA_E_TENSOR_SHAPE, 0, "%s: %s: its shape is %s, the config implies %s", tensor->file,
                     tensor->name, found, wanted);
}

static clmla_status check_float(const clmla_log *log, const clmla_tensor *tensor, bool fp8_too) {
    switch (tensor->type) {
    case CLMLA_TYPE_F32:
    case CLMLA_TYPE_F16:
    case CLMLA_TYPE_BF16:
        return CLMLA_OK;
    case CLMLA_TYPE_F8_E4M3:
        if (fp8_too) return CLMLA_OK;
        break;
    default:
        break;
    }
    return host_fail(log, CLMLA_E_TENSOR_TYPE, 0, "%s: %s: its type is %s, expected f32, f16%s", tensor->file,
                     tensor->name, clmla_type_name(tensor->type), fp8_too ? ", bf16 or f8_e4m3" : " or bf16");
}

static clmla_status load_scales(layer_tensor *out, const layer_source *source, layer_part part,
                                const clmla_tensor *weight) {
    clmla_tensor scales;
    uint64_t expected[2] = {(weight->shape[0] + FP8_BLOCK - 1) / FP8_BLOCK,
                            (weight->shape[1] + FP8_BLOCK - 1) / FP8_BLOCK};
    if (!find_optional(&scales, source, part, "weight_scale_inv"))
        return host_fail(source->log, CLMLA_E_TENSOR_MISSING, 0,
                         "%s: %s is f8_e4m3 and there is no %s_scale_inv for it", weight->file, weight->name,
                         weight->name);
    if (scales.type != CLMLA_TYPE_F32)
        return host_fail(source->log, CLMLA_E_TENSOR_TYPE, 0, "%s: %s: its type is %s, expected f32", scales.file,
                         scales.name, clmla_type_name(scales.type));
    STATUS_OR_RETURN(check_shape(source->log, &scales, 2, expected));
    out->scales = scales.data;
    return CLMLA_OK;
}

static clmla_status load_bias(layer_tensor *out, const layer_source *source, layer_part part, uint64_t rows) {
    clmla_tensor bias;
    if (!find_optional(&bias, source, part, "bias")) {
        if (!layer_part_needs_bias(source->config, part)) return CLMLA_OK;
        STATUS_OR_RETURN(find(&bias, source, part, "bias"));
    }
    if (part == LAYER_KV_B_PROJ)
        return host_fail(source->log, CLMLA_E_UNSUPPORTED, 0, "%s: %s: a bias of kv_b_proj cannot be absorbed",
                         bias.file, bias.name);
    STATUS_OR_RETURN(check_float(source->log, &bias, false));
    STATUS_OR_RETURN(check_shape(source->log, &bias, 1, &rows));
    out->bias_type = bias.type;
    out->bias = bias.data;
    return CLMLA_OK;
}

static clmla_status load_part(layer_tensor *out, const layer_source *source, layer_part part) {
    clmla_tensor weight;
    uint64_t shape[2];
    bool matrix = part < LAYER_MATRICES;
    if (!layer_part_shape(&shape[0], &shape[1], source->config, part)) return CLMLA_OK;
    STATUS_OR_RETURN(find(&weight, source, part, "weight"));
    STATUS_OR_RETURN(check_float(source->log, &weight, matrix));
    STATUS_OR_RETURN(check_shape(source->log, &weight, matrix ? 2 : 1, matrix ? shape : &shape[1]));
    out->type = weight.type;
    out->values = weight.data;
    if (weight.type == CLMLA_TYPE_F8_E4M3) STATUS_OR_RETURN(load_scales(out, source, part, &weight));
    return matrix ? load_bias(out, source, part, shape[0]) : CLMLA_OK;
}

clmla_status clmla_layer_load_from(clmla_layer **out, clmla_context *context, const clmla_config *config,
                                   const clmla_checkpoint *checkpoint, uint32_t index,
                                   const clmla_layer_params *params) {
    if (out) *out = NULL;
    if (!out || !context || !config || !checkpoint)
        return host_fail(context ? &context->host.log : NULL, CLMLA_E_ARGUMENT, 0,
                         "layer: out, context, config or checkpoint is NULL");
    layer_source source = {&context->host.log, config, checkpoint, index};
    layer_tensors tensors = {0};
    STATUS_OR_RETURN(host_log_failure(source.log, clmla_config_check(config)));
    for (int part = 0; part < LAYER_PARTS; part++)
        STATUS_OR_RETURN(load_part(&tensors.parts[part], &source, (layer_part)part));
    return layer_make(out, context, config, &tensors, index, params);
}

clmla_status clmla_layer_load(clmla_layer **out, clmla_context *context, const clmla_config *config, const char *path,
                              uint32_t index, const clmla_layer_params *params) {
    if (out) *out = NULL;
    if (!out || !context || !config || !path)
        return host_fail(context ? &context->host.log : NULL, CLMLA_E_ARGUMENT, 0,
                         "layer: out, context, config or path is NULL");
    clmla_checkpoint *checkpoint;
    STATUS_OR_RETURN(
        host_log_failure(&context->host.log, clmla_checkpoint_open(&checkpoint, path, &context->host.allocator)));
    clmla_status status = clmla_layer_load_from(out, context, config, checkpoint, index, params);
    clmla_checkpoint_close(&checkpoint);
    return status;
}
