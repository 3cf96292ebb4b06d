// SPDX-License-Identifier: Apache-2.0
// The cached row: one compressed latent and one rotary key a token, shared by all heads. Formats, byte layout, and
// views of memory that holds rows.
//
// A row is two parts: latent (L elements) then rope (R elements), each padded with unused bytes to a multiple of 4.
// At L 512, R 64: 2304 bytes in f32, 1152 in f16 and bf16.
#ifndef CLMLA_ROWS_H
#define CLMLA_ROWS_H

#include <clmla/opencl.h>
#include <clmla/status.h>
#include <clmla/types.h>

CLMLA_BEGIN

typedef enum clmla_row_format {
    CLMLA_ROWS_F32 = 0,
    CLMLA_ROWS_F16,
    CLMLA_ROWS_BF16,
    CLMLA_ROW_FORMAT_COUNT
} clmla_row_format;

// "f32", "f16", "bf16"; "?" for a number that is none. Threads: any.
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
    uint32_t row_bytes;          // bytes of a row, padding included
} clmla_row_layout;

// Errors: CLMLA_E_ARGUMENT, CLMLA_E_LIMIT. Threads: any.
CLMLA_API clmla_status clmla_row_layout_make(clmla_row_layout *out, clmla_row_format format, clmla_rope_order order,
                                             uint32_t latent_dim, uint32_t rope_dim);

// A view of device memory that holds pages of rows. Slot numbers count rows: slot = page · page_tokens + row in page.
// The byte address of slot's latent part is latent.offset + page · latent_page_stride + row · latent_row_stride, and
// likewise for the rope part; the two may lie in one tensor or in two. Strides are multiples of 4.
typedef struct clmla_rows {
    clmla_row_layout layout;
    uint32_t page_tokens; // rows a page, >= 1
    uint64_t page_count;  // pages there are; page numbers outside are never read or written
    clmla_buffer latent;
    uint64_t latent_row_stride, latent_page_stride; // bytes
    clmla_buffer rope;                              // unused when R = 0
    uint64_t rope_row_stride, rope_page_stride;     // bytes
} clmla_rows;

// The common case: one tensor [page_count][page_tokens][row_bytes] at `memory`.
// Errors: CLMLA_E_ARGUMENT. Threads: any.
CLMLA_API clmla_status clmla_rows_from_tensor(clmla_rows *out, const clmla_row_layout *layout, clmla_buffer memory,
                                              uint32_t page_tokens, uint64_t page_count);

CLMLA_END

#endif
