// SPDX-License-Identifier: Apache-2.0
#ifndef REF_MERGE_H
#define REF_MERGE_H

#include <stddef.h>

// Joins `count` states of one row: state s is states[s·state_stride + 0 .. width), its lse lse[s·lse_stride]. States whose
// lse is infinite are empty. Answers the joint lse, -inf with zeros in out when all are.
double ref_merge(double *out, const float *states, size_t state_stride, const float *lse, size_t lse_stride, size_t count,
                 size_t width);

#endif
