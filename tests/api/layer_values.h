// SPDX-License-Identifier: Apache-2.0
// What a layer holds on the device against the tensors of a checkpoint, converted by the references' own arithmetic.
#ifndef TEST_LAYER_VALUES_H
#define TEST_LAYER_VALUES_H

#include <clmla/clmla.h>

// Reads every matrix, scale, bias and norm of the layer back and asserts that each value is the stored one, rounded as
// params->weights says; and that clmla_layer_bytes is the sum of the layer's buffers.
void layer_values_check(const clmla_layer *layer, const clmla_config *config, const clmla_checkpoint *checkpoint,
                        uint32_t index, const clmla_layer_params *params);

#endif
