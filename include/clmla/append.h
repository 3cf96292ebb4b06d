// SPDX-License-Identifier: Apache-2.0
// Rows in and out of a paged cache on the caller's own memory: append (vLLM's concat_and_cache_mla, FlashInfer's
// append_paged_mla_kv_cache), gather (gather_and_maybe_dequant_cache), page copies, and conversions between row
// formats. What every operation shares is told in operations.h.
#ifndef CLMLA_APPEND_H
#define CLMLA_APPEND_H

#include <clmla/context.h>
#include <clmla/rows.h>
#include <stdbool.h>

CLMLA_BEGIN

// Which row of a cache each of some tokens stands for. Either slots, or sequences and indices with a page table.
typedef struct clmla_row_places {
    clmla_buffer slots; // [token_count] int64: page · page_tokens + row; a slot that is negative or past the cache's
                        // end is skipped
    // Without slots: row of token t = row indices[t] of sequence sequences[t], found through the page table. A negative
    // sequence or index, and one past the table, is skipped, and so is a page number outside the cache.
    clmla_buffer sequences;     // [token_count] int32
    clmla_buffer indices;       // [token_count] int32
    uint32_t sequence_count;    // with a page table: sequences in it
    clmla_buffer page_table;    // int32 [sequence_count][page_table_stride], or with page_indptr the pages of all
                                // sequences one after the other; none = sequence s is the one page s
    uint64_t page_table_stride; // entries a sequence
    clmla_buffer page_indptr;   // [sequence_count + 1] int32: sequence s has pages page_table[indptr[s] .. indptr[s+1])
    uint64_t page_table_count;  // with page_indptr: entries there are; what indptr says beyond them is skipped
} clmla_row_places;

// --- append: writes rows into a cache ------------------------------------------------------------------------------
// Row t is converted to the rows' format with round to nearest even (scaled formats: value / scale). With a rope table
// the rope part is rotated on the way: pairs are read in input_order and written in the rows' own order; without, it is
// already rotated and in the rows' order. With a latent norm the latent part is normed on the way: value i becomes
// value · latent_norm[i] / sqrt(mean(value²) + latent_norm_epsilon). Two tokens of one call must not share a row. With
// several kv heads each has values of its own, head strides apart. Padding and whatever lies between rows is left as it
// is, but for the padding of quantised parts, which becomes zeros.
//
// fp8 formats: a group's scale is its largest magnitude / 448, at least the least normal f32; with
// power_of_two_scales, and always in fp8_paged, the least power of two that is max(that, 1e-4) or more (FlashMLA's
// writer). e4m3 is rounded to nearest even, subnormals included, and saturates at 448. fp8_flat divides by
// rows.latent_scale and rows.rope_scale; if rows.scales are given it writes them, too: of what the division by
// latent_scale left. NaN stays NaN and counts for no scale; an infinity makes its group read as NaN, without group
// scales it saturates.
//
// Quantised formats (q8, q6, q5, q4): docs/row_formats.md defines every byte, the same on all devices. What shares a
// scale (32 values of q8, else a part) reads as NaN when one of its values is NaN, infinite or 2^120 or more, and as
// zeros when all are below 2^-100.
typedef struct clmla_append_params {
    uint32_t token_count;
    clmla_type input_type;  // of latent and rope: f32 (NONE is read as it), f16 or bf16
    clmla_buffer latent;    // [token_count][latent_stride], L used: after its norm, or before it with latent_norm
    uint64_t latent_stride; // L or more: 0 is not taken for dense
    clmla_buffer rope;      // [token_count][rope_stride], R used
    uint64_t rope_stride;
    uint64_t latent_head_stride, rope_head_stride; // elements; used when rows.kv_head_count > 1
    clmla_buffer latent_norm;                      // [L] f32, for all kv heads; optional
    float latent_norm_epsilon;                     // with latent_norm; 0 or more
    clmla_buffer rope_table;                       // [rope_table_rows][R/2][2] f32 from clmla_rope_table; optional
    uint32_t rope_table_rows;
    clmla_buffer rope_positions; // [token_count] int32 rows of the table (outside: clamped); none = row t for token t
    clmla_rope_order input_order;
    bool power_of_two_scales; // formats with f32 scales: see above
    clmla_row_places places;
    clmla_rows rows;
    const char *variant;
} clmla_append_params;
CLMLA_API clmla_status clmla_append(clmla_context *context, const clmla_append_params *params, cl_command_queue queue,
                                    cl_uint wait_count, const cl_event *wait, cl_event *event);

// --- gather: reads rows back into dense tensors, decoded ------------------------------------------------------------
// output[t] = latent then rope of the row of token t; a skipped one is filled with zeros. What chunked prefill needs
// before it rebuilds keys and values (attend_heads.h).
typedef struct clmla_gather_params {
    uint32_t token_count; // times rows.kv_head_count: below 2^31
    clmla_row_places places;
    clmla_rows rows;
    clmla_type output_type; // f32 (NONE is read as it), f16 or bf16
    clmla_buffer output;    // value d of kv head g of token t at output[t·output_stride + g·output_head_stride + d]
    uint64_t output_stride, output_head_stride; // elements; output_head_stride used when rows.kv_head_count > 1
    // Scaled rows: positions by which each token's rope part is rotated on the way, [T] int32
    // (clmla_cache_sequence_deltas), and what clmla_rope_turns gives, [R/2] uint64. Optional: none.
    clmla_buffer deltas, rope_turns;
    const char *variant;
} clmla_gather_params;
CLMLA_API clmla_status clmla_gather(clmla_context *context, const clmla_gather_params *params, cl_command_queue queue,
                                    cl_uint wait_count, const cl_event *wait, cl_event *event);

// --- copy_pages: copies or re-orders pages, byte for byte ------------------------------------------------------------
// Page pairs[i][1] of `to` becomes what page pairs[i][0] of `from` was before the call. `from` and `to` have one
// layout, page_tokens and kv_head_count; they may be the same cache. No page may be written twice; in one cache a page
// may be read and written only with `scratch`, through which all pages then go: any permutation is possible. Pairs with
// a number outside the caches are skipped. Padding within rows and whatever lies between them is left as it is.
typedef struct clmla_copy_pages_params {
    uint32_t pair_count;
    clmla_buffer pairs; // [pair_count][2] int32: from, to
    clmla_rows from, to;  // page_tokens times kv_head_count: below 2^31
    clmla_buffer scratch; // clmla_copy_pages_scratch bytes; optional
    const char *variant;
} clmla_copy_pages_params;
CLMLA_API clmla_status clmla_copy_pages(clmla_context *context, const clmla_copy_pages_params *params,
                                        cl_command_queue queue, cl_uint wait_count, const cl_event *wait,
                                        cl_event *event);
// Bytes of scratch for pair_count pages of such rows; 0 if it passes 64 bits. Threads: any.
CLMLA_API uint64_t clmla_copy_pages_scratch(const clmla_rows *rows, uint32_t pair_count);

// --- convert_rows: rows of one format become rows of another ---------------------------------------------------------
// The row of `to` that token t stands for in to_places becomes the row of `from` that it stands for in from_places:
// decoded to f32 as gather reads it, then stored as append writes it, scales, rounding and NaN as told there. Any two
// formats, page sizes and ways to lie; L, R and the number of kv heads must be the same. The rope part is brought into
// `to`'s order, and rotated only by from_deltas. Also from a format into itself, which decodes and stores again: for
// the same bytes there is copy_pages.
//
// A token that has no row in either cache is skipped. Two tokens may read one row and must not write one; no row that
// is written may share bytes with one that is read. Padding and whatever lies between rows is left as it is.
// Errors: CLMLA_E_ARGUMENT also when L, R or kv heads differ, or an odd R should change its order.
typedef struct clmla_convert_rows_params {
    uint32_t token_count; // times from.kv_head_count: below 2^31
    clmla_row_places from_places, to_places;
    clmla_rows from, to;
    clmla_buffer from_deltas, rope_turns; // scaled `from`: as deltas and rope_turns of gather; optional
    bool power_of_two_scales;             // formats with f32 scales: as for append
    const char *variant;
} clmla_convert_rows_params;
CLMLA_API clmla_status clmla_convert_rows(clmla_context *context, const clmla_convert_rows_params *params,
                                          cl_command_queue queue, cl_uint wait_count, const cl_event *wait,
                                          cl_event *event);

CLMLA_END

#endif
