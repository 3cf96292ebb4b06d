// SPDX-License-Identifier: Apache-2.0
#include "lib/attend_matrix_ring.h"
#include "cl/common/attend_matrix_ring.h"
#include "lib/group.h"
#include <stdio.h>

#define LATENT_MOST 512 // what the sums of a row leave of the registers
#define WIDTH_MOST 576
#define KEYS_LEAST 16
#define KEYS_MOST 32
// Where 32 keys were seen to spill registers: products that are summed apart (exact compute), and the sums of 512
// columns.
#define KEYS_MOST_HELD 16
#define LATENT_HELD 512
#define STAGES_LEAST 2
#define STAGES_MOST 3 // with more, keys were there sooner than anybody asks for them

static uint64_t local_of(uint32_t keys, uint32_t stages, uint32_t width) {
    return RING_LOCAL_BYTES((uint64_t)keys, stages, width);
}

const char *attend_ring_refuse(const clmla_device_facts *facts, uint32_t latent_dim, uint32_t rope_dim) {
    if (latent_dim % RING_VALUE_UNIT != 0 || latent_dim > LATENT_MOST)
        return "the latent width is none of 128, 256, 384 and 512";
    if (latent_dim != 0 && (latent_dim + rope_dim) % RING_WIDTH_UNIT != 0) return "a row's width is no multiple of 64";
    if (latent_dim + rope_dim > WIDTH_MOST) return "rows are wider than 576 values";
    if (group_most(facts) < RING_GROUP) return "needs groups of 256 work-items";
    uint32_t width = latent_dim ? latent_dim + rope_dim : RING_VALUE_UNIT;
    return facts->local_bytes < local_of(KEYS_LEAST, STAGES_LEAST, width) ? "its ring needs more local memory" : NULL;
}

static bool fit(attend_tile *out, uint64_t local, uint32_t keys_most, uint32_t width) {
    for (uint32_t keys = KEYS_MOST; keys >= KEYS_LEAST; keys /= 2)
        for (uint32_t stages = STAGES_MOST; stages >= STAGES_LEAST; stages--) {
            if ((keys > keys_most && keys > KEYS_LEAST) || local_of(keys, stages, width) > local) continue;
            out->key_tile = keys;
            out->stages = stages;
            out->local_bytes = local_of(keys, stages, width);
            return true;
        }
    return false;
}

bool attend_ring_choose(attend_tile *out, char reason[ATTEND_TILE_REASON_MAX], const clmla_device_facts *facts,
                        uint64_t local, const attend_tile_limits *limits, const attend_tile_shape *shape) {
    uint32_t width = shape->latent_dim + shape->rope_dim;
    char what[64];
    *out = (attend_tile){.group = RING_GROUP,
                         .row_tile = shape->exact ? RING_ROWS / 2 : RING_ROWS,
                         .query_stride = shape->exact ? width + 1 : width / 2};
    reason[0] = '\0';
    if (limits->local_bytes && limits->local_bytes < local) local = limits->local_bytes;
    bool held = shape->exact || shape->latent_dim >= LATENT_HELD;
    uint32_t keys = held ? KEYS_MOST_HELD : limits->keys ? limits->keys : KEYS_MOST;
    if (fit(out, local, keys, width)) return true;
    snprintf(what, sizeof what, "a ring of rows of %u values", width);
    return attend_tile_refuse(reason, &(attend_tile_shortage){RING_GROUP, (uint32_t)group_most(facts),
                                                              local_of(KEYS_LEAST, STAGES_LEAST, width), local,
                                                              shape->value_dim, "row", what});
}
