// SPDX-License-Identifier: Apache-2.0
// A layer whose cached latents have outliers, and whose output is what it was: 2 % of the L channels, drawn from a
// seed, are multiplied by 8 in kv_a_layernorm and divided by 8 in the columns of kv_b_proj that read them. Both are
// exact, so a reference's output stays the reference; only the rows are harder to quantise.
#ifndef TOOLS_OUTLIER_LAYER_H
#define TOOLS_OUTLIER_LAYER_H

#include "failure.h"
#include <stdint.h>

#define OUTLIER_FACTOR 8.0f
#define OUTLIER_SHARE 50 // one channel in so many, at least one

// Loads layer `index` of a checkpoint so; weights that are changed are kept in f32. Not for fp8 weights or biases.
bool outlier_layer_create(clmla_layer **out, clmla_context *context, const clmla_config *config,
                          const clmla_checkpoint *checkpoint, uint32_t index, uint64_t seed, failure *failure);

#endif
