// SPDX-License-Identifier: Apache-2.0
// Devices that are nowhere, for choices that are made from facts alone.
#ifndef TESTS_UNIT_MADE_UP_DEVICES_H
#define TESTS_UNIT_MADE_UP_DEVICES_H

#include "host/vendors.h"
#include <clmla/clmla.h>

#define KIB 1024u

static inline clmla_device_facts made_up_gpu(uint32_t vendor, uint64_t local, uint64_t group) {
    return (clmla_device_facts){.type = CL_DEVICE_TYPE_GPU,
                                .vendor_id = vendor,
                                .compute_units = 1,
                                .local_bytes = local,
                                .max_group_size = group,
                                .float_vector_width = 1};
}

// One for each form of matrix products (cl/common/matrix.clh), without sizes.
static const clmla_device_facts made_up_matrix_devices[] = {
    {.type = CL_DEVICE_TYPE_GPU, .vendor_id = VENDOR_NVIDIA},
    {.type = CL_DEVICE_TYPE_GPU, .vendor_id = VENDOR_AMD, .name = "gfx90a"},
    {.type = CL_DEVICE_TYPE_GPU, .vendor_id = VENDOR_AMD, .name = "gfx1100"},
    {.type = CL_DEVICE_TYPE_GPU, .vendor_id = VENDOR_INTEL, .least_sub_group = 8, .has_sub_group_matrix = true},
    {.type = CL_DEVICE_TYPE_GPU, .vendor_id = VENDOR_INTEL, .least_sub_group = 16, .has_sub_group_matrix = true},
    {.type = CL_DEVICE_TYPE_CPU},
};

#endif
