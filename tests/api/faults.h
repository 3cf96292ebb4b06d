// SPDX-License-Identifier: Apache-2.0
// A context whose host allocations and device buffers are counted and can be made to fail.
#ifndef TEST_FAULTS_H
#define TEST_FAULTS_H

#include "tests/support/device.h"

// A context on the device under test; freed by clmla_context_destroy. Counts are of all such contexts together.
clmla_context *faults_context(void);

// From now on the allocation-th host allocation and the buffer-th clCreateBuffer, counted from 0, fail once; -1 = none.
void faults_arm(long allocation, long buffer);

// What was made and not yet released.
typedef struct faults_counts {
    long allocations, buffers;
} faults_counts;
faults_counts faults_live(void);

#endif
