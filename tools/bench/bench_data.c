// SPDX-License-Identifier: Apache-2.0
#include "bench_data.h"
#include <stdlib.h>
#include <string.h>

#define BLOCK_VALUES 1048576 // random values of a large buffer before it repeats
#define APPENDED_ROWS 2048   // rows of one clmla_append

uint64_t bench_random_next(bench_random *random) {
    // xorshift64* (Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled").
    random->state ^= random->state >> 12;
    random->state ^= random->state << 25;
    random->state ^= random->state >> 27;
    return random->state * 0x2545f4914f6cdd1du;
}

float bench_random_value(bench_random *random) {
    uint64_t bits = bench_random_next(random);
    double sum = 0.0;
    for (int i = 0; i < 4; i++) sum += (double)(bits >> (16 * i) & 0xffff) / 65536.0 - 0.5;
    return (float)(sum * 0.1 / 0.57735); // four uniforms of variance 1/12 each
}

void bench_release(cl_mem *memory) {
    if (*memory) clReleaseMemObject(*memory);
    *memory = NULL;
}

// --- values
// ------------------------------------------------------------------------------------------------------------

// A random code of magnitude 2^-6 .. 2^-5, which every type holds; its sign is random, too.
static void store(void *values, uint64_t at, clmla_type type, bench_random *random) {
    uint32_t bits = (uint32_t)(bench_random_next(random) >> 32);
    switch (type) {
    case CLMLA_TYPE_F16:
        ((uint16_t *)values)[at] = (uint16_t)((bits & 0x83ff) | 9u << 10);
        break;
    case CLMLA_TYPE_BF16:
        ((uint16_t *)values)[at] = (uint16_t)((bits & 0x807f) | 121u << 7);
        break;
    case CLMLA_TYPE_F8_E4M3:
        ((uint8_t *)values)[at] = (uint8_t)((bits & 0x87) | 1u << 3);
        break;
    default:
        ((float *)values)[at] = bench_random_value(random);
    }
}

static bool write_blocks(cl_mem memory, const session *session, const void *block, uint64_t block_bytes, uint64_t bytes,
                         failure *failure) {
    for (uint64_t at = 0; at < bytes; at += block_bytes) {
        uint64_t piece = bytes - at < block_bytes ? bytes - at : block_bytes;
        cl_int code =
            clEnqueueWriteBuffer(session->queue, memory, CL_TRUE, (size_t)at, (size_t)piece, block, 0, NULL, NULL);
        if (code != CL_SUCCESS) return failure_opencl(failure, "clEnqueueWriteBuffer", code);
    }
    return true;
}

bool bench_values(cl_mem *out, const session *session, clmla_type type, uint64_t count, failure *failure) {
    uint64_t block_count = count < BLOCK_VALUES ? count : BLOCK_VALUES, bytes = clmla_type_bytes(type);
    bench_random random = BENCH_RANDOM;
    void *block = malloc((size_t)(block_count * bytes));
    if (!block) return failure_memory(failure);
    for (uint64_t i = 0; i < block_count; i++) store(block, i, type, &random);
    bool made = session_buffer(out, session, count * bytes, NULL, failure) &&
                write_blocks(*out, session, block, block_count * bytes, count * bytes, failure);
    free(block);
    return made;
}

void bench_fill(void *values, clmla_type type, uint64_t count) {
    bench_random random = BENCH_RANDOM;
    uint64_t bytes = clmla_type_bytes(type);
    for (uint64_t i = 0; i < count && i < BLOCK_VALUES; i++) store(values, i, type, &random);
    for (uint64_t at = BLOCK_VALUES; at < count; at += BLOCK_VALUES)
        memcpy((char *)values + at * bytes, values,
               (size_t)((count - at < BLOCK_VALUES ? count - at : BLOCK_VALUES) * bytes));
}

bool bench_matrix(clmla_matrix *out, const session *session, clmla_type type, uint32_t rows, uint32_t columns,
                  failure *failure) {
    *out = (clmla_matrix){.type = type, .rows = rows, .columns = columns, .row_stride = columns};
    if (!bench_values(&out->values.memory, session, type, (uint64_t)rows * columns, failure)) return false;
    if (type != CLMLA_TYPE_F8_E4M3) return true;
    uint64_t block_rows = ((uint64_t)rows + 127) / 128;
    out->scale_stride = (uint32_t)(((uint64_t)columns + 127) / 128);
    return bench_values(&out->scales.memory, session, CLMLA_TYPE_F32, block_rows * out->scale_stride, failure);
}

void bench_matrix_release(clmla_matrix *matrix) {
    bench_release(&matrix->values.memory);
    bench_release(&matrix->scales.memory);
}

// --- rows
// --------------------------------------------------------------------------------------------------------------

static bool append_all(const clmla_rows *rows, const session *session, cl_mem latent, cl_mem rope, cl_mem slots,
                       failure *failure) {
    uint64_t count = rows->page_tokens * rows->page_count;
    for (uint64_t at = 0; at < count; at += APPENDED_ROWS) {
        uint64_t left = count - at;
        clmla_append_params params = {
            .token_count = (uint32_t)(left < APPENDED_ROWS ? left : APPENDED_ROWS),
            .latent = {latent, 0},
            .latent_stride = rows->layout.latent_dim,
            .rope = {rope, 0},
            .rope_stride = rows->layout.rope_dim,
            .input_order = rows->layout.rope_order,
            .places = {.slots = {slots, at * sizeof(int64_t)}},
            .rows = *rows,
        };
        if (clmla_append(session->context, &params, session->queue, 0, NULL, NULL) != CLMLA_OK)
            return failure_library(failure);
    }
    cl_int code = clFinish(session->queue);
    return code == CL_SUCCESS || failure_opencl(failure, "clFinish", code);
}

static bool make_slots(cl_mem *out, const session *session, uint64_t count, failure *failure) {
    int64_t *slots = malloc((size_t)count * sizeof *slots);
    if (!slots) return failure_memory(failure);
    for (uint64_t i = 0; i < count; i++) slots[i] = (int64_t)i;
    bool made = session_buffer(out, session, count * sizeof *slots, slots, failure);
    free(slots);
    return made;
}

bool bench_rows_fill(const clmla_rows *rows, const session *session, failure *failure) {
    cl_mem latent = NULL, rope = NULL, slots = NULL;
    bool filled =
        bench_values(&latent, session, CLMLA_TYPE_F32, (uint64_t)APPENDED_ROWS * rows->layout.latent_dim, failure) &&
        (rows->layout.rope_dim == 0 ||
         bench_values(&rope, session, CLMLA_TYPE_F32, (uint64_t)APPENDED_ROWS * rows->layout.rope_dim, failure)) &&
        make_slots(&slots, session, rows->page_tokens * rows->page_count, failure) &&
        append_all(rows, session, latent, rope, slots, failure);
    bench_release(&latent);
    bench_release(&rope);
    bench_release(&slots);
    return filled;
}

bool bench_rows(clmla_rows *out, const session *session, const clmla_row_layout *layout, uint32_t page_tokens,
                uint64_t page_count, failure *failure) {
    const uint64_t room = clmla_context_facts(session->context)->max_buffer_bytes;
    uint64_t page_bytes = clmla_row_layout_page_bytes(layout, page_tokens);
    cl_mem memory = NULL;
    *out = (clmla_rows){.layout = *layout};
    if (page_bytes == 0 || page_count > room / page_bytes)
        return failure_set(failure, "%llu pages of %llu bytes do not fit one buffer of the device (%llu bytes)",
                           (unsigned long long)page_count, (unsigned long long)page_bytes, (unsigned long long)room);
    if (!session_buffer(&memory, session, page_bytes * page_count, NULL, failure)) return false;
    clmla_status status = clmla_rows_from_tensor(out, layout, (clmla_buffer){memory, 0}, page_tokens, page_count);
    out->latent.memory = memory;
    return status == CLMLA_OK ? bench_rows_fill(out, session, failure) : failure_library(failure);
}

double bench_rows_bytes(const clmla_row_layout *layout, double count) {
    return count * (layout->row_bytes + (layout->scales_apart ? layout->scale_row_bytes : 0));
}

static void shuffle(int32_t *pages, uint64_t count) {
    bench_random random = BENCH_RANDOM;
    for (uint64_t i = 0; i < count; i++) pages[i] = (int32_t)i;
    for (uint64_t i = count; i > 1; i--) { // Fisher and Yates
        uint64_t other = bench_random_next(&random) % i;
        int32_t page = pages[i - 1];
        pages[i - 1] = pages[other];
        pages[other] = page;
    }
}

static bool make_shuffled_slots(cl_mem *out, const session *session, const clmla_rows *rows, uint64_t count, bool apart,
                                failure *failure) {
    int32_t *pages = malloc((size_t)rows->page_count * sizeof *pages);
    int64_t *slots = malloc((size_t)count * sizeof *slots);
    bool made = pages && slots;
    if (made) {
        shuffle(pages, rows->page_count);
        for (uint64_t i = 0; i < count; i++) {
            uint64_t page = apart ? i % rows->page_count : i / rows->page_tokens;
            uint64_t row = apart ? i / rows->page_count : i % rows->page_tokens;
            slots[i] = (int64_t)pages[page] * rows->page_tokens + (int64_t)row;
        }
    }
    made = made ? session_buffer(out, session, count * sizeof *slots, slots, failure) : failure_memory(failure);
    free(slots);
    free(pages);
    return made;
}

bool bench_slots_by_page(cl_mem *out, const session *session, const clmla_rows *rows, uint64_t count,
                         failure *failure) {
    return make_shuffled_slots(out, session, rows, count, false, failure);
}

bool bench_slots_apart(cl_mem *out, const session *session, const clmla_rows *rows, uint64_t count, failure *failure) {
    return make_shuffled_slots(out, session, rows, count, true, failure);
}

bool bench_page_table(cl_mem *out, const session *session, uint64_t count, failure *failure) {
    int32_t *pages = malloc((size_t)count * sizeof *pages);
    if (!pages) return failure_memory(failure);
    shuffle(pages, count);
    bool made = session_buffer(out, session, count * sizeof *pages, pages, failure);
    free(pages);
    return made;
}
