// SPDX-License-Identifier: Apache-2.0
#include "format_sizes.h"

#define ELEMENT_BYTES 2 // of the attentions compared with

const known_model known_models[KNOWN_MODEL_COUNT] = {
    {"DeepSeek-V2-Lite", 16, 512, 128, 64, 128, 27},  {"DeepSeek-V2", 128, 512, 128, 64, 128, 60},
    {"DeepSeek-V3", 128, 512, 128, 64, 128, 61},      {"Kimi-K2", 64, 512, 128, 64, 128, 61},
    {"Moonlight-16B-A3B", 16, 512, 128, 64, 128, 27}, {"Kimi-Linear-48B-A3B", 32, 512, 128, 64, 128, 7},
    {"MiniCPM3-4B", 40, 256, 64, 32, 64, 62},         {"GLM-4.7-Flash", 20, 512, 192, 64, 256, 47},
    {"Youtu-LLM-2B", 16, 512, 128, 64, 128, 32},
};

const char *const baseline_names[BASELINES] = {"mha", "gqa8", "mqa"};

uint32_t format_row_bytes(clmla_row_format format, uint32_t latent, uint32_t rope) {
    clmla_row_layout layout = {0};
    clmla_row_layout_make(&layout, format, CLMLA_ROPE_INTERLEAVED, latent, rope);
    return layout.row_bytes + (layout.scales_apart ? layout.scale_row_bytes : 0);
}

uint64_t format_token_bytes(clmla_row_format format, const known_model *model) {
    return (uint64_t)model->layers * format_row_bytes(format, model->latent, model->rope);
}

uint64_t heads_token_bytes(const known_model *model, uint32_t kv_heads) {
    return (uint64_t)model->layers * kv_heads * (model->nope + model->rope + model->value) * ELEMENT_BYTES;
}

uint64_t baseline_token_bytes(const known_model *model, int baseline) {
    const uint32_t kv_heads[BASELINES] = {[BASELINE_MHA] = model->heads, [BASELINE_GQA8] = 8, [BASELINE_MQA] = 1};
    return heads_token_bytes(model, kv_heads[baseline]);
}

uint64_t paper_bytes(void) {
    return (uint64_t)PAPER_ELEMENTS * ELEMENT_BYTES;
}

double paper_ratio(clmla_row_format format) {
    uint64_t ours = (uint64_t)PAPER_MLA_LAYERS * format_row_bytes(format, TYPICAL_LATENT, TYPICAL_ROPE);
    return (double)paper_bytes() / (double)ours;
}
