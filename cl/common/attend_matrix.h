// SPDX-License-Identifier: Apache-2.0
// How attend_matrix divides its work, in terms of the numbers it is built with: one text for the kernel and for the
// host (lib/attend_matrix.c), which has to know beforehand what that takes.
//   group      work-items, a power of two          wave       of them multiply together (common/matrix.clh)
//   row_tile   rows (query token, head), and
//   key_tile   keys at a time, both 16 times a power of two
//   partials   scores kept of each (row, key), of different shares of the width, to be summed
//   width      values of a row                     value_dim  of which those summed
//   parts      16-bit values a query or a weight is kept as (common/parts.clh)
#ifndef CL_COMMON_ATTEND_MATRIX_H
#define CL_COMMON_ATTEND_MATRIX_H

#define MATRIX_UP(value) (((value) + 15) / 16 * 16)
#define MATRIX_CHUNKS(width) (((width) + 15) / 16)

// 16 bytes more than whole tiles take, so that neighbouring rows lie in other banks.
#define MATRIX_KEY_STRIDE(width) (MATRIX_UP(width) + 8) // values
#define MATRIX_WEIGHT_STRIDE(key_tile) ((key_tile) + 8) // values
#define MATRIX_SCORE_STRIDE(key_tile) ((key_tile) + 4)  // floats

// A packed query, in floats; of several parts with what its scores are multiplied by, which is kept behind its tile's
// values.
#define MATRIX_QUERY_STRIDE(width, parts) (MATRIX_UP(width) / 2 * (parts) + ((parts) > 1))

// Values: each wave has every so-manieth tile of columns, for all rows.
#define MATRIX_COLUMN_TILES(group, wave, value_dim)                                                                    \
    ((MATRIX_CHUNKS(value_dim) + (group) / (wave)-1) / ((group) / (wave)))
#define MATRIX_FRAGMENTS(group, wave, row_tile, value_dim)                                                             \
    ((row_tile) / 16 * MATRIX_COLUMN_TILES(group, wave, value_dim))

#define MATRIX_LOCAL_BYTES(group, row_tile, key_tile, partials, width, parts)                                          \
    ((key_tile) * (MATRIX_KEY_STRIDE(width) * 2 + 16 + 4) +                                                            \
     (partials) * (row_tile)*MATRIX_SCORE_STRIDE(key_tile) * 4 +                                                       \
     (row_tile)*MATRIX_WEIGHT_STRIDE(key_tile) * 2 * (parts) + (group)*4 + (row_tile) * (7 + ((parts) > 1)) * 4 + 64)

#endif
