// SPDX-License-Identifier: Apache-2.0
#ifndef REF_APPEND_H
#define REF_APPEND_H

#include "tests/ref/ref_number.h"

// One part (latent or rope) of a paged cache in host memory: where it begins and its strides in bytes.
typedef struct ref_part {
    unsigned char *bytes;
    size_t row_stride, page_stride, width;
} ref_part;

// Writes one row's part to a slot; a slot outside 0 .. pages·page_tokens-1 is skipped. Nothing but the width is touched.
void ref_append(const ref_part *part, ref_type type, const float *values, int64_t slot, size_t page_tokens, size_t pages);

#endif
