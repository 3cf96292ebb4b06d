// SPDX-License-Identifier: Apache-2.0
// How attend_matrix_ring is built for a device and a shape: the one place where its tile is chosen. Plain data in,
// plain data out.
#ifndef LIB_ATTEND_MATRIX_RING_H
#define LIB_ATTEND_MATRIX_RING_H

#include "host/instruction_ring.h"
#include "lib/attend_tile.h"

// NULL when the device and the widths are served, else why not. 0: a latent width that is not known yet.
const char *attend_ring_refuse(const clmla_device_facts *facts, uint32_t latent_dim, uint32_t rope_dim);

// The most keys at a time, then the most blocks of them, that `local` bytes hold; false with a sentence when there are
// none. Fills group, row_tile, key_tile, stages, query_stride and local_bytes of *out. Of exact compute the rows of a
// product are two parts of half as many rows, and a packed query has its scale behind it.
bool attend_ring_choose(attend_tile *out, char reason[ATTEND_TILE_REASON_MAX], const clmla_device_facts *facts,
                        uint64_t local, const attend_tile_limits *limits, const attend_tile_shape *shape);

#endif
