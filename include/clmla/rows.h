// SPDX-License-Identifier: Apache-2.0
// The cached row: one compressed latent and one rotary key a token, shared by all heads. Formats, byte layout, and
// views of memory that holds rows.
//
// A row has a latent part (L elements), a rope part (R elements) and, in scaled formats, scales. Each part begins at a
// multiple of 4 bytes and is padded with unused bytes to one. Bytes of a row at L 512, R 64:
//
//   f32       2304   latent, rope
//   f16 bf16  1152   latent, rope
//   fp8        656   latent e4m3; ceil(L/128) f32 scales, one for 128 values; rope bf16. FlashMLA's V3.2 row, vLLM's
//                    "fp8_ds_mla". Any f32 scale is read
//   fp8_flat   576   latent and rope e4m3, one factor each for the whole tensor, given beside it. vLLM's "fp8_e4m3"
//   fp8_paged  648   latent e4m3, rope bf16; after all rows of a page their scales: a byte of 2^(code-127) for 64
//                    latent values, padded to 8 bytes a row; the page padded to a multiple of a row's bytes. FlashMLA's
//                    DeepSeek-V4 page: there 584 bytes at L 448, R 64, and values take the rope part in
//   q8         612   int8, a bf16 scale for 32 values
//   q6         468   latent about 6 bits a value, rope about 7
//   q5         432   latent about 5.5 bits, rope about 7
//   q4         340   latent about 4 bits, rope about 7. The bytes of q8 to q4 are told in docs/row_formats.md: each
//                    part keeps its own scales, so the two may lie in two tensors and there is no third part
//
// 656 and 576 exclude each other although both are called "the fp8 MLA cache".
#ifndef CLMLA_ROWS_H
#define CLMLA_ROWS_H

#include <clmla/opencl.h>
#include <clmla/status.h>
#include <clmla/types.h>
#include <stdbool.h>

CLMLA_BEGIN

typedef enum clmla_row_format {
    CLMLA_ROWS_F32 = 0,
    CLMLA_ROWS_F16,
    CLMLA_ROWS_BF16,
    CLMLA_ROWS_FP8,
    CLMLA_ROWS_FP8_FLAT,
    CLMLA_ROWS_FP8_PAGED,
    CLMLA_ROWS_Q8,
    CLMLA_ROWS_Q6,
    CLMLA_ROWS_Q5,
    CLMLA_ROWS_Q4,
    CLMLA_ROW_FORMAT_COUNT
} clmla_row_format;

// "f32", "f16", "bf16", "fp8", "fp8_flat", "fp8_paged", "q8", "q6", "q5", "q4"; "?" for a number that is none.
// Threads: any.
CLMLA_API const char *clmla_row_format_name(clmla_row_format format);
// The format of a name. Errors: CLMLA_E_ARGUMENT, listing the names. Threads: any.
CLMLA_API clmla_status clmla_row_format_parse(clmla_row_format *out, const char *name);

// What one row looks like. Filled by clmla_row_layout_make.
typedef struct clmla_row_layout {
    clmla_row_format format;
    clmla_rope_order rope_order; // the order the rope part is kept in: part of the format
    uint32_t latent_dim;         // L
    uint32_t rope_dim;           // R
    uint32_t rope_offset;        // bytes from the row's start to its rope part
    uint32_t row_bytes;          // bytes of a row, padding included; without scales that lie apart
    uint32_t scale_group;        // latent values that share a scale outside the latent part; 0 = there are none
    uint32_t scale_row_bytes;    // bytes of one row's scales, padding included
    uint32_t scale_offset;       // bytes from the row's start to its scales, unless they lie apart
    bool scales_apart;           // scales of a page stand together after its rows
} clmla_row_layout;

// Errors: CLMLA_E_ARGUMENT, CLMLA_E_LIMIT. Threads: any.
CLMLA_API clmla_status clmla_row_layout_make(clmla_row_layout *out, clmla_row_format format, clmla_rope_order order,
                                             uint32_t latent_dim, uint32_t rope_dim);

// Bytes of a page of page_tokens rows, scales and padding included; 0 if it passes 64 bits, or without a layout.
// Threads: any.
CLMLA_API uint64_t clmla_row_layout_page_bytes(const clmla_row_layout *layout, uint32_t page_tokens);

// A view of device memory that holds pages of rows. Slot numbers count rows: slot = page · page_tokens + row in page.
// The byte address of slot's latent part for kv head g is latent.offset + page · latent_page_stride + row ·
// latent_row_stride + g · latent_head_stride, and likewise for the rope part and the scales; they may lie in one tensor
// or in several. Strides and offsets are multiples of 4 and below 2^63.
typedef struct clmla_rows {
    clmla_row_layout layout;
    uint32_t page_tokens; // rows a page, >= 1
    uint64_t page_count;  // pages there are; page numbers outside are never read or written
    clmla_buffer latent;
    uint64_t latent_row_stride, latent_page_stride; // bytes
    clmla_buffer rope;                              // unused when R = 0
    uint64_t rope_row_stride, rope_page_stride;     // bytes
    // fp8 and fp8_paged: where a row's scales are. fp8_flat: optional f32 scales, one for 128 latent values.
    clmla_buffer scales;
    uint64_t scale_row_stride, scale_page_stride; // bytes
    float latent_scale, rope_scale;               // fp8_flat: value = e4m3 · factor; 0 = 1
    uint32_t kv_head_count;                       // 0 = 1. MLA has one; several are for models that keep a few latents
    uint64_t latent_head_stride, rope_head_stride, scale_head_stride; // bytes from a kv head's part to the next one's
} clmla_rows;

// The common case: one tensor [page_count][page_tokens][row_bytes] (scales that lie apart at each page's end) at
// `memory`. Errors: CLMLA_E_ARGUMENT. Threads: any.
CLMLA_API clmla_status clmla_rows_from_tensor(clmla_rows *out, const clmla_row_layout *layout, clmla_buffer memory,
                                              uint32_t page_tokens, uint64_t page_count);

CLMLA_END

#endif
