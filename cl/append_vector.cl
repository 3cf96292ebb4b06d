// SPDX-License-Identifier: Apache-2.0
// append_vector: as append_naive; one work-item a group and row, elements in vectors. For CPU devices.
// grid: global (token_count), local (1).   options: ELEMENT_*, VECTOR_WIDTH                    ref: tests/ref/ref_append.c
#include "common/vector.clh"
#include "common/element.clh"

#if defined(ELEMENT_F32)
#define store_elements(value, pointer) store_floatv(value, pointer)
#elif defined(ELEMENT_F16)
#define VSTORE_HALF_RTE_(width) vstore_half##width##_rte
#define VSTORE_HALF_RTE(width) VSTORE_HALF_RTE_(width)
#define store_elements(value, pointer) VSTORE_HALF_RTE(VECTOR_WIDTH)(value, 0, pointer)
#else
static inline void store_elements(floatv value, __global element_t *pointer) {
    uintv bits = VECTOR_NAME(as_uint)(value);
    uintv rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    uintv nan = (bits >> 16) | 0x40u;
    VECTOR_NAME(vstore)(VECTOR_NAME(convert_ushort)(select(rounded, nan, isnan(value))), 0, pointer);
}
#endif

static inline void append_part(const __global float *values, int count, __global element_t *row) {
    int i = 0;
    for (; i + VECTOR_WIDTH <= count; i += VECTOR_WIDTH) store_elements(load_floatv(values + i), row + i);
    for (; i < count; i++) element_store(row, i, values[i]);
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
append_vector(const __global float *latent, long latent_offset, long latent_stride, const __global float *rope,
              long rope_offset, long rope_stride, const __global long *slots, long slots_offset,
              __global element_t *row_latent, long row_latent_offset, long row_latent_stride, long page_latent_stride,
              __global element_t *row_rope, long row_rope_offset, long row_rope_stride, long page_rope_stride,
              int page_tokens, long page_count, int latent_dim, int rope_dim, int token_count) {
    int token = get_global_id(0);
    if (token >= token_count) return;
    long slot = slots[slots_offset + token];
    if (slot < 0 || slot >= page_count * page_tokens) return;
    long page = slot / page_tokens, row = slot % page_tokens;
    append_part(latent + latent_offset + token * latent_stride, latent_dim,
                row_latent + row_latent_offset + page * page_latent_stride + row * row_latent_stride);
    if (rope_dim)
        append_part(rope + rope_offset + token * rope_stride, rope_dim,
                    row_rope + row_rope_offset + page * page_rope_stride + row * row_rope_stride);
}
