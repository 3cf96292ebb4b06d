// SPDX-License-Identifier: Apache-2.0
#include "tests/ref/ref_copy_pages.h"
#include <stdbool.h>
#include <string.h>

static unsigned char *at(const ref_copy_part *part, size_t page, size_t row, size_t head) {
    return part->bytes + page * part->page + row * part->row + head * part->head;
}

static bool inside(int64_t page, int64_t pages) {
    return page >= 0 && page < pages;
}

void ref_copy_pages(const ref_copy_part *to, int64_t to_pages, const ref_copy_part *from, int64_t from_pages,
                    const int32_t (*pairs)[2], size_t pair_count, size_t page_tokens, size_t heads, size_t width) {
    for (size_t i = 0; i < pair_count; i++) {
        if (!inside(pairs[i][0], from_pages) || !inside(pairs[i][1], to_pages)) continue;
        for (size_t row = 0; row < page_tokens; row++)
            for (size_t head = 0; head < heads; head++)
                memcpy(at(to, (size_t)pairs[i][1], row, head), at(from, (size_t)pairs[i][0], row, head), width);
    }
}
