// SPDX-License-Identifier: Apache-2.0
// How the baseline attentions are built for GPUs (baseline_group.cl). Plain data in, plain data out: made-up device
// facts give what that device would get.
#ifndef TOOLS_BASELINE_GROUP_H
#define TOOLS_BASELINE_GROUP_H

#include "baseline_shape.h"
#include "failure.h"

typedef struct baseline_group {
    uint32_t items;                    // of a group
    uint32_t head_tile, key_tile;      // 0: stream_group, whose rows `lanes` work-items share, `unroll` at a time
    uint32_t value_tile, column_lanes; // with tiles: columns of values, work-items that share a row of them
    uint32_t lanes, unroll;
} baseline_group;

// The one place that says which form a device gets: work-items of a group of the kernels for GPUs, a power of two from
// 32 on; 0 = it gets the kernels for CPUs, of one work-item.
uint32_t baseline_group_items(const clmla_device_facts *facts);

// Attention of `heads` heads a kv head. Refuses devices without room for it.
bool baseline_group_heads(baseline_group *out, const clmla_device_facts *facts, const baseline_shape *shape,
                          failure *failure);
// Scores of rows of score_dim elements for `heads` heads, and sums of latent_dim of their columns.
bool baseline_group_latent(baseline_group *out, const clmla_device_facts *facts, uint32_t heads, uint32_t score_dim,
                           uint32_t latent_dim, clmla_type type, failure *failure);
// Build options of either.
#define BASELINE_GROUP_OPTIONS 256
void baseline_group_options(char options[BASELINE_GROUP_OPTIONS], const clmla_device_facts *facts,
                            const baseline_group *group, uint32_t score_dim);

// How many pieces of `size` hold `count`.
static inline uint32_t baseline_pieces(uint32_t count, uint32_t size) {
    return (count + size - 1) / size;
}

// How many parts keys are shared out in, and of how many tokens each, so that `groups` groups a part fill the device.
typedef struct baseline_parts {
    uint32_t count, tokens;
} baseline_parts;
baseline_parts baseline_group_parts(const clmla_device_facts *facts, uint64_t groups, uint32_t kv_tokens);

#endif
