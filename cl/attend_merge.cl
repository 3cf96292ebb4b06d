// SPDX-License-Identifier: Apache-2.0
// attend_merge: joins the states of rows whose keys were cut into pieces by their log-sum-exp, applies the sink and writes the
// results. One work-item a row of an item (lib/plan_schedule.h); the sum grows in the first piece's state.
// grid: global (most rows of an item, items), local free.   options: VECTOR_WIDTH (CPU devices) or none
//                                                                                               ref: tests/ref/ref_attend.c
#ifdef VECTOR_WIDTH
#include "common/vector.clh"
#endif
#include "common/result.clh"

#define ITEM_INTS 8

// sums = first_weight * sums + weight * values
static inline void merge_add(__global float *sums, float first_weight, const __global float *values, float weight, int count) {
    int i = 0;
#ifdef VECTOR_WIDTH
    for (; i + VECTOR_WIDTH <= count; i += VECTOR_WIDTH)
        store_floatv(fma(load_floatv(values + i), (floatv)weight, load_floatv(sums + i) * first_weight), sums + i);
#endif
    for (; i < count; i++) sums[i] = fma(values[i], weight, sums[i] * first_weight);
}

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
    result_write(RESULT_PASS, &call, (long)of[0] + row / call.group_heads, of[3] * call.group_heads + row % call.group_heads, sums,
                 seen ? kept / total : 0.0f, seen ? top + log(total) : -INFINITY, row_max);
}
