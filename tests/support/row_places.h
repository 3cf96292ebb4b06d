// SPDX-License-Identifier: Apache-2.0
// Places of tokens in a paged cache in every form a call takes them, with what is to be skipped among them.
#ifndef TEST_ROW_PLACES_H
#define TEST_ROW_PLACES_H

#include "tests/ref/ref_row.h"
#include "tests/support/buffer.h"

typedef enum test_places_form {
    TEST_PLACES_SLOTS,
    TEST_PLACES_TABLE, // 2-D, with garbage in unused entries
    TEST_PLACES_CSR,
    TEST_PLACES_PAGES, // no table: a sequence is a page
    TEST_PLACES_FORMS
} test_places_form;

typedef enum test_places_skip { TEST_SKIP_NONE, TEST_SKIP_SOME, TEST_SKIP_ALL, TEST_SKIPS } test_places_skip;

#define TEST_PLACES_MOST 20 // tokens

typedef struct test_places {
    clmla_row_places view;
    test_buffer slots, sequences, indices, table, indptr;
    bool present[TEST_PLACES_MOST]; // false: the token is skipped
    ref_place at[TEST_PLACES_MOST]; // no two are the same
} test_places;

// `tokens` rows, at most TEST_PLACES_MOST and page_tokens · page_count.
void test_places_make(test_places *out, test_places_form form, test_places_skip skip, uint32_t tokens,
                      uint32_t page_tokens, uint32_t page_count, test_random *random);
void test_places_free(test_places *places);
// Adds its buffers to a list that NULL ends.
void test_places_list(test_buffer **list, test_places *places);

#endif
