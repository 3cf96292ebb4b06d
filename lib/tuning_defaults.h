// SPDX-License-Identifier: Apache-2.0
// Rows of values that numbers begin with, by device. Of the rows of a number that fit a device the last one counts; the
// table is in four parts, each more particular than those before it: rows for every device, for a type, for a vendor
// (of a type or not), and for a device by its name.
#ifndef LIB_TUNING_DEFAULTS_H
#define LIB_TUNING_DEFAULTS_H

#include "lib/tuning.h"

#define TUNING_ANY 0

// A row fits where all it tells does. No text is empty.
typedef struct tuning_default {
    cl_device_type type; // TUNING_ANY, or one the device claims
    const char *vendor;  // part of the vendor's name; NULL = any
    const char *device;  // of the device's name, whole words: "H200" is in "NVIDIA H200", not in "GH200"; NULL = any
    tuning_index index;
    uint32_t value;
} tuning_default;

// The library's rows, of which tuning_defaults (lib/tuning.h) takes those that fit.
const tuning_default *tuning_default_rows(size_t *count);
// Takes what fits of other rows.
void tuning_take_rows(uint32_t values[TUNING_COUNT], const clmla_device_facts *facts, const tuning_default *rows,
                      size_t count);

#endif
