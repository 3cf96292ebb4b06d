// SPDX-License-Identifier: Apache-2.0
// How many work-items the kernels of the group variants run in a group, and how they share a row. Plain data in, plain
// data out: made-up device facts give what that device would get.
#ifndef LIB_GROUP_H
#define LIB_GROUP_H

#include <clmla/device.h>

#define GROUP_LEAST 32u
#define GROUP_ITEMS_MOST 256u
#define GROUP_ITEM_ROWS 4u       // of weights, that a work-item takes at a time: of cl/common/product_group.clh
#define GROUP_LOCAL_BYTES 10240u // what any of them takes, in groups of up to 128; in larger ones as much more

// The most work-items a group may have along its first dimension; what the device does not say is 64.
uint64_t group_most(const clmla_device_facts *facts);
// A power of two from GROUP_LEAST on: facts->group_items, or 128; fewer where the device has no such groups. 0 = it has
// none, or not GROUP_LOCAL_BYTES.
uint32_t group_size(const clmla_device_facts *facts);
// Bytes of local memory that a group takes to store a row.
uint64_t group_row_bytes(uint32_t group, uint32_t latent_dim, uint32_t rope_dim);
// The width of sub-groups to ask the compiler for; 0 = it chooses.
uint32_t group_sub_group(const clmla_device_facts *facts);
// "-DGROUP=128 -DSUB_GROUP=16"; the latter where one is to be asked for.
void group_options(char *out, size_t size, const clmla_device_facts *facts, uint32_t group);
// Work-items that share a row of `columns` weights: a power of two from 8 on, at most `group`. It depends on nothing
// else, so that neither do a sum's bits.
uint32_t group_lanes(uint32_t group, uint32_t columns);
// How project_tile is built: work-items of a group, 0 = it cannot be, rows and tokens of a group's tile, rows a
// work-item takes.
typedef struct group_tile {
    uint32_t group, rows, tokens, item_rows;
} group_tile;
// For so many rows and tokens; zeros: any.
group_tile group_tile_choose(const clmla_device_facts *facts, uint32_t rows, uint32_t tokens);
// Of a product's kernels, one for each number of tokens, that for `tokens` takes so many: 1, 2, 4 or 8.
uint32_t group_tokens(uint32_t tokens);

#endif
