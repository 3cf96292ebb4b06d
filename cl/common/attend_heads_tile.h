// SPDX-License-Identifier: Apache-2.0
// How attend_heads_tile divides its work, in terms of the numbers it is built with: one text for the kernel, which lays
// its local memory out so, and for the host (lib/attend_heads_tile.c), which has to know beforehand what that takes.
//   group       work-items                     key_side    of them share rows, a power of two from 8 on; they have
//               other keys
//   depth       values of queries and keys staged at a time, 8 or 16
//   value_keys  keys whose values are staged at a time, a multiple of 4
//   value_dim   values of a key that are summed
#ifndef CL_COMMON_ATTEND_HEADS_TILE_H
#define CL_COMMON_ATTEND_HEADS_TILE_H

#include "attend_tile.h"

#define HEADS_ITEM_ROWS 4 // rows (query tokens) of a work-item
#define HEADS_ITEM_KEYS 4 // keys it scores by them at a time
#define HEADS_LOADS 8     // quads of each kind that a work-item fetches for one stage, at most
#define HEADS_SUMS 16     // quads of its rows' sums, at most

#define HEADS_ROW_SIDE(group, key_side) ((group) / (key_side))
#define HEADS_ROW_TILE(group, key_side) (HEADS_ROW_SIDE(group, key_side) * HEADS_ITEM_ROWS)
#define HEADS_KEY_TILE(key_side) ((key_side)*HEADS_ITEM_KEYS)

// Values: a row's work-items each have some quads of columns.
#define HEADS_QUADS(key_side, value_dim) TILE_SHARE(TILE_SHARE(value_dim, 4), key_side)

// Local memory. Queries and keys are staged twice, by turns; later the weights lie there. Rows of weights are padded,
// so that neighbouring ones lie in other banks.
#define HEADS_WEIGHT_STRIDE(key_side) (HEADS_KEY_TILE(key_side) + 4) // floats
#define HEADS_STAGE(group, key_side, depth)                                                                            \
    (2 * (depth) * (HEADS_ROW_TILE(group, key_side) + HEADS_KEY_TILE(key_side))) // floats
#define HEADS_WEIGHTS(group, key_side) (HEADS_ROW_TILE(group, key_side) * HEADS_WEIGHT_STRIDE(key_side))
#define HEADS_SHARED(group, key_side, depth)                                                                           \
    (HEADS_STAGE(group, key_side, depth) > HEADS_WEIGHTS(group, key_side) ? HEADS_STAGE(group, key_side, depth)        \
                                                                          : HEADS_WEIGHTS(group, key_side))
#define HEADS_VALUE_STRIDE(value_dim) TILE_UP(value_dim, 4)
#define HEADS_LOCAL_BYTES(group, key_side, depth, value_keys, value_dim)                                               \
    (4 * (HEADS_SHARED(group, key_side, depth) + 2 * (value_keys)*HEADS_VALUE_STRIDE(value_dim) +                      \
          HEADS_ROW_TILE(group, key_side) * ((key_side) + 2)))

#endif
