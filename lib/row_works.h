// SPDX-License-Identifier: Apache-2.0
// The cache's own operations on rows of all layers of one buffer: moves of whole rows, and rotations of their rope
// parts where they lie. Each adds one launch to a chain; the lists are on the device already.
#ifndef LIB_ROW_WORKS_H
#define LIB_ROW_WORKS_H

#include "host/launch.h"
#include "lib/context.h"
#include <clmla/rows.h>

// Layers of pages that lie in one buffer as clmla_rows_from_tensor has them, `layer_stride` bytes apart. Inside the
// library: nothing is checked.
typedef struct row_layers {
    clmla_row_layout layout;
    clmla_buffer memory;
    uint32_t layer_count, page_tokens;
    uint64_t layer_stride;
} row_layers;

// moves: [count][8] int32, as cl/move_rows_naive.cl tells. variant NULL = the first that accepts.
clmla_status move_rows_enqueue(clmla_context *context, const row_layers *layers, clmla_buffer moves, uint32_t count,
                               const char *variant, host_chain *chain);
// shifts: [count][8] int32, as cl/shift_naive.cl tells, of at most most_rows rows each; table: cos and sin. Plain
// formats alone (CLMLA_E_ARGUMENT).
clmla_status shift_enqueue(clmla_context *context, const row_layers *layers, clmla_buffer shifts, uint32_t count,
                           uint32_t most_rows, clmla_buffer table, const char *variant, host_chain *chain);

#endif
