// SPDX-License-Identifier: Apache-2.0
#include "lib/cache_work.h"
#include "host/memory.h"
#include "lib/cache_pages.h"
#include <stdlib.h>
#include <string.h>

#define FIRST_WORKS 16u

// What a page will hold is of use while someone holds it, or while it is known by its contents.
static bool is_held(const cache_pages *pages, int32_t page) {
    return pages->pages[page].references > 0 || cache_prefix_known(pages, page);
}

// Backwards: a work is of use when the page it writes is held, or read by a later work that is, and has not been given
// back and taken again in between.
static void drop_useless(cache_pages *pages) {
    cache_work_list *list = &pages->work;
    uint64_t mark = ++pages->work_mark;
    for (size_t i = list->count; i-- > 0;) {
        cache_work *work = &list->works[i];
        cache_page *to = &pages->pages[work->to], *from = &pages->pages[work->from];
        bool held = is_held(pages, work->to) && to->life == work->to_life;
        bool read = to->mark == mark && to->mark_life == work->to_life;
        if (!held && !read) work->rows = 0;
        if (work->rows == 0) continue;
        from->mark = mark;
        from->mark_life = work->from_life;
    }
    size_t kept = 0;
    for (size_t i = 0; i < list->count; i++)
        if (list->works[i].rows > 0) list->works[kept++] = list->works[i];
    list->count = kept;
}

int cache_work_room(cache_pages *pages, size_t more) {
    cache_work_list *list = &pages->work;
    if (list->capacity - list->count >= more) return 1;
    drop_useless(pages);
    // Half of it free afterwards, so that dropping costs little for each work added.
    if (list->capacity / 2 >= list->count && list->capacity - list->count >= more) return 1;
    if (more > SIZE_MAX / sizeof(cache_work) / 4) return 0;
    size_t capacity = 2 * (list->count + more);
    if (capacity < FIRST_WORKS) capacity = FIRST_WORKS;
    cache_work *works = host_allocate(pages->allocator, capacity, sizeof *works);
    if (!works) return 0;
    if (list->count > 0) memcpy(works, list->works, list->count * sizeof *works);
    host_release(pages->allocator, list->works);
    list->works = works;
    list->capacity = capacity;
    return 1;
}

static void add(cache_pages *pages, cache_work work) {
    cache_page *from = &pages->pages[work.from], *to = &pages->pages[work.to];
    work.number = pages->work_number++;
    work.from_life = from->life;
    work.to_life = to->life;
    from->last_work = to->last_work = work.number;
    pages->work.works[pages->work.count++] = work;
}

void cache_work_move(cache_pages *pages, int32_t from, uint32_t from_row, int32_t to, uint32_t to_row, uint32_t rows) {
    if (rows == 0) return;
    cache_prefix_move_ids(pages, from, from_row, to, to_row, rows);
    add(pages,
        (cache_work){
            .kind = CACHE_WORK_MOVE, .from = from, .from_row = from_row, .to = to, .to_row = to_row, .rows = rows});
}

// The collected work of a number, by bisection; NULL if it was taken or dropped.
static cache_work *find(cache_work_list *list, uint64_t number) {
    size_t low = 0, high = list->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (list->works[middle].number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low < list->count && list->works[low].number == number ? &list->works[low] : NULL;
}

void cache_work_rotate(cache_pages *pages, int32_t page, uint32_t first, uint32_t rows, int32_t delta) {
    cache_work *last = find(&pages->work, pages->pages[page].last_work);
    if (last && last->kind == CACHE_WORK_ROTATE && last->to_life == pages->pages[page].life &&
        last->from_row == first && last->rows == rows) {
        last->delta += delta; // between two positions of a row: fits
        return;
    }
    add(pages, (cache_work){.kind = CACHE_WORK_ROTATE,
                            .from = page,
                            .to = page,
                            .from_row = first,
                            .to_row = first,
                            .rows = rows,
                            .delta = delta});
}

static int by_wave(const void *a, const void *b) {
    const cache_work *x = a, *y = b;
    if (x->wave != y->wave) return x->wave < y->wave ? -1 : 1;
    if (x->kind != y->kind) return x->kind < y->kind ? -1 : 1;
    return x->number < y->number ? -1 : x->number > y->number;
}

// A work runs after those that write what it reads or writes, and after those that read what it writes.
static void make_waves(cache_pages *pages, cache_work_list *list) {
    for (size_t i = 0; i < list->count; i++) {
        cache_page *from = &pages->pages[list->works[i].from], *to = &pages->pages[list->works[i].to];
        from->read_wave = from->write_wave = to->read_wave = to->write_wave = 0;
    }
    for (size_t i = 0; i < list->count; i++) {
        cache_page *from = &pages->pages[list->works[i].from], *to = &pages->pages[list->works[i].to];
        uint32_t after = from->write_wave;
        if (to->write_wave > after) after = to->write_wave;
        if (to->read_wave > after) after = to->read_wave;
        list->works[i].wave = after + 1;
        if (from->read_wave < after + 1) from->read_wave = after + 1;
        to->write_wave = after + 1;
    }
}

void cache_work_take(cache_work_list *list, cache_pages *pages) {
    for (size_t i = 0; i < pages->work.count; i++)
        if (pages->work.works[i].kind == CACHE_WORK_ROTATE && pages->work.works[i].delta == 0)
            pages->work.works[i].rows = 0;
    drop_useless(pages);
    cache_work_list taken = pages->work;
    pages->work = *list;
    pages->work.count = 0;
    *list = taken;
    make_waves(pages, list);
    if (list->count > 1) qsort(list->works, list->count, sizeof *list->works, by_wave);
}
