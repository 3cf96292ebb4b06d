// SPDX-License-Identifier: Apache-2.0
// The operations of an MLA decode step, each on the caller's own device memory: what a runtime that owns its weights
// and its cache calls. The layer step (layer.h) is these, in this order:
//
//   project → rms_norm → rope → append → absorb → attend (→ merge) → output
//
// All values are f32 unless a parameter says otherwise; strides are in elements of the buffer's type and may exceed the
// width; every product and sum is computed in f32. A row count of 0 is allowed and enqueues a marker alone. Each
// parameter struct has `variant`: a kernel variant's name from variants.h, NULL = the first that accepts the device and
// shape. The trailing (queue, wait_count, wait, event) follow opencl.h.
//
// Errors of all of them: CLMLA_E_ARGUMENT (a missing or too small buffer with both sizes, a bad stride or count, an
// unknown or refused variant with its reason), CLMLA_E_LIMIT, CLMLA_E_BUILD, CLMLA_E_MEMORY, CLMLA_E_OPENCL. Threads:
// any, with any context; a plan belongs to one thread at a time.
#ifndef CLMLA_OPERATIONS_H
#define CLMLA_OPERATIONS_H

#include <clmla/plan.h>

CLMLA_BEGIN

// A weight matrix [rows][columns] as a checkpoint stores it (rows = outputs), or a window of one.
typedef struct clmla_matrix {
    clmla_type type; // f32, f16, bf16 or f8_e4m3
    uint32_t rows, columns;
    uint64_t row_stride; // elements, >= columns
    clmla_buffer values;
    // fp8 alone: value(r, c) = e4m3 · scales[(scale_row + r) / 128][(scale_column + c) / 128], f32. The two origins
    // place a window in the grid of blocks of the whole matrix.
    clmla_buffer scales;
    uint32_t scale_stride; // scales a row of blocks
    uint32_t scale_row, scale_column;
    clmla_buffer bias; // [rows] f32; optional
} clmla_matrix;

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

// --- rope: rotates R values of each head; (a, b) → (a·cos − b·sin, a·sin + b·cos) for each pair
// ----------------------- Reads pairs in input_order and writes them in output_order. Output may be the input itself.
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

// --- append: writes rows into a cache ------------------------------------------------------------------------------
// Row t goes to slot slots[t], converted to the rows' format with round to nearest even; a slot that is negative or
// >= page_count · page_tokens is skipped. Two tokens of one call must not share a slot.
typedef struct clmla_append_params {
    uint32_t token_count;
    clmla_buffer latent; // [token_count][latent_stride], L used: after its norm
    uint64_t latent_stride;
    clmla_buffer rope; // [token_count][rope_stride], R used: rotated, in the rows' order
    uint64_t rope_stride;
    clmla_buffer slots; // [token_count] int64
    clmla_rows rows;
    const char *variant;
} clmla_append_params;
CLMLA_API clmla_status clmla_append(clmla_context *context, const clmla_append_params *params, cl_command_queue queue,
                                    cl_uint wait_count, const cl_event *wait, cl_event *event);

// --- absorb: output[t][h][l] = Σ_n query[t][h][n] · W_UK[h][n][l] ---------------------------------------------------
// kv_b is kv_b_proj as stored, [H·(N+V)][L]: for each head N rows of W_UK, then V rows of W_UV.
typedef struct clmla_absorb_params {
    uint32_t token_count, head_count;
    uint32_t nope_dim, value_dim; // N, V
    clmla_matrix kv_b;            // rows = H·(N+V), columns = L
    clmla_buffer query; // value n of head h of token t at query[t·query_token_stride + h·query_head_stride + n]
    uint64_t query_token_stride, query_head_stride;
    clmla_buffer output;
    uint64_t output_token_stride, output_head_stride;
    const char *variant;
} clmla_absorb_params;
CLMLA_API clmla_status clmla_absorb(clmla_context *context, const clmla_absorb_params *params, cl_command_queue queue,
                                    cl_uint wait_count, const cl_event *wait, cl_event *event);

// --- attend: absorbed attention over cached rows ------------------------------------------------------------------
// For each query token i (of s_q) of a sequence with s_k keys, and each head:
//   s_j = softmax_scale · ( q_lat · latent_j + q_pe · k_pe_j ),  j visible when j <= s_k − s_q + i, or all when `full`
//   output = Σ softmax(s)_j · latent_j,  lse = ln Σ exp(s_j)
// A token that sees no key gets output 0 and lse −infinity. Rows past a sequence's length, unused table entries and
// pages outside the cache never influence a result, whatever they hold; a page number outside is read as no keys.
// Runs the schedule of `plan`, whose head count, widths and format must be those of the parameters.
typedef struct clmla_attend_params {
    clmla_buffer query; // [T][H][query_head_stride]: L absorbed values, then R rotated ones in the rows' order
    uint64_t query_token_stride, query_head_stride;
    clmla_rows rows;
    clmla_buffer page_table; // [sequence_count][page_table_stride] int32; none = sequence s has the one page s, or,
                             // after clmla_plan_update, the pages the plan took from the cache
    uint64_t page_table_stride; // entries a sequence
    float softmax_scale;        // clmla_config_values.softmax_scale; must be > 0
    bool full;                  // every query sees every key
    clmla_buffer output;        // [T][H][L] f32, dense
    clmla_buffer lse;           // [T][H] f32, natural logarithm; optional
} clmla_attend_params;
CLMLA_API clmla_status clmla_attend(clmla_plan *plan, const clmla_attend_params *params, cl_command_queue queue,
                                    cl_uint wait_count, const cl_event *wait, cl_event *event);

// --- merge: joins attention over parts of the keys ------------------------------------------------------------------
// For row r: m = max_s lse[s][r], w_s = exp(lse[s][r] − m), output[r] = Σ w_s·states[s][r] / Σ w_s, lse_out = m + ln Σ
// w_s. lse of −infinity or +infinity marks an empty state, whose values are not read. All empty: output 0, lse
// −infinity.
typedef struct clmla_merge_params {
    uint32_t state_count;    // s
    uint32_t row_count;      // r, for instance T·H
    uint32_t width;          // L
    clmla_buffer states;     // [state_count][row_count][width]
    clmla_buffer lse;        // [state_count][row_count], natural logarithm
    clmla_buffer output;     // [row_count][width]; must not overlap states
    clmla_buffer output_lse; // [row_count]; optional
    const char *variant;
} clmla_merge_params;
CLMLA_API clmla_status clmla_merge(clmla_context *context, const clmla_merge_params *params, cl_command_queue queue,
                                   cl_uint wait_count, const cl_event *wait, cl_event *event);

// --- output: heads[t][h] = W_UV[h] · attended[t][h], then output[t] = o_proj · heads[t]
// --------------------------------
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
