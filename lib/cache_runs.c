// SPDX-License-Identifier: Apache-2.0
#include "lib/cache_runs.h"
#include <string.h>

// The run that holds a row.
static uint32_t find(const cache_runs *runs, uint32_t row) {
    uint32_t low = 0, high = runs->count;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (runs->runs[middle].first_row <= row)
            low = middle;
        else
            high = middle;
    }
    return low;
}

// In 64 bits: where a run would go on is not always a position.
static int64_t position_in(const cache_run *run, uint32_t row) {
    return (int64_t)run->position + row - run->first_row;
}

int32_t cache_runs_position(const cache_runs *runs, uint32_t row) {
    return (int32_t)position_in(&runs->runs[find(runs, row)], row);
}

void cache_runs_list(int32_t *out, const cache_runs *runs, uint32_t first, uint32_t count) {
    uint32_t run = find(runs, first);
    for (uint32_t i = 0; i < count; i++) {
        if (run + 1 < runs->count && runs->runs[run + 1].first_row == first + i) run++;
        out[i] = (int32_t)position_in(&runs->runs[run], first + i);
    }
}

int64_t cache_runs_next(const cache_runs *runs, uint32_t rows) {
    return rows == 0 ? 0 : position_in(&runs->runs[runs->count - 1], rows);
}

static void insert(cache_runs *runs, uint32_t index, uint32_t row, int32_t position) {
    memmove(runs->runs + index + 1, runs->runs + index, (runs->count - index) * sizeof *runs->runs);
    runs->runs[index] = (cache_run){row, position};
    runs->count++;
}

static void erase(cache_runs *runs, uint32_t index, uint32_t count) {
    if (count == 0) return;
    memmove(runs->runs + index, runs->runs + index + count, (runs->count - index - count) * sizeof *runs->runs);
    runs->count -= count;
}

// Joins run `index` to the one before it when that one goes on to it.
static void join(cache_runs *runs, uint32_t index) {
    if (index == 0 || index >= runs->count) return;
    const cache_run *run = &runs->runs[index];
    if (position_in(run - 1, run->first_row) == run->position) erase(runs, index, 1);
}

// Makes a run begin at `row`; its index. Past the last row: the count.
static uint32_t split(cache_runs *runs, uint32_t row, uint32_t rows) {
    if (row >= rows) return runs->count;
    uint32_t index = find(runs, row);
    if (runs->runs[index].first_row == row) return index;
    insert(runs, index + 1, row, (int32_t)position_in(&runs->runs[index], row));
    return index + 1;
}

void cache_runs_append(cache_runs *runs, uint32_t row, int32_t position) {
    if (row > 0 && cache_runs_next(runs, row) == position) return;
    insert(runs, runs->count, row, position);
}

void cache_runs_cut(cache_runs *runs, uint32_t rows) {
    while (runs->count > 0 && runs->runs[runs->count - 1].first_row >= rows) runs->count--;
}

void cache_runs_remove(cache_runs *runs, uint32_t from, uint32_t to, uint32_t rows) {
    uint32_t end = split(runs, to, rows), begin = 0;
    while (begin < end && runs->runs[begin].first_row < from) begin++;
    erase(runs, begin, end - begin);
    for (uint32_t i = begin; i < runs->count; i++) runs->runs[i].first_row -= to - from;
    join(runs, begin);
}

bool cache_runs_can_shift(const cache_runs *runs, uint32_t from, uint32_t to, int32_t delta) {
    for (uint32_t i = find(runs, from); i < runs->count && runs->runs[i].first_row < to; i++) {
        uint32_t first = runs->runs[i].first_row < from ? from : runs->runs[i].first_row;
        uint32_t end = i + 1 < runs->count && runs->runs[i + 1].first_row < to ? runs->runs[i + 1].first_row : to;
        if (position_in(&runs->runs[i], first) + delta < 0) return false;
        if (position_in(&runs->runs[i], end - 1) + delta > INT32_MAX) return false;
    }
    return true;
}

void cache_runs_shift(cache_runs *runs, uint32_t from, uint32_t to, uint32_t rows, int32_t delta) {
    uint32_t begin = split(runs, from, rows), end = split(runs, to, rows);
    for (uint32_t i = begin; i < end; i++) runs->runs[i].position += delta;
    join(runs, end);
    join(runs, begin);
}
