// SPDX-License-Identifier: Apache-2.0
// A layer's tensors in host memory on their way to the device: filled from a checkpoint (layer_load.c) or from the
// caller's pointers (layer.c), uploaded by layer_upload.c.
//
// Bytes of a mapped file lie at any address, so values are reached through untyped pointers and copied before use.
#ifndef LIB_LAYER_PARTS_H
#define LIB_LAYER_PARTS_H

#include "lib/layer.h"

#define FP8_BLOCK 128u // rows and columns that share one scale

typedef enum layer_part {
    LAYER_Q_PROJ,
    LAYER_Q_A_PROJ,
    LAYER_Q_B_PROJ,
    LAYER_KV_A_PROJ,
    LAYER_KV_B_PROJ,
    LAYER_O_PROJ,
    LAYER_MATRICES, // norms follow
    LAYER_Q_A_NORM = LAYER_MATRICES,
    LAYER_KV_A_NORM,
    LAYER_PARTS
} layer_part;

typedef struct layer_tensor {
    clmla_type type; // CLMLA_TYPE_NONE = not there
    const void *values;
    const void *scales; // f32 [ceil(rows/128)][ceil(columns/128)]; fp8 alone
    clmla_type bias_type;
    const void *bias; // [rows]
} layer_tensor;

typedef struct layer_tensors {
    layer_tensor parts[LAYER_PARTS];
} layer_tensors;

// "kv_b_proj", as in a tensor's name.
const char *layer_part_name(layer_part part);
// The whole part's shape in a checkpoint; a norm is one row. False if a model of this config has no such part.
bool layer_part_shape(uint64_t *rows, uint64_t *columns, const clmla_config *config, layer_part part);
// A matrix whose bias the config's attention_bias demands.
bool layer_part_needs_bias(const clmla_config *config, layer_part part);

// Makes the layer of cache layer `index` from tensors whose shapes are known to be right; types and presence are
// checked here. Errors: as clmla_layer_create.
clmla_status layer_make(clmla_layer **out, clmla_context *context, const clmla_config *config,
                        const layer_tensors *tensors, uint32_t index, const clmla_layer_params *params);

// Converts and copies the tensors into the layer's matrices. weights as in clmla_layer_params. On failure the layer
// keeps what was made so far, for clmla_layer_destroy.
clmla_status layer_upload(clmla_layer *layer, const layer_tensors *tensors, clmla_type weights);

#endif
