// SPDX-License-Identifier: Apache-2.0
#include "tests/ref/ref_append.h"

void ref_append(const ref_part *part, ref_type type, const float *values, int64_t slot, size_t page_tokens, size_t pages) {
    if (slot < 0 || (uint64_t)slot >= (uint64_t)pages * page_tokens) return;
    size_t page = (size_t)slot / page_tokens, row = (size_t)slot % page_tokens;
    unsigned char *at = part->bytes + page * part->page_stride + row * part->row_stride;
    for (size_t i = 0; i < part->width; i++) ref_store(type, at, i, values[i]);
}
