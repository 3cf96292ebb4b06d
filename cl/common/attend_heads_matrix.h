// SPDX-License-Identifier: Apache-2.0
// How attend_heads_matrix divides its work, in terms of the numbers it is built with: one text for the kernel and for
// the host (lib/attend_heads_matrix.c), which has to know beforehand what that takes.
//   group     work-items, a power of two           wave       of them multiply together (common/matrix.clh)
//   row_tile  rows (query tokens) of a group, and
//   key_tile  keys at a time, both 16 times a power of two; there are as many waves as tiles of 16 rows, or more
//   width     values of a query or key             value_dim  of a value
#ifndef CL_COMMON_ATTEND_HEADS_MATRIX_H
#define CL_COMMON_ATTEND_HEADS_MATRIX_H

#include "attend_matrix.h"

// Waves that share 16 rows: each has every so-manieth tile of 16 keys, then of 16 columns of the values.
#define HEADS_ROW_WAVES(group, wave, row_tile) ((group) / (wave) / ((row_tile) / 16))
#define HEADS_FRAGMENTS(group, wave, row_tile, width)                                                                  \
    ((MATRIX_CHUNKS(width) + HEADS_ROW_WAVES(group, wave, row_tile) - 1) / HEADS_ROW_WAVES(group, wave, row_tile))

#define HEADS_MATRIX_LOCAL_BYTES(group, row_tile, key_tile, width, value_dim)                                          \
    (2 * ((row_tile) + (key_tile)) * MATRIX_KEY_STRIDE(width) + 2 * (key_tile)*MATRIX_KEY_STRIDE(value_dim) +          \
     (row_tile) * (4 * MATRIX_SCORE_STRIDE(key_tile) + 2 * MATRIX_WEIGHT_STRIDE(key_tile)) + 4 * (group) +             \
     (row_tile)*7 * 4 + 16)

#endif
