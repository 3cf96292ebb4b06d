// SPDX-License-Identifier: Apache-2.0
#include "lib/config_fields.h"
#include "host/error.h"
#include "lib/json_fields.h"
#include <math.h>
#include <string.h>

static const char *const models[] = {"deepseek_v2", "deepseek_v3", "kimi_k2", "minicpm3", "glm4_moe_lite", "youtu", "youtu_llm", "kimi_linear", NULL};

// Fields whose other values ask for mathematics clmla does not have, with the one value that asks for nothing.
typedef enum neutral { NEUTRAL_ABSENT, NEUTRAL_FALSE, NEUTRAL_TRUE, NEUTRAL_ONE } neutral;
static const struct {
    const char *field;
    neutral value;
} changing[] = {
    {"index_topk", NEUTRAL_ABSENT},          {"index_n_heads", NEUTRAL_ABSENT},
    {"index_head_dim", NEUTRAL_ABSENT},      {"mla_scale_q_lora", NEUTRAL_FALSE},
    {"mla_scale_kv_lora", NEUTRAL_FALSE},    {"attn_logit_softcapping", NEUTRAL_ABSENT},
    {"logit_softcapping", NEUTRAL_ABSENT},   {"attention_sinks", NEUTRAL_FALSE},
    {"use_output_gate", NEUTRAL_FALSE},      {"attn_output_gate", NEUTRAL_FALSE},
    {"use_mla", NEUTRAL_TRUE},               {"qk_latent_layernorm", NEUTRAL_TRUE},
    {"partial_rotary_factor", NEUTRAL_ONE},  {"llama_4_scaling", NEUTRAL_ABSENT},
    {"llama_4_scaling_beta", NEUTRAL_ABSENT}, {"use_qk_norm", NEUTRAL_FALSE},
    {"o_lora_rank", NEUTRAL_ABSENT},         {"compress_ratios", NEUTRAL_ABSENT},
};

// Names of these families are attention settings: one we do not know may change the result.
static const char *const families[] = {"attn_", "attention_", "rope_", "qk_", "mla_", "kv_", "q_", "index_", "indexer_", "sliding_", "logit_", "latent_", NULL};
static const char *const known[] = {
    "attn_implementation", "attention_bias", "attention_dropout", "rope_theta", "rope_scaling", "rope_parameters", "rope_interleave",
    "qk_head_dim", "qk_nope_head_dim", "qk_rope_head_dim", "mla_use_nope", "kv_lora_rank", "q_lora_rank", "sliding_window", NULL};
static const char *const rope_known[] = {
    "type", "rope_type", "rope_theta", "factor", "beta_fast", "beta_slow", "mscale", "mscale_all_dim", "original_max_position_embeddings",
    "short_factor", "long_factor", "attention_factor", "truncate", "partial_rotary_factor", "max_position_embeddings", NULL};

static bool listed(const char *name, const char *const *list) {
    for (; *list; list++)
        if (strcmp(name, *list) == 0) return true;
    return false;
}

static bool in_family(const char *name) {
    for (const char *const *family = families; *family; family++)
        if (strncmp(name, *family, strlen(*family)) == 0) return true;
    return false;
}

static bool is_neutral(const cJSON *item, neutral value) {
    switch (value) {
    case NEUTRAL_ABSENT: return false;
    case NEUTRAL_FALSE: return cJSON_IsFalse(item);
    case NEUTRAL_TRUE: return cJSON_IsTrue(item);
    case NEUTRAL_ONE: return cJSON_IsNumber(item) && item->valuedouble == 1.0;
    }
    return false;
}

static clmla_status refuse(const char *file, const cJSON *item, const char *why) {
    char *value = cJSON_PrintUnformatted(item);
    clmla_status status = host_fail(NULL, CLMLA_E_CONFIG, 0, "%s: %s: %.64s: %s", file, item->string, value ? value : "?", why);
    cJSON_free(value);
    return status;
}

static clmla_status check_changing(const cJSON *json, const char *file) {
    for (size_t i = 0; i < sizeof changing / sizeof *changing; i++) {
        const cJSON *item = json_field(json, changing[i].field);
        if (item && !is_neutral(item, changing[i].value)) return refuse(file, item, "changes the attention in a way that is not supported");
    }
    return CLMLA_OK;
}

static bool is_changing(const char *name) {
    for (size_t i = 0; i < sizeof changing / sizeof *changing; i++)
        if (strcmp(name, changing[i].field) == 0) return true;
    return false;
}

static clmla_status check_families(const cJSON *json, const char *file) {
    for (const cJSON *item = json->child; item; item = item->next) {
        if (cJSON_IsNull(item) || cJSON_IsFalse(item) || !in_family(item->string)) continue;
        if (!listed(item->string, known) && !is_changing(item->string))
            return refuse(file, item, "is not known and may change the attention");
    }
    return CLMLA_OK;
}

static clmla_status check_window(const cJSON *json, const char *file) {
    bool used = true;
    const cJSON *window = json_field(json, "sliding_window");
    STATUS_OR_RETURN(json_read_bool(&used, json, "use_sliding_window", file));
    return window && used ? refuse(file, window, "a sliding window is not supported in a layer") : CLMLA_OK;
}

static clmla_status check_kv_heads(const cJSON *json, const char *file) {
    uint32_t heads = 0, kv_heads = 0;
    STATUS_OR_RETURN(json_read_unsigned(&heads, json, "num_attention_heads", file));
    kv_heads = heads;
    STATUS_OR_RETURN(json_read_unsigned(&kv_heads, json, "num_key_value_heads", file));
    if (kv_heads == heads) return CLMLA_OK;
    return host_fail(NULL, CLMLA_E_CONFIG, 0, "%s: num_key_value_heads is %u, num_attention_heads %u: MLA has one key for each head", file,
                     kv_heads, heads);
}

static clmla_status check_quantization(const cJSON *json, const char *file) {
    const cJSON *quantization = json_field(json, "quantization_config");
    if (!quantization) return CLMLA_OK;
    const char *method = NULL;
    if (!cJSON_IsObject(quantization)) return refuse(file, quantization, "expected an object");
    STATUS_OR_RETURN(json_read_text(&method, quantization, "quant_method", file));
    const cJSON *block = json_field(quantization, "weight_block_size");
    const cJSON *rows = cJSON_GetArrayItem(block, 0), *columns = cJSON_GetArrayItem(block, 1);
    if (method && strcmp(method, "fp8") == 0 && cJSON_GetArraySize(block) == 2 && cJSON_IsNumber(rows) && cJSON_IsNumber(columns) &&
        rows->valuedouble == 128 && columns->valuedouble == 128)
        return CLMLA_OK;
    return refuse(file, quantization, "fp8 with weight_block_size [128,128] is supported alone");
}

clmla_status config_fields_check(const cJSON *json, const char *model, const char *file) {
    if (model && !listed(model, models))
        return host_fail(NULL, CLMLA_E_CONFIG, 0, "%s: model_type '%s' is not known as a model with this attention", file, model);
    STATUS_OR_RETURN(check_changing(json, file));
    STATUS_OR_RETURN(check_families(json, file));
    STATUS_OR_RETURN(check_window(json, file));
    STATUS_OR_RETURN(check_kv_heads(json, file));
    return check_quantization(json, file);
}

clmla_status config_fields_check_rope(const cJSON *rope, const char *file) {
    for (const cJSON *item = rope->child; item; item = item->next)
        if (!cJSON_IsNull(item) && !cJSON_IsFalse(item) && !listed(item->string, rope_known))
            return refuse(file, item, "is not known and may change the rotary embedding");
    return check_changing(rope, file);
}
