// SPDX-License-Identifier: Apache-2.0
// One cached row in host memory, and which row of a paged cache a token stands for.
#ifndef REF_ROW_H
#define REF_ROW_H

#include "tests/ref/ref_number.h"
#include <stdbool.h>

typedef enum ref_row_format {
    REF_ROWS_F32,
    REF_ROWS_F16,
    REF_ROWS_BF16,
    REF_ROWS_FP8,
    REF_ROWS_FP8_FLAT,
    REF_ROWS_FP8_PAGED,
    REF_ROWS_Q8,
    REF_ROWS_Q6,
    REF_ROWS_Q5,
    REF_ROWS_Q4
} ref_row_format;

typedef struct ref_row_kind {
    ref_row_format format;
    size_t latent_dim, rope_dim;
    float latent_scale, rope_scale; // fp8_flat
    bool scaled;                    // fp8_flat: whether there are group scales, too
    bool power_of_two;              // f32 scales are written as powers of two
} ref_row_kind;

// Where its parts lie; scales NULL when it has none.
typedef struct ref_row {
    unsigned char *latent, *rope, *scales;
} ref_row;

// Types of elements; not of the quantised formats, whose parts are tests/ref/ref_quantised.h's.
ref_type ref_row_latent_type(ref_row_format format);
ref_type ref_row_rope_type(ref_row_format format);
// Bytes of a part, unpadded but in the quantised formats.
size_t ref_row_latent_bytes(const ref_row_kind *kind);
size_t ref_row_rope_bytes(const ref_row_kind *kind);
// Latent values that share a scale; 0 = none do. And bytes of such a scale.
size_t ref_row_group(const ref_row_kind *kind);
size_t ref_row_scale_bytes(const ref_row_kind *kind);

// A row's place; false: there is none.
typedef struct ref_place {
    int64_t page;
    int64_t row;
} ref_place;

// A page table: 2-D, or with indptr not NULL one list for all; NULL = sequence s is page s.
typedef struct ref_table {
    const int32_t *pages, *indptr;
    int64_t sequences, stride, count;
} ref_table;

bool ref_place_slot(ref_place *out, int64_t slot, int64_t page_tokens, int64_t pages);
bool ref_place_index(ref_place *out, const ref_table *table, int64_t sequence, int64_t index, int64_t page_tokens,
                     int64_t pages);

#endif
