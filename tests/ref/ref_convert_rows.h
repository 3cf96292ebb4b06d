// SPDX-License-Identifier: Apache-2.0
#ifndef REF_CONVERT_ROWS_H
#define REF_CONVERT_ROWS_H

#include "tests/ref/ref_row.h"

// Stores in `to` what `from` holds: each value decoded in double and rounded to f32, the rope part brought from one
// order into the other. The widths of both kinds are the same.
void ref_convert_rows(const ref_row *to, const ref_row_kind *to_kind, bool to_halves, const ref_row *from,
                      const ref_row_kind *from_kind, bool from_halves);

#endif
