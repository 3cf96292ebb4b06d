// SPDX-License-Identifier: Apache-2.0
// What attend_wgmma is built for: tiles of one size, for rows of two widths.
#ifndef LIB_ATTEND_WGMMA_H
#define LIB_ATTEND_WGMMA_H

#include "host/instruction_wgmma.h"
#include "lib/attend_tile.h"

// NULL when the device and the widths are served, else why not. 0: a width that is not known yet.
const char *attend_wgmma_refuse(const clmla_device_facts *facts, uint32_t latent_dim, uint32_t rope_dim);

// Fills group, row_tile, key_tile, query_stride and local_bytes. Of exact compute the rows of a product are two parts
// of half as many rows, and a packed query has its scale behind it.
attend_tile attend_wgmma_tile(uint32_t latent_dim, uint32_t rope_dim, bool exact);

#endif
