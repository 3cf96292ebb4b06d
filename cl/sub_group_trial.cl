// SPDX-License-Identifier: Apache-2.0
// sub_group_trial: the reductions of common/group.clh, for a device to be tried with before a group reduces through its
// sub-groups (host/instruction_sub_group.c).
//   values [GROUP] uint     results [GROUP][3] uint: what each work-item is given as the sum, the largest, and the
//                           largest of ~values
// grid: global and local (GROUP).   options: GROUP, SUB_GROUPS
#include "common/group.clh"

__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void sub_group_trial(const __global uint *values,
                                                                                 __global uint *results) {
    __local float space[GROUP];
    __local uint peaks[2 * GROUP];
    int item = get_local_id(0);
    uint most = values[item], most_not = ~values[item];
    float sum = group_sum((float)values[item], space);
    group_peaks(&most, &most_not, peaks);
    results[3 * item] = (uint)sum;
    results[3 * item + 1] = most;
    results[3 * item + 2] = most_not;
}
