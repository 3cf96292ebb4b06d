// SPDX-License-Identifier: Apache-2.0
// Little-endian numbers in bytes of any alignment.
#ifndef HOST_BYTES_H
#define HOST_BYTES_H

#include <stdint.h>
#include <string.h>

static inline void host_put_u32(unsigned char *out, uint32_t value) {
    for (int i = 0; i < 4; i++) out[i] = (unsigned char)(value >> 8 * i);
}

static inline void host_put_u64(unsigned char *out, uint64_t value) {
    for (int i = 0; i < 8; i++) out[i] = (unsigned char)(value >> 8 * i);
}

static inline uint32_t host_get_u32(const unsigned char *in) {
    uint32_t value = 0;
    for (int i = 0; i < 4; i++) value |= (uint32_t)in[i] << 8 * i;
    return value;
}

static inline uint64_t host_get_u64(const unsigned char *in) {
    return host_get_u32(in) | (uint64_t)host_get_u32(in + 4) << 32;
}

// Two's complement, without relying on how the compiler converts.
static inline int32_t host_get_i32(const unsigned char *in) {
    uint32_t bits = host_get_u32(in);
    int32_t value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

#endif
