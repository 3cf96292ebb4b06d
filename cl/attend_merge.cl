// SPDX-License-Identifier: Apache-2.0
// Joins the states of rows whose keys were cut into pieces by their log-sum-exp, applies the sink and writes the
// results, for rows of an item (lib/plan_schedule.h).
//   attend_merge       one work-item a row; the sum grows in the first piece's state
//   attend_merge_wide  for attend_tile: a group a row, whose work-items have 4 columns each at a time
// options: VECTOR_WIDTH (CPU devices: attend_merge) or none
//                                                                                           ref: tests/ref/ref_attend.c
#ifdef VECTOR_WIDTH
#include "common/vector.clh"
#endif
#include "common/result.clh"
#include "common/slice.clh"

#define ITEM_INTS 8

// sums = first_weight * sums + weight * values
static inline void merge_add(__global float *sums, float first_weight, const __global float *values, float weight,
                             int count) {
    int i = 0;
#ifdef VECTOR_WIDTH
    for (; i + VECTOR_WIDTH <= count; i += VECTOR_WIDTH)
        store_floatv(fma(load_floatv(values + i), (floatv)weight, load_floatv(sums + i) * first_weight), sums + i);
#endif
    for (; i < count; i++) sums[i] = fma(values[i], weight, sums[i] * first_weight);
}

// grid: global (most rows of an item, items), local free.
__kernel void attend_merge(const __global int *step, __global float *space, RESULT_ARGUMENTS, attend_call call) {
    int item = get_global_id(1), r = get_global_id(0);
    if (item >= step[call.header + HEADER_ITEMS]) return;
    const __global int *of = step + call.items + (long)item * ITEM_INTS;
    int row_count = of[2], pieces = of[5];
    if (r >= row_count) return;
    int row = of[1] + r;
    long first = (long)of[4] + r;

    float top = -INFINITY, row_max = -INFINITY;
    for (int p = 0; p < pieces; p++) {
        top = fmax(top, space[call.state_lse + first + (long)p * row_count]);
        row_max = fmax(row_max, space[call.state_max + first + (long)p * row_count]);
    }
    __global float *sums = space + call.states + first * call.value_dim;
    float total = 0.0f, kept = 0.0f; // what the sum so far counts; an empty first piece holds zeros
    for (int p = 0; p < pieces; p++) {
        long state = first + (long)p * row_count;
        float piece_lse = space[call.state_lse + state];
        if (piece_lse == -INFINITY) continue; // no key seen: there are no values
        float weight = exp(piece_lse - top);
        if (p == 0)
            kept = weight;
        else {
            merge_add(sums, kept, space + call.states + state * call.value_dim, weight, call.value_dim);
            kept = 1.0f;
        }
        total += weight;
    }
    int seen = total != 0.0f;
    result_write(RESULT_PASS, &call, (long)of[0] + row / call.group_heads,
                 of[3] * call.group_heads + row % call.group_heads, sums, seen ? kept / total : 0.0f,
                 seen ? top + log(total) : -INFINITY, row_max);
}

#ifndef VECTOR_WIDTH

#define WIDE_COLUMNS 4

// grid: global (most rows of an item * group, items), local (group, 1).
__kernel void attend_merge_wide(const __global int *step, __global float *space, RESULT_ARGUMENTS, attend_call call) {
    int item = slice_group(1), r = get_group_id(0), size = get_local_size(0);
    if (item >= step[call.header + HEADER_ITEMS]) return;
    const __global int *of = step + call.items + (long)item * ITEM_INTS;
    int row_count = of[2], pieces = of[5];
    if (r >= row_count) return;
    int row = of[1] + r, head = of[3] * call.group_heads + row % call.group_heads;
    long token = (long)of[0] + row / call.group_heads, first = (long)of[4] + r;

    float top = -INFINITY, row_max = -INFINITY, total = 0.0f;
    for (int p = 0; p < pieces; p++) {
        top = fmax(top, space[call.state_lse + first + (long)p * row_count]);
        row_max = fmax(row_max, space[call.state_max + first + (long)p * row_count]);
    }
    for (int p = 0; p < pieces; p++) {
        float piece_lse = space[call.state_lse + first + (long)p * row_count];
        if (piece_lse != -INFINITY) total += exp(piece_lse - top);
    }
    int seen = total != 0.0f;
    float row_lse = seen ? top + log(total) : -INFINITY;
    float factor = seen ? result_factor(sink, &call, head, 1.0f / total, row_lse) : 0.0f;
    if (get_local_id(0) == 0) result_numbers(lse, max_logit, &call, token, head, row_lse, row_max);
    if (!output) return;
    for (int begin = get_local_id(0); begin < call.value_dim; begin += size * WIDE_COLUMNS) {
        float sums[WIDE_COLUMNS];
#pragma unroll
        for (int i = 0; i < WIDE_COLUMNS; i++) sums[i] = 0.0f;
        for (int p = 0; p < pieces; p++) {
            long state = first + (long)p * row_count;
            float piece_lse = space[call.state_lse + state];
            if (piece_lse == -INFINITY) continue; // no key seen: its zeros add nothing
            float weight = exp(piece_lse - top);
            const __global float *values = space + call.states + state * call.value_dim;
#pragma unroll
            for (int i = 0; i < WIDE_COLUMNS; i++)
                if (begin + i * size < call.value_dim) sums[i] = fma(values[begin + i * size], weight, sums[i]);
        }
        long at = token * call.output_token + head * call.output_head + begin;
#pragma unroll
        for (int i = 0; i < WIDE_COLUMNS; i++)
            if (begin + i * size < call.value_dim)
                number_store(output + call.output, call.output_type, at + i * size, seen ? sums[i] * factor : 0.0f);
    }
}

#endif
