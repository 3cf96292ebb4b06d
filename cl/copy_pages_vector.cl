// SPDX-License-Identifier: Apache-2.0
// copy_pages_vector: as copy_pages_naive; one work-item a group and row of a pair, 4-byte words in vectors. For CPU
// devices.
// grid: global (page_tokens, pair_count), local (1, 1).   options: VECTOR_WIDTH         ref: tests/ref/ref_copy_pages.c
#include "common/vector.clh"
#include "common/copy.clh"

static inline void copy_part(__global uchar *to, const __global uchar *from, long bytes) {
    long word = 0, words = bytes / 4;
    for (; word + VECTOR_WIDTH <= words; word += VECTOR_WIDTH)
        VECTOR_NAME(vstore)(VECTOR_NAME(vload)(0, (const __global uint *)from + word), 0, (__global uint *)to + word);
    for (; word < words; word++) ((__global uint *)to)[word] = ((const __global uint *)from)[word];
    for (long byte = 4 * words; byte < bytes; byte++) to[byte] = from[byte];
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void copy_pages_vector(COPY_ARGUMENTS) {
    int row = get_global_id(0), number = get_global_id(1);
    if (row >= call.page_tokens || number >= call.pair_count) return;
    copy_pair pair = copy_pair_of(pairs, call, number);
    if (pair.from < 0) return;
    for (int kv_head = 0; kv_head < call.kv_head_count; kv_head++) {
        copy_part(to_latent + copy_offset(to.latent, pair.to, row, kv_head),
                  from_latent + copy_offset(from.latent, pair.from, row, kv_head), call.latent_bytes);
        if (call.rope_bytes)
            copy_part(to_rope + copy_offset(to.rope, pair.to, row, kv_head),
                      from_rope + copy_offset(from.rope, pair.from, row, kv_head), call.rope_bytes);
        if (call.scale_bytes)
            copy_part(to_scales + copy_offset(to.scales, pair.to, row, kv_head),
                      from_scales + copy_offset(from.scales, pair.from, row, kv_head), call.scale_bytes);
    }
}
