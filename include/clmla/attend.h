// SPDX-License-Identifier: Apache-2.0
// Absorbed attention over cached rows, dense or sparse, and the merge of partial results: the calls that stand where
// FlashMLA's flash_mla_with_kvcache, FlashInfer's BatchMLAPagedAttentionWrapper and merge_state stand. Strides are in
// elements of the buffer's type. What every operation shares is told in operations.h.
#ifndef CLMLA_ATTEND_H
#define CLMLA_ATTEND_H

#include <clmla/matrix.h>
#include <clmla/plan.h>

CLMLA_BEGIN

// The base of a log-sum-exp: lse = ln Σ exp(s), or log2 of the same sum. FlashMLA and vLLM use the first, FlashInfer
// the second; a state of one base merged as the other is wrong without a sign of it.
typedef enum clmla_lse_base { CLMLA_LSE_NATURAL = 0, CLMLA_LSE_BASE2 } clmla_lse_base;

// Sparse attention: the keys of each query token are a list of slots, as an indexer (DeepSeek Sparse Attention) gives
// them. A slot that is negative or >= page_count · page_tokens is skipped; one that stands twice counts twice.
// Rows of a cache's shifted sequences are read as they lie: scopes know of no deltas.
typedef struct clmla_attend_scope {
    clmla_rows rows;      // its layout's format and widths are the plan's
    clmla_buffer indices; // [T][index_stride] int32, index_count used
    uint64_t index_stride;
    uint32_t index_count;
    clmla_buffer counts; // [T] int32: of each token's list only the first so many are read; optional
} clmla_attend_scope;

// Queries that are not absorbed yet: attend then takes q_nope [N] where it would take L values a head, and multiplies
// it with W_UK on the way.
typedef struct clmla_attend_absorb {
    clmla_matrix kv_b;            // [H·(N+V)][L], as in clmla_absorb_params
    uint32_t nope_dim, value_dim; // N, V
} clmla_attend_absorb;

// --- attend --------------------------------------------------------------------------------------------------------
// For each query token i (of s_q) of a sequence with s_k keys, and each head:
//   s_j = cap( softmax_scale · ( q_lat · latent_j + q_pe · k_pe_j ) ),  cap(s) = softcap · tanh(s / softcap), or s
//   p = softmax over the keys the plan's mask lets i see;  output = Σ p_j · row_j[0 .. V),  lse = ln Σ exp(s_j)
//   with a sink: output · sigmoid(lse − sink[h]); lse unchanged
// A token that sees no key gets output 0, lse −infinity and max_logit −infinity. Rows past a sequence's length, unused
// table entries, pages outside the cache and whatever they hold never influence a result; a page number outside is read
// as no keys. Runs the schedule of `plan`, whose head count, widths and format must be those of the parameters.
typedef struct clmla_attend_params {
    // Queries: L absorbed values, then R rotated ones in the rows' order, value d of head h of token t at
    // query[t·query_token_stride + h·query_head_stride + d]. The rotated ones may lie in a tensor of their own.
    clmla_type query_type; // CLMLA_TYPE_F32 (NONE is read as it), _F16 or _BF16
    clmla_buffer query;
    uint64_t query_token_stride, query_head_stride; // both 0 = dense; so for query_rope
    clmla_buffer query_rope;                        // optional
    uint64_t query_rope_token_stride, query_rope_head_stride;
    const clmla_attend_absorb *absorb; // NULL = queries are absorbed already

    // Keys of dense attention: rows and how a sequence's pages are found in them.
    clmla_rows rows;
    clmla_buffer page_table;    // int32 [sequence_count][page_table_stride], or with page_indptr the pages of all
                                // sequences one after the other; none = sequence s has the one page s. After
                                // clmla_plan_update there must be none, nor what lies beside its entries: the plan
                                // has the pages from the cache
    uint64_t page_table_stride; // entries a sequence, at least the pages of the longest
    clmla_buffer page_indptr;   // [sequence_count + 1] int32: sequence s has pages page_table[indptr[s] .. indptr[s+1])
    uint64_t page_table_count;  // needed with page_indptr: entries there are; what indptr says beyond them is no page
    clmla_buffer page_rows; // int32 beside each entry of page_table: rows of the page that are keys, counted from its
                            // first; keys in a page past them are not there. Optional: all are
    // Scaled rows whose positions were shifted keep their codes: int32 beside each entry of page_table, the positions
    // by which the rope parts of that page's rows are still to be rotated; and what clmla_rope_turns gives, uint64
    // [R/2]. Optional: none. Plain rows (f32, f16, bf16) take no deltas.
    clmla_buffer page_deltas, rope_turns;

    // Keys of sparse attention, instead of rows and page table: one or two scopes under one softmax. The plan was
    // updated with a sequence for each query token, whose keys are the scopes' index_counts together, and made with
    // clmla_plan_params.lists where variants must be proven (clmla_proof, context.h). Neither a page table nor what
    // lies beside its entries may be given then.
    const clmla_attend_scope *scopes;
    uint32_t scope_count;

    float softmax_scale; // clmla_config_values.softmax_scale; must be > 0
    float softcap;       // 0 = none
    clmla_buffer sink;   // [H] f32, natural logarithm; optional. +infinity gives output 0, −infinity changes nothing

    // Each of the three is optional; at least one must be given.
    clmla_type output_type; // CLMLA_TYPE_F32 (NONE is read as it), _F16 or _BF16, rounded to nearest even
    clmla_buffer output; // value d of head h of token t at output[t·output_token_stride + h·output_head_stride + d]
    uint64_t output_token_stride, output_head_stride; // both 0 = dense [T][H][V]
    clmla_lse_base lse_base;
    clmla_buffer lse;                           // f32
    uint64_t lse_token_stride, lse_head_stride; // of lse and max_logit; both 0 = dense [T][H]
    clmla_buffer max_logit;                     // f32: the largest s_j
} clmla_attend_params;
CLMLA_API clmla_status clmla_attend(clmla_plan *plan, const clmla_attend_params *params, cl_command_queue queue,
                                    cl_uint wait_count, const cl_event *wait, cl_event *event);

// --- merge: joins attention over parts of the keys ------------------------------------------------------------------
// For token t and head h over states s: m = max lse, w_s = exp(lse_s − m), output = Σ w_s·state_s / Σ w_s, output_lse =
// m + ln Σ w_s, in the base given. lse of −infinity or +infinity marks an empty state, whose values are not read. All
// empty: output 0, lse −infinity. A NaN lse is no mark: it shows. Cascade attention, context parallelism and chunked
// prefill join their parts with it.
typedef struct clmla_merge_params {
    uint32_t state_count; // n >= 1
    uint32_t token_count, head_count, width;
    clmla_type type;         // of states and output: f32 (NONE is read as it), f16 or bf16; lse is f32 always
    clmla_lse_base lse_base; // of all states and of output_lse
    clmla_buffer states;     // value d at states[s·state_stride + t·token_stride + h·head_stride + d]
    uint64_t state_stride, token_stride, head_stride;             // all 0 = dense [n][T][H][width]
    clmla_buffer lse;                                             // f32
    uint64_t lse_state_stride, lse_token_stride, lse_head_stride; // all 0 = dense [n][T][H]
    clmla_buffer mask;   // [T] uint8: a token whose byte is 0 is left as it is in output and output_lse; optional
    clmla_buffer output; // may be the first state itself (in place: same strides), else must not overlap the states
    uint64_t output_token_stride, output_head_stride;         // both 0 = dense [T][H][width]
    clmla_buffer output_lse;                                  // optional; may be the first state's lse
    uint64_t output_lse_token_stride, output_lse_head_stride; // both 0 = dense [T][H]
    const char *variant;
} clmla_merge_params;
CLMLA_API clmla_status clmla_merge(clmla_context *context, const clmla_merge_params *params, cl_command_queue queue,
                                   cl_uint wait_count, const cl_event *wait, cl_event *event);

// Two states in two places, for instance prefix and suffix: merge with n = 2. In place: output = a, output_lse = a_lse.
typedef struct clmla_merge_pair_params {
    uint32_t token_count, head_count, width;
    clmla_type type;
    clmla_lse_base lse_base;
    clmla_buffer a, a_lse, b, b_lse; // dense [T][H][width] and [T][H]
    clmla_buffer mask;               // as above
    clmla_buffer output, output_lse; // dense; output_lse optional
    const char *variant;
} clmla_merge_pair_params;
CLMLA_API clmla_status clmla_merge_pair(clmla_context *context, const clmla_merge_pair_params *params,
                                        cl_command_queue queue, cl_uint wait_count, const cl_event *wait,
                                        cl_event *event);

CLMLA_END

#endif
