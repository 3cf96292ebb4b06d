// SPDX-License-Identifier: Apache-2.0
#include "tests/support/cache_bytes.h"
#include "host/bytes.h"
#include "host/crc32c.h"

enum { HEADER = 48, RECORD = 24, RUN = 12 };

static void repair(const host_crc32c *crc, unsigned char *bytes, size_t count) {
    host_put_u32(bytes + count, host_crc32c_add(crc, 0, bytes, count));
}

size_t cache_bytes_sequences(const unsigned char *bytes, size_t count) {
    if (count < HEADER) return 0;
    uint64_t at = (uint64_t)HEADER + host_get_u32(bytes + 28) + 4;
    return at < count ? (size_t)at : 0;
}

static void repair_rows(const host_crc32c *crc, unsigned char *bytes, size_t count, size_t sequences, uint64_t at) {
    uint64_t row = (uint64_t)host_get_u32(bytes + HEADER + 32) + host_get_u32(bytes + HEADER + 36);
    uint32_t layers = host_get_u32(bytes + HEADER + 28), records = host_get_u32(bytes + 24);
    for (uint32_t i = 0; i < records && sequences + (uint64_t)(i + 1) * RECORD <= count; i++) {
        const unsigned char *record = bytes + sequences + (size_t)i * RECORD;
        uint64_t section = (host_get_u32(record) - (uint64_t)host_get_u32(record + 20)) * row;
        for (uint32_t layer = 0; layer < layers; layer++, at += section + 4) {
            if (section > count || at > count || count - at < section + 4) return;
            repair(crc, bytes + at, (size_t)section);
        }
    }
}

void cache_bytes_repair(unsigned char *bytes, size_t count) {
    host_crc32c crc;
    if (count < HEADER) return;
    host_crc32c_init(&crc);
    repair(&crc, bytes, HEADER - 4);
    size_t sequences = cache_bytes_sequences(bytes, count);
    uint64_t length = host_get_u64(bytes + 32);
    if (sequences == 0) return;
    repair(&crc, bytes + HEADER, sequences - HEADER - 4);
    if (length > count || count - sequences < length + 4) return;
    if (sequences >= HEADER + 40 + 4) repair_rows(&crc, bytes, count, sequences, sequences + length + 4);
    repair(&crc, bytes + sequences, (size_t)length);
}
