// SPDX-License-Identifier: Apache-2.0
// Any bytes as a safetensors file: refused, or tensors that lie inside it. The reader maps files: it gets one in
// memory.
#define _GNU_SOURCE
#include "lib/safetensors.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static int file = -1;
    static volatile unsigned seen;
    char path[64];
    safetensors tensors;
    if (file < 0) file = memfd_create("fuzz", 0);
    if (file < 0 || ftruncate(file, 0) != 0 || pwrite(file, data, size, 0) != (ssize_t)size) abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    if (safetensors_open(&tensors, path, NULL) != CLMLA_OK) return 0;
    for (size_t i = 0; i < tensors.count; i++) {
        const unsigned char *bytes = tensors.tensors[i].data;
        if (tensors.tensors[i].bytes > 0) seen += bytes[0] + bytes[tensors.tensors[i].bytes - 1];
    }
    safetensors_close(&tensors);
    return 0;
}
