// SPDX-License-Identifier: Apache-2.0
// How attend_heads_tile is built for a device and the widths of heads: the one place where its tile is chosen. Plain
// data in, plain data out: made-up device facts give what that device would get. Of nothing else, so that what is
// prepared once serves every prompt.
#ifndef LIB_ATTEND_HEADS_TILE_H
#define LIB_ATTEND_HEADS_TILE_H

#include "lib/attend_tile.h"

// What cl/common/attend_heads_tile.h calls these.
typedef struct attend_heads_tile {
    uint32_t group, key_side, depth, value_keys;
    uint32_t sub_group;   // to be asked of the compiler; 0 = it chooses
    bool large_registers; // Intel's mode of twice the registers is to be asked for: local memory allows no more threads
    uint32_t row_tile;    // query tokens of a group
    uint64_t local_bytes; // at most
} attend_heads_tile;

typedef struct attend_heads_shape {
    uint32_t nope_dim, rope_dim, value_dim;
} attend_heads_shape;

// The tile of least predicted cost within limits->group and limits->local_bytes; false with a sentence when there is
// none.
bool attend_heads_tile_choose(attend_heads_tile *out, char reason[ATTEND_TILE_REASON_MAX],
                              const clmla_device_facts *facts, const attend_tile_limits *limits,
                              const attend_heads_shape *shape);

#endif
