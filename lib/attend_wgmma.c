// SPDX-License-Identifier: Apache-2.0
#include "lib/attend_wgmma.h"

#define GROUP 256
#define PRODUCT_ROWS 64
#define KEY_TILE 64
#define TILES 3                // queries, and keys twice
#define OTHER_LOCAL_BYTES 9216 // at most

attend_tile attend_wgmma_tile(uint32_t latent_dim, uint32_t rope_dim, bool exact) {
    uint32_t width = latent_dim + rope_dim;
    return (attend_tile){.group = GROUP,
                         .row_tile = exact ? PRODUCT_ROWS / 2 : PRODUCT_ROWS,
                         .key_tile = KEY_TILE,
                         .query_stride = exact ? width + 1 : width / 2,
                         .local_bytes = TILES * PRODUCT_ROWS * 2ull * width + OTHER_LOCAL_BYTES};
}

const char *attend_wgmma_refuse(const clmla_device_facts *facts, uint32_t latent_dim, uint32_t rope_dim) {
    if (latent_dim != 0 && latent_dim != 256 && latent_dim != 512) return "the latent width is neither 256 nor 512";
    if (latent_dim != 0 && rope_dim != 64) return "the rope width is not 64";
    if (host_wgmma_find(facts) == HOST_INSTRUCTION_WGMMA) return NULL; // has 227 KiB, though OpenCL tells of 48
    if (facts->max_group_size < GROUP) return "needs groups of 256 work-items";
    if (facts->local_bytes < attend_wgmma_tile(latent_dim ? latent_dim : 256, 64, false).local_bytes)
        return "its tiles need more local memory";
    return NULL;
}
