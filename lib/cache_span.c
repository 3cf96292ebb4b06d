// SPDX-License-Identifier: Apache-2.0
#include "lib/cache_span.h"
#include "host/error.h"

bool cache_plane_of(cache_plane *out, const clmla_cache *cache, uint32_t layer, int plane) {
    clmla_rows rows;
    if (clmla_cache_rows(&rows, cache, layer) != CLMLA_OK) return false;
    if (plane == CACHE_PLANE_ROWS) {
        *out = (cache_plane){rows.latent.memory, rows.latent.offset, rows.latent_page_stride, rows.layout.row_bytes};
        return true;
    }
    if (!rows.layout.scales_apart) return false;
    *out = (cache_plane){rows.scales.memory, rows.scales.offset, rows.scale_page_stride, rows.layout.scale_row_bytes};
    return true;
}

clmla_status cache_span_flush(cache_span *span) {
    uint64_t bytes = span->bytes;
    span->bytes = 0;
    if (bytes == 0) return CLMLA_OK;
    STATUS_OR_RETURN(span->write ? host_chain_write(span->chain, span->memory, span->offset, bytes, span->host)
                                 : host_chain_read(span->chain, span->memory, span->offset, bytes, span->host));
    span->under_way += bytes;
    if (span->under_way <= CACHE_SPAN_UNDER_WAY) return CLMLA_OK;
    span->under_way = 0;
    return host_chain_settle(span->chain);
}

clmla_status cache_span_add(cache_span *span, const cache_plane *plane, int32_t page, uint32_t first, uint32_t rows,
                            unsigned char *host) {
    uint64_t offset = plane->offset + (uint64_t)page * plane->page_stride + (uint64_t)first * plane->row_bytes;
    uint64_t bytes = (uint64_t)rows * plane->row_bytes;
    if (span->bytes > 0 && span->memory == plane->memory && span->offset + span->bytes == offset &&
        span->host + span->bytes == host && span->bytes + bytes <= span->limit) {
        span->bytes += bytes;
        return CLMLA_OK;
    }
    STATUS_OR_RETURN(cache_span_flush(span));
    span->memory = plane->memory;
    span->offset = offset;
    span->bytes = bytes;
    span->host = host;
    return CLMLA_OK;
}
