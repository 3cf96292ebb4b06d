// SPDX-License-Identifier: Apache-2.0
// What a device cannot run, found before anything is made. Each answers false with row->reason set.
#ifndef TOOLS_COMPARE_REFUSAL_H
#define TOOLS_COMPARE_REFUSAL_H

#include "baseline_shape.h"
#include "compare.h"

// `buffers` are the sizes of what takes most memory.
bool compare_fits(compare_row *row, const clmla_device_facts *facts, const uint64_t *buffers, size_t count);
// Kernels: on GPUs there must be room for their groups and tiles.
bool compare_has_heads(compare_row *row, const clmla_device_facts *facts, const baseline_shape *shape);
bool compare_has_latent(compare_row *row, const clmla_device_facts *facts, const compare_shape *shape);

#endif
