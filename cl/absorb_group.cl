// SPDX-License-Identifier: Apache-2.0
// absorb_group: as absorb_naive; a group takes 64 columns of a head by up to 8 tokens (common/absorb_group.clh). For
// GPUs: a head's weights are read once for every 8 tokens. A kernel for each number of tokens, so that fewer take fewer
// registers. With something to rotate, the groups behind the last head do that: one place for it, whose values the
// others do not keep.
//                                                                               ref: tests/ref/ref_absorb.c, ref_rope.c
// token_blocks: groups that take the same weights, ceil(token_count / tokens), one after the other.
// local memory: ABSORB_SPACE * 4 bytes = 8.5 KiB at groups of 128
// grid: global (GROUP * token_blocks * ceil(columns / STRIP), head_count + (R > 0)), local (GROUP, 1).
// options: ELEMENT_*, GROUP, SUB_GROUP
#include "common/group.clh"
#include "common/element.clh"
#include "common/scale.clh"
#include "common/eight.clh"
#include "common/absorb_group.clh"
#include "common/rotation.clh"

// All that is rotated, by the groups behind the last head.
static inline void absorb_group_rotate(const __global float *in, long in_token_stride, long in_head_stride,
                                       __global float *out, long out_token_stride, long out_head_stride, int head_count,
                                       int token_count, ROTATION_ARGUMENTS) {
    int per_token = head_count * rotation.width;
    long count = (long)token_count * per_token;
    for (long i = get_global_id(0); i < count; i += get_global_size(0)) {
        int token = i / per_token, of_token = i % per_token, head = of_token / rotation.width,
            value = of_token % rotation.width;
        out[token * out_token_stride + head * out_head_stride + value] =
            rotation_value(in + token * in_token_stride + head * in_head_stride,
                           rotation_angles(table, positions, rotation, token), &rotation, value);
    }
}

#define ABSORB_ARGUMENTS                                                                                               \
    const __global element_t *weights, long weights_offset, long row_stride, int nope_dim, int value_dim, int columns, \
        const __global float *scales, long scales_offset, int scale_stride, int scale_row, int scale_column,           \
        const __global float *query, long query_offset, long query_token_stride, long query_head_stride,               \
        __global float *output, long output_offset, long output_token_stride, long output_head_stride, int head_count, \
        int token_count, ROTATION_ARGUMENTS, int token_blocks
#define TAKE(tokens)                                                                                                   \
    __local float space[ABSORB_SPACE];                                                                                 \
    if ((int)get_group_id(1) == head_count)                                                                            \
        absorb_group_rotate(query + query_offset + nope_dim, query_token_stride, query_head_stride,                    \
                            output + output_offset + columns, output_token_stride, output_head_stride, head_count,     \
                            token_count, table, positions, rotation);                                                  \
    int head = get_group_id(1), token = (int)get_group_id(0) % token_blocks * (tokens);                                \
    absorb_group g;                                                                                                    \
    g.first_row = head * (nope_dim + value_dim);                                                                       \
    g.weights = weights + weights_offset + g.first_row * row_stride;                                                   \
    g.row_stride = row_stride;                                                                                         \
    g.query = query + query_offset + token * query_token_stride + head * query_head_stride;                            \
    g.query_stride = query_token_stride;                                                                               \
    g.output = output + output_offset + token * output_token_stride + head * output_head_stride;                       \
    g.output_stride = output_token_stride;                                                                             \
    g.nope_dim = nope_dim;                                                                                             \
    g.columns = head < head_count ? columns : 0; /* of those groups none: no barrier may stand under a condition */    \
    g.token_count = token_count - token;                                                                               \
    g.grid = scale_grid_make(scales, scales_offset, scale_stride, scale_row, scale_column);                            \
    absorb_group_compute(tokens, &g, get_group_id(0) / token_blocks * STRIP, space)

SUB_GROUP_WIDTH __kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void absorb_group_1(ABSORB_ARGUMENTS) {
    TAKE(1);
}

SUB_GROUP_WIDTH __kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void absorb_group_2(ABSORB_ARGUMENTS) {
    TAKE(2);
}

SUB_GROUP_WIDTH __kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void absorb_group_4(ABSORB_ARGUMENTS) {
    TAKE(4);
}

SUB_GROUP_WIDTH __kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void absorb_group_8(ABSORB_ARGUMENTS) {
    TAKE(8);
}
