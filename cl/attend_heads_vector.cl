// SPDX-License-Identifier: Apache-2.0
// attend_heads_vector: as attend_heads_naive; one work-item a group takes ROW_TILE tokens of one head through the
// call's keys, BLOCK_KEYS at a time, with an online softmax. For CPU devices.         ref: tests/ref/ref_attend_heads.c
//
// Tokens are rows of a tile. For each block: keys (their rope parts behind) and values are copied together; scores keep
// VECTOR_WIDTH rows in a vector, 2 vectors and SCORE_KEYS keys in registers while the width streams (the key is
// broadcast); the value product keeps columns in vectors and VALUE_ROWS rows in registers while the keys stream. What
// no row of a vector sees is not scored. Tried and no faster on PoCL: asking for the next block's lines, reading keys
// and values where they lie.
//
// private memory: 4 bytes * ((ROW_TILE + BLOCK_KEYS) * (NOPE_DIM + ROPE_DIM + VALUE_DIM) + BLOCK_KEYS * ROW_TILE)
// grid: global (ceil(token_count / ROW_TILE), head_count), local (1, 1)
// options: VECTOR_WIDTH, NOPE_DIM, ROPE_DIM, VALUE_DIM, ROW_TILE (a multiple of 32 and of VALUE_ROWS), BLOCK_KEYS (of
// SCORE_KEYS)
#include "common/vector.clh"
#include "common/attend_heads.clh"
#if !defined(NOPE_DIM) || !defined(ROPE_DIM) || !defined(VALUE_DIM) || !defined(ROW_TILE) || !defined(BLOCK_KEYS)
#error "NOPE_DIM, ROPE_DIM, VALUE_DIM, ROW_TILE or BLOCK_KEYS is missing"
#endif

#define KEY_WIDTH (NOPE_DIM + ROPE_DIM)
#define ALIGNED __attribute__((aligned(64)))
#define SCORE_ROWS (2 * VECTOR_WIDTH)
// Sums in registers: SCORE_KEYS keys by 2 vectors of rows, VALUE_ROWS rows by VALUE_VECTORS vectors of columns.
#if VECTOR_REGISTERS >= 32
#define SCORE_KEYS 12
#define VALUE_ROWS 4
#define VALUE_VECTORS 4
#else
#define SCORE_KEYS 6
#define VALUE_ROWS 6
#define VALUE_VECTORS 2
#endif
#define SCORE_RUN 96 // products that are summed apart; so long a run of queries stays in the first-level cache

// PoCL stores a vector at any alignment in four parts.
#define store_aligned(value, pointer) (*(floatv *)(pointer) = (value))
#if NOPE_DIM % VECTOR_WIDTH == 0 && ROPE_DIM % VECTOR_WIDTH == 0 && VALUE_DIM % VECTOR_WIDTH == 0
#define store_row store_aligned
#define store_sum store_aligned
#else
#define store_row store_floatv
#define store_sum store_floatv
#endif

// What the rows of a tile see: row r keys [first[r], end[r]), neither falling with r. Rows past the last repeat it.
typedef struct tile_ranges {
    int first[ROW_TILE] ALIGNED, end[ROW_TILE] ALIGNED;
} tile_ranges;

// The same of a block.
typedef struct block_ranges {
    int count;  // keys
    int masked; // some row does not see some key
    int low[ROW_TILE] ALIGNED, high[ROW_TILE] ALIGNED;
} block_ranges;

typedef struct tile_state {
    float top[ROW_TILE] ALIGNED, total[ROW_TILE] ALIGNED, rescale[ROW_TILE] ALIGNED;
    float sums[ROW_TILE * VALUE_DIM] ALIGNED;
} tile_state;

static inline void find_ranges(tile_ranges *ranges, const attend_heads_call *call, int token, int rows) {
    for (int r = 0; r < ROW_TILE; r++) {
        heads_range range = heads_visible(call, token + min(r, rows - 1));
        ranges->first[r] = range.first;
        ranges->end[r] = range.end;
    }
}

static inline void find_block(block_ranges *block, const tile_ranges *ranges, int key) {
    block->count = min(BLOCK_KEYS, ranges->end[ROW_TILE - 1] - key);
    block->masked = key < ranges->first[ROW_TILE - 1] || key + block->count > ranges->end[0];
    for (int r = 0; r < ROW_TILE; r++) {
        block->low[r] = clamp(ranges->first[r] - key, 0, block->count);
        block->high[r] = clamp(ranges->end[r] - key, block->low[r], block->count);
    }
}

static inline void copy_floats(float *to, const __global float *from, int count) {
    int d = 0;
    for (; d + VECTOR_WIDTH <= count; d += VECTOR_WIDTH) store_row(load_floatv(from + d), to + d);
    for (; d < count; d++) to[d] = from[d];
}

// A tile's queries times scale * log2(e): [vector of rows][KEY_WIDTH][VECTOR_WIDTH]. Rows past the last are zeros.
static inline void pack_queries(float *packed, const __global float *query, const attend_heads_call *call, int rows) {
    float scale = call->scale * LOG2_E;
    for (int r = 0; r < ROW_TILE; r++) {
        float *to = packed + r / VECTOR_WIDTH * VECTOR_WIDTH * KEY_WIDTH + r % VECTOR_WIDTH;
        const __global float *from = query + (long)min(r, rows - 1) * call->query_token;
        for (int d = 0; d < KEY_WIDTH; d++) to[d * VECTOR_WIDTH] = r < rows ? from[d] * scale : 0.0f;
    }
}

// Past `count` keys are zeros up to a multiple of SCORE_KEYS.
static inline void copy_block(float *keys, float *values, const __global float *key, const __global float *key_rope,
                              const __global float *value, const attend_heads_call *call, int first, int count) {
    for (int i = 0; i < count; i++) {
        long at = first + i;
        if (NOPE_DIM > 0) copy_floats(keys + i * KEY_WIDTH, key + at * call->key_token, NOPE_DIM);
        if (ROPE_DIM > 0) copy_floats(keys + i * KEY_WIDTH + NOPE_DIM, key_rope + at * call->key_rope_token, ROPE_DIM);
        copy_floats(values + i * VALUE_DIM, value + at * call->value_token, VALUE_DIM);
    }
    for (int i = count; i % SCORE_KEYS != 0; i++)
        for (int d = 0; d < KEY_WIDTH; d++) keys[i * KEY_WIDTH + d] = 0.0f;
}

// Adds SCORE_RUN or fewer products to the scores of SCORE_ROWS rows by SCORE_KEYS keys.
static inline void add_scores(float *scores, const float *packed, const float *keys, int width, int first_run) {
    floatv sums[SCORE_KEYS][2];
#pragma unroll
    for (int i = 0; i < SCORE_KEYS; i++) sums[i][0] = sums[i][1] = (floatv)0.0f;
    for (int d = 0; d < width; d++) {
        floatv a = load_floatv(packed + d * VECTOR_WIDTH), b = load_floatv(packed + (KEY_WIDTH + d) * VECTOR_WIDTH);
#pragma unroll
        for (int i = 0; i < SCORE_KEYS; i++) {
            floatv k = (floatv)keys[i * KEY_WIDTH + d];
            sums[i][0] = fma(a, k, sums[i][0]);
            sums[i][1] = fma(b, k, sums[i][1]);
        }
    }
#pragma unroll
    for (int i = 0; i < SCORE_KEYS; i++)
#pragma unroll
        for (int v = 0; v < 2; v++) {
            float *score = scores + i * ROW_TILE + v * VECTOR_WIDTH;
            store_aligned(first_run ? sums[i][v] : load_floatv(score) + sums[i][v], score);
        }
}

// Keys from the first to past the last that rows [row, row + count) see of a block.
static inline heads_range seen_by(const block_ranges *block, int row, int count) {
    heads_range seen;
    seen.first = block->low[row];
    seen.end = block->high[row + count - 1];
    return seen;
}

static inline void score_block(float *scores, const float *packed, const float *keys, const block_ranges *block,
                               int rows) {
    for (int row = 0; row < rows; row += SCORE_ROWS) {
        heads_range seen = seen_by(block, row, SCORE_ROWS);
        for (int d = 0; d < KEY_WIDTH; d += SCORE_RUN)
            for (int i = seen.first / SCORE_KEYS * SCORE_KEYS; i < seen.end; i += SCORE_KEYS)
                add_scores(scores + i * ROW_TILE + row, packed + row * KEY_WIDTH + d * VECTOR_WIDTH,
                           keys + i * KEY_WIDTH + d, min(SCORE_RUN, KEY_WIDTH - d), d == 0);
    }
}

// One vector of rows' scores: capped, -infinity where a row does not see the key. Answers the largest.
static inline floatv view_scores(float *scores, const block_ranges *block, heads_range seen, int row, float softcap) {
    intv low = VECTOR_NAME(vload)(0, block->low + row), high = VECTOR_NAME(vload)(0, block->high + row);
    floatv most = (floatv)-INFINITY;
    for (int i = seen.first; i < seen.end; i++) {
        floatv s = load_floatv(scores + i * ROW_TILE);
        if (softcap != 0.0f) s = tanh(s * (LN_2 / softcap)) * (softcap * LOG2_E);
        if (block->masked) s = select((floatv)-INFINITY, s, (intv)i >= low && (intv)i < high);
        if (block->masked || softcap != 0.0f) store_aligned(s, scores + i * ROW_TILE);
        most = fmax(most, s);
    }
    return most;
}

// Online softmax of one vector of rows over a block: scores become weights. Of a row that has seen no key yet every
// difference must be -infinity, not NaN.
static inline void soften(float *scores, tile_state *state, const block_ranges *block, int row, float softcap) {
    heads_range seen = seen_by(block, row, VECTOR_WIDTH);
    floatv before = load_floatv(state->top + row),
           now = fmax(before, view_scores(scores + row, block, seen, row, softcap));
    floatv base = select(now, (floatv)0.0f, now == (floatv)-INFINITY), factor = exp2(before - base), sum = (floatv)0.0f;
    for (int i = seen.first; i < seen.end; i++) {
        floatv weight = exp2(load_floatv(scores + i * ROW_TILE + row) - base);
        store_aligned(weight, scores + i * ROW_TILE + row);
        sum += weight;
    }
    store_aligned(now, state->top + row);
    store_aligned(fma(load_floatv(state->total + row), factor, sum), state->total + row);
    store_aligned(factor, state->rescale + row);
}

// Adds keys [low, high) to `rows` rows' sums over `vectors` vectors of columns, both constants of the caller; the block
// is summed apart. rescale: what the sums so far are multiplied by, one factor a row.
static inline __attribute__((always_inline)) void add_values(const int rows, const int vectors, float *sums,
                                                             const float *values, const float *weights, int low,
                                                             int high, const float *rescale) {
    floatv o[VALUE_ROWS][VALUE_VECTORS];
#pragma unroll
    for (int r = 0; r < rows; r++)
#pragma unroll
        for (int v = 0; v < vectors; v++) o[r][v] = (floatv)0.0f;
    for (int i = low; i < high; i++) {
        floatv c[VALUE_VECTORS];
#pragma unroll
        for (int v = 0; v < vectors; v++) c[v] = load_floatv(values + i * VALUE_DIM + v * VECTOR_WIDTH);
#pragma unroll
        for (int r = 0; r < rows; r++) {
            floatv weight = (floatv)weights[i * ROW_TILE + r];
#pragma unroll
            for (int v = 0; v < vectors; v++) o[r][v] = fma(weight, c[v], o[r][v]);
        }
    }
#pragma unroll
    for (int r = 0; r < rows; r++)
#pragma unroll
        for (int v = 0; v < vectors; v++) {
            float *sum = sums + r * VALUE_DIM + v * VECTOR_WIDTH;
            store_sum(fma(load_floatv(sum), (floatv)rescale[r], o[r][v]), sum);
        }
}

// A row takes its own keys alone: one that is hidden from it is not even multiplied by zero, so whatever it holds stays
// out. VALUE_ROWS rows take together what all of them see, then each what is left of its own: no row's range falls
// behind the one before.
static inline __attribute__((always_inline)) void add_rows(const int vectors, float *sums, const float *values,
                                                           const float *weights, const block_ranges *block, int row,
                                                           const float *rescale) {
    const float one = 1.0f;
    int last = row + VALUE_ROWS - 1, low = block->low[last], high = max(low, block->high[row]);
    add_values(VALUE_ROWS, vectors, sums, values, weights, low, high, rescale);
    if (!block->masked) return;
    for (int r = 0; r < VALUE_ROWS; r++) {
        int own_low = block->low[row + r], own_high = block->high[row + r];
        if (own_low < low)
            add_values(1, vectors, sums + r * VALUE_DIM, values, weights + r, own_low, min(low, own_high), &one);
        if (own_high > high)
            add_values(1, vectors, sums + r * VALUE_DIM, values, weights + r, max(high, own_low), own_high, &one);
    }
}

static inline void add_block(tile_state *state, const float *values, const float *weights, const block_ranges *block,
                             int rows) {
    for (int row = 0; row < rows; row += VALUE_ROWS) {
        float *sums = state->sums + row * VALUE_DIM;
        const float *rescale = state->rescale + row;
        int column = 0;
        for (; column + VALUE_VECTORS * VECTOR_WIDTH <= VALUE_DIM; column += VALUE_VECTORS * VECTOR_WIDTH)
            add_rows(VALUE_VECTORS, sums + column, values + column, weights + row, block, row, rescale);
        for (; column + VECTOR_WIDTH <= VALUE_DIM; column += VECTOR_WIDTH)
            add_rows(1, sums + column, values + column, weights + row, block, row, rescale);
        for (; column < VALUE_DIM; column++)
            for (int r = 0; r < VALUE_ROWS; r++) {
                float o = 0.0f;
                for (int i = block->low[row + r]; i < block->high[row + r]; i++)
                    o = fma(weights[i * ROW_TILE + row + r], values[i * VALUE_DIM + column], o);
                sums[r * VALUE_DIM + column] = fma(sums[r * VALUE_DIM + column], rescale[r], o);
            }
    }
}

// The keys before, if there are any, are a row's first block: one key of weight 1 at their log-sum-exp.
static inline void begin_rows(tile_state *state, const __global float *output, const __global float *lse,
                              const attend_heads_call *call, int token, int head, int rows) {
    for (int r = 0; r < ROW_TILE; r++) {
        float before = r < rows ? heads_before(lse, call, token + r, head) : -INFINITY;
        state->top[r] = before * LOG2_E;
        state->total[r] = before == -INFINITY ? 0.0f : 1.0f;
        const __global float *from = output + (long)min(r, rows - 1) * call->output_token;
        for (int d = 0; d < VALUE_DIM; d++) state->sums[r * VALUE_DIM + d] = before == -INFINITY ? 0.0f : from[d];
    }
}

static inline void finish_rows(__global float *output, __global float *lse, const tile_state *state,
                               const attend_heads_call *call, int token, int head, int rows) {
    for (int r = 0; r < rows; r++) {
        int seen = state->total[r] != 0.0f, d = 0; // a NaN counts: it must show
        float factor = seen ? 1.0f / state->total[r] : 0.0f;
        const float *sums = state->sums + r * VALUE_DIM;
        __global float *to = output + (long)r * call->output_token;
        for (; d + VECTOR_WIDTH <= VALUE_DIM; d += VECTOR_WIDTH)
            store_floatv(seen ? load_floatv(sums + d) * factor : (floatv)0.0f, to + d);
        for (; d < VALUE_DIM; d++) to[d] = seen ? sums[d] * factor : 0.0f;
        if (lse)
            lse[call->lse + (token + r) * call->lse_token + head * call->lse_head] =
                seen ? (state->top[r] + log2(state->total[r])) * LN_2 : -INFINITY;
    }
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void attend_heads_vector(HEADS_ARGUMENTS) {
    float packed[ROW_TILE * KEY_WIDTH] ALIGNED, keys[BLOCK_KEYS * KEY_WIDTH] ALIGNED,
        values[BLOCK_KEYS * VALUE_DIM] ALIGNED;
    float scores[BLOCK_KEYS * ROW_TILE] ALIGNED;
    tile_state state;
    tile_ranges ranges;
    block_ranges block;

    // The last tiles see most keys: they begin first, and what is left at the end is short.
    int tiles = (call.token_count + ROW_TILE - 1) / ROW_TILE, head = get_global_id(1);
    int token = (tiles - 1 - (int)get_global_id(0)) * ROW_TILE, rows = min(ROW_TILE, call.token_count - token);
    if (token < 0 || head >= call.head_count) return;
    find_ranges(&ranges, &call, token, rows);
    int first = ranges.first[0], end = ranges.end[ROW_TILE - 1];
    const __global float *q = query + call.query + token * call.query_token + head * call.query_head;
    const __global float *k = key + call.key + head * call.key_head, *v = value + call.value + head * call.value_head;
    __global float *to = output + call.output + token * call.output_token + head * call.output_head;
    begin_rows(&state, to, lse, &call, token, head, rows);
    if (first < end) pack_queries(packed, q, &call, rows);

    for (; first < end; first += BLOCK_KEYS) {
        find_block(&block, &ranges, first);
        copy_block(keys, values, k, key_rope + call.key_rope, v, &call, first, block.count);
        score_block(scores, packed, keys, &block, rows);
        for (int row = 0; row < rows; row += VECTOR_WIDTH) soften(scores, &state, &block, row, call.softcap);
        add_block(&state, values, scores, &block, rows);
    }
    finish_rows(to, lse, &state, &call, token, head, rows);
}
