// SPDX-License-Identifier: Apache-2.0
// Rotary positions of a sequence's rows, kept as runs: a run gives the position of its first row, and each further
// row's is one more, up to the next run. Removing rows leaves the positions of the others.
#ifndef LIB_CACHE_RUNS_H
#define LIB_CACHE_RUNS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct cache_run {
    uint32_t first_row;
    int32_t position;
} cache_run;

typedef struct cache_runs {
    cache_run *runs; // [count], rising rows, the first at row 0; none when there are no rows
    uint32_t count, capacity;
} cache_runs;

// Position of a row; the run that holds it is found by bisection.
int32_t cache_runs_position(const cache_runs *runs, uint32_t row);
// The same for rows first .. first+count-1.
void cache_runs_list(int32_t *out, const cache_runs *runs, uint32_t first, uint32_t count);
// One after the last of `rows` rows, in 64 bits; 0 when there are none.
int64_t cache_runs_next(const cache_runs *runs, uint32_t rows);

// The calls below need room for this many runs more than there are.
#define CACHE_RUNS_FOR_EDIT 2u                                            // remove, shift; append needs one
void cache_runs_append(cache_runs *runs, uint32_t row, int32_t position); // row is the first after the last
void cache_runs_cut(cache_runs *runs, uint32_t rows);                     // keeps the first `rows` rows
void cache_runs_remove(cache_runs *runs, uint32_t from, uint32_t to, uint32_t rows);
// Whether positions of rows [from, to) stay within 0 .. INT32_MAX when delta is added.
bool cache_runs_can_shift(const cache_runs *runs, uint32_t from, uint32_t to, int32_t delta);
void cache_runs_shift(cache_runs *runs, uint32_t from, uint32_t to, uint32_t rows, int32_t delta);

#endif
