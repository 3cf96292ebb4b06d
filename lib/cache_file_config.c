// SPDX-License-Identifier: Apache-2.0
// The configuration section: every field that changes what a row means. A field without meaning for the rope type is 0,
// so that two configs that say the same differently are the same.
#include "host/bytes.h"
#include "host/error.h"
#include "lib/cache_file.h"
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define ATTENTION_FACTOR_SLACK 1e-12 // of itself: it is derived, and logarithms differ in their last bit

typedef enum field_kind { FIELD_U32, FIELD_F32, FIELD_F64 } field_kind;

typedef struct field {
    const char *name;
    field_kind kind;
    uint32_t at; // in the section
    size_t offset;
    double slack;
} field;

#define FIELD(name, kind, at, member)                                                                                  \
    { name, kind, at, offsetof(cache_file_config, member), 0.0 }

static const field fields[] = {
    FIELD("rope_order", FIELD_U32, 16, rope_order),
    FIELD("kv_lora_rank", FIELD_U32, 20, latent_dim),
    FIELD("qk_rope_head_dim", FIELD_U32, 24, rope_dim),
    FIELD("layer_count", FIELD_U32, 28, layer_count),
    FIELD("row_bytes", FIELD_U32, 32, row_bytes),
    FIELD("scale_row_bytes", FIELD_U32, 36, scale_row_bytes),
    FIELD("latent_norm_eps", FIELD_F32, 40, latent_norm_eps),
    FIELD("rope_type", FIELD_U32, 44, rope_type),
    FIELD("rope_theta", FIELD_F64, 48, rope_theta),
    FIELD("rope_factor", FIELD_F64, 64, rope_factor),
    FIELD("rope_beta_fast", FIELD_F64, 72, beta_fast),
    FIELD("rope_beta_slow", FIELD_F64, 80, beta_slow),
    FIELD("rope_original_context", FIELD_U32, 88, original_context),
    FIELD("rope_yarn_no_truncate", FIELD_U32, 92, no_truncate),
    FIELD("factor_count", FIELD_U32, 96, factor_count),
    {"rope_attention_factor", FIELD_F64, 56, offsetof(cache_file_config, attention_factor), ATTENTION_FACTOR_SLACK},
};
#define FIELD_COUNT (sizeof fields / sizeof *fields)

void cache_file_config_make(cache_file_config *out, const clmla_config *config, const clmla_config_values *values,
                            const clmla_row_layout *layout, uint32_t layer_count) {
    *out = (cache_file_config){.rope_order = layout->rope_order,
                               .latent_dim = layout->latent_dim,
                               .rope_dim = layout->rope_dim,
                               .layer_count = layer_count,
                               .row_bytes = layout->row_bytes,
                               .scale_row_bytes = layout->scales_apart ? layout->scale_row_bytes : 0,
                               .latent_norm_eps = config->latent_norm_eps,
                               .rope_type = config->rope_type};
    snprintf(out->format, sizeof out->format, "%s", clmla_row_format_name(layout->format));
    if (layout->rope_dim == 0) out->rope_order = 0;
    if (layout->rope_dim == 0 || config->rope_type == CLMLA_ROPE_NONE) return;
    out->rope_theta = config->rope_theta;
    out->attention_factor = values->rope_attention_factor;
    if (config->rope_type == CLMLA_ROPE_YARN) {
        out->rope_factor = config->rope_factor;
        out->beta_fast = config->rope_beta_fast;
        out->beta_slow = config->rope_beta_slow;
        out->original_context = config->rope_original_context;
        out->no_truncate = config->rope_yarn_no_truncate;
    } else if (config->rope_type == CLMLA_ROPE_LONGROPE) {
        bool is_long = config->context_tokens > config->rope_original_context;
        out->factor_count = layout->rope_dim / 2;
        memcpy(out->factors, is_long ? config->rope_long_factor : config->rope_short_factor,
               out->factor_count * sizeof *out->factors);
    }
}

// Numbers of any kind, by their bits.
static uint64_t bits_of(const field *field, const void *member) {
    uint32_t narrow;
    uint64_t wide;
    memcpy(&narrow, member, sizeof narrow);
    if (field->kind != FIELD_F64) return narrow;
    memcpy(&wide, member, sizeof wide);
    return wide;
}

static void put_float(unsigned char *out, float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    host_put_u32(out, bits);
}

static float get_float(const unsigned char *in) {
    uint32_t bits = host_get_u32(in);
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

uint32_t cache_file_config_write(unsigned char *out, const cache_file_config *config) {
    const unsigned char *members = (const unsigned char *)config;
    memset(out, 0, CACHE_FILE_CONFIG_BYTES);
    memcpy(out, config->format, strlen(config->format));
    for (size_t i = 0; i < FIELD_COUNT; i++) {
        uint64_t bits = bits_of(&fields[i], members + fields[i].offset);
        if (fields[i].kind == FIELD_F64)
            host_put_u64(out + fields[i].at, bits);
        else
            host_put_u32(out + fields[i].at, (uint32_t)bits);
    }
    for (uint32_t i = 0; i < config->factor_count; i++)
        put_float(out + CACHE_FILE_CONFIG_BYTES + 4 * i, config->factors[i]);
    return CACHE_FILE_CONFIG_BYTES + 4 * config->factor_count;
}

bool cache_file_config_read(cache_file_config *out, const unsigned char *bytes, uint32_t count) {
    unsigned char *members = (unsigned char *)out;
    *out = (cache_file_config){.rope_order = 0};
    if (count < CACHE_FILE_CONFIG_BYTES) return false;
    memcpy(out->format, bytes, CACHE_FILE_FORMAT_BYTES);
    for (size_t i = 0; i < FIELD_COUNT; i++) {
        uint32_t narrow = host_get_u32(bytes + fields[i].at);
        uint64_t wide = fields[i].kind == FIELD_F64 ? host_get_u64(bytes + fields[i].at) : 0;
        if (fields[i].kind == FIELD_F64)
            memcpy(members + fields[i].offset, &wide, sizeof wide);
        else
            memcpy(members + fields[i].offset, &narrow, sizeof narrow);
    }
    if (out->factor_count > CLMLA_MAX_ROPE_DIM / 2) return false;
    if (count != CACHE_FILE_CONFIG_BYTES + 4 * out->factor_count) return false;
    for (uint32_t i = 0; i < out->factor_count; i++)
        out->factors[i] = get_float(bytes + CACHE_FILE_CONFIG_BYTES + 4 * i);
    return true;
}

static double value_of(const field *field, const cache_file_config *config) {
    const unsigned char *member = (const unsigned char *)config + field->offset;
    uint32_t number;
    float narrow;
    double wide;
    if (field->kind == FIELD_F64) return memcpy(&wide, member, sizeof wide), wide;
    if (field->kind == FIELD_F32) return memcpy(&narrow, member, sizeof narrow), (double)narrow;
    memcpy(&number, member, sizeof number);
    return number;
}

static clmla_status differs(const char *name, const char *what, double expected, double found) {
    return host_fail(NULL, CLMLA_E_MISMATCH, 0, "%s: %s: the cache has %.17g, the saved rows have %.17g", name, what,
                     expected, found);
}

clmla_status cache_file_config_match(const cache_file_config *found, const cache_file_config *expected,
                                     const char *name) {
    if (strcmp(found->format, expected->format) != 0)
        return host_fail(NULL, CLMLA_E_MISMATCH, 0, "%s: row format: the cache has %s, the saved rows have %s", name,
                         expected->format, found->format);
    for (size_t i = 0; i < FIELD_COUNT; i++) {
        double a = value_of(&fields[i], expected), b = value_of(&fields[i], found);
        if (!(fabs(a - b) <= fields[i].slack * fabs(a))) return differs(name, fields[i].name, a, b);
    }
    for (uint32_t i = 0; i < expected->factor_count; i++) {
        char what[32];
        snprintf(what, sizeof what, "rope factor %u", i);
        if (!(found->factors[i] == expected->factors[i]))
            return differs(name, what, (double)expected->factors[i], (double)found->factors[i]);
    }
    return CLMLA_OK;
}
