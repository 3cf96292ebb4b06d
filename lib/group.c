// SPDX-License-Identifier: Apache-2.0
#include "lib/group.h"
#include "cl/common/row_group.h"
#include "host/vendors.h"
#include <stdio.h>

#define GROUP_WANTED 128u
#define GROUP_UNKNOWN 64u // where the device does not say
// Of cl/project_tile.cl
#define TILE_DEPTH 16u
#define TILE_ITEM_TOKENS 4u
#define TILE_ITEM_ROWS 8u  // or half as many, where their tiles would be too few
#define SUB_GROUP_WIDE 16u // of Intel's GPUs that have no narrower ones: left alone, the compiler takes 32, and spills
// Of cl/common/product_group.clh
#define EIGHT 8u
#define LANES_LEAST 8u
#define TOKENS_MOST 8u
#define LANE_EIGHTS                                                                                                    \
    4u // a lane's share of a row, at least: less, and adding the lanes' sums takes longer than making them

uint64_t group_most(const clmla_device_facts *facts) {
    uint64_t most = facts->max_group_size ? facts->max_group_size : GROUP_UNKNOWN;
    return facts->max_group_dims[0] && facts->max_group_dims[0] < most ? facts->max_group_dims[0] : most;
}

// What a group takes of local memory, at most.
static uint64_t local_bytes(uint32_t group) {
    return group > GROUP_WANTED ? (uint64_t)GROUP_LOCAL_BYTES * (group / GROUP_WANTED) : GROUP_LOCAL_BYTES;
}

uint32_t group_size(const clmla_device_facts *facts) {
    uint64_t most = group_most(facts);
    uint32_t group = facts->is_interpreter ? GROUP_LEAST : GROUP_WANTED; // whose work-items run one after the other
    if (facts->group_items) group = facts->group_items;
    if (facts->local_bytes && facts->local_bytes < GROUP_LOCAL_BYTES) return 0;
    while (group > most || (group > GROUP_WANTED && facts->local_bytes && facts->local_bytes < local_bytes(group)))
        group /= 2;
    return group >= GROUP_LEAST ? group : 0;
}

uint64_t group_row_bytes(uint32_t group, uint32_t latent_dim, uint32_t rope_dim) {
    uint64_t latent = latent_dim, rope = rope_dim;
    return 4 * ROW_GROUP_WORDS(latent, rope, group);
}

uint32_t group_sub_group(const clmla_device_facts *facts) {
    bool intel = !(facts->type & CL_DEVICE_TYPE_CPU) && facts->vendor_id == VENDOR_INTEL;
    return intel && facts->least_sub_group == SUB_GROUP_WIDE ? SUB_GROUP_WIDE : 0;
}

void group_options(char *out, size_t size, const clmla_device_facts *facts, uint32_t group) {
    uint32_t sub_group = group_sub_group(facts);
    if (sub_group)
        snprintf(out, size, "-DGROUP=%u -DSUB_GROUP=%u", group, sub_group);
    else
        snprintf(out, size, "-DGROUP=%u", group);
}

uint32_t group_lanes(uint32_t group, uint32_t columns) {
    uint32_t lanes = LANES_LEAST;
    while (lanes < group && columns / (lanes * 2 * EIGHT) >= LANE_EIGHTS) lanes *= 2;
    return lanes;
}

static uint64_t tile_bytes(const group_tile *tile) {
    return 4u * TILE_DEPTH * ((uint64_t)tile->rows + 4 + tile->tokens + 4);
}

static group_tile tile_of(uint32_t side, uint32_t item_rows) {
    return (group_tile){side * side, side * item_rows, side * TILE_ITEM_TOKENS, item_rows};
}

group_tile group_tile_choose(const clmla_device_facts *facts, uint32_t rows, uint32_t tokens) {
    for (uint32_t side = facts->is_interpreter ? 8 : 16; side >= 8; side /= 2) {
        group_tile tile = tile_of(side, TILE_ITEM_ROWS);
        if (tile.group > group_most(facts)) continue;
        uint64_t tiles = ((uint64_t)rows + tile.rows - 1) / tile.rows * ((tokens + tile.tokens - 1) / tile.tokens);
        bool intel = !(facts->type & CL_DEVICE_TYPE_CPU) && facts->vendor_id == VENDOR_INTEL; // few registers
        bool few = rows && tokens && tiles < 2 * (uint64_t)facts->compute_units;
        if (few || intel || (facts->local_bytes && facts->local_bytes < tile_bytes(&tile)))
            tile = tile_of(side, TILE_ITEM_ROWS / 2);
        if (!facts->local_bytes || tile_bytes(&tile) <= facts->local_bytes) return tile;
    }
    return (group_tile){0};
}

uint32_t group_tokens(uint32_t tokens) {
    uint32_t of_group = 1;
    while (of_group < tokens && of_group < TOKENS_MOST) of_group *= 2;
    return of_group;
}
