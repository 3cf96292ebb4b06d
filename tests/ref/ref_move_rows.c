// SPDX-License-Identifier: Apache-2.0
#include "tests/ref/ref_move_rows.h"
#include <string.h>

void ref_move_rows(const ref_pages *pages, size_t from_page, size_t from_row, size_t to_page, size_t to_row,
                   size_t rows) {
    unsigned char *from = pages->bytes + from_page * pages->page_bytes,
                  *to = pages->bytes + to_page * pages->page_bytes;
    size_t scales = pages->page_tokens * pages->row_bytes;
    memmove(to + to_row * pages->row_bytes, from + from_row * pages->row_bytes, rows * pages->row_bytes);
    if (pages->scale_bytes > 0)
        memmove(to + scales + to_row * pages->scale_bytes, from + scales + from_row * pages->scale_bytes,
                rows * pages->scale_bytes);
}
