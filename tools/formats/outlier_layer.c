// SPDX-License-Identifier: Apache-2.0
#include "outlier_layer.h"
#include <stdio.h>
#include <stdlib.h>

// What is made in memory: the two tensors that change, in f32.
typedef struct changed {
    float *norm; // [L]
    float *kv_b; // [H·(N+V)][L]
} changed;

// The layer whose weights are read.
typedef struct source {
    const clmla_checkpoint *checkpoint;
    const clmla_config *config;
    uint32_t index;
} source;

// A tensor of so many elements: what is made of it trusts the count.
static bool find(clmla_tensor *out, const source *source, const char *part, uint64_t count, failure *failure) {
    char name[96];
    snprintf(name, sizeof name, "model.layers.%u.self_attn.%s.weight", source->index, part);
    if (clmla_checkpoint_find(out, source->checkpoint, name) != CLMLA_OK) return failure_library(failure);
    return out->element_count == count ||
           failure_set(failure, "%s: %s has %llu elements, expected %llu", out->file, out->name,
                       (unsigned long long)out->element_count, (unsigned long long)count);
}

static bool find_matrix(clmla_host_matrix *out, const source *source, const char *part, uint64_t rows, uint64_t columns,
                        failure *failure) {
    clmla_tensor tensor;
    if (!find(&tensor, source, part, rows * columns, failure)) return false;
    if (tensor.type == CLMLA_TYPE_F8_E4M3)
        return failure_set(failure, "%s: %s is fp8: outliers are made in plain weights alone", tensor.file,
                           tensor.name);
    *out = (clmla_host_matrix){.type = tensor.type, .values = tensor.data};
    return true;
}

static bool read_f32(float **out, const source *source, const char *part, uint64_t count, failure *failure) {
    clmla_tensor tensor;
    if (!find(&tensor, source, part, count, failure)) return false;
    *out = malloc((size_t)count * sizeof **out);
    if (!*out) return failure_memory(failure);
    return clmla_tensor_to_f32(*out, &tensor) == CLMLA_OK || failure_library(failure);
}

// splitmix64 (Steele, Lea and Flood, 2014).
static uint64_t next_random(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

// Selection sampling (Knuth, 3.4.2 S): each set of channels is as likely as any other.
static void spread(changed *weights, uint32_t latent, uint64_t rows, uint64_t seed) {
    uint32_t wanted = latent / OUTLIER_SHARE ? latent / OUTLIER_SHARE : 1;
    for (uint32_t channel = 0; channel < latent && wanted > 0; channel++) {
        if (next_random(&seed) % (latent - channel) >= wanted) continue;
        wanted--;
        weights->norm[channel] *= OUTLIER_FACTOR;
        for (uint64_t row = 0; row < rows; row++) weights->kv_b[row * latent + channel] /= OUTLIER_FACTOR;
    }
}

static bool find_rest(clmla_layer_tensors *out, const source *source, failure *failure) {
    const clmla_config *c = source->config;
    uint64_t hidden = c->hidden_size, q_lora = c->q_lora_rank, row = (uint64_t)c->kv_lora_rank + c->qk_rope_head_dim,
             queries = (uint64_t)c->head_count * (c->qk_nope_head_dim + c->qk_rope_head_dim),
             values = (uint64_t)c->head_count * c->v_head_dim;
    clmla_tensor norm;
    if (!find_matrix(&out->kv_a_proj_with_mqa, source, "kv_a_proj_with_mqa", row, hidden, failure) ||
        !find_matrix(&out->o_proj, source, "o_proj", hidden, values, failure))
        return false;
    if (q_lora == 0) return find_matrix(&out->q_proj, source, "q_proj", queries, hidden, failure);
    if (!find_matrix(&out->q_a_proj, source, "q_a_proj", q_lora, hidden, failure) ||
        !find_matrix(&out->q_b_proj, source, "q_b_proj", queries, q_lora, failure) ||
        !find(&norm, source, "q_a_layernorm", q_lora, failure))
        return false;
    out->q_a_layernorm_type = norm.type;
    out->q_a_layernorm = norm.data;
    return true;
}

bool outlier_layer_create(clmla_layer **out, clmla_context *context, const clmla_config *config,
                          const clmla_checkpoint *checkpoint, uint32_t index, uint64_t seed, failure *failure) {
    uint32_t latent = config->kv_lora_rank;
    uint64_t rows = (uint64_t)config->head_count * (config->qk_nope_head_dim + config->v_head_dim);
    clmla_layer_tensors tensors = {.kv_a_layernorm_type = CLMLA_TYPE_F32};
    source source = {checkpoint, config, index};
    changed weights = {0};
    if (config->attention_bias) return failure_set(failure, "outliers are made in layers without biases alone");
    bool done = find_rest(&tensors, &source, failure) &&
                read_f32(&weights.norm, &source, "kv_a_layernorm", latent, failure) &&
                read_f32(&weights.kv_b, &source, "kv_b_proj", rows * latent, failure);
    if (done) {
        spread(&weights, latent, rows, seed);
        tensors.kv_a_layernorm = weights.norm;
        tensors.kv_b_proj = (clmla_host_matrix){.type = CLMLA_TYPE_F32, .values = weights.kv_b};
        done = clmla_layer_create(out, context, config, &tensors, index, NULL) == CLMLA_OK || failure_library(failure);
    }
    free(weights.norm);
    free(weights.kv_b);
    return done;
}
