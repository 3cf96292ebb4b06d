// SPDX-License-Identifier: Apache-2.0
#ifndef REF_MOVE_ROWS_H
#define REF_MOVE_ROWS_H

#include <stddef.h>

// One layer of pages in host memory: rows of row_bytes, and behind all rows of a page their scales, if any.
typedef struct ref_pages {
    unsigned char *bytes;
    size_t page_bytes, page_tokens, row_bytes, scale_bytes;
} ref_pages;

// Takes `rows` rows from one place to another as they were before.
void ref_move_rows(const ref_pages *pages, size_t from_page, size_t from_row, size_t to_page, size_t to_row,
                   size_t rows);

#endif
