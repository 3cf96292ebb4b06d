// SPDX-License-Identifier: Apache-2.0
// What page operations leave to be done on the device: rows to copy or move, rows to rotate. Collected on the host in
// order, taken by the next flush as waves: the works of one wave touch no page that another of them writes, so a wave
// is one launch of each kind, and waves run one after another.
#ifndef LIB_CACHE_WORK_H
#define LIB_CACHE_WORK_H

#include <stddef.h>
#include <stdint.h>

typedef enum cache_work_kind { CACHE_WORK_MOVE, CACHE_WORK_ROTATE } cache_work_kind;

// `rows` rows from row from_row of page `from` on. A move takes them to row to_row of page `to`; within one page it is
// downwards, so that ascending order reads each row before it is overwritten. A rotation turns their rope part by
// `delta` positions where they are (to = from, to_row = from_row).
typedef struct cache_work {
    cache_work_kind kind;
    int32_t from, to;
    uint32_t from_row, to_row, rows; // rows 0: nothing to do (rotations that took each other back)
    int32_t delta;
    uint32_t wave;               // from 1; set by cache_work_take
    uint64_t number;             // rising
    uint64_t from_life, to_life; // which taking of the pages it is about (cache_page.life)
} cache_work;

typedef struct cache_work_list {
    cache_work *works;
    size_t count, capacity;
} cache_work_list;

struct cache_pages;
struct clmla_allocator;

// Room for `more` works, so that adding cannot fail; drops works whose result nobody can see any more. False when out
// of memory.
int cache_work_room(struct cache_pages *pages, size_t more);
// Adds; there must be room. A rotation right after one of the same rows joins it: several shifts cost one.
void cache_work_move(struct cache_pages *pages, int32_t from, uint32_t from_row, int32_t to, uint32_t to_row,
                     uint32_t rows);
void cache_work_rotate(struct cache_pages *pages, int32_t page, uint32_t first, uint32_t rows, int32_t delta);

// Exchanges the collected list for `list` (emptied, its memory is used again): what is still of use, in waves, sorted
// by wave and kind.
void cache_work_take(cache_work_list *list, struct cache_pages *pages);

#endif
