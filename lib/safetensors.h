// SPDX-License-Identifier: Apache-2.0
// One safetensors file: 8-byte little-endian header length, JSON header, data. Mapped, and checked before use.
#ifndef LIB_SAFETENSORS_H
#define LIB_SAFETENSORS_H

#include "host/os.h"
#include <clmla/checkpoint.h>

typedef struct safetensors {
    host_map map;
    char *path;
    clmla_tensor *tensors; // in the order of their data
    size_t count;
    const clmla_allocator *allocator;
} safetensors;

// Errors: as clmla_checkpoint_open. On failure there is nothing to close.
clmla_status safetensors_open(safetensors *out, const char *path, const clmla_allocator *allocator);
void safetensors_close(safetensors *file); // accepts a zeroed one

#endif
