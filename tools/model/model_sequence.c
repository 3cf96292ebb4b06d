// SPDX-License-Identifier: Apache-2.0
// A model's sequences and bytes, whichever attention it has.
#include "model.h"

static bool library(clmla_status status, failure *failure) {
    return status == CLMLA_OK || failure_library(failure);
}

bool model_sequence_create(clmla_sequence *out, model *model, failure *failure) {
    if (!model->heads.head_count) return library(clmla_cache_sequence_create(out, model->cache), failure);
    model->heads_attention.length = 0;
    *out = 1;
    return true;
}

bool model_sequence_drop(model *model, clmla_sequence sequence, failure *failure) {
    if (!model->heads.head_count) return library(clmla_cache_sequence_drop(model->cache, sequence), failure);
    model->heads_attention.length = 0;
    return true;
}

bool model_sequence_truncate(model *model, clmla_sequence sequence, uint32_t tokens, failure *failure) {
    if (!model->heads.head_count)
        return library(clmla_cache_sequence_truncate(model->cache, sequence, tokens), failure);
    model->heads_attention.length = tokens;
    return true;
}

clmla_cache_usage model_usage(const model *model) {
    if (!model->heads.head_count) return clmla_cache_usage_get(model->cache);
    const heads_attention *heads = &model->heads_attention;
    uint64_t token = baseline_bytes_a_token(&heads->baseline.shape) * model->config.layer_count;
    return (clmla_cache_usage){.page_tokens = heads->capacity,
                               .pages = 1,
                               .pages_used = 1,
                               .bytes = token * heads->capacity,
                               .bytes_per_token = token,
                               .tokens = heads->length,
                               .sequences = 1,
                               .longest_sequence = heads->length};
}

// Elements a token and layer that multi-head attention of the model's heads and dimensions caches.
static bool mha_elements(uint64_t *out, const model *model, failure *failure) {
    clmla_config_values values;
    *out = 2 * (uint64_t)model->heads.head_count * model->heads.head_dim;
    if (model->heads.head_count) return true;
    if (!library(clmla_config_derive(&values, &model->config), failure)) return false;
    *out = values.mha_elements;
    return true;
}

bool model_count_bytes(model_bytes *out, const model *model, clmla_row_format format, failure *failure) {
    uint64_t elements, bytes = format == CLMLA_ROWS_F32 ? 4 : 2;
    clmla_cache_usage usage = model_usage(model);
    if (!mha_elements(&elements, model, failure)) return false;
    *out = (model_bytes){usage.bytes, usage.bytes_per_token, elements * bytes * model->config.layer_count};
    return true;
}
