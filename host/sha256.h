// SPDX-License-Identifier: Apache-2.0
// SHA-256 (FIPS 180-4), for keys and checksums of the program store.
#ifndef HOST_SHA256_H
#define HOST_SHA256_H

#include <stddef.h>
#include <stdint.h>

#define HOST_SHA256_BYTES 32

typedef struct host_sha256 {
    uint32_t state[8];
    uint64_t bytes;
    unsigned char block[64];
} host_sha256;

void host_sha256_begin(host_sha256 *sha);
void host_sha256_add(host_sha256 *sha, const void *data, size_t bytes);
void host_sha256_end(host_sha256 *sha, unsigned char digest[HOST_SHA256_BYTES]);

#endif
