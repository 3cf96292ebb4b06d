// SPDX-License-Identifier: Apache-2.0
#include "host/crc32c.h"
#include "host/bytes.h"

#define POLYNOMIAL 0x82f63b78u // 0x1edc6f41, bits reversed

void host_crc32c_init(host_crc32c *crc) {
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t sum = i;
        for (int bit = 0; bit < 8; bit++) sum = sum & 1 ? sum >> 1 ^ POLYNOMIAL : sum >> 1;
        crc->tables[0][i] = sum;
    }
    for (uint32_t i = 0; i < 256; i++)
        for (int table = 1; table < 8; table++) {
            uint32_t before = crc->tables[table - 1][i];
            crc->tables[table][i] = before >> 8 ^ crc->tables[0][before & 255];
        }
}

static uint32_t add_byte(const host_crc32c *crc, uint32_t sum, unsigned char byte) {
    return sum >> 8 ^ crc->tables[0][(sum ^ byte) & 255];
}

static uint32_t add_eight(const host_crc32c *crc, uint32_t sum, const unsigned char *bytes) {
    uint32_t low = sum ^ host_get_u32(bytes), high = host_get_u32(bytes + 4);
    return crc->tables[7][low & 255] ^ crc->tables[6][low >> 8 & 255] ^ crc->tables[5][low >> 16 & 255] ^
           crc->tables[4][low >> 24] ^ crc->tables[3][high & 255] ^ crc->tables[2][high >> 8 & 255] ^
           crc->tables[1][high >> 16 & 255] ^ crc->tables[0][high >> 24];
}

uint32_t host_crc32c_add(const host_crc32c *crc, uint32_t sum, const void *data, size_t bytes) {
    const unsigned char *at = data;
    sum = ~sum;
    for (; bytes >= 8; bytes -= 8, at += 8) sum = add_eight(crc, sum, at);
    for (; bytes > 0; bytes--) sum = add_byte(crc, sum, *at++);
    return ~sum;
}
