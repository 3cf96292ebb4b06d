// SPDX-License-Identifier: Apache-2.0
// How attend_matrix is built for a device and a shape: the one place where its tile is chosen. Plain data in, plain
// data out, as of attend_tile.
#ifndef LIB_ATTEND_MATRIX_H
#define LIB_ATTEND_MATRIX_H

#include "host/instruction_matrix.h"
#include "lib/attend_tile.h"

// 16-bit values a query or a weight is kept as, as in cl/common/parts.clh.
uint32_t attend_matrix_parts(clmla_row_format format, bool exact);

// The tile of rows with least waste, then of most rows and keys that registers and local memory allow; false with a
// sentence when there is none. Fills group, row_tile, key_tile, partials, query_stride and local_bytes of *out.
bool attend_matrix_choose(attend_tile *out, char reason[ATTEND_TILE_REASON_MAX], const clmla_device_facts *facts,
                          const attend_tile_limits *limits, const attend_tile_shape *shape);

#endif
