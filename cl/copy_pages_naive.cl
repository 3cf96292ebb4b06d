// SPDX-License-Identifier: Apache-2.0
// copy_pages_naive: page pairs[i][0] of one cache becomes page pairs[i][1] of another, one work-item 4 bytes of a row's
// part, or the 1 to 3 it ends with.                                                     ref: tests/ref/ref_copy_pages.c
// Nothing but the parts is written. grid: global (words * kv_head_count * page_tokens * pair_count), local free; words:
// of all parts, each rounded up.
#include "common/copy.clh"

static inline void copy_word(__global uchar *to, const __global uchar *from, long word, long bytes) {
    if (4 * word + 4 <= bytes) {
        ((__global uint *)to)[word] = ((const __global uint *)from)[word];
        return;
    }
    for (long byte = 4 * word; byte < bytes; byte++) to[byte] = from[byte];
}

__kernel void copy_pages_naive(COPY_ARGUMENTS) {
    long latent_words = (call.latent_bytes + 3) / 4, rope_words = (call.rope_bytes + 3) / 4;
    long words = latent_words + rope_words + (call.scale_bytes + 3) / 4;
    long index = get_global_id(0), word = index % words, unit = index / words;
    int kv_head = unit % call.kv_head_count, row = unit / call.kv_head_count % call.page_tokens;
    long number = unit / call.kv_head_count / call.page_tokens;
    if (number >= call.pair_count) return;
    copy_pair pair = copy_pair_of(pairs, call, number);
    if (pair.from < 0) return;
    if (word < latent_words)
        copy_word(to_latent + copy_offset(to.latent, pair.to, row, kv_head),
                  from_latent + copy_offset(from.latent, pair.from, row, kv_head), word, call.latent_bytes);
    else if (word < latent_words + rope_words)
        copy_word(to_rope + copy_offset(to.rope, pair.to, row, kv_head),
                  from_rope + copy_offset(from.rope, pair.from, row, kv_head), word - latent_words, call.rope_bytes);
    else
        copy_word(to_scales + copy_offset(to.scales, pair.to, row, kv_head),
                  from_scales + copy_offset(from.scales, pair.from, row, kv_head), word - latent_words - rope_words,
                  call.scale_bytes);
}
