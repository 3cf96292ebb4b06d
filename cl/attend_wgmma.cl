// SPDX-License-Identifier: Apache-2.0
// attend_wgmma: absorbed attention by the warpgroup products of NVIDIA's Hopper, of fast compute: queries and weights are rounded
// to the rows' own 16-bit format, sums are f32. Two warpgroups take 64 rows (heads of one or more query tokens) through a range
// of keys with an online softmax, 64 keys at a time, staged once in local memory for both products; while they multiply, the
// next 64 are on their way.                                                                     ref: tests/ref/ref_attend.c
//
// Scores: each warpgroup multiplies all rows by 32 keys. Values: each keeps the sums of one half of the columns, for all rows,
// in registers through all keys. Weights lie where the block's rope part was, which nobody needs any more.
// Every barrier is reached by the whole group: loops that hold one depend on the work alone.
//
//   space: packed  [tile][BLOCKS][64][64] 16-bit queries times scale * log2(e), zeros behind, each block in the order of
//                  wgmma_at; by attend_pack_wgmma
//          states, state_lse, state_max: lib/plan_schedule.h
//   output, lse, max_logit: common/result.clh
// local memory: WGMMA_LOCAL_BYTES.   grid: global (parts * 256), local (256)
// options: WGMMA_* (common/wgmma.clh), MATRIX_* (common/matrix.clh, for its numbers), ROWS_F16 or ROWS_BF16, SPARSE, LATENT_DIM =
// VALUE_DIM (256 or 512), ROPE_DIM (a multiple of 64)
#include "common/work.clh"
#include "common/result.clh"
#include "common/matrix.clh"
#include "common/wgmma.clh"
#if !defined(LATENT_DIM) || !defined(ROPE_DIM) || !defined(VALUE_DIM)
#error "LATENT_DIM, ROPE_DIM or VALUE_DIM is missing"
#endif

#define GROUP 256
#define ROW_TILE 64
#define KEY_TILE 64
#define LATENT_BLOCKS (LATENT_DIM / 64)
#define BLOCKS ((LATENT_DIM + ROPE_DIM) / 64)
#define TILE_VALUES (BLOCKS * WGMMA_BLOCK)
#define PIECES (VALUE_DIM / 256) // of 128 columns, of each warpgroup
#define EMPTY -1.0f              // in place of the factor of a row that saw no key
#define ALWAYS_INLINE __attribute__((always_inline))

// What is known of a block of keys before it is multiplied.
#define BLOCK_HOLES 1 // some of its keys are not there
#define BLOCK_ODD 2   // some of its values are no numbers; looked for in masked blocks alone

// What the group shares.
typedef struct wgmma_memory {
    __local ushort *queries;  // [BLOCKS][64][64]
    __local ushort *keys;     // [2][BLOCKS][64][64], by turns
    __local float *shares;    // [ROW_TILE][8]: of each row, what the work-items that have sums of it found
    __local int *first, *end; // [ROW_TILE]: the keys each row sees; none past the work's rows
    __local int *there;       // [2][KEY_TILE]
    __local int *block;       // [2]: BLOCK_*
    __local float *rescale;   // [ROW_TILE]: what the finished sums are multiplied by
    __local long *rows;       // [ROW_TILE]: where a finished row begins in the states or the output, in values
} wgmma_memory;

// Two keys of a block: 8 work-items stage a row. NULL: not there.
typedef struct stage_place {
    const __global ushort *latent[2], *rope[2];
} stage_place;

// Where the work-item's keys of block [key, key + KEY_TILE) lie, of which `count` are to be read.
static inline ALWAYS_INLINE void place_keys(stage_place *place, const wgmma_memory *m, const key_source *keys, int key, int count,
                                            int turn, uint t) {
    WGMMA_UNROLL
    for (int h = 0; h < 2; h++) {
        int index = (int)(t / 8) + 32 * h;
        row_parts at;
        int there = index < count && key_at(&at, keys, key + index);
        place->latent[h] = there ? (const __global ushort *)at.latent : (const __global ushort *)0;
        place->rope[h] = there ? (const __global ushort *)at.rope : (const __global ushort *)0;
        if (t % 8 != 0) continue;
        m->there[turn * KEY_TILE + index] = there;
        if (!there) atomic_or(m->block + turn, BLOCK_HOLES);
    }
}

#ifdef ROWS_BF16
#define EXPONENT 0x7f80
#else
#define EXPONENT 0x7c00
#endif

static inline ushort8 load_run(const __global ushort *from) {
    if (((size_t)from & 15) == 0) return *(const __global ushort8 *)from;
    return vload8(0, from);
}
static inline void stage_run(__local ushort *to, const __global ushort *from) {
#ifdef WGMMA_NVIDIA
    if (((size_t)from & 15) == 0) {
        __asm__ volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"((uint)(size_t)to), "l"(from) : "memory");
        return;
    }
#endif
    *(__local ushort8 *)to = load_run(from);
}
// What this work-item staged is there, for products after the next barrier.
static inline void stage_finish(void) {
#ifdef WGMMA_NVIDIA
    __asm__ volatile("cp.async.wait_all;" ::: "memory");
#endif
    wgmma_publish();
}

// Stages the keys that were placed; those that are not there become zero rows. checked: whether a value is no number is told.
static inline ALWAYS_INLINE void stage_keys(const wgmma_memory *m, const stage_place *place, int checked, int turn, uint t) {
    int odd = 0;
    WGMMA_UNROLL
    for (int h = 0; h < 2; h++) {
        uint row = t / 8 + 32 * h, run = t % 8;
        __local ushort *to = m->keys + turn * TILE_VALUES + wgmma_at(row, run * 8);
    WGMMA_UNROLL
        for (int b = 0; b < BLOCKS; b++) {
            const __global ushort *from = b < LATENT_BLOCKS ? place->latent[h] + b * 64 : place->rope[h] + (b - LATENT_BLOCKS) * 64;
            if (!place->latent[h]) {
                *(__local ushort8 *)(to + b * WGMMA_BLOCK) = (ushort8)0;
                continue;
            }
            if (checked) odd |= any((load_run(from + run * 8) & (ushort8)EXPONENT) == (ushort8)EXPONENT);
            stage_run(to + b * WGMMA_BLOCK, from + run * 8);
        }
    }
    if (odd) atomic_or(m->block + turn, BLOCK_ODD);
}

static inline void stage_queries(const wgmma_memory *m, const __global ushort *queries, uint t) {
    for (uint i = t; i < TILE_VALUES / 8; i += GROUP) stage_run(m->queries + i * 8, queries + i * 8);
}

// Scores of all rows by the warpgroup's 32 keys.
static inline ALWAYS_INLINE void score_keys(float *s, const wgmma_memory *m, int turn, uint side) {
    const __local ushort *keys = m->keys + turn * TILE_VALUES + side * 32 * 64;
    wgmma_begin();
    WGMMA_UNROLL
    for (int b = 0; b < BLOCKS; b++) {
#define SCORE(chunk) wgmma_scores(s, m->queries + b * WGMMA_BLOCK, keys + b * WGMMA_BLOCK, chunk, b == 0 && chunk == 0);
        SCORE(0) SCORE(1) SCORE(2) SCORE(3)
#undef SCORE
    }
    wgmma_commit();
}

// A work-item has sums of two rows: number i is of its row i / 2 % 2.
static inline ALWAYS_INLINE void mask_scores(float *s, const wgmma_memory *m, int key, float softcap, int masked, int turn,
                                             uint side, uint lane) {
    if (softcap != 0.0f) {
    WGMMA_UNROLL
        for (int i = 0; i < 16; i++) s[i] = tanh(s[i] * (LN_2 / softcap)) * (softcap * LOG2_E);
    }
    if (!masked) return;
    WGMMA_UNROLL
    for (int i = 0; i < 16; i++) {
        int row = wgmma_row(lane, i), index = side * 32 + wgmma_column(lane, i);
        int seen = m->there[turn * KEY_TILE + index] && key + index >= m->first[row] && key + index < m->end[row];
        s[i] = seen ? s[i] : -INFINITY;
    }
}

static inline ALWAYS_INLINE void share_tops(const float *s, const wgmma_memory *m, uint side, uint lane) {
    float top[2] = {-INFINITY, -INFINITY};
    WGMMA_UNROLL
    for (int i = 0; i < 16; i++) top[i / 2 % 2] = fmax(top[i / 2 % 2], s[i]);
    WGMMA_UNROLL
    for (int r = 0; r < 2; r++) m->shares[wgmma_row(lane, 2 * r) * 8 + side * 4 + lane % 4] = top[r];
}

static inline float8 shares_of(const wgmma_memory *m, uint row) {
    const __local float4 *shares = (const __local float4 *)(m->shares + row * 8);
    return (float8)(shares[0], shares[1]);
}
static inline float largest_of(float8 x) {
    float4 four = fmax(x.lo, x.hi);
    float2 two = fmax(four.lo, four.hi);
    return fmax(two.x, two.y);
}
static inline float sum_of(float8 x) {
    float4 four = x.lo + x.hi;
    float2 two = four.lo + four.hi;
    return two.x + two.y;
}

// Online softmax: scores become weights, as rounded. Answers whether older sums must be rescaled, and by what.
static inline ALWAYS_INLINE int soften(const float *s, float *top, float *total, float *rescale, const wgmma_memory *m, int turn,
                                       uint side, uint lane) {
    __local ushort *weights = m->keys + turn * TILE_VALUES + LATENT_BLOCKS * WGMMA_BLOCK;
    float base[2], sum[2] = {0.0f, 0.0f};
    WGMMA_UNROLL
    for (int r = 0; r < 2; r++) {
        float now = fmax(top[r], largest_of(shares_of(m, wgmma_row(lane, 2 * r))));
        // A row that has seen no key yet: every difference below must be -inf, not NaN.
        base[r] = now == -INFINITY ? 0.0f : now;
        rescale[r] = wgmma_exp2(top[r] - base[r]);
        top[r] = now;
    }
    WGMMA_UNROLL
    for (int i = 0; i < 16; i += 2) {
        int r = i / 2 % 2;
        uint both = wgmma_round(wgmma_exp2(s[i] - base[r]), wgmma_exp2(s[i + 1] - base[r]));
        *(__local uint *)(weights + wgmma_at(wgmma_row(lane, i), side * 32 + wgmma_column(lane, i))) = both;
        sum[r] += matrix_number((ushort)both) + matrix_number((ushort)(both >> 16));
    }
    WGMMA_UNROLL
    for (int r = 0; r < 2; r++) total[r] = fma(total[r], rescale[r], sum[r]);
    return rescale[0] != 1.0f || rescale[1] != 1.0f;
}

static inline ALWAYS_INLINE void add_values(float o[PIECES][64], const wgmma_memory *m, int turn, uint side) {
    const __local ushort *keys = m->keys + turn * TILE_VALUES, *weights = keys + LATENT_BLOCKS * WGMMA_BLOCK;
    wgmma_begin();
#define ADD(chunk)                                                                                                       \
    wgmma_values(o[0], weights, keys + side * PIECES * 2 * WGMMA_BLOCK, chunk);                                          \
    if (PIECES > 1) wgmma_values(o[PIECES - 1], weights, keys + (side * PIECES + PIECES - 1) * 2 * WGMMA_BLOCK, chunk);
    ADD(0) ADD(1) ADD(2) ADD(3)
#undef ADD
    wgmma_commit();
}

// As scalars: a key's values that are no numbers must not reach rows that do not see it, not even times zero.
static inline ALWAYS_INLINE void add_seen(float o[PIECES][64], const wgmma_memory *m, int key, int turn, uint side, uint lane) {
    const __local ushort *keys = m->keys + turn * TILE_VALUES, *weights = keys + LATENT_BLOCKS * WGMMA_BLOCK;
#pragma unroll 1
    for (int index = 0; index < KEY_TILE; index++) {
    WGMMA_UNROLL
        for (int p = 0; p < PIECES; p++) {
    WGMMA_UNROLL
            for (int i = 0; i < 64; i++) {
                uint row = wgmma_row(lane, i), column = wgmma_column(lane, i);
                int seen = key + index >= m->first[row] && key + index < m->end[row];
                float weight = matrix_number(weights[wgmma_at(row, index)]);
                float value = matrix_number(
                    keys[((side * PIECES + p) * 2 + column / 64) * WGMMA_BLOCK + wgmma_at(index, column % 64)]);
                o[p][i] = seen ? fma(weight, value, o[p][i]) : o[p][i];
            }
        }
    }
}

// Finishes one row: its numbers are written, and what its sums are to be multiplied by is left in m->rescale.
static inline void finish_row(const wgmma_memory *m, __global float *space, RESULT_ARGUMENTS, const attend_call *call,
                              const work_item *item, float top, int r) {
    float total = sum_of(shares_of(m, r));
    int seen = total != 0.0f; // a NaN counts: it must show
    float row_lse = seen ? (top + log2(total)) * LN_2 : -INFINITY, factor = 1.0f / total;
    if (item->state_first >= 0) {
        m->rows[r] = (long)(item->state_first + r) * VALUE_DIM;
        space[call->state_lse + item->state_first + r] = row_lse;
        space[call->state_max + item->state_first + r] = top * LN_2;
    } else {
        int row = item->row_begin + r, head = work_head(call, item, row);
        m->rows[r] = work_token(call, item, row) * call->output_token + head * call->output_head;
        factor = result_factor(sink, call, head, factor, row_lse);
        result_numbers(lse, max_logit, call, work_token(call, item, row), head, row_lse, top * LN_2);
    }
    m->rescale[r] = seen ? factor : EMPTY;
}

// By way of local memory, where keys were: neighbouring work-items then write neighbouring values.
#define SUM_STRIDE (VALUE_DIM + 8)

static inline ALWAYS_INLINE void stage_sums(const wgmma_memory *m, float o[PIECES][64], uint side, uint lane) {
    __local float *sums = (__local float *)m->queries;
    WGMMA_UNROLL
    for (int p = 0; p < PIECES; p++) {
    WGMMA_UNROLL
        for (int i = 0; i < 64; i += 2) {
            uint at = wgmma_row(lane, i) * SUM_STRIDE + (side * PIECES + p) * 128 + wgmma_column(lane, i);
            *(__local float2 *)(sums + at) = (float2)(o[p][i], o[p][i + 1]);
        }
    }
}

static inline void write_sums(const wgmma_memory *m, __global uchar *out, int type, int rows, uint t) {
    const __local float *sums = (const __local float *)m->queries;
    for (uint i = t; i < rows * (uint)VALUE_DIM; i += GROUP) {
        uint row = i / VALUE_DIM, d = i % VALUE_DIM;
        float factor = m->rescale[row];
        number_store(out, type, m->rows[row] + d, factor == EMPTY ? 0.0f : sums[row * SUM_STRIDE + d] * factor);
    }
}

__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void attend_wgmma(ATTEND_ARGUMENTS) {
    __local ushort tiles[3 * TILE_VALUES] __attribute__((aligned(1024)));
    __local float shares[ROW_TILE * 8] __attribute__((aligned(16)));
    __local float rescale_rows[ROW_TILE];
    __local int first[ROW_TILE], end[ROW_TILE], there[2 * KEY_TILE], block_facts[2];
    __local long row_at[ROW_TILE];
    wgmma_memory m = {tiles, tiles + TILE_VALUES, shares, first, end, there, block_facts, rescale_rows, row_at};

    int part = get_group_id(0);
    uint t = get_local_id(0), side = t / WGMMA_GROUP, lane = t % WGMMA_GROUP;
    if (part >= step[call.header + HEADER_PARTS]) return;
    for (int w = step[call.parts + part]; w < step[call.parts + part + 1]; w++) {
        work_item item;
        work_item_fill(&item, step + call.works, w);
        KEY_SOURCE(keys, item);
        int rows = item.row_count, turn = 0, type = item.state_first >= 0 ? NUMBER_F32 : call.output_type;
        float o[PIECES][64], s[16], top[2] = {-INFINITY, -INFINITY}, total[2] = {0.0f, 0.0f}, rescale[2];
    WGMMA_UNROLL
        for (int p = 0; p < PIECES; p++)
    WGMMA_UNROLL
            for (int i = 0; i < 64; i++) o[p][i] = 0.0f;
        if (t < ROW_TILE) {
            key_range range = {0, 0};
            if ((int)t < rows) range = work_visible(&call, &item, item.row_begin + t);
            first[t] = range.first;
            end[t] = range.end;
        }
        if (t < 2) block_facts[t] = 0;
        // Neither end falls from row to row.
        key_range least = work_visible(&call, &item, item.row_begin);
        key_range most = work_visible(&call, &item, item.row_begin + rows - 1);
        int kv_end = min(item.kv_end, most.end), key = max(item.kv_begin, least.first);
        key += key_gap(&keys, key);
        stage_place place;
        stage_queries(&m, (const __global ushort *)(space + call.packed) + (long)item.tile_first * TILE_VALUES, t);
        barrier(CLK_LOCAL_MEM_FENCE);
        int masked = key < most.first || min(key + KEY_TILE, kv_end) > least.end;
        if (key < kv_end) {
            place_keys(&place, &m, &keys, key, kv_end - key, 0, t);
            stage_keys(&m, &place, masked, 0, t);
        } else
            stage_finish();
        while (key < kv_end) {
            stage_finish();
            barrier(CLK_LOCAL_MEM_FENCE); // the block is staged, and nobody reads the one before
            int facts = block_facts[turn], hidden = masked || facts, block = key, next = key + KEY_TILE;
            score_keys(s, &m, turn, side);
            next += key_gap(&keys, next);
            if (next < kv_end) {
                masked = next < most.first || min(next + KEY_TILE, kv_end) > least.end;
                place_keys(&place, &m, &keys, next, kv_end - next, turn ^ 1, t);
                stage_keys(&m, &place, masked, turn ^ 1, t);
            }
            wgmma_finish_scores(s);
            mask_scores(s, &m, block, call.softcap, hidden, turn, side, lane);
            share_tops(s, &m, side, lane);
            barrier(CLK_LOCAL_MEM_FENCE);
            if (soften(s, top, total, rescale, &m, turn, side, lane)) {
    WGMMA_UNROLL
                for (int p = 0; p < PIECES; p++)
    WGMMA_UNROLL
                    for (int i = 0; i < 64; i++) o[p][i] *= rescale[i / 2 % 2];
            }
            wgmma_publish();
            barrier(CLK_LOCAL_MEM_FENCE);
            if (t == 0) block_facts[turn] = 0;
            if (facts & BLOCK_ODD)
                add_seen(o, &m, block, turn, side, lane);
            else {
                add_values(o, &m, turn, side);
                wgmma_finish_values(o[0]);
                if (PIECES > 1) wgmma_finish_values(o[PIECES - 1]);
            }
            key = next;
            turn ^= 1;
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    WGMMA_UNROLL
        for (int r = 0; r < 2; r++) shares[wgmma_row(lane, 2 * r) * 8 + side * 4 + lane % 4] = total[r];
        // Each row's largest score, by any work-item that has sums of it.
        if (side == 0 && lane % 4 == 0) {
    WGMMA_UNROLL
            for (int r = 0; r < 2; r++) rescale_rows[wgmma_row(lane, 2 * r)] = top[r];
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        stage_sums(&m, o, side, lane);
        if ((int)t < rows) finish_row(&m, space, RESULT_PASS, &call, &item, rescale_rows[t], t);
        barrier(CLK_LOCAL_MEM_FENCE);
        __global uchar *out = output ? output + call.output : output;
        if (item.state_first >= 0) out = (__global uchar *)(space + call.states);
        if (out) write_sums(&m, out, type, rows, t);
        barrier(CLK_LOCAL_MEM_FENCE);
    }
}

// Tiles for attend_wgmma.   grid: global (TILE_VALUES, tiles), local free.
__kernel void attend_pack_wgmma(const __global uchar *query, const __global uchar *query_rope, const __global int *step,
                                __global float *space, float factor, attend_call call) {
    uint p = get_global_id(0), block = p / WGMMA_BLOCK, r = p / 64 % 64;
    long tile = get_global_id(1);
    if (p >= TILE_VALUES || tile >= step[call.header + HEADER_TILES]) return;
    const __global int *of = step + call.tiles + 4 * tile;
    // What lies at p: the runs of a row are swapped, which undoes itself.
    int row = of[1] + (int)r, column = (int)(block * 64 + wgmma_at(r, p % 64) % 64);
    int token_of_tile = row / call.group_heads, head = of[3] * call.group_heads + row - token_of_tile * call.group_heads;
    long token = of[0] + token_of_tile;
    float value = 0.0f;
    if (row < of[2] && column < LATENT_DIM)
        value = number_load(query + call.query, call.query_type, token * call.query_token + head * call.query_head + column);
    else if (row < of[2])
        value = number_load(query_rope + call.query_rope, call.query_type,
                            token * call.query_rope_token + head * call.query_rope_head + column - LATENT_DIM);
    __global ushort *out = (__global ushort *)(space + call.packed);
    out[tile * TILE_VALUES + p] = matrix_round(value * factor);
}
