// SPDX-License-Identifier: Apache-2.0
#include "cache_readback.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static float decode_bf16(uint16_t bits) {
    uint32_t wide = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &wide, sizeof value);
    return value;
}

// IEEE 754 binary16: 1 sign, 5 exponent (bias 15), 10 fraction bits.
static float decode_f16(uint16_t bits) {
    int exponent = bits >> 10 & 31, fraction = bits & 1023;
    float size = exponent == 31 ? (fraction ? NAN : INFINITY)
                 : exponent     ? ldexpf((float)(fraction | 1024), exponent - 25)
                                : ldexpf((float)fraction, -24);
    return bits >> 15 ? -size : size;
}

static void decode(float *out, const unsigned char *bytes, uint32_t count, clmla_row_format format) {
    if (format == CLMLA_ROWS_F32) {
        memcpy(out, bytes, count * sizeof *out);
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint16_t bits;
        memcpy(&bits, bytes + i * sizeof bits, sizeof bits);
        out[i] = format == CLMLA_ROWS_F16 ? decode_f16(bits) : decode_bf16(bits);
    }
}

// One part of a row, latent or rope, as the view places it in memory.
typedef struct part {
    clmla_buffer memory;
    uint64_t row_stride, page_stride; // bytes
    uint32_t width;                   // elements
    float *out;                       // [tokens][width]
} part;

static bool read_part(const part *part, const clmla_rows *rows, const int32_t *pages, uint32_t tokens,
                      unsigned char *bytes, cl_command_queue queue, failure *failure) {
    uint64_t element = rows->layout.format == CLMLA_ROWS_F32 ? 4 : 2;
    for (uint32_t token = 0; token < tokens; token += rows->page_tokens) {
        uint32_t count = tokens - token < rows->page_tokens ? tokens - token : rows->page_tokens;
        uint64_t from = part->memory.offset + (uint64_t)pages[token / rows->page_tokens] * part->page_stride;
        uint64_t length = (count - 1) * part->row_stride + part->width * element;
        cl_int code = clEnqueueReadBuffer(queue, part->memory.memory, CL_TRUE, (size_t)from, (size_t)length, bytes, 0,
                                          NULL, NULL);
        if (code != CL_SUCCESS) return failure_opencl(failure, "clEnqueueReadBuffer of cache rows", code);
        for (uint32_t i = 0; i < count; i++)
            decode(part->out + (uint64_t)(token + i) * part->width, bytes + i * part->row_stride, part->width,
                   rows->layout.format);
    }
    return true;
}

static bool read_parts(float *latent, float *k_pe, const clmla_rows *rows, const int32_t *pages, uint32_t tokens,
                       cl_command_queue queue, failure *failure) {
    const part parts[2] = {
        {rows->latent, rows->latent_row_stride, rows->latent_page_stride, rows->layout.latent_dim, latent},
        {rows->rope, rows->rope_row_stride, rows->rope_page_stride, rows->layout.rope_dim, k_pe},
    };
    uint32_t longest = tokens < rows->page_tokens ? tokens : rows->page_tokens;
    bool read = true;
    for (int i = 0; i < 2 && read; i++) {
        if (parts[i].width == 0) continue;
        unsigned char *bytes = malloc((size_t)(longest * parts[i].row_stride + rows->layout.row_bytes));
        read = bytes ? read_part(&parts[i], rows, pages, tokens, bytes, queue, failure) : failure_memory(failure);
        free(bytes);
    }
    return read;
}

static bool read_plain(float *latent, float *k_pe, const clmla_rows *rows, const clmla_cache *cache,
                       clmla_sequence sequence, uint32_t tokens, cl_command_queue queue, failure *failure) {
    size_t count = 0;
    if (clmla_cache_sequence_pages(NULL, 0, &count, cache, sequence) != CLMLA_OK) return failure_library(failure);
    if ((uint64_t)count * rows->page_tokens < tokens)
        return failure_set(failure, "a sequence of %u tokens holds %zu pages of %u", tokens, count, rows->page_tokens);
    int32_t *pages = malloc((count ? count : 1) * sizeof *pages);
    if (!pages) return failure_memory(failure);
    bool read =
        clmla_cache_sequence_pages(pages, count, &count, cache, sequence) == CLMLA_OK || failure_library(failure);
    read = read && read_parts(latent, k_pe, rows, pages, tokens, queue, failure);
    free(pages);
    return read;
}

// --- scaled formats

// Device memory of a gather, and what it gives on the host: [tokens][L + R].
typedef struct gathered {
    int64_t *slots;
    float *values;
    cl_mem slots_memory, values_memory;
} gathered;

static bool gather(gathered *out, const clmla_rows *rows, const clmla_cache *cache, clmla_sequence sequence,
                   uint32_t tokens, const session *session, failure *failure) {
    size_t width = (size_t)rows->layout.latent_dim + rows->layout.rope_dim, bytes = tokens * width * sizeof(float);
    out->slots = calloc(tokens, sizeof *out->slots);
    out->values = calloc(tokens, width * sizeof *out->values);
    if (!out->slots || !out->values) return failure_memory(failure);
    if (clmla_cache_sequence_slots(out->slots, cache, sequence, 0, tokens) != CLMLA_OK) return failure_library(failure);
    if (!session_buffer(&out->slots_memory, session, tokens * sizeof *out->slots, out->slots, failure) ||
        !session_buffer(&out->values_memory, session, bytes, NULL, failure))
        return false;
    clmla_gather_params params = {.token_count = tokens,
                                  .places = {.slots = {out->slots_memory, 0}},
                                  .rows = *rows,
                                  .output = {out->values_memory, 0},
                                  .output_stride = width};
    if (clmla_gather(session->context, &params, session->queue, 0, NULL, NULL) != CLMLA_OK)
        return failure_library(failure);
    cl_int code =
        clEnqueueReadBuffer(session->queue, out->values_memory, CL_TRUE, 0, bytes, out->values, 0, NULL, NULL);
    return code == CL_SUCCESS || failure_opencl(failure, "clEnqueueReadBuffer of gathered rows", code);
}

static bool read_scaled(float *latent, float *k_pe, const clmla_rows *rows, const clmla_cache *cache,
                        clmla_sequence sequence, uint32_t tokens, const session *session, failure *failure) {
    gathered g = {0};
    size_t latent_dim = rows->layout.latent_dim, rope_dim = rows->layout.rope_dim;
    bool read = gather(&g, rows, cache, sequence, tokens, session, failure);
    for (uint32_t t = 0; read && t < tokens; t++) {
        const float *row = g.values + t * (latent_dim + rope_dim);
        memcpy(latent + t * latent_dim, row, latent_dim * sizeof *row);
        memcpy(k_pe + t * rope_dim, row + latent_dim, rope_dim * sizeof *row);
    }
    free(g.slots);
    free(g.values);
    if (g.slots_memory) clReleaseMemObject(g.slots_memory);
    if (g.values_memory) clReleaseMemObject(g.values_memory);
    return read;
}

bool cache_read_back(float *latent, float *k_pe, const clmla_cache *cache, uint32_t layer, clmla_sequence sequence,
                     uint32_t tokens, const session *session, failure *failure) {
    clmla_rows rows;
    if (tokens == 0) return true;
    if (clmla_cache_rows(&rows, cache, layer) != CLMLA_OK) return failure_library(failure);
    if (rows.layout.format == CLMLA_ROWS_F32 || rows.layout.format == CLMLA_ROWS_F16 ||
        rows.layout.format == CLMLA_ROWS_BF16)
        return read_plain(latent, k_pe, &rows, cache, sequence, tokens, session->queue, failure);
    return read_scaled(latent, k_pe, &rows, cache, sequence, tokens, session, failure);
}
