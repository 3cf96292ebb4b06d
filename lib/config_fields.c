// SPDX-License-Identifier: Apache-2.0
#include "lib/config_fields.h"
#include "host/error.h"
#include "lib/json_fields.h"
#include <string.h>

static const char *const models[] = {"deepseek_v2", "deepseek_v3", "kimi_k2",     "minicpm3", "glm4_moe_lite",
                                     "youtu",       "youtu_llm",   "kimi_linear", NULL};

// Fields that ask for mathematics clmla does not have, unless they hold the one value that asks for nothing. null never
// asks for anything.
typedef enum neutral {
    NEUTRAL_NOTHING, // false, 0 or an empty list
    NEUTRAL_TRUE,
    NEUTRAL_ONE,
    NEUTRAL_RMS,  // a name of the RMS norm
    NEUTRAL_ROPE, // "rope"
    NEUTRAL_FULL, // a list of full attention, and of linear layers that hold none of our weights
} neutral;
static const struct {
    const char *field;
    neutral value;
} changing[] = {
    // Sparse and compressed attention.
    {"index_topk", NEUTRAL_NOTHING},
    {"index_n_heads", NEUTRAL_NOTHING},
    {"index_head_dim", NEUTRAL_NOTHING},
    {"compress_ratios", NEUTRAL_NOTHING},
    {"layer_types", NEUTRAL_FULL},
    // Other products, norms and clips around the scores.
    {"use_mla", NEUTRAL_TRUE},
    {"o_lora_rank", NEUTRAL_NOTHING},
    {"qkv_bias", NEUTRAL_NOTHING},
    {"use_qkv_bias", NEUTRAL_NOTHING},
    {"clip_qkv", NEUTRAL_NOTHING},
    {"use_qk_norm", NEUTRAL_NOTHING},
    {"qk_latent_layernorm", NEUTRAL_TRUE},
    {"norm_type", NEUTRAL_RMS},
    {"layer_norm_type", NEUTRAL_RMS},
    {"mla_scale_q_lora", NEUTRAL_NOTHING},
    {"mla_scale_kv_lora", NEUTRAL_NOTHING},
    {"attn_logit_softcapping", NEUTRAL_NOTHING},
    {"logit_softcapping", NEUTRAL_NOTHING},
    {"query_pre_attn_scalar", NEUTRAL_NOTHING},
    {"llama_4_scaling", NEUTRAL_NOTHING},
    {"llama_4_scaling_beta", NEUTRAL_NOTHING},
    // Sinks and gates.
    {"attention_sinks", NEUTRAL_NOTHING},
    {"use_attention_sinks", NEUTRAL_NOTHING},
    {"use_sinks", NEUTRAL_NOTHING},
    {"use_output_gate", NEUTRAL_NOTHING},
    {"attn_output_gate", NEUTRAL_NOTHING},
    {"gated_attention", NEUTRAL_NOTHING},
    {"use_gated_attention", NEUTRAL_NOTHING},
    {"headwise_attn_output_gate", NEUTRAL_NOTHING},
    {"elementwise_attn_output_gate", NEUTRAL_NOTHING},
    // Positions.
    {"partial_rotary_factor", NEUTRAL_ONE},
    {"rotary_pct", NEUTRAL_ONE},
    {"position_embedding_type", NEUTRAL_ROPE},
    {"alibi", NEUTRAL_NOTHING},
    {"use_alibi", NEUTRAL_NOTHING},
    {"no_rope_layers", NEUTRAL_NOTHING},
    {"no_rope_layer_interval", NEUTRAL_NOTHING},
};

// Names of these families are attention settings: one we do not know may change the result.
static const char *const families[] = {"attn_",  "attention_", "rope_",    "qk_",    "mla_",    "kv_",      "q_",
                                       "index_", "indexer_",   "sliding_", "logit_", "latent_", "llama_4_", NULL};
static const char *const known[] = {"attn_implementation",
                                    "attention_bias",
                                    "attention_dropout",
                                    "attention_probs_dropout_prob",
                                    "attn_pdrop",
                                    "rope_theta",
                                    "rope_scaling",
                                    "rope_parameters",
                                    "rope_interleave",
                                    "qk_head_dim",
                                    "q_head_dim",
                                    "qk_nope_head_dim",
                                    "qk_rope_head_dim",
                                    "mla_use_nope",
                                    "kv_lora_rank",
                                    "kv_cache_dtype",
                                    "kv_cache_scheme",
                                    "kv_cache_quant_algo",
                                    "q_lora_rank",
                                    "sliding_window",
                                    NULL};
static const char *const rope_known[] = {"type",
                                         "rope_type",
                                         "rope_theta",
                                         "factor",
                                         "beta_fast",
                                         "beta_slow",
                                         "mscale",
                                         "mscale_all_dim",
                                         "original_max_position_embeddings",
                                         "short_factor",
                                         "long_factor",
                                         "attention_factor",
                                         "truncate",
                                         "partial_rotary_factor",
                                         "max_position_embeddings",
                                         NULL};

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

// Every entry of a list, or the text itself, is one of the names.
static bool is_text_of(const cJSON *item, const char *const *names) {
    if (cJSON_IsString(item)) return listed(item->valuestring, names);
    if (!cJSON_IsArray(item)) return false;
    for (const cJSON *entry = item->child; entry; entry = entry->next)
        if (!cJSON_IsString(entry) || !listed(entry->valuestring, names)) return false;
    return true;
}

static bool is_neutral(const cJSON *item, neutral value) {
    static const char *const rms[] = {"rms", "rmsnorm", "rms_norm", "RMSNorm", NULL}, *const rope[] = {"rope", NULL};
    static const char *const full[] = {"full_attention", "linear_attention", NULL};
    switch (value) {
    case NEUTRAL_NOTHING:
        return cJSON_IsFalse(item) || (cJSON_IsNumber(item) && item->valuedouble == 0.0) ||
               (cJSON_IsArray(item) && !item->child);
    case NEUTRAL_TRUE:
        return cJSON_IsTrue(item);
    case NEUTRAL_ONE:
        return cJSON_IsNumber(item) && item->valuedouble == 1.0;
    case NEUTRAL_RMS:
        return is_text_of(item, rms);
    case NEUTRAL_ROPE:
        return is_text_of(item, rope);
    case NEUTRAL_FULL:
        return is_text_of(item, full);
    }
    return false;
}

static clmla_status refuse(const char *file, const cJSON *item, const char *why) {
    char *value = cJSON_PrintUnformatted(item);
    clmla_status status =
        host_fail(NULL, CLMLA_E_CONFIG, 0, "%s: %.200s: %.64s: %s", file, item->string, value ? value : "?", why);
    cJSON_free(value);
    return status;
}

static clmla_status check_changing(const cJSON *json, const char *file) {
    for (size_t i = 0; i < sizeof changing / sizeof *changing; i++) {
        const cJSON *item = json_field(json, changing[i].field);
        if (item && !is_neutral(item, changing[i].value))
            return refuse(file, item, "changes the attention in a way that is not supported");
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
    return window && used && !cJSON_IsFalse(window)
               ? refuse(file, window, "a sliding window is not supported in a layer")
               : CLMLA_OK;
}

static clmla_status check_kv_heads(const cJSON *json, const char *file) {
    uint32_t heads = 0, kv_heads = 0;
    if (!json_field(json, "num_attention_heads")) return CLMLA_OK; // which is an error of its own
    STATUS_OR_RETURN(json_read_unsigned(&heads, json, "num_attention_heads", file));
    kv_heads = heads;
    STATUS_OR_RETURN(json_read_unsigned(&kv_heads, json, "num_key_value_heads", file));
    if (kv_heads == heads) return CLMLA_OK;
    return host_fail(NULL, CLMLA_E_CONFIG, 0,
                     "%s: num_key_value_heads is %u, num_attention_heads %u: MLA has one key for each head", file,
                     kv_heads, heads);
}

// Files may repeat the width of a query head. transformers scales the scores by it, so it must be what it is here.
static clmla_status check_head_width(const cJSON *json, const char *name, const char *file) {
    uint32_t nope = 0, rope = 0, width = 0;
    if (!json_field(json, name)) return CLMLA_OK;
    STATUS_OR_RETURN(json_read_unsigned(&width, json, name, file));
    STATUS_OR_RETURN(json_read_unsigned(&nope, json, "qk_nope_head_dim", file));
    STATUS_OR_RETURN(json_read_unsigned(&rope, json, "qk_rope_head_dim", file));
    if (width == nope + rope) return CLMLA_OK;
    return host_fail(NULL, CLMLA_E_CONFIG, 0, "%s: %s is %u, qk_nope_head_dim + qk_rope_head_dim are %u", file, name,
                     width, nope + rope);
}

static clmla_status check_quantization(const cJSON *json, const char *file) {
    const cJSON *quantization = json_field(json, "quantization_config");
    if (!quantization) return CLMLA_OK;
    const char *method = NULL, *format = "e4m3";
    if (!cJSON_IsObject(quantization)) return refuse(file, quantization, "expected an object");
    STATUS_OR_RETURN(json_read_text(&method, quantization, "quant_method", file));
    STATUS_OR_RETURN(json_read_text(&format, quantization, "fmt", file));
    const cJSON *block = json_field(quantization, "weight_block_size");
    const cJSON *rows = cJSON_GetArrayItem(block, 0), *columns = cJSON_GetArrayItem(block, 1);
    if (method && strcmp(method, "fp8") == 0 && strcmp(format, "e4m3") == 0 && cJSON_GetArraySize(block) == 2 &&
        cJSON_IsNumber(rows) && cJSON_IsNumber(columns) && rows->valuedouble == 128 && columns->valuedouble == 128)
        return CLMLA_OK;
    return refuse(file, quantization, "fp8 of fmt e4m3 with weight_block_size [128,128] is supported alone");
}

clmla_status config_fields_check(const cJSON *json, const char *model, const char *file) {
    if (model && !listed(model, models))
        return host_fail(NULL, CLMLA_E_CONFIG, 0, "%s: model_type '%.64s' is not known as a model with this attention",
                         file, model);
    STATUS_OR_RETURN(check_changing(json, file));
    STATUS_OR_RETURN(check_families(json, file));
    STATUS_OR_RETURN(check_window(json, file));
    STATUS_OR_RETURN(check_kv_heads(json, file));
    STATUS_OR_RETURN(check_head_width(json, "qk_head_dim", file));
    STATUS_OR_RETURN(check_head_width(json, "q_head_dim", file));
    return check_quantization(json, file);
}

clmla_status config_fields_check_rope(const cJSON *rope, const char *file) {
    for (const cJSON *item = rope->child; item; item = item->next)
        if (!cJSON_IsNull(item) && !cJSON_IsFalse(item) && !listed(item->string, rope_known))
            return refuse(file, item, "is not known and may change the rotary embedding");
    return check_changing(rope, file);
}
