// SPDX-License-Identifier: Apache-2.0
// How attend_tile is built for a device and a shape: the one place where its tile is chosen. Plain data in, plain data
// out: made-up device facts give what that device would get.
#ifndef LIB_ATTEND_TILE_H
#define LIB_ATTEND_TILE_H

#include <clmla/device.h>
#include <clmla/rows.h>

#define ATTEND_TILE_REASON_MAX 160

// What cl/common/attend_tile.h calls these.
typedef struct attend_tile {
    uint32_t group, row_tile, key_tile, score_rows, partials;
    uint32_t stages;       // of attend_matrix_ring: blocks of keys in local memory
    uint32_t sub_group;    // to be asked of the compiler; 0 = it chooses
    uint32_t query_stride; // floats from one packed query to the next
    uint64_t local_bytes;  // at most
} attend_tile;

// Zeros: by the device.
typedef struct attend_tile_limits {
    uint32_t group;       // most work-items of a group
    uint32_t rows, keys;  // most of a tile
    uint64_t local_bytes; // most a group takes
} attend_tile_limits;

typedef struct attend_tile_shape {
    clmla_row_format format;
    uint32_t latent_dim, rope_dim, value_dim;
    uint32_t rows; // of one sequence and kv head (attend_rows_of); 0 = any
    bool exact;    // of attend_matrix: what it keeps a query and a weight as
} attend_tile_shape;

// The rows of a sequence with so many new tokens (0 = 1), whose kv heads have so many query heads each (0: not known,
// and nor are the rows). Cut beyond what any tile has: more change no choice.
uint32_t attend_rows_of(uint32_t heads, uint32_t query_tokens);

// What a search found too little of. Every choice of a tile refuses by it: the kernels' names for what they hold differ
// alone.
typedef struct attend_tile_shortage {
    uint32_t group_least, group_most; // work-items: the kernel's, the device's
    uint64_t least_local,
        local; // bytes: the least that a tile asked for (UINT64_MAX: none fits the registers), the device's
    uint32_t value_dim;
    const char *holder; // of those values: "row", "key"
    const char *held;   // in local memory: "rows of 576 values"
} attend_tile_shortage;

// Says it; false.
bool attend_tile_refuse(char reason[ATTEND_TILE_REASON_MAX], const attend_tile_shortage *shortage);

// The tile of least predicted cost; false with a sentence when there is none.
bool attend_tile_choose(attend_tile *out, char reason[ATTEND_TILE_REASON_MAX], const clmla_device_facts *facts,
                        const attend_tile_limits *limits, const attend_tile_shape *shape);

#endif
