// SPDX-License-Identifier: Apache-2.0
// append_group: as append_naive; a group takes a row, whose values it makes in local memory and then stores together
// (common/row_store_group.clh). For GPUs.                                                   ref: tests/ref/ref_append.c
// The sum of the norm is made in another order than elsewhere: values, not the bytes made of them, may differ in their
// last bits. Groups behind the rows norm what is normed beside.
// local memory: values, ROW_GROUP_WORDS words.   grid: global (GROUP * (kv_head_count + (something is normed
// beside)) * token_count), local (GROUP)
// options: ROWS_*, STORE_GROUP, GROUP, SUB_GROUP
#include "common/group.clh"
#include "common/append.clh"
#include "common/row_store_group.clh"

// Both parts' values as they are cached, in f32; or, if there is a row `beside`, that row normed instead. space: GROUP
// words.
static inline void append_group_load(__local float *latent_values, __local float *rope_values, __local float *space,
                                     const append_latent *of, const __global uchar *rope, const __global float *table,
                                     const __global int *positions, __global float *beside,
                                     const __global float *beside_weight, append_call call, int token, int kv_head) {
    float sum = 0.0f;
    long from = token * call.rope_stride + kv_head * call.rope_head_stride;
    GROUP_EACH(i, of->width) {
        float x = number_load(of->input, of->type, of->from + i);
        latent_values[i] = x;
        sum = fma(x, x, sum);
    }
    if (beside) GROUP_EACH(i, call.normed_width) sum = fma(beside[i], beside[i], sum);
    int width = beside ? call.normed_width : of->width;
    float epsilon = beside ? call.normed_epsilon : call.norm_epsilon;
    // Whether there is a norm or not: behind a barrier under a condition PoCL's work-items part ways.
    float factor = 1.0f / sqrt(group_sum(sum, space) / (float)width + epsilon);
    if (beside) GROUP_EACH(i, width) beside[i] = beside[i] * factor * beside_weight[i];
    if (of->norm) GROUP_EACH(i, of->width) latent_values[i] = latent_values[i] * factor * of->norm[i];
    if (table) {
        long position = positions ? clamp(positions[call.positions + token], 0, call.table_rows - 1) : token;
        const __global float *angles = table + call.table + position * call.rope_dim;
        GROUP_EACH(i, call.rope_dim) rope_values[i] = append_rotated(rope + call.rope, angles, call, from, i);
    } else {
        GROUP_EACH(i, call.rope_dim) rope_values[i] = number_load(rope + call.rope, call.type, from + i);
    }
}

SUB_GROUP_WIDTH __kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void append_group(APPEND_ARGUMENTS,
                                                                                              __local float *values) {
    long row = get_group_id(0), past = row - (long)call.token_count * call.kv_head_count;
    int token = past < 0 ? row / call.kv_head_count : past, kv_head = row % call.kv_head_count;
    __global float *beside = past < 0 ? 0 : normed + call.normed + token * call.normed_stride;
    row_place place = PLACE_OF(token, rows_call.page_tokens, rows_call.page_count);
    row_store_memory memory = ROW_STORE_MEMORY(rows);
    row_store at;
    row_store_at(&at, &memory, max(place.page, 0L), place.row, kv_head, call.power_of_two);
    // No barrier may stand under a condition: what has no row is a row of no values.
    if (place.page < 0 || beside) call.latent_dim = call.rope_dim = at.latent_dim = at.rope_dim = 0;
    __local float *rope_values = values + call.latent_dim, *work = rope_values + call.rope_dim;
    append_latent of;
    append_latent_find(&of, latent, norm, &call, token, kv_head);
    append_group_load(values, rope_values, work, &of, rope, table, positions, beside,
                      normed_weight + call.normed_weight, call, token, kv_head);
    barrier(CLK_LOCAL_MEM_FENCE);
    row_store_group(&at, values, rope_values, (__local uint *)work);
}
