// SPDX-License-Identifier: Apache-2.0
// attend_wgmma: absorbed attention by the warpgroup products of NVIDIA's Hopper. In fast compute queries and weights
// are rounded to the rows' own 16-bit format, sums are f32. Two warpgroups take 64 rows (heads of one or more query
// tokens) through a range of keys with an online softmax, 64 keys at a time, staged once in local memory for both
// products; while they multiply, the next 64 are on their way.                              ref: tests/ref/ref_attend.c
//
// In exact compute a query or a weight is the sum of two f16 values (common/parts.clh), and the 64 rows of a product
// are those of 32 rows of work: a work-item's two rows of sums are the parts of one, so that it adds them up by itself.
// Sums of products are cut off, not rounded: they are made in short chains, and added as f32 numbers are. Scores of
// CHAIN_BLOCKS blocks of columns are a chain, sums of values over APART_BLOCKS blocks of keys, which then go to the
// plan's sums.
//
// Scores: each warpgroup multiplies all rows by 32 keys. Values: each keeps the sums of one half of the columns, for
// all rows, in registers through all keys; it holds the weights of its own 32 keys and gets the other's by way of local
// memory, where the block's rope part was, which nobody needs any more. The scores of the next block are queued behind
// the values of this one, so that the units idle for the softmax alone.
// Every barrier is reached by the whole group: loops that hold one depend on the work alone.
//
//   space: packed  [tile][BLOCKS][64][64] 16-bit queries times scale * log2(e), each block in the order of wgmma_at; in
//                  exact compute times 2^-e of each row, and behind each tile [ROW_TILE] f32 2^e; by attend_pack_wgmma
//                  and attend_pack_wgmma_parts
//          sums    [part][ROW_TILE][VALUE_DIM] f32, of exact compute
//          states, state_lse, state_max: lib/plan_schedule.h
//   output, lse, max_logit: common/result.clh
// local memory: three tiles (queries, keys twice) and less than 9 KiB, of a fixed size.   grid: global (parts * 256),
// local (256)
// options: WGMMA_* (common/wgmma.clh), MATRIX_* (common/matrix.clh, for its numbers), ROWS_F16 or ROWS_BF16, EXACT (of
// f16 alone), SPARSE, LATENT_DIM = VALUE_DIM (256 or 512), ROPE_DIM (a multiple of 64)
#include "common/work.clh"
#include "common/result.clh"
#include "common/matrix.clh"
#include "common/parts.clh"
#include "common/query.clh"
#include "common/each.clh"
#if !defined(LATENT_DIM) || !defined(ROPE_DIM) || !defined(VALUE_DIM)
#error "LATENT_DIM, ROPE_DIM or VALUE_DIM is missing"
#endif

#if PARTS > 2
#error "a product's rows are two parts of a row's queries at most"
#endif

#define GROUP 256
#define ROW_TILE (64 / PARTS)
#define KEY_TILE 64
#define ROW_WIDTH (LATENT_DIM + ROPE_DIM)
#define LATENT_BLOCKS (LATENT_DIM / 64)
#if LATENT_DIM + ROPE_DIM == 576
#define WGMMA_BLOCKS 9
#elif LATENT_DIM + ROPE_DIM == 320
#define WGMMA_BLOCKS 5
#endif
#include "common/wgmma.clh"
#define BLOCKS WGMMA_BLOCKS
#define TILE_VALUES (BLOCKS * WGMMA_BLOCK)
#define PACKED_VALUES (TILE_VALUES + (PARTS > 1 ? ROW_TILE * 2 : 0)) // of a packed tile, with what is behind it
#define PIECES (VALUE_DIM / 256)                                     // of 128 columns, of each warpgroup
#define ALWAYS_INLINE __attribute__((always_inline))

// A work-item's scores are of HELD rows: number i is of row ROW_OF(i) of these, which is row score_row(lane, i) of the
// tile, and of key score_column(lane, i) of its warpgroup's.
#ifdef EXACT
#define HELD 1
#define SCORES_EACH EACH_8
#define ROW_OF(i) 0
#define score_row(lane, i) ((lane) / 32 * 8 + (lane) % 32 / 4)
#define score_column(lane, i) wgmma_column(lane, (i) / 2 * 4 + (i) % 2)
#define ROW_OF_PRODUCT(r) ((r) / 16 * 8 + (r) % 8) // the row of which product row r is a part
#define CHAIN_BLOCKS 3
#define APART_BLOCKS 8
#define WEIGHT_SCALE (PARTS_LARGEST / 256.0f) // weights are up to 2^BASE_LAG
#else
#define HELD 2
#define SCORES_EACH EACH_16
#define ROW_OF(i) ((i) / 2 % 2)
#define score_row(lane, i) wgmma_row(lane, i)
#define score_column(lane, i) wgmma_column(lane, i)
#define ROW_OF_PRODUCT(r) (r)
#define WEIGHT_SCALE 1.0f
#endif

// What is known of a key of a block.
#define KEY_THERE 1
#define KEY_ODD 2 // some of its values are no numbers; looked for in masked blocks alone

// Where a key's parts lie. latent NULL: it is not there.
typedef struct stage_place {
    const __global ushort *latent, *rope;
} stage_place;

// What the group shares.
typedef struct wgmma_memory {
    __local ushort *queries;  // [BLOCKS][64][64]
    __local ushort *keys;     // [2][BLOCKS][64][64], by turns
    __local float *shares;    // [ROW_TILE][8]: of each row, what the work-items that have sums of it found
    __local int *first, *end; // [ROW_TILE]: the keys each row sees; none past the work's rows
    // Of four blocks, by turns, as they are placed long before they are staged:
    __local stage_place *places; // [4][KEY_TILE]
    __local int *facts;          // [4][KEY_TILE]: KEY_*
    __local int *slow;           // [4]: some keys of a block are not there, or not in whole runs of 16 bytes
    __local float *rescale;      // [ROW_TILE]: bases, then what the finished sums are multiplied by
    __local float *tops;         // [ROW_TILE]: largest scores, when they are known
    __local long *rows;          // [ROW_TILE]: where a finished row begins in the states or the output, in values
    __local float *scales;       // [ROW_TILE]: what the scores of a row are multiplied by; exact compute alone
} wgmma_memory;

// Where the keys of block [key, kv_end), KEY_TILE at most, lie, for staging after the next barrier. In two steps, each
// in the shadow of a barrier that waits for the other warpgroup: what is read to find a key, and what follows from it.
static inline ALWAYS_INLINE int2 find_keys(const key_source *keys, int key, int kv_end, uint t) {
    return t < KEY_TILE && (int)t < kv_end - key ? key_find(keys, key + (int)t) : (int2)(0, -1);
}
static inline ALWAYS_INLINE void place_keys(const wgmma_memory *m, const key_source *keys, int2 found, int slot,
                                            uint t) {
    if (t < KEY_TILE) {
        row_parts at;
        at.latent = at.rope = 0; // were it undefined, ptxas would hold a register pair of each through all blocks
        int there = found.y >= 0 && key_found_at(&at, keys, found);
        __local stage_place *place = m->places + slot * KEY_TILE + t;
        place->latent = (const __global ushort *)at.latent;
        place->rope = (const __global ushort *)at.rope;
        m->facts[slot * KEY_TILE + t] = there ? KEY_THERE : 0;
        if (!there || (((size_t)at.latent | (size_t)at.rope) & 15) != 0) m->slow[slot] = 1;
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
// What this work-item staged is there, for products after the next barrier.
static inline void stage_finish(void) {
#ifdef WGMMA_NVIDIA
    __asm__ volatile("cp.async.wait_all;" ::: "memory");
#endif
    wgmma_publish();
}

// Zeros in place of values that are no numbers, which must not reach rows that do not see them, not even times zero:
// rows that do become NaN by their scores.
static inline ushort8 numbers_of(ushort8 run, int *odd) {
    short8 wrong = (run & (ushort8)EXPONENT) == (ushort8)EXPONENT;
    *odd |= any(wrong);
    return run & ~as_ushort8(wrong);
}

// Stages a work-item's share of `count` blocks of columns, of a key that was placed: every eighth run of 16 bytes; of
// one that is not there zeros.
static inline void stage_slowly(const wgmma_memory *m, int index, int first_block, int count, int slot, int turn,
                                uint t) {
    stage_place place = m->places[slot * KEY_TILE + index];
    __local ushort *to = m->keys + turn * TILE_VALUES + first_block * WGMMA_BLOCK + wgmma_at(index, t % 8 * 8);
    const __global ushort *from = first_block < LATENT_BLOCKS ? place.latent + first_block * 64 : place.rope;
    int odd = 0;
#pragma unroll 1
    for (int b = 0; b < count; b++)
        *(__local ushort8 *)(to + b * WGMMA_BLOCK) =
            place.latent ? numbers_of(load_run(from + b * 64 + t % 8 * 8), &odd) : (ushort8)0;
    if (odd) m->facts[slot * KEY_TILE + index] = KEY_THERE | KEY_ODD;
}

static inline void stage_block_slowly(const wgmma_memory *m, int slot, int turn, uint t) {
#pragma unroll 1
    for (uint index = t / 8; index < KEY_TILE; index += GROUP / 8) {
        stage_slowly(m, index, 0, LATENT_BLOCKS, slot, turn, t);
        stage_slowly(m, index, LATENT_BLOCKS, BLOCKS - LATENT_BLOCKS, slot, turn, t);
    }
}

#ifdef WGMMA_NVIDIA
#define STAGE_RUN(to, from)                                                                                            \
    __asm__ volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"((uint)(size_t)(to)), "l"(from) : "memory")
// Without a branch, which would keep products apart.
#define STAGE_RUN_IF(to, from, wanted)                                                                                 \
    __asm__ volatile("{ .reg .pred p; setp.ne.b32 p, %2, 0; @p cp.async.cg.shared.global [%0], [%1], 16; }" ::"r"(     \
                         (uint)(size_t)(to)),                                                                          \
                     "l"(from), "r"(wanted)                                                                            \
                     : "memory")
#else
#define STAGE_RUN(to, from) *(__local ushort8 *)(to) = *(const __global ushort8 *)(from)
#define STAGE_RUN_IF(to, from, wanted)                                                                                 \
    if (wanted) STAGE_RUN(to, from)
#endif

// A block of keys whose rows lie in whole runs is staged in steps, between the products of the scores before it, each
// part as soon as what is in its place is no longer needed: two blocks of values by the warpgroup that multiplies by
// them, and the rope part by both.
static inline ALWAYS_INLINE void stage_values(const wgmma_memory *m, int wanted, int piece, uint row, int slot,
                                              int turn, uint lane) {
    uint index = lane / 8 + 16 * row;
    __local ushort *to = m->keys + turn * TILE_VALUES + piece * 2 * WGMMA_BLOCK + wgmma_at(index, lane % 8 * 8);
    const __global ushort *from = m->places[slot * KEY_TILE + index].latent + piece * 128 + lane % 8 * 8;
    STAGE_RUN_IF(to, from, wanted);
    STAGE_RUN_IF(to + WGMMA_BLOCK, from + 64, wanted);
}
static inline ALWAYS_INLINE void stage_rope(const wgmma_memory *m, int wanted, uint row, int slot, int turn, uint t) {
    uint index = t / 8 + 32 * row;
    __local ushort *to = m->keys + turn * TILE_VALUES + LATENT_BLOCKS * WGMMA_BLOCK + wgmma_at(index, t % 8 * 8);
    const __global ushort *from = m->places[slot * KEY_TILE + index].rope + t % 8 * 8;
    STAGE_RUN_IF(to, from, wanted);
}

// rows: of the tile; zeros behind.
static inline void stage_queries(const wgmma_memory *m, const __global ushort *queries, uint rows, uint t) {
    for (uint i = t * 8; i < TILE_VALUES; i += GROUP * 8) {
        if (ROW_OF_PRODUCT(i / 64 % 64) < rows)
            STAGE_RUN(m->queries + i, queries + i);
        else
            *(__local ushort8 *)(m->queries + i) = (ushort8)0;
    }
}

// The warpgroup's 32 keys of a block.
static inline wgmma_tile keys_of(const wgmma_memory *m, int turn, uint side) {
    return wgmma_uniform(wgmma_place(m->keys + turn * TILE_VALUES + side * 32 * 64));
}
#define QUERIES(m, b) wgmma_place((m)->queries + (b)*WGMMA_BLOCK)

#ifdef EXACT

// What a chain of products gave is added to the scores, both parts of each.
static inline ALWAYS_INLINE void add_chain(float *scores, float *s, int first) {
    wgmma_finish_scores(s);
#define ADD(i) scores[i] = (first ? 0.0f : scores[i]) + (s[i / 2 * 4 + i % 2] + s[i / 2 * 4 + i % 2 + 2]);
    EACH_8(ADD)
#undef ADD
}
// Scores by block b of the columns; `scores` is for all chains but the one under way.
#define SCORE_BLOCK(b, s, scores, m, tile)                                                                             \
    if (b < BLOCKS) {                                                                                                  \
        if (b % CHAIN_BLOCKS == 0) {                                                                                   \
            if (b > 0) {                                                                                               \
                wgmma_scores_finish();                                                                                 \
                add_chain(scores, s, b == CHAIN_BLOCKS);                                                               \
            }                                                                                                          \
            wgmma_scores_first(s, QUERIES(m, b), wgmma_next(tile, b));                                                 \
        } else                                                                                                         \
            wgmma_scores_next(s, QUERIES(m, b), wgmma_next(tile, b));                                                  \
    }
static inline ALWAYS_INLINE void finish_scores(float *scores, float *s, const wgmma_memory *m, uint lane) {
    float scale = m->scales[score_row(lane, 0)];
    add_chain(scores, s, 0);
#define SCALE(i) scores[i] *= scale;
    EACH_8(SCALE)
#undef SCALE
}

#else

#define SCORE_BLOCK(b, s, scores, m, tile)                                                                             \
    if (b == 0)                                                                                                        \
        wgmma_scores_first(s, QUERIES(m, 0), tile);                                                                    \
    else if (b < BLOCKS)                                                                                               \
        wgmma_scores_next(s, QUERIES(m, b), wgmma_next(tile, b));

#endif

// Scores of all rows by the warpgroup's keys.
static inline ALWAYS_INLINE void score_keys(float *s, float *scores, const wgmma_memory *m, int turn, uint side) {
    wgmma_tile keys = keys_of(m, turn, side);
#define NEXT(b) SCORE_BLOCK(b, s, scores, m, keys)
    EACH_16(NEXT)
#undef NEXT
    wgmma_scores_finish();
}

static inline ALWAYS_INLINE void mask_scores(float *s, const wgmma_memory *m, int key, float softcap, int masked,
                                             int slot, uint side, uint lane) {
#define CAP(i) s[i] = tanh(s[i] * (LN_2 / softcap)) * (softcap * LOG2_E);
    if (softcap != 0.0f) {
        SCORES_EACH(CAP)
    }
#undef CAP
    if (!masked) return;
#define MASK(i)                                                                                                        \
    {                                                                                                                  \
        int row = score_row(lane, i), index = side * 32 + score_column(lane, i);                                       \
        int facts = m->facts[slot * KEY_TILE + index];                                                                 \
        int seen = facts && key + index >= m->first[row] && key + index < m->end[row];                                 \
        s[i] = !seen ? -INFINITY : facts & KEY_ODD ? NAN : s[i];                                                       \
    }
    SCORES_EACH(MASK)
#undef MASK
}

// Of each row a number of every work-item that has sums of it.
static inline ALWAYS_INLINE void share(const wgmma_memory *m, const float *of, uint side, uint lane) {
    m->shares[score_row(lane, 0) * 8 + side * 4 + lane % 4] = of[0];
    if (HELD > 1) m->shares[score_row(lane, 2) * 8 + side * 4 + lane % 4] = of[HELD - 1];
}

static inline ALWAYS_INLINE void share_tops(const float *s, const wgmma_memory *m, uint side, uint lane) {
    float top[2] = {-INFINITY, -INFINITY};
#define TOP(i) top[ROW_OF(i)] = fmax(top[ROW_OF(i)], s[i]);
    SCORES_EACH(TOP)
#undef TOP
    share(m, top, side, lane);
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

// Weights are powers of two from a base, which follows a row's largest score only when that has left it behind by so
// much: until then they are larger than 1, and older sums need no factor.
#define BASE_LAG 8.0f

// base: -inf while the row has seen no key; every difference to what is answered is then -inf, not NaN.
static inline ALWAYS_INLINE float raise_base(float *top, float *base, float *rescale, const wgmma_memory *m, uint row) {
    float now = fmax(*top, largest_of(shares_of(m, row)));
    *top = now;
    *rescale = 1.0f;
    if (!(now <= *base + BASE_LAG)) { // a NaN too
        *rescale = wgmma_exp2(*base - now);
        *base = now;
    }
    return *base == -INFINITY ? 0.0f : *base;
}

#ifdef EXACT

// A pair of weights, as the product's two rows hold them.
static inline ALWAYS_INLINE void keep_weights(uint parts[2], float first, float second) {
    first *= WEIGHT_SCALE;
    second *= WEIGHT_SCALE;
    parts[0] = wgmma_round(first, second);
    parts[1] = wgmma_round(first - matrix_number((ushort)parts[0]), second - matrix_number((ushort)(parts[0] >> 16)));
}

#endif

// Online softmax: scores become weights, in fast compute as rounded, which the work-item holds. Answers whether older
// sums must be rescaled, and by what.
static inline ALWAYS_INLINE int soften(uint4 weights[2], const float *s, float *top, float *base, float *total,
                                       float *rescale, const wgmma_memory *m, uint lane) {
    float from[2], sum[2] = {0.0f, 0.0f};
    uint both[8];
    from[0] = raise_base(&top[0], &base[0], &rescale[0], m, score_row(lane, 0));
#ifdef EXACT
#define SOFTEN(i)                                                                                                      \
    {                                                                                                                  \
        float first = wgmma_exp2(s[2 * i] - from[0]), second = wgmma_exp2(s[2 * i + 1] - from[0]);                     \
        keep_weights(both + 2 * i, first, second);                                                                     \
        sum[0] += first + second;                                                                                      \
    }
    EACH_4(SOFTEN)
#undef SOFTEN
#else
    from[1] = raise_base(&top[1], &base[1], &rescale[1], m, wgmma_row(lane, 2));
#define SOFTEN(i)                                                                                                      \
    both[i] = wgmma_round(wgmma_exp2(s[2 * i] - from[ROW_OF(2 * i)]), wgmma_exp2(s[2 * i + 1] - from[ROW_OF(2 * i)])); \
    sum[ROW_OF(2 * i)] += matrix_number((ushort)both[i]) + matrix_number((ushort)(both[i] >> 16));
    EACH_8(SOFTEN)
#undef SOFTEN
#endif
    weights[0] = (uint4)(both[0], both[1], both[2], both[3]);
    weights[1] = (uint4)(both[4], both[5], both[6], both[7]);
    total[0] = fma(total[0], rescale[0], sum[0]);
    if (HELD > 1) total[HELD - 1] = fma(total[HELD - 1], rescale[HELD - 1], sum[HELD - 1]);
    return rescale[0] != 1.0f || rescale[HELD - 1] != 1.0f;
}

// Sum i of a work-item is of the row that its score ROW_OF is, in exact compute of a part of it.
static inline ALWAYS_INLINE void rescale_sums(float *o, const float *rescale) {
#define RESCALE(i) o[i] *= rescale[ROW_OF(i)];
    EACH_64(RESCALE)
#undef RESCALE
}

#ifdef EXACT

// Adds a piece's sums to the work-item's share of the plan's, which `factor` brings to the same base and of which there
// are none before the first time.
static inline ALWAYS_INLINE void keep_sums(__global float *kept, const float *o, float factor, int first, uint lane) {
#define KEEP(i)                                                                                                        \
    if (i % 4 == 0) {                                                                                                  \
        __global float2 *at = (__global float2 *)(kept + wgmma_column(lane, i));                                       \
        float2 sum = (float2)(o[i] + o[i | 2], o[i | 1] + o[i | 3]);                                                   \
        *at = first ? sum : fma(*at, (float2)factor, sum);                                                             \
    }
    EACH_64(KEEP)
#undef KEEP
}

// A row's own sums, of both parts, with those that were kept.
static inline ALWAYS_INLINE void finish_sums(const __global float *kept, float *o, float factor, int none, uint lane) {
#define FINISH(i)                                                                                                      \
    if (i % 4 < 2) {                                                                                                   \
        o[i] += o[i | 2];                                                                                              \
        if (!none) o[i] = fma(kept[wgmma_column(lane, i)], factor, o[i]);                                              \
    }
    EACH_64(FINISH)
#undef FINISH
}

#endif

// The weights of a block as its work-items hold them, where its rope part was.
static inline __local uint4 *weights_of(const wgmma_memory *m, int turn) {
    return (__local uint4 *)(m->keys + turn * TILE_VALUES + LATENT_BLOCKS * WGMMA_BLOCK);
}

// Where the block behind block `key` begins.
static inline int block_behind(const key_source *keys, int key, int kv_end) {
    if (key >= kv_end) return key;
    key += KEY_TILE;
    return key + key_gap(keys, key);
}

static inline int block_is_masked(key_range least, key_range most, int key, int kv_end) {
    return key < most.first || min(key + KEY_TILE, kv_end) > least.end;
}

#define GROUP_MEMORY wgmma_memory
#define row_top(m, r) (m)->tops[r]
#define row_base(m, r) (m)->rescale[r]
#define row_total(m, r) sum_of(shares_of(m, r))
#include "common/finish_row.clh"

// By way of local memory, where keys were: neighbouring work-items then write neighbouring values.
#define SUM_STRIDE (VALUE_DIM + 8)

static inline ALWAYS_INLINE void stage_sums(const wgmma_memory *m, const float *o, uint piece, uint lane) {
    __local float *sums = (__local float *)m->queries + piece * 128;
#ifdef EXACT
#define STAGE(i)                                                                                                       \
    if (i % 4 == 0)                                                                                                    \
        *(__local float2 *)(sums + score_row(lane, 0) * SUM_STRIDE + wgmma_column(lane, i)) = (float2)(o[i], o[i | 1]);
#else
#define STAGE(i)                                                                                                       \
    if (i % 2 == 0)                                                                                                    \
        *(__local float2 *)(sums + wgmma_row(lane, i) * SUM_STRIDE + wgmma_column(lane, i)) = (float2)(o[i], o[i | 1]);
#endif
    EACH_64(STAGE)
#undef STAGE
}

static inline void write_sums(const wgmma_memory *m, __global uchar *out, int type, int rows, uint t) {
    const __local float *sums = (const __local float *)m->queries;
    for (uint i = t; i < rows * (uint)VALUE_DIM; i += GROUP) {
        uint row = i / VALUE_DIM, d = i % VALUE_DIM;
        float factor = m->rescale[row];
        number_store(out, type, m->rows[row] + d, factor == EMPTY ? 0.0f : sums[row * SUM_STRIDE + d] * factor);
    }
}

// A whole block, where no products wait.
static inline ALWAYS_INLINE void stage_block(const wgmma_memory *m, int slowly, int slot, int turn, uint side,
                                             uint lane, uint t) {
    if (slowly)
        stage_block_slowly(m, slot, turn, t);
    else {
        stage_rope(m, 1, 0, slot, turn, t);
        stage_rope(m, 1, 1, slot, turn, t);
        for (uint row = 0; row < 4; row++) {
            stage_values(m, 1, side * PIECES, row, slot, turn, lane);
            if (PIECES > 1) stage_values(m, 1, side * PIECES + 1, row, slot, turn, lane);
        }
    }
}

#define CLEAR(i) o[i] = more[i] = 0.0f;
#define CLEAR_SUMS EACH_64(CLEAR)

#ifdef EXACT
#define FINISH_SCORES(s, scores) finish_scores(scores, s, &m, lane)
// With what the plan's sums hold, brought to the row's base.
#define KEEP_SUMS(keep)                                                                                                \
    {                                                                                                                  \
        float factor = kept_base == base[0] ? 1.0f : wgmma_exp2(kept_base - base[0]);                                  \
        keep(kept, o, factor, kept_base == -INFINITY, lane);                                                           \
        if (PIECES > 1) keep(kept + 128, more, factor, kept_base == -INFINITY, lane);                                  \
    }
#else
#define FINISH_SCORES(s, scores) wgmma_finish_scores(s)
#endif

__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void attend_wgmma(ATTEND_ARGUMENTS) {
    __local ushort tiles[3 * TILE_VALUES] __attribute__((aligned(1024)));
    __local float shares[ROW_TILE * 8] __attribute__((aligned(16)));
    __local float rescale_rows[ROW_TILE], tops[ROW_TILE];
    __local int first[ROW_TILE], end[ROW_TILE], key_facts[4 * KEY_TILE], slow[4];
    __local stage_place places[4 * KEY_TILE];
    __local long row_at[ROW_TILE];
#ifdef EXACT
    __local float scales[ROW_TILE];
#else
    __local float *scales = 0;
#endif
    wgmma_memory m = {tiles, tiles + TILE_VALUES, shares, first,  end,   places, key_facts,
                      slow,  rescale_rows,        tops,   row_at, scales};

    int part = get_group_id(0);
    uint t = get_local_id(0), side = wgmma_group(t), lane = t % WGMMA_GROUP;
    if (part >= step[call.header + HEADER_PARTS]) return;
    for (int w = step[call.parts + part]; w < step[call.parts + part + 1]; w++) {
        work_item item;
        work_item_fill(&item, step + call.works, w);
        KEY_SOURCE(keys, item);
        int rows = item.row_count, turn = 0, type = item.state_first >= 0 ? NUMBER_F32 : call.output_type;
#ifdef EXACT
        // the base of the sums that were kept; none were, or zeros, while it is -inf
        float scores[8], kept_base = -INFINITY;
        int apart = 0; // blocks since then
        __global float *kept =
            space + call.sums + ((long)part * ROW_TILE + score_row(lane, 0)) * VALUE_DIM + side * PIECES * 128;
#else
#define scores s
#endif
        float o[64], more[64], s[16], top[2] = {-INFINITY, -INFINITY}, base[2] = {-INFINITY, -INFINITY},
                                      total[2] = {0.0f, 0.0f}, rescale[2];
        CLEAR_SUMS
        if (t < 4) slow[t] = 0;
        if (t < ROW_TILE) {
            key_range range = {0, 0};
            if ((int)t < rows) range = work_visible(&call, &item, item.row_begin + t);
            first[t] = range.first;
            end[t] = range.end;
        }
        // Neither end falls from row to row.
        key_range least = work_visible(&call, &item, item.row_begin);
        key_range most = work_visible(&call, &item, item.row_begin + rows - 1);
        int kv_end = min(item.kv_end, most.end), key = max(item.kv_begin, least.first);
        key += key_gap(&keys, key);
        int next = block_behind(&keys, key, kv_end), after = block_behind(&keys, next, kv_end), slot = 0;
        int masked = block_is_masked(least, most, key, kv_end),
            next_masked = block_is_masked(least, most, next, kv_end);
        stage_queries(&m, (const __global ushort *)(space + call.packed) + (long)item.tile_first * PACKED_VALUES, rows,
                      t);
#ifdef EXACT
        if (t < ROW_TILE)
            scales[t] = space[call.packed + ((long)item.tile_first * PACKED_VALUES + TILE_VALUES) / 2 + t];
#endif
        barrier(CLK_LOCAL_MEM_FENCE);
        place_keys(&m, &keys, find_keys(&keys, key, kv_end, t), 0, t);
        barrier(CLK_LOCAL_MEM_FENCE);
        place_keys(&m, &keys, find_keys(&keys, next, kv_end, t), 1, t);
        stage_block(&m, masked || slow[0], 0, 0, side, lane, t);
        barrier(CLK_LOCAL_MEM_FENCE);
        place_keys(&m, &keys, find_keys(&keys, after, kv_end, t), 2, t);
        stage_finish();
        barrier(CLK_LOCAL_MEM_FENCE);
        score_keys(s, scores, &m, 0, side);
        stage_block(&m, next_masked || slow[1], 1, 1, side, lane, t);
        FINISH_SCORES(s, scores);
        // Here the block's scores are known, the next block is on its way, and the one after that is placed.
        while (key < kv_end) {
            mask_scores(scores, &m, key, call.softcap, masked || slow[slot], slot, side, lane);
            share_tops(scores, &m, side, lane);
            if (t == 0) slow[(slot + 3) & 3] = 0; // of the block before, for the third from here
            int third = block_behind(&keys, after, kv_end);
            int2 found = find_keys(&keys, third, kv_end, t);
            barrier(CLK_LOCAL_MEM_FENCE);
            uint4 own[2], other[2];
            if (soften(own, scores, top, base, total, rescale, &m, lane)) {
                rescale_sums(o, rescale);
                if (PIECES > 1) rescale_sums(more, rescale);
            }
#ifdef EXACT
            if (apart++ == APART_BLOCKS) {
                apart = 1;
                KEEP_SUMS(keep_sums);
                kept_base = base[0];
                CLEAR_SUMS
            }
#endif
            __local uint4 *held = weights_of(&m, turn) + lane;
            held[2 * side * WGMMA_GROUP] = own[0];
            held[(2 * side + 1) * WGMMA_GROUP] = own[1];
            place_keys(&m, &keys, found, (slot + 3) & 3, t);
            barrier(CLK_LOCAL_MEM_FENCE);
            other[0] = held[2 * (side ^ 1) * WGMMA_GROUP];
            other[1] = held[(2 * (side ^ 1) + 1) * WGMMA_GROUP];
            wgmma_tile values =
                wgmma_uniform(wgmma_place(m.keys + turn * TILE_VALUES + side * PIECES * 2 * WGMMA_BLOCK));
            uint4 p0 = side ? other[0] : own[0], p1 = side ? other[1] : own[1], p2 = side ? own[0] : other[0],
                  p3 = side ? own[1] : other[1];
            wgmma_values(o, p0, p1, p2, p3, held - lane, values);
            if (PIECES > 1) wgmma_values(more, p0, p1, p2, p3, held - lane, wgmma_next(values, 2));
            masked = next_masked;
            next_masked = block_is_masked(least, most, after, kv_end);
            int slowly = next_masked || slow[(slot + 2) & 3], two = (slot + 2) & 3;
            wgmma_tile tile = keys_of(&m, turn ^ 1, side);
            stage_finish();
            // the next block is staged, and nobody needs the weights in local memory any more
            barrier(CLK_LOCAL_MEM_FENCE);
            // Its scores; behind the last block: of whatever is there, for nobody. By the time that the second products
            // are accepted this block's values have been multiplied, and the block after the next comes in their place.
#define NEXT(b) SCORE_BLOCK(b, s, scores, &m, tile)
            NEXT(0)
            stage_rope(&m, !slowly, 0, two, turn, t);
            stage_rope(&m, !slowly, 1, two, turn, t);
            NEXT(1)
            wgmma_finish_values(o, 0);
            if (PIECES > 1) wgmma_finish_values(more, 0);
            stage_values(&m, !slowly, side * PIECES, 0, two, turn, lane);
            NEXT(2)
            stage_values(&m, !slowly, side * PIECES, 1, two, turn, lane);
            NEXT(3)
            stage_values(&m, !slowly, side * PIECES, 2, two, turn, lane);
            NEXT(4)
            stage_values(&m, !slowly, side * PIECES, 3, two, turn, lane);
#if PIECES > 1
            NEXT(5)
            stage_values(&m, !slowly, side * PIECES + 1, 0, two, turn, lane);
            NEXT(6)
            stage_values(&m, !slowly, side * PIECES + 1, 1, two, turn, lane);
            NEXT(7)
            stage_values(&m, !slowly, side * PIECES + 1, 2, two, turn, lane);
            NEXT(8)
            stage_values(&m, !slowly, side * PIECES + 1, 3, two, turn, lane);
#endif
#undef NEXT
            wgmma_scores_finish();
            FINISH_SCORES(s, scores);
            if (slowly) {
#ifdef WGMMA_NVIDIA
                // the whole group: what it depends on is the block's. OpenCL C's products need none: they were done
                // before the barrier above, and PoCL 3.1 compiles few barriers in conditions well
                barrier(CLK_LOCAL_MEM_FENCE);
#endif
                stage_block_slowly(&m, two, turn, t);
            }
            turn ^= 1;
            slot = (slot + 1) & 3;
            key = next;
            next = after;
            after = third;
        }
        stage_finish();
        barrier(CLK_LOCAL_MEM_FENCE);
        share(&m, total, side, lane);
        // Each row's largest score and base, by any work-item that has sums of it.
        if (side == 0 && lane % 4 == 0) {
            tops[score_row(lane, 0)] = top[0];
            if (HELD > 1) tops[score_row(lane, 2)] = top[HELD - 1];
            rescale_rows[score_row(lane, 0)] = base[0];
            if (HELD > 1) rescale_rows[score_row(lane, 2)] = base[HELD - 1];
        }
#ifdef EXACT
        KEEP_SUMS(finish_sums);
#endif
        barrier(CLK_LOCAL_MEM_FENCE);
        stage_sums(&m, o, side * PIECES, lane);
        if (PIECES > 1) stage_sums(&m, more, side * PIECES + 1, lane);
        if ((int)t < rows) finish_row(&m, space, RESULT_PASS, &call, &item, t);
        barrier(CLK_LOCAL_MEM_FENCE);
        __global uchar *out = output ? output + call.output : output;
        if (item.state_first >= 0) out = (__global uchar *)(space + call.states);
        if (out) write_sums(&m, out, type, rows, t);
        barrier(CLK_LOCAL_MEM_FENCE);
    }
}

#ifdef EXACT

#define PACK_GROUP GROUP
#define pack_block(r, column) ((column) / 64 * WGMMA_BLOCK)
#define pack_at(r, column, part) wgmma_at((r) / 8 * 16 + (r) % 8 + (part)*8, (column) % 64)
#include "common/pack_parts.clh"

// Tiles for attend_wgmma of exact compute, a group for each.   grid: global (256, tiles), local (256, 1)
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void attend_pack_wgmma_parts(PACK_TENSORS,
                                                                                         attend_call call) {
    __local float largest[GROUP];
    pack_parts(largest, query, query_rope, step, space, factor, &call);
}

#else

// Tiles for attend_wgmma of fast compute, 8 values a work-item; rows that a tile has no queries for are left as they
// are.   grid: global (TILE_VALUES / 8, tiles), local free.
__kernel void attend_pack_wgmma(const __global uchar *query, const __global uchar *query_rope, const __global int *step,
                                __global float *space, float factor, attend_call call) {
    uint run = get_global_id(0), r = run / 8 % 64;
    long tile = get_global_id(1);
    if (run >= TILE_VALUES / 8 || tile >= step[call.header + HEADER_TILES]) return;
    const __global int *of = step + call.tiles + 4 * tile;
    int row = of[1] + (int)r, column = (int)(run / 512 * 64 + (run ^ r) % 8 * 8);
    if (row >= of[2]) return;
    int token_of_tile = row / call.group_heads,
        head = of[3] * call.group_heads + row - token_of_tile * call.group_heads;
    long token = of[0] + token_of_tile, at = token * call.query_token + head * call.query_head + column;
    if (column >= LATENT_DIM) at = token * call.query_rope_token + head * call.query_rope_head + column - LATENT_DIM;
    const __global uchar *from = column < LATENT_DIM ? query + call.query : query_rope + call.query_rope;
    ushort8 out;
    if (call.query_type == NUMBER_F32) {
        float8 in = vload8(0, (const __global float *)from + at) * factor;
#define ROUND(i) out[i] = matrix_round(in[i]);
        EACH_8(ROUND)
#undef ROUND
    } else {
#define ROUND(i) out[i] = matrix_round(number_load(from, call.query_type, at + i) * factor);
        EACH_8(ROUND)
#undef ROUND
    }
    *(__global ushort8 *)((__global ushort *)(space + call.packed) + tile * TILE_VALUES + run * 8) = out;
}

#endif
