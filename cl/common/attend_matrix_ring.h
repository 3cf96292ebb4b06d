// SPDX-License-Identifier: Apache-2.0
// How attend_matrix_ring divides its work, in terms of the numbers it is built with: one text for the kernel and for
// the host (lib/attend_matrix_ring.c), which has to know beforehand what that takes.
//   key_tile   keys at a time, 16 or 32           stages    blocks of so many keys that are in local memory or on their
//              way, 2 to 4
//   width      values of a row, a multiple of 64
#ifndef CL_COMMON_ATTEND_MATRIX_RING_H
#define CL_COMMON_ATTEND_MATRIX_RING_H

#define RING_GROUP 256
#define RING_WAVES (RING_GROUP / 32)
#define RING_ROWS 32 // of a product: rows of a tile, in exact compute two parts of half as many

// Scores: waves divide the keys into runs, and the width into shares.
#define RING_KEY_RUNS 2
#define RING_SHARES (RING_WAVES / RING_KEY_RUNS)
#define RING_WIDTH_UNIT (16 * RING_SHARES) // what a row's width is a multiple of
#define RING_VALUE_UNIT (16 * RING_WAVES)  // and that of its values

// Partial scores that a wave gives to others, in floats of a work-item for each; weights then lie in the same place.
#define RING_KEPT(key_tile) ((key_tile) / 8)
#define RING_EXCHANGE_FLOATS(key_tile) (RING_GROUP * (RING_SHARES - 1) * RING_KEPT(key_tile))

#define RING_FACT_SLOTS 8     // more than stages: keys are placed a block before they are staged
#define RING_OTHER_BYTES 4608 // at most: of rows, keys and the work

#define RING_LOCAL_BYTES(key_tile, stages, width)                                                                      \
    ((stages) * (key_tile) * (width)*2 + RING_EXCHANGE_FLOATS(key_tile) * 4 + RING_OTHER_BYTES)

#endif
