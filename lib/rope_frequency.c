// SPDX-License-Identifier: Apache-2.0
// Rotary frequencies (plain, YaRN, LongRoPE), the softmax scale, and cosine tables.
#include "host/error.h"
#include <clmla/config.h>
#include <float.h>
#include <math.h>

#define PI 3.14159265358979323846

// DeepSeek's yarn_get_mscale.
static double yarn_mscale(double factor, double weight) {
    return factor > 1.0 ? 0.1 * weight * log(factor) + 1.0 : 1.0;
}

// The frequency index at which `rotations` turns fit the original context.
static double yarn_index(const clmla_config *config, double rotations) {
    return config->qk_rope_head_dim * log(config->rope_original_context / (rotations * 2.0 * PI)) /
           (2.0 * log(config->rope_theta));
}

// From interpolated (1) for slow frequencies to extrapolated (0) for fast ones: the paper's ramp.
static void yarn(double *frequency, const clmla_config *config) {
    double low = yarn_index(config, config->rope_beta_fast), high = yarn_index(config, config->rope_beta_slow);
    if (!config->rope_yarn_no_truncate) low = floor(low), high = ceil(high);
    low = fmax(low, 0.0);
    high = fmin(high, config->qk_rope_head_dim - 1.0);
    if (low == high) high += 0.001;
    for (uint32_t i = 0; i < config->qk_rope_head_dim / 2; i++) {
        double ramp = fmin(fmax((i - low) / (high - low), 0.0), 1.0);
        frequency[i] = frequency[i] / config->rope_factor * ramp + frequency[i] * (1.0 - ramp);
    }
}

static double longrope_attention(const clmla_config *config) {
    double original = config->rope_original_context, scale = config->context_tokens / original;
    return scale > 1.0 ? sqrt(1.0 + log(scale) / log(original)) : 1.0;
}

static double attention_factor(const clmla_config *config) {
    if (config->rope_type == CLMLA_ROPE_NONE) return 1.0;
    if (config->rope_attention_factor > 0.0) return config->rope_attention_factor;
    if (config->rope_type == CLMLA_ROPE_LONGROPE) return longrope_attention(config);
    if (config->rope_type != CLMLA_ROPE_YARN) return 1.0;
    return yarn_mscale(config->rope_factor, config->rope_mscale) /
           yarn_mscale(config->rope_factor, config->rope_mscale_all_dim);
}

static void frequencies(double *out, const clmla_config *config) {
    const float *factor =
        config->context_tokens > config->rope_original_context ? config->rope_long_factor : config->rope_short_factor;
    for (uint32_t i = 0; i < config->qk_rope_head_dim / 2; i++) {
        out[i] = pow(config->rope_theta, -2.0 * i / config->qk_rope_head_dim);
        if (config->rope_type == CLMLA_ROPE_LONGROPE) out[i] /= factor[i];
    }
    if (config->rope_type == CLMLA_ROPE_YARN && config->rope_factor > 1.0) yarn(out, config);
}

// What kernels take as f32 must be one.
static clmla_status check_range(const clmla_config_values *values, const clmla_config *config) {
    if (!(values->softmax_scale <= (double)FLT_MAX))
        return host_fail(NULL, CLMLA_E_CONFIG, 0, "config: mscale_all_dim %g makes a softmax scale beyond f32",
                         config->rope_mscale_all_dim);
    if (!(values->rope_attention_factor > 0.0 && values->rope_attention_factor <= (double)FLT_MAX))
        return host_fail(NULL, CLMLA_E_CONFIG, 0, "config: mscale %g and mscale_all_dim %g make a rope factor of %g",
                         config->rope_mscale, config->rope_mscale_all_dim, values->rope_attention_factor);
    for (uint32_t i = 0; i < config->qk_rope_head_dim / 2; i++)
        if (!(values->inverse_frequency[i] * CLMLA_MAX_CONTEXT <= (double)FLT_MAX))
            return host_fail(NULL, CLMLA_E_CONFIG, 0, "config: rope frequency %u is %g: its angles are beyond f32", i,
                             values->inverse_frequency[i]);
    return CLMLA_OK;
}

clmla_status clmla_config_derive(clmla_config_values *out, const clmla_config *config) {
    clmla_config_values derived = {0}, *values = &derived;
    if (!out) return host_fail(NULL, CLMLA_E_ARGUMENT, 0, "config: values is NULL");
    STATUS_OR_RETURN(clmla_config_check(config));
    double m = 1.0, width = (double)config->qk_nope_head_dim + config->qk_rope_head_dim;
    if (config->rope_type == CLMLA_ROPE_YARN && config->rope_mscale_all_dim != 0.0)
        m = yarn_mscale(config->rope_factor, config->rope_mscale_all_dim);
    values->mscale = m;
    values->softmax_scale = m * m / sqrt(width);
    values->rope_attention_factor = attention_factor(config);
    frequencies(values->inverse_frequency, config);
    STATUS_OR_RETURN(check_range(values, config));
    values->row_width = config->kv_lora_rank + config->qk_rope_head_dim;
    values->mha_elements = (uint64_t)config->head_count *
                           ((uint64_t)config->qk_nope_head_dim + config->qk_rope_head_dim + config->v_head_dim);
    *out = derived;
    return CLMLA_OK;
}

clmla_status clmla_rope_table(float *out, const clmla_config *config, const int32_t *positions, size_t count,
                              clmla_angle_mode mode) {
    clmla_config_values values;
    STATUS_OR_RETURN(clmla_config_derive(&values, config));
    uint32_t pairs = config->qk_rope_head_dim / 2;
    if ((unsigned)mode > CLMLA_ANGLE_F32)
        return host_fail(NULL, CLMLA_E_ARGUMENT, 0, "rope table: angle mode %d is none", (int)mode);
    if (count > 0 && pairs > 0 && (!out || !positions))
        return host_fail(NULL, CLMLA_E_ARGUMENT, 0, "rope table: out or positions is NULL");
    for (size_t t = 0; t < count; t++)
        for (uint32_t i = 0; i < pairs; i++, out += 2) {
            double angle = (double)positions[t] * values.inverse_frequency[i];
            if (mode == CLMLA_ANGLE_F32) angle = (double)((float)positions[t] * (float)values.inverse_frequency[i]);
            if (config->rope_type == CLMLA_ROPE_NONE) angle = 0.0;
            out[0] = (float)(cos(angle) * values.rope_attention_factor);
            out[1] = (float)(sin(angle) * values.rope_attention_factor);
        }
    return CLMLA_OK;
}

clmla_status clmla_rope_turns(uint64_t *out, const clmla_config *config) {
    clmla_config_values values;
    STATUS_OR_RETURN(clmla_config_derive(&values, config));
    uint32_t pairs = config->qk_rope_head_dim / 2;
    if (pairs > 0 && !out) return host_fail(NULL, CLMLA_E_ARGUMENT, 0, "rope turns: out is NULL");
    for (uint32_t i = 0; i < pairs; i++)
        out[i] = config->rope_type == CLMLA_ROPE_NONE
                     ? 0
                     : (uint64_t)(fmod(values.inverse_frequency[i] / (2.0 * PI), 1.0) * 0x1p64);
    return CLMLA_OK;
}
