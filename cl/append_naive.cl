// SPDX-License-Identifier: Apache-2.0
// append_naive: writes row t, latent and rope part, to slot slots[t] of a paged cache, one work-item an element.
// A slot outside 0 .. page_count*page_tokens-1 is skipped.                                     ref: tests/ref/ref_append.c
// Strides and offsets of the cache are in elements.   grid: global (latent_dim + rope_dim, token_count), local free.
// options: ELEMENT_*
#include "common/element.clh"

__kernel void append_naive(const __global float *latent, long latent_offset, long latent_stride, const __global float *rope,
                           long rope_offset, long rope_stride, const __global long *slots, long slots_offset,
                           __global element_t *row_latent, long row_latent_offset, long row_latent_stride,
                           long page_latent_stride, __global element_t *row_rope, long row_rope_offset, long row_rope_stride,
                           long page_rope_stride, int page_tokens, long page_count, int latent_dim, int rope_dim,
                           int token_count) {
    int element = get_global_id(0);
    int token = get_global_id(1);
    if (element >= latent_dim + rope_dim || token >= token_count) return;
    long slot = slots[slots_offset + token];
    if (slot < 0 || slot >= page_count * page_tokens) return;
    long page = slot / page_tokens, row = slot % page_tokens;
    if (element < latent_dim)
        element_store(row_latent, row_latent_offset + page * page_latent_stride + row * row_latent_stride + element,
                      latent[latent_offset + token * latent_stride + element]);
    else
        element_store(row_rope, row_rope_offset + page * page_rope_stride + row * row_rope_stride + element - latent_dim,
                      rope[rope_offset + token * rope_stride + element - latent_dim]);
}
