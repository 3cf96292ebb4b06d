// SPDX-License-Identifier: Apache-2.0
// copy_pages_group: as copy_pages_naive; a group takes a row of a page and kv head, its work-items 16 bytes at a time
// where both ends lie so. For GPUs.                                                     ref: tests/ref/ref_copy_pages.c
// grid: global (GROUP * kv_head_count * page_tokens, pair_count), local (GROUP, 1).   options: GROUP, SUB_GROUP
#include "common/group.clh"
#include "common/copy.clh"
#include "common/slice.clh"

// Parts begin at multiples of 4 bytes and may end with 1 to 3 more.
static inline void copy_part(__global uchar *to, const __global uchar *from, long bytes) {
    long item = get_local_id(0), at = 0;
    if ((((size_t)to | (size_t)from) & 15) == 0) {
        at = bytes / 16 * 16;
        for (long i = item; i < at / 16; i += GROUP) ((__global uint4 *)to)[i] = ((const __global uint4 *)from)[i];
    }
    for (long i = at / 4 + item; i < bytes / 4; i += GROUP) ((__global uint *)to)[i] = ((const __global uint *)from)[i];
    long end = bytes / 4 * 4 + item;
    if (end < bytes) to[end] = from[end];
}

SUB_GROUP_WIDTH __kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void copy_pages_group(COPY_ARGUMENTS) {
    int kv_head = (int)get_group_id(0) % call.kv_head_count, row = (int)get_group_id(0) / call.kv_head_count;
    copy_pair pair = copy_pair_of(pairs, call, slice_group(1));
    if (pair.from < 0) return;
    copy_part(to_latent + copy_offset(to.latent, pair.to, row, kv_head),
              from_latent + copy_offset(from.latent, pair.from, row, kv_head), call.latent_bytes);
    copy_part(to_rope + copy_offset(to.rope, pair.to, row, kv_head),
              from_rope + copy_offset(from.rope, pair.from, row, kv_head), call.rope_bytes);
    copy_part(to_scales + copy_offset(to.scales, pair.to, row, kv_head),
              from_scales + copy_offset(from.scales, pair.from, row, kv_head), call.scale_bytes);
}
