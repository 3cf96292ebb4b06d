// SPDX-License-Identifier: Apache-2.0
#include "reference_case.h"
#include "json_input.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// [B][T][width] of float tensors, or [B][T] when width is 0.
static bool check_shape(const clmla_tensor *tensor, uint64_t batch, uint64_t tokens, uint64_t width, failure *failure) {
    bool fits = tensor->rank == (width ? 3u : 2u) && tensor->shape[0] == batch && tensor->shape[1] == tokens &&
                (!width || tensor->shape[2] == width);
    if (fits) return true;
    char found[128] = "";
    for (uint32_t i = 0, at = 0; i < tensor->rank && at < sizeof found; i++)
        at += (uint32_t)snprintf(found + at, sizeof found - at, "%s%llu", i ? ", " : "",
                                 (unsigned long long)tensor->shape[i]);
    return failure_set(failure, "%s: tensor %s has shape [%s], expected [%llu, %llu%s%.0llu]", tensor->file,
                       tensor->name, found, (unsigned long long)batch, (unsigned long long)tokens, width ? ", " : "",
                       (unsigned long long)width);
}

static bool read_floats(float **out, const reference_case *reference, const char *name, uint32_t width,
                        failure *failure) {
    clmla_tensor tensor;
    if (clmla_checkpoint_find(&tensor, reference->file, name) != CLMLA_OK) return failure_library(failure);
    if (!check_shape(&tensor, reference->sequence_count, reference->token_count, width, failure)) return false;
    if (tensor.element_count > SIZE_MAX / sizeof(float)) return failure_memory(failure);
    float *values = malloc((size_t)tensor.element_count * sizeof(float));
    if (!values) return failure_memory(failure);
    if (clmla_tensor_to_f32(values, &tensor) != CLMLA_OK) {
        free(values);
        return failure_library(failure);
    }
    *out = values;
    return true;
}

static bool read_positions(reference_case *out, failure *failure) {
    clmla_tensor tensor;
    if (clmla_checkpoint_find(&tensor, out->file, "positions") != CLMLA_OK) return failure_library(failure);
    if (!check_shape(&tensor, out->sequence_count, out->token_count, 0, failure)) return false;
    if (tensor.type != CLMLA_TYPE_I64)
        return failure_set(failure, "%s: tensor positions is %s, expected i64", tensor.file,
                           clmla_type_name(tensor.type));
    out->positions = malloc((size_t)tensor.element_count * sizeof(int32_t));
    if (!out->positions) return failure_memory(failure);
    for (uint64_t i = 0; i < tensor.element_count; i++) {
        int64_t position;
        memcpy(&position, (const char *)tensor.data + i * sizeof position, sizeof position);
        if (position < 0 || position > INT32_MAX)
            return failure_set(failure, "%s: positions[%llu] is %lld", tensor.file, (unsigned long long)i,
                               (long long)position);
        out->positions[i] = (int32_t)position;
    }
    return true;
}

// The batch's size, taken from hidden_states, which all other tensors must then agree with.
static bool read_inputs(reference_case *out, failure *failure) {
    clmla_tensor tensor;
    if (clmla_checkpoint_find(&tensor, out->file, "hidden_states") != CLMLA_OK) return failure_library(failure);
    uint64_t batch = tensor.rank == 3 ? tensor.shape[0] : 0, tokens = tensor.rank == 3 ? tensor.shape[1] : 0;
    if (batch < 1 || batch > UINT16_MAX || tokens < 1 || tokens > INT32_MAX || batch * tokens > INT32_MAX)
        return failure_set(failure, "%s: tensor hidden_states must have shape [sequences, tokens, hidden_size]",
                           tensor.file);
    out->sequence_count = (uint32_t)batch;
    out->token_count = (uint32_t)tokens;
    return read_floats(&out->hidden_states, out, "hidden_states", out->config.hidden_size, failure) &&
           read_positions(out, failure);
}

static bool count_layers(reference_case *out, failure *failure) {
    char name[64];
    clmla_tensor tensor;
    for (;; out->layer_count++) {
        snprintf(name, sizeof name, "layers.%u.attn_output", out->layer_count);
        if (clmla_checkpoint_find(&tensor, out->file, name) != CLMLA_OK) break;
    }
    return out->layer_count > 0 || failure_library(failure);
}

static bool read_order(reference_case *out, const char *path, failure *failure) {
    cJSON *json = NULL;
    if (!json_read(&json, path, failure)) return false;
    const char *order = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "k_pe_order"));
    bool halves = order && strcmp(order, "halves") == 0, interleaved = order && strcmp(order, "interleaved") == 0;
    out->stored_order = halves ? CLMLA_ROPE_HALVES : CLMLA_ROPE_INTERLEAVED;
    cJSON_Delete(json);
    return halves || interleaved || failure_set(failure, "%s: k_pe_order must be \"halves\" or \"interleaved\"", path);
}

static bool open_files(reference_case *out, const char *config, const char *facts, const char *tensors,
                       failure *failure) {
    if (!config || !facts || !tensors || !out->weights_path) return failure_memory(failure);
    if (clmla_config_load(&out->config, config) != CLMLA_OK) return failure_library(failure);
    if (!read_order(out, facts, failure)) return false;
    if (clmla_checkpoint_open(&out->file, tensors, NULL) != CLMLA_OK) return failure_library(failure);
    return count_layers(out, failure) && read_inputs(out, failure);
}

bool reference_case_open(reference_case *out, const char *folder, const char *config_path, failure *failure) {
    *out = (reference_case){.weights_path = path_join(folder, "model.safetensors")};
    char *config = path_join(folder, "config.json");
    char *facts = path_join(folder, "reference.json");
    char *tensors = path_join(folder, "reference.safetensors");
    bool opened = open_files(out, config_path ? config_path : config, facts, tensors, failure);
    free(config);
    free(facts);
    free(tensors);
    return opened;
}

void reference_case_close(reference_case *reference) {
    clmla_checkpoint_close(&reference->file);
    free(reference->weights_path);
    free(reference->hidden_states);
    free(reference->positions);
    *reference = (reference_case){0};
}

static bool read_layer(float **out, const reference_case *reference, uint32_t layer, const char *name, uint32_t width,
                       failure *failure) {
    char full[64];
    snprintf(full, sizeof full, "layers.%u.%s", layer, name);
    return read_floats(out, reference, full, width, failure);
}

bool reference_case_output(float **out, const reference_case *reference, uint32_t layer, failure *failure) {
    return read_layer(out, reference, layer, "attn_output", reference->config.hidden_size, failure);
}

bool reference_case_latent(float **out, const reference_case *reference, uint32_t layer, failure *failure) {
    return read_layer(out, reference, layer, "latent", reference->config.kv_lora_rank, failure);
}

// Pairs (2i, 2i+1) of each row become (i, i + width/2).
static bool part_into_halves(float *values, size_t rows, uint32_t width, failure *failure) {
    float row[CLMLA_MAX_ROPE_DIM];
    if (width > CLMLA_MAX_ROPE_DIM) return failure_set(failure, "k_pe is wider than %d", CLMLA_MAX_ROPE_DIM);
    for (size_t r = 0; r < rows; r++, values += width) {
        memcpy(row, values, width * sizeof *row);
        for (uint32_t i = 0; i < width / 2; i++) {
            values[i] = row[2 * i];
            values[i + width / 2] = row[2 * i + 1];
        }
    }
    return true;
}

bool reference_case_k_pe(float **out, const reference_case *reference, uint32_t layer, clmla_rope_order order,
                         failure *failure) {
    uint32_t width = reference->config.qk_rope_head_dim;
    bool stored = order == reference->stored_order;
    if (!read_layer(out, reference, layer, stored ? "k_pe" : "k_pe_interleaved", width, failure)) return false;
    if (stored || order == CLMLA_ROPE_INTERLEAVED) return true;
    return part_into_halves(*out, (size_t)reference->sequence_count * reference->token_count, width, failure);
}
