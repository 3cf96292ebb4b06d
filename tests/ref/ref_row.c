// SPDX-License-Identifier: Apache-2.0
#include "tests/ref/ref_row.h"
#include "tests/ref/ref_quantised.h"

static const struct {
    ref_type latent, rope;
    size_t group, scale_bytes;
} formats[] = {
    [REF_ROWS_F32] = {REF_F32, REF_F32, 0, 0},
    [REF_ROWS_F16] = {REF_F16, REF_F16, 0, 0},
    [REF_ROWS_BF16] = {REF_BF16, REF_BF16, 0, 0},
    [REF_ROWS_FP8] = {REF_F8_E4M3, REF_BF16, 128, 4},
    [REF_ROWS_FP8_FLAT] = {REF_F8_E4M3, REF_F8_E4M3, 128, 4},
    [REF_ROWS_FP8_PAGED] = {REF_F8_E4M3, REF_BF16, 64, 1},
    [REF_ROWS_Q8] = {REF_F32, REF_F32, 0, 0},
    [REF_ROWS_Q6] = {REF_F32, REF_F32, 0, 0},
    [REF_ROWS_Q5] = {REF_F32, REF_F32, 0, 0},
    [REF_ROWS_Q4] = {REF_F32, REF_F32, 0, 0},
};

ref_type ref_row_latent_type(ref_row_format format) {
    return formats[format].latent;
}

ref_type ref_row_rope_type(ref_row_format format) {
    return formats[format].rope;
}

size_t ref_row_latent_bytes(const ref_row_kind *kind) {
    if (ref_is_quantised(kind->format))
        return ref_quantised_bytes(&(ref_quantised){kind->format, false, kind->latent_dim});
    return kind->latent_dim * ref_bytes(formats[kind->format].latent);
}

size_t ref_row_rope_bytes(const ref_row_kind *kind) {
    if (ref_is_quantised(kind->format))
        return ref_quantised_bytes(&(ref_quantised){kind->format, true, kind->rope_dim});
    return kind->rope_dim * ref_bytes(formats[kind->format].rope);
}

static bool has_scales(const ref_row_kind *kind) {
    return kind->format != REF_ROWS_FP8_FLAT || kind->scaled;
}

size_t ref_row_group(const ref_row_kind *kind) {
    return has_scales(kind) ? formats[kind->format].group : 0;
}

size_t ref_row_scale_bytes(const ref_row_kind *kind) {
    return has_scales(kind) ? formats[kind->format].scale_bytes : 0;
}

static bool place(ref_place *out, int64_t page, int64_t row, int64_t pages) {
    *out = (ref_place){page, row};
    return page >= 0 && page < pages;
}

bool ref_place_slot(ref_place *out, int64_t slot, int64_t page_tokens, int64_t pages) {
    return slot >= 0 && place(out, slot / page_tokens, slot % page_tokens, pages);
}

bool ref_place_index(ref_place *out, const ref_table *table, int64_t sequence, int64_t index, int64_t page_tokens,
                     int64_t pages) {
    if (sequence < 0 || index < 0) return false;
    int64_t number = index / page_tokens, row = index % page_tokens;
    if (!table->pages && !table->indptr) return number == 0 && place(out, sequence, row, pages);
    if (sequence >= table->sequences) return false;
    if (!table->indptr)
        return number < table->stride && place(out, table->pages[sequence * table->stride + number], row, pages);
    int64_t first = table->indptr[sequence], entry = first + number;
    if (first < 0 || entry >= table->indptr[sequence + 1] || entry >= table->count) return false;
    return place(out, table->pages[entry], row, pages);
}
