// SPDX-License-Identifier: Apache-2.0
// What the timed operations work on: buffers of seeded random values, cached rows, page tables. Same seed, same values.
#ifndef TOOLS_BENCH_DATA_H
#define TOOLS_BENCH_DATA_H

#include "session.h"
#include <stdint.h>

typedef struct bench_random {
    uint64_t state; // not 0
} bench_random;

#define BENCH_RANDOM ((bench_random){0x9e3779b97f4a7c15u})

uint64_t bench_random_next(bench_random *random);
// Near normal (a sum of uniforms), mean 0, deviation 0.1.
float bench_random_value(bench_random *random);

// A buffer of `count` random values; of type f32, f16, bf16 or f8_e4m3. Large ones repeat a random block.
bool bench_values(cl_mem *out, const session *session, clmla_type type, uint64_t count, failure *failure);

// The same in host memory.
void bench_fill(void *values, clmla_type type, uint64_t count);

// A dense matrix of random weights; fp8 with its block scales. bench_matrix_release accepts what is half made.
bool bench_matrix(clmla_matrix *out, const session *session, clmla_type type, uint32_t rows, uint32_t columns,
                  failure *failure);
void bench_matrix_release(clmla_matrix *matrix);

// Pages of random rows, written by clmla_append; all of them in one buffer, rows.latent.memory, which the caller
// releases, also after a failure.
bool bench_rows(clmla_rows *out, const session *session, const clmla_row_layout *layout, uint32_t page_tokens,
                uint64_t page_count, failure *failure);
// Writes random rows into all pages of a view.
bool bench_rows_fill(const clmla_rows *rows, const session *session, failure *failure);
// Bytes that reading `count` such rows moves, scales included.
double bench_rows_bytes(const clmla_row_layout *layout, double count);

// A random permutation of 0 .. count-1 as int32: pages in no order, as a cache that has been in use gives them.
bool bench_page_table(cl_mem *out, const session *session, uint64_t count, failure *failure);

// int64 slots of such rows for clmla_append and clmla_gather. By page: the pages one after the other, in no order; at
// most as many slots as there are rows. Apart: neighbours in different pages.
bool bench_slots_by_page(cl_mem *out, const session *session, const clmla_rows *rows, uint64_t count, failure *failure);
bool bench_slots_apart(cl_mem *out, const session *session, const clmla_rows *rows, uint64_t count, failure *failure);

void bench_release(cl_mem *memory); // accepts NULL inside

#endif
