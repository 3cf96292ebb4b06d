// SPDX-License-Identifier: Apache-2.0
// The numbers of an attend call, as kernel arguments passed by value. One text for host and device: the host fills what
// the device reads. 64-bit members first, so that both lay it out alike; members of 4 bytes come in pairs.
#ifndef ATTEND_CALL_H
#define ATTEND_CALL_H

#include "row_call.h"

// Places in the header of the plan's step: counts a kernel stops at, as a plan with a capacity launches more.
#define HEADER_PARTS 0
#define HEADER_ITEMS 2
#define HEADER_TILES 3
#define HEADER_TOKENS 4

typedef struct attend_call {
    // Offsets in bytes, strides in elements of the type named below. query_rope: the R rotated values of each head.
    call_long query, query_token, query_head, query_rope, query_rope_token, query_rope_head;
    call_long output, output_token, output_head;
    // Offsets in elements of 4 bytes, in buffers of their own ...
    call_long lse, max_logit, lse_token, lse_head, sink;
    call_long table, table_stride, table_count, indptr, page_rows, page_deltas;
    call_long turns; // of 8 bytes
    // ... in the plan's step (lib/plan_schedule.h) ...
    call_long header, parts, works, items, tiles;
    // ... and in its workspace.
    call_long packed, sums, states, state_lse, state_max;
    call_long window;
    call_int query_type, output_type;                   // as clmla_type counts them; NUMBER_F32 ... in number.clh
    call_int latent_dim, rope_dim, value_dim, sum_rows; // sum_rows = rows of sums each part has
    call_int head_count, group_heads;                   // group_heads = query heads of one kv head
    call_int full, rank, world, interleave;
    call_int lse_base2;
    call_int units; // compute units that parts are shared out to (part_of_group)
    call_float scale, softcap;
} attend_call;

// Sparse attention: where the lists of two scopes lie, in elements of 4 bytes. A scope that is not there has
// index_count 0.
typedef struct attend_lists {
    call_long indices[2], counts[2], stride[2];
    call_int index_count[2];
} attend_lists;

// kv_b for queries that are absorbed on the way: elements, as the matrix arguments of the absorb kernels.
typedef struct absorb_call {
    call_long weights, row_stride, scales;
    call_int scale_stride, scale_row;
    call_int nope_dim, value_dim;
} absorb_call;

#endif
