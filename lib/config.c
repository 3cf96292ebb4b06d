// SPDX-License-Identifier: Apache-2.0
#include "host/error.h"
#include <clmla/config.h>
#include <math.h>
#include <string.h>

void clmla_config_init(clmla_config *config) {
    if (!config) return;
    memset(config, 0, sizeof *config);
    config->latent_norm_eps = 1e-6f;
    config->rms_norm_eps = 1e-6f;
    config->rope_theta = 10000.0;
    config->rope_factor = 1.0;
    config->rope_beta_fast = 32.0;
    config->rope_beta_slow = 1.0;
    config->rope_mscale = 1.0;
}

typedef struct dimension {
    const char *field;
    uint32_t value, least, most;
} dimension;

static clmla_status check_dimensions(const clmla_config *c) {
    const dimension dimensions[] = {
        {"hidden_size", c->hidden_size, 1, CLMLA_MAX_DIM},
        {"num_attention_heads", c->head_count, 1, CLMLA_MAX_HEADS},
        {"num_hidden_layers", c->layer_count, 0, CLMLA_MAX_LAYERS},
        {"kv_lora_rank", c->kv_lora_rank, 1, CLMLA_MAX_DIM},
        {"q_lora_rank", c->q_lora_rank, 0, CLMLA_MAX_DIM},
        {"qk_nope_head_dim", c->qk_nope_head_dim, 0, CLMLA_MAX_DIM},
        {"qk_rope_head_dim", c->qk_rope_head_dim, 0, CLMLA_MAX_ROPE_DIM},
        {"v_head_dim", c->v_head_dim, 1, CLMLA_MAX_DIM},
    };
    for (size_t i = 0; i < sizeof dimensions / sizeof *dimensions; i++) {
        const dimension *d = &dimensions[i];
        if (d->value < d->least)
            return host_fail(NULL, CLMLA_E_CONFIG, 0, "config: %s must be at least %u, not %u", d->field, d->least,
                             d->value);
        if (d->value > d->most)
            return host_fail(NULL, CLMLA_E_LIMIT, 0, "config: %s is %u, the limit is %u", d->field, d->value, d->most);
    }
    if (c->qk_rope_head_dim % 2 != 0)
        return host_fail(NULL, CLMLA_E_CONFIG, 0, "config: qk_rope_head_dim must be even, not %u", c->qk_rope_head_dim);
    if (c->qk_nope_head_dim + c->qk_rope_head_dim == 0)
        return host_fail(NULL, CLMLA_E_CONFIG, 0, "config: qk_nope_head_dim and qk_rope_head_dim are both 0");
    uint64_t most = (uint64_t)c->head_count * ((uint64_t)c->qk_nope_head_dim + c->qk_rope_head_dim + c->v_head_dim);
    if (most > INT32_MAX)
        return host_fail(NULL, CLMLA_E_LIMIT, 0, "config: %u heads of this size have more than 2147483647 values",
                         c->head_count);
    return CLMLA_OK;
}

static clmla_status bad_number(const char *field, double value, const char *rule) {
    return host_fail(NULL, CLMLA_E_CONFIG, 0, "config: %s must be %s, not %g", field, rule, value);
}

static clmla_status check_longrope(const clmla_config *c) {
    if (c->rope_original_context < 2)
        return bad_number("original_max_position_embeddings", c->rope_original_context, "at least 2");
    for (uint32_t i = 0; i < c->qk_rope_head_dim / 2; i++)
        if (!(c->rope_short_factor[i] > 0.0f) || !(c->rope_long_factor[i] > 0.0f) || isinf(c->rope_short_factor[i]) ||
            isinf(c->rope_long_factor[i]))
            return host_fail(NULL, CLMLA_E_CONFIG, 0,
                             "config: short_factor[%u] and long_factor[%u] must be above 0, not %g and %g", i, i,
                             (double)c->rope_short_factor[i], (double)c->rope_long_factor[i]);
    return CLMLA_OK;
}

static clmla_status check_yarn(const clmla_config *c) {
    if (!(c->rope_factor >= 1.0) || isinf(c->rope_factor))
        return bad_number("rope_scaling.factor", c->rope_factor, "at least 1");
    if (c->rope_factor > 1.0 && c->rope_original_context < 1)
        return bad_number("original_max_position_embeddings", c->rope_original_context, "at least 1");
    if (!(c->rope_beta_fast > 0.0) || isinf(c->rope_beta_fast))
        return bad_number("beta_fast", c->rope_beta_fast, "above 0");
    if (!(c->rope_beta_slow > 0.0) || isinf(c->rope_beta_slow))
        return bad_number("beta_slow", c->rope_beta_slow, "above 0");
    if (!(c->rope_mscale >= 0.0) || isinf(c->rope_mscale)) return bad_number("mscale", c->rope_mscale, "0 or more");
    if (!(c->rope_mscale_all_dim >= 0.0) || isinf(c->rope_mscale_all_dim))
        return bad_number("mscale_all_dim", c->rope_mscale_all_dim, "0 or more");
    return CLMLA_OK;
}

static clmla_status check_rope(const clmla_config *c) {
    if ((unsigned)c->rope_type > CLMLA_ROPE_NONE)
        return host_fail(NULL, CLMLA_E_CONFIG, 0, "config: rope_type %d is none", (int)c->rope_type);
    if ((unsigned)c->rope_order > CLMLA_ROPE_HALVES)
        return host_fail(NULL, CLMLA_E_CONFIG, 0, "config: rope_order %d is none", (int)c->rope_order);
    if (!(c->rope_theta > 1.0) || isinf(c->rope_theta)) return bad_number("rope_theta", c->rope_theta, "above 1");
    if (!(c->rope_attention_factor >= 0.0) || isinf(c->rope_attention_factor))
        return bad_number("attention_factor", c->rope_attention_factor, "0 or more");
    if (c->rope_type == CLMLA_ROPE_YARN) return check_yarn(c);
    return c->rope_type == CLMLA_ROPE_LONGROPE ? check_longrope(c) : CLMLA_OK;
}

clmla_status clmla_config_check(const clmla_config *config) {
    if (!config) return host_fail(NULL, CLMLA_E_ARGUMENT, 0, "config: it is NULL");
    STATUS_OR_RETURN(check_dimensions(config));
    if (!(config->latent_norm_eps >= 0.0f) || isinf(config->latent_norm_eps))
        return bad_number("latent_norm_eps", (double)config->latent_norm_eps, "0 or more");
    if (!(config->rms_norm_eps >= 0.0f) || isinf(config->rms_norm_eps))
        return bad_number("rms_norm_eps", (double)config->rms_norm_eps, "0 or more");
    return check_rope(config);
}
