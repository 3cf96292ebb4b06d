// SPDX-License-Identifier: Apache-2.0
// Going through an operation's kernel variants on the device under test.
#ifndef TEST_VARIANTS_H
#define TEST_VARIANTS_H

#include "tests/support/run.h"

#define TEST_VARIANTS_MAX 16

// The variants for a shape; answers their number. Asserts that exactly the first accepted one is chosen and that the
// last is "naive" and accepted.
size_t test_variants(clmla_variant variants[TEST_VARIANTS_MAX], clmla_operation operation, const clmla_shape *shape);

// With *name set to each refused variant, and to one that is none, the run must answer CLMLA_E_ARGUMENT with the
// reason.
void test_variants_refused(const test_run *run, const char **name, clmla_operation operation, const clmla_shape *shape);

// Of a variant's runs number `run`, from 0 on: prepares the context for it and answers whether there is one. A group
// variant runs in groups of 32, 64, 128 and 256 work-items, as far as the device has them; others once. Afterwards all
// is as it was.
bool test_variant_run(const clmla_variant *variant, uint32_t run);

// Likewise of a variant's runs without the device's sub-groups: run 0 has them, if the device does; run 1 goes without.
bool test_variant_without(const clmla_variant *variant, uint32_t run);

// Refused because its instruction does not pay here, or less than another's, or is no instruction but OpenCL C; not
// because it is wrong: it runs when it is named.
bool test_variant_is_slow(const clmla_variant *variant);

// Of a step in fast compute, whether its test runs a variant: what is chosen and what is slow; where OpenCL C makes dot
// products and tiles (test_device_is_portable), those alone, as all others are run without.
bool test_variant_is_fast(const clmla_variant *variant);

#endif
