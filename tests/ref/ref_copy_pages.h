// SPDX-License-Identifier: Apache-2.0
#ifndef REF_COPY_PAGES_H
#define REF_COPY_PAGES_H

#include <stddef.h>
#include <stdint.h>

// One part (latent, rope or scales) of all rows of a cache in host memory: strides and width in bytes.
typedef struct ref_copy_part {
    unsigned char *bytes;
    size_t row, page, head;
} ref_copy_part;

// Page pairs[i][1] of `to` becomes page pairs[i][0] of `from`, which holds what was there before the call; a pair with
// a number outside is skipped.
void ref_copy_pages(const ref_copy_part *to, int64_t to_pages, const ref_copy_part *from, int64_t from_pages,
                    const int32_t (*pairs)[2], size_t pair_count, size_t page_tokens, size_t heads, size_t width);

#endif
