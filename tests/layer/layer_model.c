// SPDX-License-Identifier: Apache-2.0
#include "tests/layer/layer_model.h"
#include <math.h>
#include <stdlib.h>

#define THETA 10000.0
#define YARN_FACTOR 40.0
#define YARN_MSCALE 0.707 // both mscales: cosines and sines are not scaled
#define YARN_CONTEXT 4096

static void *keep(layer_model *model, void *array) {
    TEST_ASSERT(model->array_count < MODEL_ARRAYS_MAX, "too many arrays");
    return model->arrays[model->array_count++] = array;
}

static float *random_floats(layer_model *model, test_random *random, size_t count, double mean, double deviation) {
    float *out = keep(model, test_allocate(count, sizeof *out));
    test_random_fill(random, out, count, mean, deviation);
    return out;
}

static float *random_scales(layer_model *model, test_random *random, size_t count) {
    float *out = keep(model, test_allocate(count, sizeof *out));
    for (size_t i = 0; i < count; i++) out[i] = (float)(0.5 + test_random_uniform(random));
    return out;
}

// A matrix in the model's type, and its values in double.
static double *make_matrix(clmla_host_matrix *out, layer_model *model, test_random *random, size_t rows,
                           size_t columns) {
    ref_type type = model->shape.weights;
    size_t block_columns = (columns + 127) / 128;
    void *values = keep(model, test_allocate(rows * columns, ref_bytes(type)));
    for (size_t i = 0; i < rows * columns; i++)
        ref_store(type, values, i, (float)(test_random_normal(random) / sqrt((double)columns)));
    out->type = test_type_of(type);
    out->values = values;
    if (type == REF_F8_E4M3) out->scale_inv = random_scales(model, random, (rows + 127) / 128 * block_columns);
    ref_matrix reference = {.type = type,
                            .values = values,
                            .rows = rows,
                            .columns = columns,
                            .row_stride = columns,
                            .scales = out->scale_inv,
                            .scale_stride = block_columns};
    return keep(model, ref_matrix_decode(&reference));
}

static const float *make_bias(clmla_host_matrix *matrix, layer_model *model, test_random *random, size_t rows) {
    if (!model->shape.bias) return NULL;
    const float *bias = random_floats(model, random, rows, 0.0, 0.5);
    matrix->bias_type = CLMLA_TYPE_F32;
    matrix->bias = bias;
    return bias;
}

static void make_config(layer_model *model) {
    const model_shape *s = &model->shape;
    clmla_config *c = &model->config;
    clmla_config_init(c);
    c->hidden_size = s->hidden;
    c->head_count = s->heads;
    c->layer_count = 1;
    c->kv_lora_rank = s->latent;
    c->q_lora_rank = s->q_lora;
    c->qk_nope_head_dim = s->nope;
    c->qk_rope_head_dim = s->rope;
    c->v_head_dim = s->value;
    c->attention_bias = s->bias;
    c->rope_order = s->order;
    c->rope_theta = THETA;
    c->context_tokens = 8192;
    if (!s->yarn) return;
    c->rope_type = CLMLA_ROPE_YARN;
    c->rope_factor = YARN_FACTOR;
    c->rope_original_context = YARN_CONTEXT;
    c->rope_beta_fast = 32;
    c->rope_beta_slow = 1;
    c->rope_mscale = c->rope_mscale_all_dim = YARN_MSCALE;
}

static void make_norms(layer_model *model, test_random *random) {
    model->tensors.kv_a_layernorm_type = CLMLA_TYPE_F32;
    model->tensors.kv_a_layernorm = model->reference.kv_a_norm =
        random_floats(model, random, model->shape.latent, 1.0, 0.2);
    if (model->shape.q_lora == 0) return;
    model->tensors.q_a_layernorm_type = CLMLA_TYPE_F32;
    model->tensors.q_a_layernorm = model->reference.q_a_norm =
        random_floats(model, random, model->shape.q_lora, 1.0, 0.2);
}

static void make_matrices(layer_model *model, test_random *random) {
    const model_shape *s = &model->shape;
    clmla_layer_tensors *t = &model->tensors;
    ref_layer *r = &model->reference;
    size_t queries = (size_t)s->heads * (s->nope + s->rope);
    if (s->q_lora) {
        r->q_a = make_matrix(&t->q_a_proj, model, random, s->q_lora, s->hidden);
        r->q_a_bias = make_bias(&t->q_a_proj, model, random, s->q_lora);
        r->q = make_matrix(&t->q_b_proj, model, random, queries, s->q_lora);
    } else {
        r->q = make_matrix(&t->q_proj, model, random, queries, s->hidden);
    }
    r->kv_a = make_matrix(&t->kv_a_proj_with_mqa, model, random, s->latent + s->rope, s->hidden);
    r->kv_a_bias = make_bias(&t->kv_a_proj_with_mqa, model, random, s->latent + s->rope);
    r->kv_b = make_matrix(&t->kv_b_proj, model, random, (size_t)s->heads * (s->nope + s->value), s->latent);
    r->o = make_matrix(&t->o_proj, model, random, s->hidden, (size_t)s->heads * s->value);
    r->o_bias = make_bias(&t->o_proj, model, random, s->hidden);
}

void layer_model_make(layer_model *out, const model_shape *shape) {
    test_random random = test_random_make(shape->seed);
    double m = shape->yarn ? 0.1 * YARN_MSCALE * log(YARN_FACTOR) + 1.0 : 1.0;
    *out = (layer_model){.shape = *shape};
    out->reference = (ref_layer){
        .hidden = shape->hidden,
        .heads = shape->heads,
        .latent = shape->latent,
        .q_lora = shape->q_lora,
        .nope = shape->nope,
        .rope = shape->rope,
        .value = shape->value,
        .epsilon = (double)1e-6f,
        .scale = m * m / sqrt((double)(shape->nope + shape->rope)),
        .halves = shape->order == CLMLA_ROPE_HALVES,
    };
    make_config(out);
    make_norms(out, &random);
    make_matrices(out, &random);
}

void layer_model_free(layer_model *model) {
    for (int i = 0; i < model->array_count; i++) free(model->arrays[i]);
    *model = (layer_model){0};
}

clmla_layer *layer_model_load(const layer_model *model, clmla_context *context, uint32_t first_head,
                              uint32_t head_count) {
    clmla_layer *layer;
    clmla_layer_params params = {.first_head = first_head, .head_count = head_count};
    TEST_OK(clmla_layer_create(&layer, context, &model->config, &model->tensors, 0, &params));
    return layer;
}

// The pair that turns `rotations` times over the original context (YaRN, arXiv 2309.00071, section 3.2).
static double correction(double rotations, double rope) {
    return rope * log(YARN_CONTEXT / (rotations * 6.283185307179586)) / (2 * log(THETA));
}

// The share of a pair's frequency that is interpolated.
static double yarn_ramp(double pair, double rope) {
    double low = fmax(floor(correction(32, rope)), 0), high = fmin(ceil(correction(1, rope)), rope - 1);
    if (low == high) high += 0.001;
    return fmin(fmax((pair - low) / (high - low), 0), 1);
}

void layer_model_angles(float *out, const layer_model *model, int32_t position) {
    double rope = model->shape.rope;
    for (uint32_t i = 0; i < model->shape.rope / 2; i++) {
        double frequency = pow(THETA, -2.0 * i / rope), ramp = model->shape.yarn ? yarn_ramp(i, rope) : 0;
        double angle = position * (frequency / YARN_FACTOR * ramp + frequency * (1 - ramp));
        out[2 * i] = (float)cos(angle);
        out[2 * i + 1] = (float)sin(angle);
    }
}
