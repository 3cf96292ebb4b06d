// SPDX-License-Identifier: Apache-2.0
// What baseline_latent.c does on GPUs by kernels of groups (baseline_latent_group.cl).
#ifndef TOOLS_BASELINE_LATENT_GROUP_H
#define TOOLS_BASELINE_LATENT_GROUP_H

#include "baseline_latent.h"

// Kernels; latent_close releases them, also those of a failed one.
bool latent_group_open(baseline_latent *latent, failure *failure);

// As latent_attend_unfused.
bool latent_group_unfused(baseline_latent *latent, cl_mem rows, cl_mem query, uint32_t kv_tokens, cl_mem output,
                          failure *failure);

// How many tokens' keys and values are rebuilt at a time.
uint32_t latent_group_chunk(const baseline_latent *latent);
// widened = rows first .. first + count - 1 in f32; rebuilt = kv_b . their latents, by the library's product.
bool latent_group_rebuild(baseline_latent *latent, cl_mem rows, uint32_t first, uint32_t count, failure *failure);

#endif
