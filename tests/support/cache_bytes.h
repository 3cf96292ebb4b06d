// SPDX-License-Identifier: Apache-2.0
// A saved cache's bytes, changed by tests: its checksums made to fit again. Knows the layout from docs/cache_file.md.
#ifndef TEST_CACHE_BYTES_H
#define TEST_CACHE_BYTES_H

#include <stddef.h>

// Where the sequences' section begins; 0 if the header does not say.
size_t cache_bytes_sequences(const unsigned char *bytes, size_t count);
// Sets every checksum whose place the bytes still tell: header, configuration, sequences and, as far as they fit, rows.
void cache_bytes_repair(unsigned char *bytes, size_t count);

#endif
