// SPDX-License-Identifier: Apache-2.0
// CRC-32C (Castagnoli; RFC 3720, appendix B.4), eight bytes at a time by tables ("slicing by 8").
#ifndef HOST_CRC32C_H
#define HOST_CRC32C_H

#include <stddef.h>
#include <stdint.h>

typedef struct host_crc32c {
    uint32_t tables[8][256];
} host_crc32c;

void host_crc32c_init(host_crc32c *crc);
// The sum of what came before (0 at the start) and these bytes: sums of pieces in order are the sum of the whole.
uint32_t host_crc32c_add(const host_crc32c *crc, uint32_t sum, const void *data, size_t bytes);

#endif
