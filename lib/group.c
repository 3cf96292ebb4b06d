// SPDX-License-Identifier: Apache-2.0
#include "lib/group.h"
#include "cl/common/row_group.h"

#define GROUP_WANTED 128u
#define GROUP_UNKNOWN 64u // where the device does not say
#define VENDOR_INTEL 0x8086u
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

uint32_t group_size(const clmla_device_facts *facts) {
    uint64_t most = group_most(facts);
    uint32_t group = GROUP_WANTED;
    if (facts->local_bytes && facts->local_bytes < GROUP_LOCAL_BYTES) return 0;
    while (group > most) group /= 2;
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

uint32_t group_lanes(uint32_t group, uint32_t columns) {
    uint32_t lanes = LANES_LEAST;
    while (lanes < group && columns / (lanes * 2 * EIGHT) >= LANE_EIGHTS) lanes *= 2;
    return lanes;
}

uint32_t group_tokens(uint32_t tokens) {
    uint32_t of_group = 1;
    while (of_group < tokens && of_group < TOKENS_MOST) of_group *= 2;
    return of_group;
}
