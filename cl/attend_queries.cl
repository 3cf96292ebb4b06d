// SPDX-License-Identifier: Apache-2.0
// Queries made ready for the attend kernels.                                                   ref: tests/ref/ref_attend.c
//   attend_pack         tiles of VECTOR_WIDTH rows for attend_vector: packed [tile][L + R][VECTOR_WIDTH] f32, times factor
//   attend_pack_absorb  the same from queries that are not absorbed yet: q_nope through W_UK on the way (absorb_vector.cl)
//   attend_absorb       q_nope through W_UK, and the rotated values, for attend_naive: absorbed [token][head][L + R] f32
// tiles[i] = {first token of the sequence, first row, rows of this sequence and kv head, kv head}; rows past a tile's end are
// zero.   options: VECTOR_WIDTH (the first two kernels) or none (the last); ELEMENT_* of the weights
#ifdef VECTOR_WIDTH
#include "common/vector.clh"
#endif
#include "common/element.clh"
#include "common/scale.clh"
#include "common/attend_call.h"

#define HEADER_TILES 3
#define HEADER_TOKENS 4
#define ABSORB_ARGUMENTS const __global element_t *weights, const __global float *scales, absorb_call absorb

static inline scale_grid absorb_grid(const __global float *scales, const absorb_call *absorb) {
    return scale_grid_make(scales, absorb->scales, absorb->scale_stride, absorb->scale_row, 0);
}

#ifdef VECTOR_WIDTH

#define STRIP 4 // vectors of columns a work-item keeps in registers; a strip lies within one scale block of 128
#define STRIP_COLUMNS (STRIP * VECTOR_WIDTH)
#define TILES_MAX 4 // tiles of different tokens and the same heads, for which each weight is read once
#define NOPE_RUN 64 // values of a query converted at a time

// One row of a tile.
typedef struct tile_lane {
    int there, head;
    long token;
} tile_lane;

static inline tile_lane tile_lane_at(const __global int *step, const attend_call *call, long tile, int lane) {
    const __global int *of = step + call->tiles + 4 * tile;
    int row = of[1] + lane;
    tile_lane at;
    at.there = row < of[2];
    at.token = of[0] + row / call->group_heads;
    at.head = of[3] * call->group_heads + row % call->group_heads;
    return at;
}

// out[d * VECTOR_WIDTH] = factor * values[first + d]
static inline void pack_values(__global float *out, const __global uchar *values, int type, long first, int count, float factor) {
    if (type == NUMBER_F16)
        for (int d = 0; d < count; d++) out[d * VECTOR_WIDTH] = number_load(values, NUMBER_F16, first + d) * factor;
    else if (type == NUMBER_BF16)
        for (int d = 0; d < count; d++) out[d * VECTOR_WIDTH] = number_load(values, NUMBER_BF16, first + d) * factor;
    else
        for (int d = 0; d < count; d++) out[d * VECTOR_WIDTH] = number_load(values, NUMBER_F32, first + d) * factor;
}

static inline void pack_zeros(__global float *out, int count) {
    for (int d = 0; d < count; d++) out[d * VECTOR_WIDTH] = 0.0f;
}

static inline void pack_rope(__global float *out, const __global uchar *query_rope, const tile_lane *lane, const attend_call *call,
                             float factor) {
    pack_values(out + call->latent_dim * VECTOR_WIDTH, query_rope + call->query_rope, call->query_type,
                lane->token * call->query_rope_token + lane->head * call->query_rope_head, call->rope_dim, factor);
}

// grid: global (tiles), local (1).
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
attend_pack(const __global uchar *query, const __global uchar *query_rope, const __global int *step, __global float *space,
            float factor, attend_call call) {
    int tile = get_global_id(0), width = call.latent_dim + call.rope_dim;
    if (tile >= step[call.header + HEADER_TILES]) return;
    __global float *out = space + call.packed + (long)tile * width * VECTOR_WIDTH;
    for (int l = 0; l < VECTOR_WIDTH; l++) {
        tile_lane lane = tile_lane_at(step, &call, tile, l);
        if (!lane.there) {
            pack_zeros(out + l, width);
            continue;
        }
        pack_values(out + l, query + call.query, call.query_type, lane.token * call.query_token + lane.head * call.query_head,
                    call.latent_dim, factor);
        pack_rope(out + l, query_rope, &lane, &call, factor);
    }
}

// The tiles one work-item fills: lane l of each belongs to one head, so that a weight serves all of them.
typedef struct tile_set {
    int count;
    long first, step;
} tile_set;

// Adds NOPE_RUN or fewer products to one lane's absorbed values: `vectors` vectors of columns by `tiles` (constants).
static inline __attribute__((always_inline)) void absorb_run(const int tiles, const int vectors, floatv sums[TILES_MAX][STRIP],
                                                      const __global element_t *rows, long row_stride, int width, scale_grid grid,
                                                      int first_row, int column, float q[TILES_MAX][NOPE_RUN]) {
    for (int n = 0; n < width; n++) {
        float scale = scale_at(grid, first_row + n, column);
        floatv w[STRIP];
#pragma unroll
        for (int i = 0; i < vectors; i++) w[i] = element_load_vector(rows, n * row_stride + column + i * VECTOR_WIDTH);
#pragma unroll
        for (int t = 0; t < tiles; t++) {
            floatv a = (floatv)(q[t][n] * scale);
#pragma unroll
            for (int i = 0; i < vectors; i++) sums[t][i] = fma(a, w[i], sums[t][i]);
        }
    }
}

typedef struct absorb_lane {
    const __global element_t *rows; // W_UK of the head
    int first_row;                  // its first row in kv_b
    const __global uchar *query;
    long q[TILES_MAX];              // elements: where the lane's queries begin
    __global float *out[TILES_MAX]; // the lane in its tiles; NULL: no such row
} absorb_lane;

static inline __attribute__((always_inline)) void absorb_columns(const int tiles, const int vectors, const absorb_lane *lane,
                                                          int column, const absorb_call *absorb, scale_grid grid, int type,
                                                          float factor) {
    floatv sums[TILES_MAX][STRIP];
    float q[TILES_MAX][NOPE_RUN];
#pragma unroll
    for (int t = 0; t < tiles; t++)
#pragma unroll
        for (int i = 0; i < vectors; i++) sums[t][i] = (floatv)0.0f;
    for (int n = 0; n < absorb->nope_dim; n += NOPE_RUN) {
        int width = min(NOPE_RUN, absorb->nope_dim - n);
        for (int t = 0; t < tiles; t++)
            for (int i = 0; i < width; i++) q[t][i] = number_load(lane->query, type, lane->q[t] + n + i);
        absorb_run(tiles, vectors, sums, lane->rows + n * absorb->row_stride, absorb->row_stride, width, grid, lane->first_row + n,
                   column, q);
    }
    float values[STRIP_COLUMNS];
#pragma unroll
    for (int t = 0; t < tiles; t++) {
        if (!lane->out[t]) continue;
#pragma unroll
        for (int i = 0; i < vectors; i++) store_floatv(sums[t][i] * factor, values + i * VECTOR_WIDTH);
        for (int i = 0; i < vectors * VECTOR_WIDTH; i++) lane->out[t][(column + i) * VECTOR_WIDTH] = values[i];
    }
}

static inline void absorb_column(int tiles, const absorb_lane *lane, int column, const absorb_call *absorb, scale_grid grid,
                                 int type, float factor) {
    for (int t = 0; t < tiles; t++) {
        float sum = 0.0f;
        if (!lane->out[t]) continue;
        for (int n = 0; n < absorb->nope_dim; n++)
            sum = fma(number_load(lane->query, type, lane->q[t] + n) * scale_at(grid, lane->first_row + n, column),
                      element_load(lane->rows, n * absorb->row_stride + column), sum);
        lane->out[t][column * VECTOR_WIDTH] = sum * factor;
    }
}

static inline __attribute__((always_inline)) void absorb_strip(const int tiles, const absorb_lane *lane, int column, int columns,
                                                        const absorb_call *absorb, scale_grid grid, int type, float factor) {
    int end = min(column + STRIP_COLUMNS, columns);
    if (column + STRIP_COLUMNS <= end) {
        absorb_columns(tiles, STRIP, lane, column, absorb, grid, type, factor);
        return;
    }
    for (; column + VECTOR_WIDTH <= end; column += VECTOR_WIDTH)
        absorb_columns(tiles, 1, lane, column, absorb, grid, type, factor);
    for (; column < end; column++) absorb_column(tiles, lane, column, absorb, grid, type, factor);
}

// One strip of columns, or with strip past the last one the rope part, of all lanes of a set of tiles.
static inline void absorb_tiles(const tile_set *set, int strip, const __global uchar *query, const __global uchar *query_rope,
                                const __global int *step, __global float *space, ABSORB_ARGUMENTS, const attend_call *call,
                                float factor) {
    scale_grid grid = absorb_grid(scales, &absorb);
    int width = call->latent_dim + call->rope_dim, column = strip * STRIP_COLUMNS;
    for (int l = 0; l < VECTOR_WIDTH; l++) {
        absorb_lane lane;
        int head = 0;
        lane.query = query + call->query;
        for (int t = 0; t < set->count; t++) {
            long tile = set->first + t * set->step;
            tile_lane at = tile_lane_at(step, call, tile, l);
            __global float *out = space + call->packed + tile * width * VECTOR_WIDTH + l;
            if (column >= call->latent_dim && at.there)
                pack_rope(out, query_rope, &at, call, factor);
            else if (column >= call->latent_dim)
                pack_zeros(out, width);
            lane.out[t] = at.there ? out : (__global float *)0;
            lane.q[t] = at.there ? at.token * call->query_token + at.head * call->query_head : 0;
            head = at.there ? at.head : head;
        }
        if (column >= call->latent_dim) continue;
        lane.first_row = head * (absorb.nope_dim + absorb.value_dim);
        lane.rows = weights + absorb.weights + lane.first_row * absorb.row_stride;
        if (set->count == TILES_MAX)
            absorb_strip(TILES_MAX, &lane, column, call->latent_dim, &absorb, grid, call->query_type, factor);
        else
            for (int t = 0; t < set->count; t++) {
                absorb_lane one = lane;
                one.q[0] = lane.q[t];
                one.out[0] = lane.out[t];
                if (one.out[0]) absorb_strip(1, &one, column, call->latent_dim, &absorb, grid, call->query_type, factor);
            }
    }
}

// tile_step: tiles a token, when every token's tiles hold the same heads; 0 when they do not.
// grid: global (tiles, or tile_step * ceil(tokens / TILES_MAX); strips of columns + 1), local (1, 1).
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
attend_pack_absorb(const __global uchar *query, const __global uchar *query_rope, const __global int *step, __global float *space,
                   ABSORB_ARGUMENTS, int tile_step, float factor, attend_call call) {
    long index = get_global_id(0);
    int tiles = step[call.header + HEADER_TILES];
    tile_set set = {1, index, 0};
    if (tile_step) {
        set.first = index / tile_step * TILES_MAX * tile_step + index % tile_step;
        set.step = tile_step;
        set.count = (int)min((long)TILES_MAX, (tiles - set.first + tile_step - 1) / tile_step);
    }
    if (set.first >= tiles) return;
    absorb_tiles(&set, get_global_id(1), query, query_rope, step, space, weights, scales, absorb, &call, factor);
}

#else

// grid: global (L + R, head_count, tokens), local free.
__kernel void attend_absorb(const __global uchar *query, const __global uchar *query_rope, const __global int *step,
                            ABSORB_ARGUMENTS, __global float *absorbed, attend_call call) {
    int column = get_global_id(0), head = get_global_id(1), width = call.latent_dim + call.rope_dim;
    long token = get_global_id(2);
    if (column >= width || head >= call.head_count || token >= step[call.header + HEADER_TOKENS]) return;
    scale_grid grid = absorb_grid(scales, &absorb);
    int first_row = head * (absorb.nope_dim + absorb.value_dim);
    long q = token * call.query_token + head * call.query_head;
    float value = 0.0f;
    if (column < call.latent_dim)
        for (int n = 0; n < absorb.nope_dim; n++)
            value = fma(number_load(query + call.query, call.query_type, q + n) * scale_at(grid, first_row + n, column),
                        element_load(weights, absorb.weights + (first_row + n) * absorb.row_stride + column), value);
    else
        value = number_load(query_rope + call.query_rope, call.query_type,
                            token * call.query_rope_token + head * call.query_rope_head + column - call.latent_dim);
    absorbed[(token * call.head_count + head) * width + column] = value;
}

#endif
