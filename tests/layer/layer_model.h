// SPDX-License-Identifier: Apache-2.0
// A layer with random weights at any dimensions: as the library takes it, and as the reference does.
#ifndef LAYER_MODEL_H
#define LAYER_MODEL_H

#include "tests/ref/ref_layer.h"
#include "tests/support/run.h"
#include "tests/support/weights.h"

typedef struct model_shape {
    uint32_t hidden, heads, latent, q_lora, nope, rope, value;
    ref_type weights;
    bool bias, yarn;
    clmla_rope_order order; // of the weights
    uint64_t seed;
} model_shape;

#define MODEL_ARRAYS_MAX 32

typedef struct layer_model {
    model_shape shape;
    clmla_config config;
    clmla_layer_tensors tensors;
    ref_layer reference;
    void *arrays[MODEL_ARRAYS_MAX]; // what the two point to
    int array_count;
} layer_model;

void layer_model_make(layer_model *out, const model_shape *shape);
void layer_model_free(layer_model *model);
clmla_layer *layer_model_load(const layer_model *model, clmla_context *context, uint32_t first_head,
                              uint32_t head_count);

// {cos, sin} of each pair at a position, computed here from the definition: out [rope].
void layer_model_angles(float *out, const layer_model *model, int32_t position);

#endif
