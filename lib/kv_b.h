// SPDX-License-Identifier: Apache-2.0
// kv_b_proj as its two users see it: absorb takes W_UK, output takes W_UV, both straight from the stored matrix.
#ifndef LIB_KV_B_H
#define LIB_KV_B_H

#include "host/launch.h"
#include "lib/variants.h"
#include <clmla/operations.h>

// Checks the matrix against H, N and V, and the counts. Errors: CLMLA_E_ARGUMENT, CLMLA_E_LIMIT.
clmla_status kv_b_check(clmla_context *context, const clmla_matrix *kv_b, uint32_t token_count, uint32_t head_count,
                        uint32_t nope_dim, uint32_t value_dim, const char *operation);

// Arguments both kernels begin with: the values, N, V, L, the scales.
void kv_b_arguments(host_launch *launch, const clmla_matrix *kv_b, uint32_t nope_dim, uint32_t value_dim);

// Launches one work-item per value (naive), or one per head and tile of tokens (vector).
clmla_status kv_b_enqueue(host_launch *launch, host_chain *chain, const variant *chosen, uint32_t values,
                          uint32_t head_count, uint32_t token_count);

// Launches the kernel of group variants, after its last arguments but one: `pieces` groups for each head and block of
// tokens.
clmla_status kv_b_enqueue_groups(host_launch *launch, host_chain *chain, uint32_t pieces, uint32_t head_count,
                                 uint32_t token_count);

#endif
