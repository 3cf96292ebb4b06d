// SPDX-License-Identifier: Apache-2.0
// Rows of a cache between device and host, in as few copies as their places allow.
#ifndef LIB_CACHE_SPAN_H
#define LIB_CACHE_SPAN_H

#include "lib/cache.h"

// A copy that is put off until what comes next does not go on where it ends, on both sides.
#define CACHE_SPAN_UNDER_WAY (16u << 20) // more than so many are waited for

typedef struct cache_span {
    host_chain *chain;
    bool write;         // to the device
    uint64_t limit;     // bytes of one copy
    uint64_t under_way; // bytes of copies since the host last waited for them
    cl_mem memory;
    uint64_t offset, bytes;
    unsigned char *host;
} cache_span;

// One kind of bytes of a layer's rows: the rows themselves, or their scales where those lie apart.
typedef struct cache_plane {
    cl_mem memory;
    uint64_t offset, page_stride; // bytes
    uint32_t row_bytes;
} cache_plane;

enum { CACHE_PLANE_ROWS, CACHE_PLANE_SCALES, CACHE_PLANES };
// False if the format has none. The layer is one of the cache's.
bool cache_plane_of(cache_plane *out, const clmla_cache *cache, uint32_t layer, int plane);

// Adds rows first .. first+rows-1 of a page. Each copy is of `limit` bytes at most, or of what one call adds.
clmla_status cache_span_add(cache_span *span, const cache_plane *plane, int32_t page, uint32_t first, uint32_t rows,
                            unsigned char *host);
clmla_status cache_span_flush(cache_span *span);

#endif
