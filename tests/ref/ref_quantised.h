// SPDX-License-Identifier: Apache-2.0
// Parts of quantised rows (docs/row_formats.md), a value at a time: decoded in double, encoded in f32, each operation
// rounded on its own, as the bytes are defined.
#ifndef REF_QUANTISED_H
#define REF_QUANTISED_H

#include "tests/ref/ref_row.h"

// A latent or a rope part of one of the formats q8 to q4.
typedef struct ref_quantised {
    ref_row_format format;
    bool rope;
    size_t columns;
} ref_quantised;

bool ref_is_quantised(ref_row_format format);

// Bytes of the part, padding included; 0 for no columns.
size_t ref_quantised_bytes(const ref_quantised *part);
// The values of a part: out [columns].
void ref_quantised_decode(double *out, const ref_quantised *part, const unsigned char *bytes);
// The bytes the values [columns] are stored as, all of them.
void ref_quantised_encode(unsigned char *bytes, const ref_quantised *part, const float *values);

#endif
