// SPDX-License-Identifier: Apache-2.0
// Checks of row views, shared by the operations that take one.
#ifndef LIB_ROWS_H
#define LIB_ROWS_H

#include "host/launch.h"
#include "lib/context.h"
#include <clmla/rows.h>

// Bytes of one latent element; over 1 in the plain formats (f32, f16, bf16) alone, 0 where several elements share
// bytes.
uint32_t rows_element_bytes(clmla_row_format format);

// Whether values share bits and bytes: q8, q6, q5, q4.
bool rows_are_quantised(clmla_row_format format);

// Whether rows keep their codes when positions shift, and are rotated when they are read: all but the plain formats.
bool rows_keep_codes(clmla_row_format format);

// "ROWS_F16" etc.: what cl/common/row.clh wants defined.
const char *rows_option(clmla_row_format format);

// Values of such rows that cl/common/row_store.clh stores at once (its STORE_GROUP): all that share a scale. In
// append.c.
uint32_t append_store_group(const clmla_row_layout *layout);

// kv heads of a view.
static inline uint32_t rows_kv_heads(const clmla_rows *rows) {
    return rows->kv_head_count ? rows->kv_head_count : 1;
}

enum { ROWS_LATENT, ROWS_ROPE, ROWS_SCALES, ROWS_PARTS };
// Bytes of each part of one row and kv head, without padding; 0 for one the view does not have. The format is a format.
void rows_part_bytes(uint64_t bytes[ROWS_PARTS], const clmla_rows *rows);

// Adds a view's arguments in the order of ROW_ARGUMENTS in cl/common/row.clh.
void rows_set(host_launch *launch, const clmla_rows *rows);

// What turns rows on the way, for `count` of whatever has a delta each: both buffers or none, a format that takes
// deltas. Errors: CLMLA_E_ARGUMENT, CLMLA_E_LIMIT, naming the field `deltas_name` or rope_turns.
clmla_status rows_check_deltas(clmla_context *context, const clmla_row_layout *layout, clmla_buffer deltas,
                               clmla_buffer turns, uint64_t count, const char *operation, const char *deltas_name);

// Checks layout, page size and strides, and that every byte the view can reach lies inside its buffers; a view of no
// pages reaches none. Errors: CLMLA_E_ARGUMENT, CLMLA_E_LIMIT, naming operation and part.
clmla_status rows_check(clmla_context *context, const clmla_rows *rows, const char *operation);

#endif
