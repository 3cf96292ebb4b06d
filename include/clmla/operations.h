// SPDX-License-Identifier: Apache-2.0
// The operations of an MLA decode step, each on the caller's own device memory: what a runtime that owns its weights
// and its cache calls. The layer step (layer.h) is these, in this order:
//
//   project → rms_norm → rope → append → absorb → attend (→ merge) → output
//   and for long prompts, from append on:   gather → project → attend_heads → project
//
// All values are f32 unless a parameter says otherwise, and every product and sum is computed in f32. Strides are in
// elements of the buffer's type and may exceed the width; tokens, heads and states may lie in any order as long as they
// nest and no two of them overlap, and where there is one of a kind its stride is not looked at. A row count of 0 is
// allowed and enqueues a marker alone.
//
// Each parameter struct has `variant` (of attend: the plan's attend_variant): a kernel variant's name from variants.h,
// NULL = the first that accepts the device and shape. One that the device alone speaks against runs if it is named and
// can: products of matrix units then go through OpenCL C, slowly, which is how tests run them. The trailing (queue,
// wait_count, wait, event) follow opencl.h.
//
// Errors of all of them: CLMLA_E_ARGUMENT (a missing or too small buffer with both sizes, a bad stride or count, an
// unknown or refused variant with its reason), CLMLA_E_LIMIT, CLMLA_E_BUILD, CLMLA_E_MEMORY, CLMLA_E_OPENCL. Threads:
// any, with any context; a plan belongs to one thread at a time.
#ifndef CLMLA_OPERATIONS_H
#define CLMLA_OPERATIONS_H

#include <clmla/append.h>
#include <clmla/attend.h>
#include <clmla/attend_heads.h>
#include <clmla/matrix.h>
#include <clmla/plan.h>

CLMLA_BEGIN

// --- project: output[t][r] = Σ_c input[t][c] · matrix[r][c] + bias[r] ---------------------------------------------
typedef struct clmla_project_params {
    clmla_matrix matrix;
    uint32_t row_count; // t
    clmla_buffer input; // [row_count][input_stride], columns used
    uint64_t input_stride;
    clmla_buffer output; // [row_count][output_stride], rows used; must not overlap input
    uint64_t output_stride;
    const char *variant;
} clmla_project_params;
CLMLA_API clmla_status clmla_project(clmla_context *context, const clmla_project_params *params, cl_command_queue queue,
                                     cl_uint wait_count, const cl_event *wait, cl_event *event);

// --- rms_norm: output[t][i] = input[t][i] · weight[i] / sqrt(mean(input[t]²) + epsilon) -----------------------------
// Output may be the input itself (same buffer, offset and stride), else must not overlap it.
typedef struct clmla_rms_norm_params {
    uint32_t row_count, width;
    clmla_buffer input;
    uint64_t input_stride;
    clmla_buffer weight; // [width]
    float epsilon;
    clmla_buffer output;
    uint64_t output_stride;
    const char *variant;
} clmla_rms_norm_params;
CLMLA_API clmla_status clmla_rms_norm(clmla_context *context, const clmla_rms_norm_params *params,
                                      cl_command_queue queue, cl_uint wait_count, const cl_event *wait,
                                      cl_event *event);

// --- rope: rotates R values of each head, pair by pair: (a, b) → (a·cos − b·sin, a·sin + b·cos) ----------
// Reads pairs in input_order and writes them in output_order. Output may be the input itself (same buffer, offset and
// strides), else must not overlap it.
typedef struct clmla_rope_params {
    uint32_t token_count, head_count, rope_dim;
    clmla_buffer input; // value i of head h of token t at input[t·input_token_stride + h·input_head_stride + i]
    uint64_t input_token_stride, input_head_stride;
    clmla_buffer output;
    uint64_t output_token_stride, output_head_stride;
    clmla_buffer table; // [table_rows][R/2][2] f32 from clmla_rope_table
    uint32_t table_rows;
    clmla_buffer positions; // [token_count] int32 rows of the table (outside: clamped); none = row t for token t
    clmla_rope_order input_order, output_order;
    const char *variant;
} clmla_rope_params;
CLMLA_API clmla_status clmla_rope(clmla_context *context, const clmla_rope_params *params, cl_command_queue queue,
                                  cl_uint wait_count, const cl_event *wait, cl_event *event);

// --- absorb: output[t][h][l] = Σ_n query[t][h][n] · W_UK[h][n][l] ---------------------------------------------------
// kv_b is kv_b_proj as stored, [H·(N+V)][L]: for each head N rows of W_UK, then V rows of W_UV.
// With R > 0 the R values behind the N of each head are rotated on the way, as rope does it, and written behind the L:
// the queries that attend takes.
typedef struct clmla_absorb_params {
    uint32_t token_count, head_count;
    uint32_t nope_dim, value_dim; // N, V
    clmla_matrix kv_b;            // rows = H·(N+V), columns = L
    clmla_buffer query; // value n of head h of token t at query[t·query_token_stride + h·query_head_stride + n]
    uint64_t query_token_stride, query_head_stride;
    clmla_buffer output; // must not overlap query
    uint64_t output_token_stride, output_head_stride;
    uint32_t rope_dim;       // R: even; 0 = nothing is rotated, and what follows is not looked at
    clmla_buffer rope_table; // [rope_table_rows][R/2][2] f32 from clmla_rope_table
    uint32_t rope_table_rows;
    clmla_buffer rope_positions; // [token_count] int32 rows of the table (outside: clamped); none = row t for token t
    clmla_rope_order input_order, output_order;
    const char *variant;
} clmla_absorb_params;
CLMLA_API clmla_status clmla_absorb(clmla_context *context, const clmla_absorb_params *params, cl_command_queue queue,
                                    cl_uint wait_count, const cl_event *wait, cl_event *event);

// --- output: heads[t][h] = W_UV[h] · attended[t][h], then output[t] = o_proj · heads[t] ------------------
typedef struct clmla_output_params {
    uint32_t token_count, head_count;
    uint32_t nope_dim, value_dim; // N, V
    clmla_matrix kv_b;            // as in absorb
    clmla_matrix o_proj;          // [hidden][H·V]
    clmla_buffer attended;        // [T][H][L] dense
    clmla_buffer heads;           // [T][H·V] dense: scratch the caller provides, readable afterwards
    clmla_buffer output;          // [T][output_stride], hidden used
    uint64_t output_stride;
    const char *variant;         // of the W_UV product
    const char *project_variant; // of the product with o_proj
} clmla_output_params;
CLMLA_API clmla_status clmla_output(clmla_context *context, const clmla_output_params *params, cl_command_queue queue,
                                    cl_uint wait_count, const cl_event *wait, cl_event *event);

CLMLA_END

#endif
