// SPDX-License-Identifier: Apache-2.0
// What the three forms of MLA are given: the same rows, weights and queries, and what must come out.
#ifndef TOOLS_COMPARE_DATA_H
#define TOOLS_COMPARE_DATA_H

#include "compare.h"
#include "compare_values.h"

struct latent_data {
    const compare_task *task;
    float softmax_scale;
    float *rows;        // [tokens][L + R], not rounded to any format
    compare_block kv_b; // [H * (N + V)][L], repeated; exact in f16
    float *query;       // [H][N + R]: as the query projection gives it, rotated
    float *absorbed;    // [H][L + R]: the same in latent space
    double *attended;   // [H][L]: expected of absorbed attention; NULL when the task asks for no cos_diff
    double *heads;      // [H][V]: the same through W_UV
};

static inline uint32_t compare_row_width(const compare_shape *shape) {
    return shape->latent_dim + shape->rope_dim;
}

// Writes all rows into a cache; token j goes to slots[j].
bool compare_append(const latent_data *data, const clmla_rows *rows, cl_mem slots, failure *failure);

#endif
