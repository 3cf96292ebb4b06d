// SPDX-License-Identifier: Apache-2.0
// The cache object: device buffers, and page arithmetic kept apart in cache_pages.h.
#ifndef LIB_CACHE_H
#define LIB_CACHE_H

#include "lib/cache_pages.h"
#include "lib/context.h"
#include <clmla/cache.h>

struct clmla_cache {
    clmla_context *context;
    clmla_config config;
    clmla_config_values values;
    clmla_row_layout layout;
    uint32_t layer_count, page_tokens;
    uint64_t page_count;
    cl_mem *layers;     // [layer_count]
    cache_pages pages;  // sequences and free pages
    host_mutex lock;    // guards pages against readers of usage
};

#endif
