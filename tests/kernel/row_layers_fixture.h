// SPDX-License-Identifier: Apache-2.0
// Layers of pages in one device buffer, as the cache keeps them, filled at random.
#ifndef ROW_LAYERS_FIXTURE_H
#define ROW_LAYERS_FIXTURE_H

#include "lib/row_works.h"
#include "tests/support/run.h"

#define FIXTURE_PAGES 7

typedef struct row_layers_fixture {
    row_layers layers; // in `rows`
    uint64_t page_bytes;
    test_buffer rows;
} row_layers_fixture;

void row_layers_make(row_layers_fixture *out, const clmla_row_layout *layout, uint32_t page_tokens, uint32_t layers,
                     test_random *random);

#endif
