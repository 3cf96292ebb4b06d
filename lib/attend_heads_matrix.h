// SPDX-License-Identifier: Apache-2.0
// How attend_heads_matrix is built for a device and the widths of heads: the one place where its tile is chosen. Plain
// data in, plain data out, as of attend_heads_tile.
#ifndef LIB_ATTEND_HEADS_MATRIX_H
#define LIB_ATTEND_HEADS_MATRIX_H

#include "host/instruction_matrix.h"
#include "lib/attend_heads_tile.h"

// What cl/common/attend_heads_matrix.h calls these.
typedef struct attend_heads_matrix {
    uint32_t group, row_tile, key_tile;
    uint64_t local_bytes; // at most
} attend_heads_matrix;

// The tile of least predicted cost within limits->group and limits->local_bytes; false with a sentence when there is
// none.
bool attend_heads_matrix_choose(attend_heads_matrix *out, char reason[ATTEND_TILE_REASON_MAX],
                                const clmla_device_facts *facts, const attend_tile_limits *limits,
                                const attend_heads_shape *shape);

#endif
