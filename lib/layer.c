// SPDX-License-Identifier: Apache-2.0
#include "lib/layer.h"
#include "host/error.h"
#include "host/memory.h"
#include "lib/layer_parts.h"

const char *layer_part_name(layer_part part) {
    static const char *const names[LAYER_PARTS] = {
        [LAYER_Q_PROJ] = "q_proj",          [LAYER_Q_A_PROJ] = "q_a_proj",
        [LAYER_Q_B_PROJ] = "q_b_proj",      [LAYER_KV_A_PROJ] = "kv_a_proj_with_mqa",
        [LAYER_KV_B_PROJ] = "kv_b_proj",    [LAYER_O_PROJ] = "o_proj",
        [LAYER_Q_A_NORM] = "q_a_layernorm", [LAYER_KV_A_NORM] = "kv_a_layernorm",
    };
    return names[part];
}

bool layer_part_shape(uint64_t *rows, uint64_t *columns, const clmla_config *config, layer_part part) {
    uint64_t hidden = config->hidden_size, heads = config->head_count, q_lora = config->q_lora_rank;
    uint64_t latent = config->kv_lora_rank, nope = config->qk_nope_head_dim, rope = config->qk_rope_head_dim;
    const uint64_t shapes[LAYER_PARTS][2] = {
        [LAYER_Q_PROJ] = {q_lora ? 0 : heads * (nope + rope), hidden},
        [LAYER_Q_A_PROJ] = {q_lora, hidden},
        [LAYER_Q_B_PROJ] = {q_lora ? heads * (nope + rope) : 0, q_lora},
        [LAYER_KV_A_PROJ] = {latent + rope, hidden},
        [LAYER_KV_B_PROJ] = {heads * (nope + config->v_head_dim), latent},
        [LAYER_O_PROJ] = {hidden, heads * config->v_head_dim},
        [LAYER_Q_A_NORM] = {q_lora ? 1 : 0, q_lora},
        [LAYER_KV_A_NORM] = {1, latent},
    };
    *rows = shapes[part][0];
    *columns = shapes[part][1];
    return *rows > 0;
}

bool layer_part_needs_bias(const clmla_config *config, layer_part part) {
    return config->attention_bias && (part == LAYER_Q_A_PROJ || part == LAYER_KV_A_PROJ || part == LAYER_O_PROJ);
}

static bool is_float(clmla_type type) {
    return type == CLMLA_TYPE_F32 || type == CLMLA_TYPE_F16 || type == CLMLA_TYPE_BF16;
}

static clmla_status check_tensor(const clmla_log *log, const clmla_config *config, layer_part part,
                                 const layer_tensor *tensor) {
    const char *name = layer_part_name(part);
    bool fp8 = tensor->type == CLMLA_TYPE_F8_E4M3 && part < LAYER_MATRICES;
    if (tensor->type == CLMLA_TYPE_NONE || !tensor->values)
        return host_fail(log, CLMLA_E_TENSOR_MISSING, 0, "layer: %s is missing", name);
    if (!fp8 && !is_float(tensor->type))
        return host_fail(log, CLMLA_E_TENSOR_TYPE, 0, "layer: %s is %s, expected f32, f16%s", name,
                         clmla_type_name(tensor->type), part < LAYER_MATRICES ? ", bf16 or f8_e4m3" : " or bf16");
    if (fp8 && !tensor->scales)
        return host_fail(log, CLMLA_E_TENSOR_MISSING, 0, "layer: %s is f8_e4m3 and its block scales are missing", name);
    if (layer_part_needs_bias(config, part) && !tensor->bias)
        return host_fail(log, CLMLA_E_TENSOR_MISSING, 0, "layer: the bias of %s is missing, attention_bias demands it",
                         name);
    if (tensor->bias && !is_float(tensor->bias_type))
        return host_fail(log, CLMLA_E_TENSOR_TYPE, 0, "layer: the bias of %s is %s, expected f32, f16 or bf16", name,
                         clmla_type_name(tensor->bias_type));
    if (tensor->bias && part == LAYER_KV_B_PROJ)
        return host_fail(log, CLMLA_E_UNSUPPORTED, 0, "layer: %s has a bias, which cannot be absorbed", name);
    return CLMLA_OK;
}

static clmla_status check_tensors(const clmla_log *log, const clmla_config *config, const layer_tensors *tensors) {
    for (int part = 0; part < LAYER_PARTS; part++) {
        uint64_t rows, columns;
        if (!layer_part_shape(&rows, &columns, config, (layer_part)part)) continue;
        STATUS_OR_RETURN(check_tensor(log, config, (layer_part)part, &tensors->parts[part]));
    }
    return CLMLA_OK;
}

// The head range and the stored type a layer is asked for.
static clmla_status check_params(clmla_layer_params *out, const clmla_log *log, const clmla_config *config,
                                 const clmla_layer_params *params) {
    *out = params ? *params : (clmla_layer_params){0};
    if (out->weights != CLMLA_TYPE_NONE && !is_float(out->weights))
        return host_fail(log, CLMLA_E_ARGUMENT, 0,
                         "layer: weights can be kept as stored or as f32, f16 or bf16, not as %s",
                         clmla_type_name(out->weights));
    if (out->head_count == 0 && out->first_head == 0) out->head_count = config->head_count;
    if (out->head_count == 0 || (uint64_t)out->first_head + out->head_count > config->head_count)
        return host_fail(log, CLMLA_E_ARGUMENT, 0,
                         "layer: a range of %u heads from head %u on does not fit the model's %u", out->head_count,
                         out->first_head, config->head_count);
    return CLMLA_OK;
}

clmla_status layer_make(clmla_layer **out, clmla_context *context, const clmla_config *config,
                        const layer_tensors *tensors, uint32_t index, const clmla_layer_params *params) {
    const clmla_log *log = &context->host.log;
    clmla_layer_params chosen;
    clmla_config_values values;
    STATUS_OR_RETURN(host_log_failure(log, clmla_config_derive(&values, config)));
    STATUS_OR_RETURN(check_params(&chosen, log, config, params));
    STATUS_OR_RETURN(check_tensors(log, config, tensors));
    clmla_layer *layer = host_allocate(&context->host.allocator, 1, sizeof *layer);
    if (!layer) return host_fail(log, CLMLA_E_MEMORY, 0, "layer: no host memory for %zu bytes", sizeof *layer);
    layer->context = context;
    layer->config = *config;
    layer->values = values;
    layer->cache_layer = index;
    layer->first_head = chosen.first_head;
    layer->head_count = chosen.head_count;
    clmla_status status = layer_upload(layer, tensors, chosen.weights);
    if (status != CLMLA_OK) clmla_layer_destroy(&layer);
    *out = layer;
    return status;
}

static layer_tensor of_caller(const clmla_host_matrix *matrix) {
    return (layer_tensor){
        .type = matrix->type,
        .values = matrix->values,
        .scales = matrix->scale_inv,
        .bias_type = matrix->bias_type,
        .bias = matrix->bias,
    };
}

clmla_status clmla_layer_create(clmla_layer **out, clmla_context *context, const clmla_config *config,
                                const clmla_layer_tensors *tensors, uint32_t index, const clmla_layer_params *params) {
    if (out) *out = NULL;
    if (!out || !context || !config || !tensors)
        return host_fail(context ? &context->host.log : NULL, CLMLA_E_ARGUMENT, 0,
                         "layer: out, context, config or tensors is NULL");
    const layer_tensors parts = {
        .parts = {
            [LAYER_Q_PROJ] = of_caller(&tensors->q_proj),
            [LAYER_Q_A_PROJ] = of_caller(&tensors->q_a_proj),
            [LAYER_Q_B_PROJ] = of_caller(&tensors->q_b_proj),
            [LAYER_KV_A_PROJ] = of_caller(&tensors->kv_a_proj_with_mqa),
            [LAYER_KV_B_PROJ] = of_caller(&tensors->kv_b_proj),
            [LAYER_O_PROJ] = of_caller(&tensors->o_proj),
            [LAYER_Q_A_NORM] = {.type = tensors->q_a_layernorm_type, .values = tensors->q_a_layernorm},
            [LAYER_KV_A_NORM] = {.type = tensors->kv_a_layernorm_type, .values = tensors->kv_a_layernorm},
        }};
    return layer_make(out, context, config, &parts, index, params);
}

void clmla_layer_destroy(clmla_layer **layer) {
    if (!layer || !*layer) return;
    host_context *host = &(*layer)->context->host;
    for (uint32_t i = 0; i < (*layer)->buffer_count; i++) host_buffer_release(host, &(*layer)->buffers[i]);
    host_release(&host->allocator, *layer);
    *layer = NULL;
}

void clmla_layer_set_cache_layer(clmla_layer *layer, uint32_t cache_layer) {
    if (layer) layer->cache_layer = cache_layer;
}

uint64_t clmla_layer_bytes(const clmla_layer *layer) {
    return layer ? layer->bytes : 0;
}
