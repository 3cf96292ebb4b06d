// SPDX-License-Identifier: Apache-2.0
// Hugging Face's config.json, in the classic form (rope_scaling, rope_theta) and the newer one (rope_parameters).
#include "host/error.h"
#include "host/os.h"
#include "lib/config_fields.h"
#include "lib/json_fields.h"
#include <clmla/config.h>
#include <stdio.h>
#include <string.h>

#define PATH_BYTES 4096

static clmla_status read_dimensions(clmla_config *c, const cJSON *json, bool minicpm, const char *file) {
    STATUS_OR_RETURN(json_need_unsigned(&c->hidden_size, json, "hidden_size", file));
    STATUS_OR_RETURN(json_need_unsigned(&c->head_count, json, "num_attention_heads", file));
    STATUS_OR_RETURN(json_need_unsigned(&c->kv_lora_rank, json, "kv_lora_rank", file));
    STATUS_OR_RETURN(json_need_unsigned(&c->qk_nope_head_dim, json, "qk_nope_head_dim", file));
    STATUS_OR_RETURN(json_need_unsigned(&c->qk_rope_head_dim, json, "qk_rope_head_dim", file));
    STATUS_OR_RETURN(json_read_unsigned(&c->q_lora_rank, json, "q_lora_rank", file));
    STATUS_OR_RETURN(json_read_unsigned(&c->layer_count, json, "num_hidden_layers", file));
    STATUS_OR_RETURN(json_read_unsigned(&c->context_tokens, json, "max_position_embeddings", file));
    // MiniCPM3's files leave v_head_dim to its code, which takes hidden_size / num_attention_heads.
    if (minicpm && !json_field(json, "v_head_dim") && c->head_count > 0) {
        c->v_head_dim = c->hidden_size / c->head_count;
        return CLMLA_OK;
    }
    return json_need_unsigned(&c->v_head_dim, json, "v_head_dim", file);
}

static clmla_status read_norms(clmla_config *c, const cJSON *json, const char *file) {
    double eps = c->rms_norm_eps;
    STATUS_OR_RETURN(json_read_double(&eps, json, "rms_norm_eps", file));
    c->rms_norm_eps = (float)eps;
    return json_read_bool(&c->attention_bias, json, "attention_bias", file);
}

static clmla_status read_factors(float *out, const clmla_config *c, const cJSON *rope, const char *name,
                                 const char *file) {
    const cJSON *list = json_field(rope, name), *item;
    uint32_t pairs = c->qk_rope_head_dim / 2, count = 0;
    if (!cJSON_IsArray(list) || (uint32_t)cJSON_GetArraySize(list) != pairs)
        return host_fail(NULL, CLMLA_E_CONFIG, 0,
                         "%s: %s: expected an array of %u numbers (qk_rope_head_dim / 2), found %d", file, name, pairs,
                         cJSON_IsArray(list) ? cJSON_GetArraySize(list) : 0);
    cJSON_ArrayForEach(item, list) {
        if (!cJSON_IsNumber(item) || !(item->valuedouble > 0.0))
            return host_fail(NULL, CLMLA_E_CONFIG, 0, "%s: %s[%u]: expected a number above 0", file, name, count);
        if (count < CLMLA_MAX_ROPE_DIM / 2) out[count] = (float)item->valuedouble;
        count++;
    }
    return CLMLA_OK;
}

static clmla_status read_yarn(clmla_config *c, const cJSON *rope, const char *file) {
    bool truncate = true;
    if (!json_field(rope, "factor"))
        return host_fail(NULL, CLMLA_E_CONFIG, 0, "%s: factor is missing from the yarn rope fields", file);
    STATUS_OR_RETURN(json_read_double(&c->rope_factor, rope, "factor", file));
    STATUS_OR_RETURN(json_read_double(&c->rope_beta_fast, rope, "beta_fast", file));
    STATUS_OR_RETURN(json_read_double(&c->rope_beta_slow, rope, "beta_slow", file));
    STATUS_OR_RETURN(json_read_double(&c->rope_mscale, rope, "mscale", file));
    STATUS_OR_RETURN(json_read_double(&c->rope_mscale_all_dim, rope, "mscale_all_dim", file));
    STATUS_OR_RETURN(json_read_bool(&truncate, rope, "truncate", file));
    c->rope_yarn_no_truncate = !truncate;
    return CLMLA_OK;
}

static clmla_status read_longrope(clmla_config *c, const cJSON *rope, const char *file) {
    double scale = 0.0;
    STATUS_OR_RETURN(read_factors(c->rope_short_factor, c, rope, "short_factor", file));
    STATUS_OR_RETURN(read_factors(c->rope_long_factor, c, rope, "long_factor", file));
    STATUS_OR_RETURN(json_read_double(&scale, rope, "factor", file));
    // Some code takes the factor, other code the ratio of the two contexts: both must mean the same.
    if (!json_field(rope, "factor") || scale * c->rope_original_context == c->context_tokens) return CLMLA_OK;
    return host_fail(NULL, CLMLA_E_CONFIG, 0,
                     "%s: factor is %g, max_position_embeddings / original_max_position_embeddings %u / %u", file,
                     scale, c->context_tokens, c->rope_original_context);
}

static clmla_status read_attention_factor(clmla_config *c, const cJSON *rope, const char *file) {
    STATUS_OR_RETURN(json_read_double(&c->rope_attention_factor, rope, "attention_factor", file));
    if (!json_field(rope, "attention_factor") || c->rope_attention_factor > 0.0) return CLMLA_OK;
    return host_fail(NULL, CLMLA_E_CONFIG, 0, "%s: attention_factor must be above 0, not %g", file,
                     c->rope_attention_factor);
}

// The fields of rope_scaling or rope_parameters.
static clmla_status read_scaling(clmla_config *c, const cJSON *rope, const char *file) {
    const char *type = NULL;
    STATUS_OR_RETURN(config_fields_check_rope(rope, file));
    STATUS_OR_RETURN(json_read_text(&type, rope, "type", file));
    STATUS_OR_RETURN(json_read_text(&type, rope, "rope_type", file));
    STATUS_OR_RETURN(json_read_double(&c->rope_theta, rope, "rope_theta", file));
    STATUS_OR_RETURN(read_attention_factor(c, rope, file));
    STATUS_OR_RETURN(json_read_unsigned(&c->rope_original_context, rope, "original_max_position_embeddings", file));
    if (!type && json_field(rope, "factor"))
        return host_fail(NULL, CLMLA_E_CONFIG, 0, "%s: %s has a factor and neither type nor rope_type", file,
                         rope->string);
    if (!type || strcmp(type, "default") == 0) return CLMLA_OK;
    if (strcmp(type, "yarn") == 0) {
        c->rope_type = CLMLA_ROPE_YARN;
        return read_yarn(c, rope, file);
    }
    if (strcmp(type, "longrope") == 0) {
        c->rope_type = CLMLA_ROPE_LONGROPE;
        return read_longrope(c, rope, file);
    }
    return host_fail(NULL, CLMLA_E_CONFIG, 0, "%s: rope type '%.64s' is not known: default, yarn and longrope are",
                     file, type);
}

// The first rope field two readings differ in; NULL if there is none. The angles' base is looked at apart.
static const char *different_rope(const clmla_config *a, const clmla_config *b) {
    const struct {
        const char *field;
        double a, b;
    } numbers[] = {
        {"rope_type", a->rope_type, b->rope_type},
        {"factor", a->rope_factor, b->rope_factor},
        {"original_max_position_embeddings", a->rope_original_context, b->rope_original_context},
        {"beta_fast", a->rope_beta_fast, b->rope_beta_fast},
        {"beta_slow", a->rope_beta_slow, b->rope_beta_slow},
        {"mscale", a->rope_mscale, b->rope_mscale},
        {"mscale_all_dim", a->rope_mscale_all_dim, b->rope_mscale_all_dim},
        {"attention_factor", a->rope_attention_factor, b->rope_attention_factor},
        {"truncate", a->rope_yarn_no_truncate, b->rope_yarn_no_truncate},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (numbers[i].a != numbers[i].b) return numbers[i].field;
    if (memcmp(a->rope_short_factor, b->rope_short_factor, sizeof a->rope_short_factor) != 0) return "short_factor";
    return memcmp(a->rope_long_factor, b->rope_long_factor, sizeof a->rope_long_factor) != 0 ? "long_factor" : NULL;
}

static clmla_status read_form(clmla_config *c, const cJSON *form, const char *file) {
    if (!form) return CLMLA_OK;
    if (!cJSON_IsObject(form))
        return host_fail(NULL, CLMLA_E_CONFIG, 0, "%s: %s: expected an object", file, form->string);
    return read_scaling(c, form, file);
}

// One form alone is the rule. Programs disagree about which of two counts, so two must say the same.
static clmla_status read_forms(clmla_config *c, const cJSON *json, const char *file) {
    const cJSON *classic = json_field(json, "rope_scaling"), *newer = json_field(json, "rope_parameters");
    clmla_config other = *c;
    STATUS_OR_RETURN(read_form(c, classic, file));
    STATUS_OR_RETURN(read_form(&other, newer, file));
    if (!newer) return CLMLA_OK;
    const char *field = classic ? different_rope(c, &other) : NULL;
    bool theta_given = json_field(json, "rope_theta") || (classic && json_field(classic, "rope_theta"));
    if (theta_given && c->rope_theta != other.rope_theta) field = "rope_theta";
    if (field)
        return host_fail(NULL, CLMLA_E_CONFIG, 0, "%s: rope_parameters and the older fields disagree about %s", file,
                         field);
    *c = other;
    return CLMLA_OK;
}

static clmla_status read_rope(clmla_config *c, const cJSON *json, bool minicpm, const char *file) {
    bool interleave = !minicpm, unrotated = false;
    c->rope_original_context = c->context_tokens;
    STATUS_OR_RETURN(json_read_unsigned(&c->rope_original_context, json, "original_max_position_embeddings", file));
    STATUS_OR_RETURN(json_read_double(&c->rope_theta, json, "rope_theta", file));
    STATUS_OR_RETURN(json_read_bool(&interleave, json, "rope_interleave", file));
    STATUS_OR_RETURN(json_read_bool(&unrotated, json, "mla_use_nope", file));
    c->rope_order = interleave ? CLMLA_ROPE_INTERLEAVED : CLMLA_ROPE_HALVES;
    STATUS_OR_RETURN(read_forms(c, json, file));
    if (unrotated) c->rope_type = CLMLA_ROPE_NONE;
    return CLMLA_OK;
}

static clmla_status read_config(clmla_config *config, const cJSON *json, const char *file) {
    const char *model = NULL;
    clmla_config_values values; // refuses what follows from fields that are right each by itself
    clmla_config_init(config);
    STATUS_OR_RETURN(json_read_text(&model, json, "model_type", file));
    STATUS_OR_RETURN(config_fields_check(json, model, file));
    bool minicpm = model && strcmp(model, "minicpm3") == 0;
    STATUS_OR_RETURN(read_dimensions(config, json, minicpm, file));
    STATUS_OR_RETURN(read_norms(config, json, file));
    STATUS_OR_RETURN(read_rope(config, json, minicpm, file));
    clmla_status status = clmla_config_derive(&values, config);
    return status == CLMLA_OK ? status : host_fail(NULL, status, 0, "%s: %s", file, clmla_last_error());
}

clmla_status clmla_config_parse(clmla_config *config, const char *text, size_t length, const char *name) {
    cJSON *json = NULL;
    clmla_config read;
    if (!config || !text || !name) return host_fail(NULL, CLMLA_E_ARGUMENT, 0, "config: config, text or name is NULL");
    STATUS_OR_RETURN(json_parse_object(&json, text, length, name));
    clmla_status status = read_config(&read, json, name);
    cJSON_Delete(json);
    if (status == CLMLA_OK) *config = read;
    return status;
}

clmla_status clmla_config_load(clmla_config *config, const char *path) {
    char inside[PATH_BYTES];
    host_map map;
    if (!config || !path) return host_fail(NULL, CLMLA_E_ARGUMENT, 0, "config: config or path is NULL");
    if (host_path_what(path) == HOST_PATH_FOLDER) {
        int length = snprintf(inside, sizeof inside, "%s/config.json", path);
        if (length < 0 || (size_t)length >= sizeof inside)
            return host_fail(NULL, CLMLA_E_FILE, 0, "%.200s...: the path is too long", path);
        path = inside;
    }
    STATUS_OR_RETURN(host_map_open(&map, path));
    clmla_status status = clmla_config_parse(config, map.data ? map.data : "", (size_t)map.bytes, path);
    host_map_close(&map);
    return status;
}
