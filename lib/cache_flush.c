// SPDX-License-Identifier: Apache-2.0
// Pending row work, enqueued: one launch for each wave, kind and buffer of layers. Works that were taken from the pages
// stay until all their launches are enqueued; after a failure the next flush goes on with the launch that failed,
// because rows that moved must not move again.
#include "cl/common/row_move_call.h"
#include "cl/common/row_shift_call.h"
#include "host/error.h"
#include "host/event.h"
#include "host/memory.h"
#include "lib/cache.h"
#include "lib/row_works.h"
#include <math.h>
#include <stdlib.h>

#define PIECE_ROWS 64u // longer works are cut: a device is loaded by many pieces

// Rows that move within a page overlap: they go in one piece, in order.
static bool is_cut(const cache_work *work) {
    return work->kind == CACHE_WORK_ROTATE || work->from != work->to;
}

static uint64_t pieces_of(const cache_work *work) {
    return is_cut(work) ? ((uint64_t)work->rows + PIECE_ROWS - 1) / PIECE_ROWS : 1;
}

// --- uploading ---------------------------------------------------------------------------------------------------

static int by_value(const void *a, const void *b) {
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return x < y ? -1 : x > y;
}

// The different deltas of the works, rising: [*count].
static int32_t *list_deltas(size_t *count, const clmla_cache *cache) {
    const cache_work_list *works = &cache->flushing.works;
    int32_t *deltas = host_allocate(&cache->context->host.allocator, works->count, sizeof *deltas);
    size_t all = 0, kept = 0;
    for (size_t i = 0; deltas && i < works->count; i++)
        if (works->works[i].kind == CACHE_WORK_ROTATE) deltas[all++] = works->works[i].delta;
    if (all > 1) qsort(deltas, all, sizeof *deltas, by_value);
    for (size_t i = 0; i < all; i++)
        if (kept == 0 || deltas[kept - 1] != deltas[i]) deltas[kept++] = deltas[i];
    *count = kept;
    return deltas;
}

static int32_t *encode(int32_t *out, const cache_work *work, const int32_t *deltas, size_t delta_count) {
    uint32_t step = is_cut(work) ? PIECE_ROWS : work->rows;
    const int32_t *delta =
        delta_count > 0 ? bsearch(&work->delta, deltas, delta_count, sizeof *deltas, by_value) : NULL;
    for (uint32_t row = 0; row < work->rows; row += step, out += ROW_MOVE_INTS) {
        int32_t rows = (int32_t)(work->rows - row < step ? work->rows - row : step);
        out[0] = work->from;
        out[1] = (int32_t)(work->from_row + row);
        out[2] = work->kind == CACHE_WORK_MOVE ? work->to : rows;
        out[3] = work->kind == CACHE_WORK_MOVE ? (int32_t)(work->to_row + row) : (int32_t)(delta - deltas);
        out[4] = work->kind == CACHE_WORK_MOVE ? rows : 0;
        out[5] = out[6] = out[7] = 0;
        if (work->rows - row <= step) return out + ROW_MOVE_INTS;
    }
    return out;
}

// Cosines and sines of what each delta adds to the angles, in double, of magnitude 1 whatever scales a model's own.
static void fill_angles(float *out, const clmla_cache *cache, const int32_t *deltas, size_t count) {
    for (size_t i = 0; i < count; i++)
        for (uint32_t pair = 0; pair < cache->layout.rope_dim / 2; pair++) {
            double angle = (double)deltas[i] * cache->values.inverse_frequency[pair];
            *out++ = (float)cos(angle);
            *out++ = (float)sin(angle);
        }
}

static uint64_t all_pieces(const cache_work_list *works) {
    uint64_t pieces = 0;
    for (size_t i = 0; i < works->count; i++) pieces += pieces_of(&works->works[i]);
    return pieces;
}

static clmla_status make_memory(clmla_cache *cache, uint64_t bytes) {
    host_context *host = &cache->context->host;
    cl_mem larger = NULL;
    if (bytes <= cache->flushing.capacity) return CLMLA_OK;
    STATUS_OR_RETURN(host_buffer_create(&larger, host, bytes + bytes / 2, NULL, "cache row moves"));
    host_buffer_release(host, &cache->flushing.memory);
    cache->flushing.memory = larger;
    cache->flushing.capacity = bytes + bytes / 2;
    return CLMLA_OK;
}

static clmla_status upload_works(clmla_cache *cache, const int32_t *deltas, size_t delta_count, host_chain *chain) {
    cache_flushing *flushing = &cache->flushing;
    cache_stage *stage;
    uint64_t pieces = all_pieces(&flushing->works), begin = pieces * ROW_MOVE_INTS * sizeof(int32_t);
    uint64_t bytes = begin + delta_count * cache->layout.rope_dim * sizeof(float);
    if (pieces > INT32_MAX)
        return host_fail(&cache->context->host.log, CLMLA_E_LIMIT, 0, "cache: %llu row moves in one flush",
                         (unsigned long long)pieces);
    STATUS_OR_RETURN(make_memory(cache, bytes));
    STATUS_OR_RETURN(cache_stage_take(&stage, cache, bytes));
    int32_t *out = (int32_t *)(void *)stage->memory;
    for (size_t i = 0; i < flushing->works.count; i++)
        out = encode(out, &flushing->works.works[i], deltas, delta_count);
    fill_angles((float *)(void *)(stage->memory + begin), cache, deltas, delta_count);
    return cache_stage_write(stage, cache, flushing->memory, 0, 0, bytes, chain);
}

static clmla_status upload(clmla_cache *cache, host_chain *chain) {
    size_t delta_count;
    if (cache->flushing.uploaded) return CLMLA_OK;
    int32_t *deltas = list_deltas(&delta_count, cache);
    if (!deltas)
        return host_fail(&cache->context->host.log, CLMLA_E_MEMORY, 0, "cache: no host memory for %zu row moves",
                         cache->flushing.works.count);
    clmla_status status = upload_works(cache, deltas, delta_count, chain);
    host_release(&cache->context->host.allocator, deltas);
    cache->flushing.uploaded = status == CLMLA_OK;
    return status;
}

// --- launching ---------------------------------------------------------------------------------------------------

// Works of one wave and kind, and where their pieces lie.
typedef struct segment {
    size_t begin, end;
    uint64_t first_piece, pieces;
    uint32_t most_rows; // of a piece
} segment;

// The segment after `s`; false at the end.
static bool next_segment(segment *s, const cache_work_list *works) {
    *s = (segment){.begin = s->end, .end = s->end, .first_piece = s->first_piece + s->pieces};
    if (s->begin == works->count) return false;
    const cache_work *first = &works->works[s->begin];
    for (; s->end < works->count; s->end++) {
        const cache_work *work = &works->works[s->end];
        if (work->wave != first->wave || work->kind != first->kind) break;
        uint32_t rows = work->rows < PIECE_ROWS ? work->rows : PIECE_ROWS;
        if (rows > s->most_rows) s->most_rows = rows;
        s->pieces += pieces_of(work);
    }
    return true;
}

static clmla_status launch(clmla_cache *cache, const segment *s, uint32_t group, host_chain *chain) {
    const cache_flushing *flushing = &cache->flushing;
    row_layers layers = {.layout = cache->layout,
                         .memory = {cache->groups[group], 0},
                         .layer_count = cache_group_layers(cache, group),
                         .page_tokens = cache->page_tokens,
                         .layer_stride = cache->layer_stride};
    clmla_buffer works = {flushing->memory, s->first_piece * ROW_MOVE_INTS * sizeof(int32_t)};
    clmla_buffer angles = {flushing->memory, all_pieces(&flushing->works) * ROW_MOVE_INTS * sizeof(int32_t)};
    if (flushing->works.works[s->begin].kind == CACHE_WORK_MOVE)
        return move_rows_enqueue(cache->context, &layers, works, (uint32_t)s->pieces, NULL, chain);
    return shift_enqueue(cache->context, &layers, works, (uint32_t)s->pieces, s->most_rows, angles, NULL, chain);
}

static clmla_status launch_all(clmla_cache *cache, host_chain *chain) {
    cache_flushing *flushing = &cache->flushing;
    segment s = {0};
    for (size_t index = 0; next_segment(&s, &flushing->works);)
        for (uint32_t group = 0; group < cache->group_count; group++, index++) {
            if (index < flushing->done) continue;
            STATUS_OR_RETURN(launch(cache, &s, group, chain));
            cache_note_last(cache, chain);
            flushing->done = index + 1;
        }
    return CLMLA_OK;
}

static void take(clmla_cache *cache) {
    cache_flushing *flushing = &cache->flushing;
    pthread_mutex_lock(&cache->lock);
    flushing->works.count = 0;
    cache_work_take(&flushing->works, &cache->pages);
    pthread_mutex_unlock(&cache->lock);
    flushing->uploaded = false;
    flushing->done = 0;
}

clmla_status cache_flush_enqueue(clmla_cache *cache, host_chain *chain) {
    STATUS_OR_RETURN(host_chain_wait(chain, cache->last));
    if (cache->flushing.works.count == 0 && cache->pages.work.count == 0) return CLMLA_OK;
    STATUS_OR_RETURN(host_chain_refuse_recorded(chain, "pending moves of a cache's rows"));
    for (;;) { // first what an earlier flush could not finish
        if (cache->flushing.works.count == 0) take(cache);
        if (cache->flushing.works.count == 0) return CLMLA_OK;
        STATUS_OR_RETURN(upload(cache, chain));
        STATUS_OR_RETURN(launch_all(cache, chain));
        cache->flushing.works.count = 0;
    }
}

void cache_flush_finish(clmla_cache *cache) {
    host_context *host = &cache->context->host;
    host_buffer_release(host, &cache->flushing.memory);
    host_release(&host->allocator, cache->flushing.works.works);
}

clmla_status clmla_cache_flush(clmla_cache *cache, cl_command_queue queue, cl_uint wait_count, const cl_event *wait,
                               cl_event *event) {
    host_chain chain;
    if (!cache) return host_fail(NULL, CLMLA_E_ARGUMENT, 0, "cache: flush: cache is NULL");
    STATUS_OR_RETURN(host_chain_begin(&chain, &cache->context->host, queue, wait_count, wait, true));
    return host_chain_finish(&chain, cache_flush_enqueue(cache, &chain), event);
}
