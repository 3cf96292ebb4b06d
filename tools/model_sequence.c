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

bool model_count_bytes(model_bytes *out, const model *model, clmla_row_format format, failure *failure) {
    uint64_t element = format == CLMLA_ROWS_F32 ? 4 : 2, layers = model->config.layer_count;
    if (model->heads.head_count) {
        out->token = baseline_token_bytes(&model->heads_attention.baseline.shape) * layers;
        out->cache = out->token * model->heads_attention.capacity;
        out->mha_token = 2 * (uint64_t)model->heads.head_count * model->heads.head_dim * element * layers;
        return true;
    }
    clmla_config_values values;
    if (!library(clmla_config_derive(&values, &model->config), failure)) return false;
    clmla_cache_usage usage = clmla_cache_usage_get(model->cache);
    *out = (model_bytes){usage.bytes, usage.bytes_per_token, values.mha_elements * element * layers};
    return true;
}
