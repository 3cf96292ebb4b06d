// SPDX-License-Identifier: Apache-2.0
#ifndef REF_MERGE_H
#define REF_MERGE_H

#include <stdbool.h>
#include <stddef.h>

// Joins states [count][width] by their lse [count], logarithms to base 2 or natural ones. States whose lse is infinite
// are empty. Answers the joint lse, -inf with zeros in out when all are.
double ref_merge(double *out, const double *states, const double *lse, size_t count, size_t width, bool base2);

#endif
