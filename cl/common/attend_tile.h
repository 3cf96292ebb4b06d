// SPDX-License-Identifier: Apache-2.0
// How attend_tile divides its work, in terms of the numbers it is built with: one text for the kernel, which lays its
// local memory out so, and for the host (lib/attend_tile.c), which has to know beforehand what that takes.
//   group        work-items                  row_tile     rows (query token, head) a group takes through its keys
//   key_tile     keys staged at a time, a multiple of 4
//   score_rows   rows one work-item scores by 4 keys; divides row_tile
//   partials     scores kept of each (row, key), of different shares of the width, to be summed
//   width        values of a row             value_dim    of which those summed
//   element      bytes of a staged value
#ifndef CL_COMMON_ATTEND_TILE_H
#define CL_COMMON_ATTEND_TILE_H

#define TILE_KEYS 4   // keys a work-item scores at a time, values it reads at a time
#define TILE_PLACE 64 // most bytes of a key's place

#define TILE_UP(value, multiple) (((value) + (multiple)-1) / (multiple) * (multiple))
#define TILE_SHARE(value, parts) (((value) + (parts)-1) / (parts))

// Scores: row groups x key groups x slices of the width.
#define TILE_ROW_GROUPS(row_tile, score_rows) ((row_tile) / (score_rows))
#define TILE_KEY_GROUPS(key_tile) ((key_tile) / TILE_KEYS)
#define TILE_SLICES(group, row_tile, score_rows, key_tile)                                                             \
    ((group) / (TILE_ROW_GROUPS(row_tile, score_rows) * TILE_KEY_GROUPS(key_tile)))

// Values: threads along the columns, each with some quads of columns; the rest of the group takes other rows.
#define TILE_QUADS(group, value_dim) TILE_SHARE(TILE_SHARE(value_dim, 4), group)
#define TILE_COLUMNS(group, value_dim) TILE_SHARE(TILE_SHARE(value_dim, 4), TILE_QUADS(group, value_dim))
#define TILE_ROW_PARTS(group, value_dim) ((group) / TILE_COLUMNS(group, value_dim))
#define TILE_VALUE_ROWS(group, row_tile, value_dim) TILE_SHARE(row_tile, TILE_ROW_PARTS(group, value_dim))
#define TILE_SUMS(group, row_tile, value_dim)                                                                          \
    (4 * TILE_QUADS(group, value_dim) * TILE_VALUE_ROWS(group, row_tile, value_dim)) // floats a work-item keeps

// Local memory. 16 bytes more than a row needs, so that neighbouring keys lie in other banks; rows of odd sizes for the
// same reason.
#define TILE_KEY_STRIDE(width, element) (TILE_UP(width, 16 / (element)) + 16 / (element)) // elements
#define TILE_PARTIAL_STRIDE(partials) ((partials) + 1)                                    // quads of scores
// Rows are read by fours: what is read behind the last is there too.
#define TILE_WEIGHT_STRIDE(group, row_tile, value_dim)                                                                 \
    (TILE_UP(TILE_ROW_PARTS(group, value_dim) * TILE_VALUE_ROWS(group, row_tile, value_dim), 4) +                      \
     (TILE_VALUE_ROWS(group, row_tile, value_dim) % 4 ? 4 : 0)) // floats
#define TILE_LOCAL_BYTES(group, row_tile, key_tile, partials, width, value_dim, element)                               \
    ((key_tile) * (TILE_KEY_STRIDE(width, element) * (element) + TILE_PLACE + 4) +                                     \
     (row_tile)*TILE_KEY_GROUPS(key_tile) * TILE_PARTIAL_STRIDE(partials) * 16 +                                       \
     TILE_WEIGHT_STRIDE(group, row_tile, value_dim) * (key_tile)*4 +                                                   \
     (TILE_WEIGHT_STRIDE(group, row_tile, value_dim) + 4 * (row_tile)) * 4 + 64)

#endif
