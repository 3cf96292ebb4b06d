// SPDX-License-Identifier: Apache-2.0
#include "tests/kernel/row_layers_fixture.h"
#include "tests/ref/ref_number.h"
#include "tests/support/weights.h"
#include <stdlib.h>
#include <string.h>

static void fill(unsigned char *bytes, size_t count, clmla_row_format format, test_random *random) {
    ref_type type = format == CLMLA_ROWS_F32 ? REF_F32 : format == CLMLA_ROWS_F16 ? REF_F16 : REF_BF16;
    for (size_t i = 0; i < count / ref_bytes(type); i++) ref_store(type, bytes, i, (float)test_random_normal(random));
}

void row_layers_make(row_layers_fixture *out, const clmla_row_layout *layout, uint32_t page_tokens, uint32_t layers,
                     test_random *random) {
    *out = (row_layers_fixture){.page_bytes = clmla_row_layout_page_bytes(layout, page_tokens)};
    uint64_t stride = (FIXTURE_PAGES * out->page_bytes + 255) / 256 * 256;
    size_t bytes = (size_t)((layers - 1) * stride + FIXTURE_PAGES * out->page_bytes);
    unsigned char *values = test_allocate(bytes, 1);
    fill(values, bytes, layout->format, random);
    test_buffer_make(&out->rows, bytes, values);
    free(values);
    out->layers = (row_layers){.layout = *layout,
                               .memory = out->rows.view,
                               .layer_count = layers,
                               .page_tokens = page_tokens,
                               .layer_stride = stride};
}
