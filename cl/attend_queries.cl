// SPDX-License-Identifier: Apache-2.0
// Queries made ready for the attend kernels.                                                ref: tests/ref/ref_attend.c
//   attend_absorb   queries that are not absorbed yet: q_nope through W_UK, with the rotated values behind it: absorbed
//                   [token][head][L + R] f32; attend_absorb_heads the same for CPU devices, as absorb_vector does
//   attend_pack     tiles of VECTOR_WIDTH rows for attend_vector: f32 in the order of common/packed_lane.clh, times
//                   factor
//   attend_pack_bf16, attend_pack_int16, attend_pack_int8, attend_pack_amx
//                   the same for the kernels of these products: each tells its own
//   attend_pack_rows  tiles of whole rows for attend_tile: packed [tile][row_tile][stride] f32, times factor
// tiles[i] = {first token of the sequence, first row, rows of this sequence and kv head, kv head}; rows past a tile's
// end are zero.   options: ELEMENT_* of the weights; VECTOR_WIDTH (of CPU devices, all but attend_pack_rows) or none
#ifdef VECTOR_WIDTH
#include "common/vector.clh"
#endif
#include "common/element.clh"
#include "common/scale.clh"
#include "common/attend_call.h"
#include "common/int8_call.h"
#if defined(VECTOR_WIDTH) && VECTOR_WIDTH == INT8_ROWS
#include "common/turn.clh"
#endif
#if defined(VECTOR_WIDTH) && VECTOR_WIDTH >= 8
#include "common/dot16.clh"
#endif

#define ABSORB_ARGUMENTS const __global element_t *weights, const __global float *scales, absorb_call absorb

static inline scale_grid absorb_grid(const __global float *scales, const absorb_call *absorb) {
    return scale_grid_make(scales, absorb->scales, absorb->scale_stride, absorb->scale_row, 0);
}

#ifdef VECTOR_WIDTH

#include "common/absorb.clh"
#include "common/packed.clh"

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

// The values of one part of a row, whose first is its value d, times factor.
static inline void pack_part(__global float *tile, packed_lane at, int width, int d, const __global uchar *values,
                             int type, long first, int count, float factor) {
    for (int done = 0; done < count; done += PACKED_RUN) {
        float run[PACKED_RUN] __attribute__((aligned(64)));
        int i = 0, most = min(PACKED_RUN, count - done);
        for (; i + VECTOR_WIDTH <= most; i += VECTOR_WIDTH)
            store_whole(number_load_vector(values, type, first + done + i) * factor, run + i);
        for (; i < most; i++) run[i] = number_load(values, type, first + done + i) * factor;
        packed_store(tile, at, width, d + done, run, most);
    }
}

// grid: global (tiles), local (1).
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void attend_pack(const __global uchar *query,
                                                                         const __global uchar *query_rope,
                                                                         const __global int *step,
                                                                         __global float *space, float factor,
                                                                         attend_call call) {
    int tile = get_global_id(0), width = call.latent_dim + call.rope_dim;
    if (tile >= step[call.header + HEADER_TILES]) return;
    const __global int *of = step + call.tiles + 4 * tile;
    __global float *out = space + call.packed + (long)tile * width * VECTOR_WIDTH;
    for (int l = 0; l < VECTOR_WIDTH; l++) {
        tile_lane lane = tile_lane_at(step, &call, tile, l);
        packed_lane at = packed_lane_at(of[1], of[2], width, PACKED_LEFT, l);
        if (!lane.there) {
            packed_clear(out, at, width);
            continue;
        }
        pack_part(out, at, width, 0, query + call.query, call.query_type,
                  lane.token * call.query_token + lane.head * call.query_head, call.latent_dim, factor);
        pack_part(out, at, width, call.latent_dim, query_rope + call.query_rope, call.query_type,
                  lane.token * call.query_rope_token + lane.head * call.query_rope_head, call.rope_dim, factor);
    }
}

#if VECTOR_WIDTH >= 8

#define CODES_WIDEST 2048 // of a row, as lib/variants.c has it

// One part of a row as codes, `apart` words from one to the next; a row that is not there is zeros. Answers its unit.
static inline float pack_codes(__global uint *out, int apart, const __global uchar *values, int type, long first,
                               int count, int there) {
    float all[CODES_WIDEST + CODE_COLUMNS] __attribute__((aligned(64)));
    uint words[(CODES_WIDEST + CODE_COLUMNS) / 2] __attribute__((aligned(64)));
    int columns = (count + CODE_COLUMNS - 1) / CODE_COLUMNS * CODE_COLUMNS;
    int d = 0;
    for (; there && d + VECTOR_WIDTH <= count; d += VECTOR_WIDTH)
        store_floatv(number_load_vector(values, type, first + d), all + d);
    for (; d < columns; d++) all[d] = there && d < count ? number_load(values, type, first + d) : 0.0f;
    float unit = code_unit(code_square(all, columns), all, columns, CODE_QUERY_NORM),
          of_largest = largest_size(all, columns) / CODE_MOST;
    unit = of_largest > unit ? of_largest : unit; // which a NaN stays
    code_values(words, all, columns, unit);
    for (int w = 0; w < columns / 2; w++) out[w * apart] = words[w];
    return unit;
}

// Tiles for attend_int16_dot: of attend_pack's places the first ones hold [word][row], the latent part's and then the
// rope part's, and behind them units of both, times factor.   grid: as attend_pack
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void attend_pack_int16(const __global uchar *query,
                                                                               const __global uchar *query_rope,
                                                                               const __global int *step,
                                                                               __global float *space, float factor,
                                                                               attend_call call) {
    int tile = get_global_id(0), width = call.latent_dim + call.rope_dim, latent_words = call.latent_dim / 2;
    int words = latent_words + (call.rope_dim + CODE_COLUMNS - 1) / CODE_COLUMNS * VECTOR_WIDTH;
    if (tile >= step[call.header + HEADER_TILES]) return;
    for (int l = 0; l < VECTOR_WIDTH; l++) {
        tile_lane lane = tile_lane_at(step, &call, tile, l);
        __global float *out = space + call.packed + (long)tile * width * VECTOR_WIDTH + l;
        __global uint *codes = (__global uint *)out;
        float latent =
            pack_codes(codes, VECTOR_WIDTH, query + call.query, call.query_type,
                       lane.token * call.query_token + lane.head * call.query_head, call.latent_dim, lane.there);
        float rope = pack_codes(codes + latent_words * VECTOR_WIDTH, VECTOR_WIDTH, query_rope + call.query_rope,
                                call.query_type, lane.token * call.query_rope_token + lane.head * call.query_rope_head,
                                call.rope_dim, lane.there);
        out[words * VECTOR_WIDTH] = latent * factor;
        out[(words + 1) * VECTOR_WIDTH] = rope * factor;
    }
}

#endif

#if VECTOR_WIDTH == INT8_ROWS

#define PAIR_ROWS 16 // of a tile; and words of a step: 32 columns

// Words of two values each, the even ones below the odd.
typedef struct value_pairs {
    floatv even, odd;
} value_pairs;

// Two vectors of values from `first` on; those past `count` are zeros.
static inline void load_two(floatv *a, floatv *b, const __global uchar *values, int type, long first, int count) {
    if (count >= 2 * VECTOR_WIDTH) {
        *a = number_load_vector(values, type, first);
        *b = number_load_vector(values, type, first + VECTOR_WIDTH);
        return;
    }
    float all[2 * VECTOR_WIDTH] __attribute__((aligned(64)));
    for (int d = 0; d < 2 * VECTOR_WIDTH; d++) all[d] = d < count ? number_load(values, type, first + d) : 0.0f;
    *a = load_floatv(all);
    *b = load_floatv(all + VECTOR_WIDTH);
}

// 32 values from `first` on, times factor; those past `count` are zeros.
static inline void load_pairs(value_pairs *pairs, const __global uchar *values, int type, long first, int count,
                              float factor) {
    floatv a, b;
    load_two(&a, &b, values, type, first, count);
    pairs->even = (floatv)(a.even, b.even) * factor;
    pairs->odd = (floatv)(a.odd, b.odd) * factor;
}

// To the nearest bf16, in a word's upper half.
static inline uintv round_query(floatv x) {
    uintv bits = as_uint16(x);
    return select(bits + 0x7fffu + ((bits >> 16) & 1u), bits | 0x400000u, isnan(x)) & 0xffff0000u;
}

// The pairs rounded; what that leaves stays in them, if it is a number.
static inline uintv take_words(value_pairs *pairs) {
    uintv even = round_query(pairs->even), odd = round_query(pairs->odd);
    pairs->even = select((floatv)0.0f, pairs->even - as_float16(even), isfinite(as_float16(even)));
    pairs->odd = select((floatv)0.0f, pairs->odd - as_float16(odd), isfinite(as_float16(odd)));
    return even >> 16 | odd;
}

static inline void pack_words(__global uint *out, const uintv *rows) {
    uint turned[PAIR_ROWS * PAIR_ROWS] __attribute__((aligned(64)));
    turn_words(turned, rows);
    for (int p = 0; p < PAIR_ROWS; p++) vstore16(vload16(p, turned), p, out);
}

// One part of a tile's rows, step by step: [pair of columns][row], and behind each step what the rounding left. Answers
// how many words that is.
static inline int pack_steps(__global uint *out, const __global uchar *values, int type, const long *first,
                             const int *there, int count, float factor) {
    __global uint *at = out;
    for (int d = 0; d < count; d += 2 * PAIR_ROWS, at += 2 * PAIR_ROWS * PAIR_ROWS) {
        uintv rows[PAIR_ROWS], left[PAIR_ROWS];
        for (int l = 0; l < PAIR_ROWS; l++) {
            value_pairs pairs;
            pairs.even = pairs.odd = (floatv)0.0f;
            if (there[l]) load_pairs(&pairs, values, type, first[l] + d, count - d, factor);
            rows[l] = take_words(&pairs);
            left[l] = take_words(&pairs);
        }
        pack_words(at, rows);
        pack_words(at + PAIR_ROWS * PAIR_ROWS, left);
    }
    return (int)(at - out);
}

static inline void pack_tile(const __global uchar *query, const __global uchar *query_rope, const __global int *step,
                             __global uint *out, float factor, const attend_call *call, int tile) {
    int there[PAIR_ROWS];
    long latent[PAIR_ROWS], rope[PAIR_ROWS];
    for (int l = 0; l < PAIR_ROWS; l++) {
        tile_lane lane = tile_lane_at(step, call, tile, l);
        there[l] = lane.there;
        latent[l] = lane.token * call->query_token + lane.head * call->query_head;
        rope[l] = lane.token * call->query_rope_token + lane.head * call->query_rope_head;
    }
    out += pack_steps(out, query + call->query, call->query_type, latent, there, call->latent_dim, factor);
    pack_steps(out, query_rope + call->query_rope, call->query_type, rope, there, call->rope_dim, factor);
}

// One part of a row as pairs of columns, from word w on; the last one's second may be a zero.
static inline void pack_pairs(__global float *tile, packed_lane at, int width, int w, const __global uchar *values,
                              int type, long first, int count, float factor) {
    for (int d = 0; d < count; d += 2 * PAIR_ROWS) {
        value_pairs pairs;
        float words[PAIR_ROWS] __attribute__((aligned(64)));
        load_pairs(&pairs, values, type, first + d, count - d, factor);
        store_whole(as_float16(take_words(&pairs)), words);
        packed_store(tile, at, width, w + d / 2, words, min(PAIR_ROWS, (count - d + 1) / 2));
    }
}

// Tiles for attend_bf16_dot, of BF16_PLACES(..) pairs of columns a row.   grid: as attend_pack
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void attend_pack_bf16(const __global uchar *query,
                                                                              const __global uchar *query_rope,
                                                                              const __global int *step,
                                                                              __global float *space, float factor,
                                                                              attend_call call) {
    int tile = get_global_id(0), width = BF16_PLACES(call.latent_dim, call.rope_dim);
    int words = call.latent_dim / 2 + (call.rope_dim + 1) / 2;
    const float zeros[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    if (tile >= step[call.header + HEADER_TILES]) return;
    const __global int *of = step + call.tiles + 4 * tile;
    __global float *out = space + call.packed + (long)tile * width * VECTOR_WIDTH;
    for (int l = 0; l < VECTOR_WIDTH; l++) {
        tile_lane lane = tile_lane_at(step, &call, tile, l);
        packed_lane at = packed_lane_at(of[1], of[2], width, 0, l);
        if (!lane.there) {
            packed_clear(out, at, width);
            continue;
        }
        pack_pairs(out, at, width, 0, query + call.query, call.query_type,
                   lane.token * call.query_token + lane.head * call.query_head, call.latent_dim, factor);
        pack_pairs(out, at, width, call.latent_dim / 2, query_rope + call.query_rope, call.query_type,
                   lane.token * call.query_rope_token + lane.head * call.query_rope_head, call.rope_dim, factor);
        packed_store(out, at, width, words, zeros, width - words); // what no pair goes to
    }
}

// Tiles for attend_amx, in which each step is followed by what its rounding left.   grid: as attend_pack
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void attend_pack_amx(const __global uchar *query,
                                                                             const __global uchar *query_rope,
                                                                             const __global int *step,
                                                                             __global float *space, float factor,
                                                                             attend_call call) {
    int tile = get_global_id(0), width = call.latent_dim + (call.rope_dim + 31) / 32 * 32;
    if (tile >= step[call.header + HEADER_TILES]) return;
    __global uint *out = (__global uint *)(space + call.packed + (long)tile * width * VECTOR_WIDTH);
    pack_tile(query, query_rope, step, out, factor, &call, tile);
}

// The nearest whole numbers of what is less than 2^22, either way: the sum's lowest bits have them, where drivers make
// 20 instructions of rint.
static inline intv nearest(floatv x) {
    const float whole = 0x1.8p23f;
    return as_intv(x + whole) - as_int(whole);
}

// Signed codes of up to INT8_GROUP values, the rest 0; their scale and correction beside them.
static inline void pack_group(__global int *out, const __global uchar *values, int type, long first, int count,
                              float factor) {
    floatv a, b;
    load_two(&a, &b, values, type, first, count);
    a *= factor;
    b *= factor;
    float most = max_floatv(fmax(fabs(a), fabs(b))), nan = sum_floatv((a - a) + (b - b));
    float inverse = most > 0.0f ? 127.0f / most : 0.0f;
    intv codes_a = nearest(a * inverse), codes_b = nearest(b * inverse), sum = codes_a + codes_b;
    int words[INT8_STEPS];
    vstore4(as_int4(convert_char16(codes_a)), 0, words);
    vstore4(as_int4(convert_char16(codes_b)), 1, words);
    for (int s = 0; s < INT8_STEPS; s++) out[s * INT8_ROWS] = words[s];
    int8 sum8 = sum.lo + sum.hi;
    int4 sum4 = sum8.lo + sum8.hi;
    out[INT8_STEPS * INT8_ROWS] = as_int(most / 127.0f + nan); // a query that is no number shows
    out[(INT8_STEPS + 1) * INT8_ROWS] = -128 * (sum4.x + sum4.y + sum4.z + sum4.w);
}

static inline void pack_groups(__global int *out, const __global uchar *values, int type, long first, int count,
                               float factor) {
    for (int d = 0; d < count; d += INT8_GROUP, out += INT8_GROUP_WORDS)
        pack_group(out, values, type, first + d, min(INT8_GROUP, count - d), factor);
}

// Tiles for attend_int8_dot: common/int8_call.h.   grid: as attend_pack
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void attend_pack_int8(const __global uchar *query,
                                                                              const __global uchar *query_rope,
                                                                              const __global int *step,
                                                                              __global float *space, float factor,
                                                                              attend_call call) {
    int tile = get_global_id(0), width = call.latent_dim + call.rope_dim, latent_groups = call.latent_dim / INT8_GROUP;
    int groups = latent_groups + (call.rope_dim + INT8_GROUP - 1) / INT8_GROUP;
    if (tile >= step[call.header + HEADER_TILES]) return;
    __global int *out = (__global int *)(space + call.packed + (long)tile * width * INT8_ROWS);
    for (int l = 0; l < INT8_ROWS; l++) {
        tile_lane lane = tile_lane_at(step, &call, tile, l);
        if (!lane.there) {
            for (int i = 0; i < groups * (INT8_STEPS + 2); i++) out[i * INT8_ROWS + l] = 0;
            continue;
        }
        pack_groups(out + l, query + call.query, call.query_type,
                    lane.token * call.query_token + lane.head * call.query_head, call.latent_dim, factor);
        pack_groups(out + l + latent_groups * INT8_GROUP_WORDS, query_rope + call.query_rope, call.query_type,
                    lane.token * call.query_rope_token + lane.head * call.query_rope_head, call.rope_dim, factor);
    }
}

#endif

// grid: global (ceil(tokens / ABSORB_TOKENS), head_count), local (1, 1). Past the last token the last one is computed
// again, into the same place.
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void attend_absorb_heads(
    const __global uchar *query, const __global uchar *query_rope, const __global int *step, ABSORB_ARGUMENTS,
    __global float *absorbed, attend_call call) {
    int head = get_global_id(1), width = call.latent_dim + call.rope_dim, tokens = step[call.header + HEADER_TOKENS];
    int first_token = get_global_id(0) * ABSORB_TOKENS;
    if (head >= call.head_count || first_token >= tokens) return;
    absorb_head of;
    of.grid = absorb_grid(scales, &absorb);
    of.row_stride = absorb.row_stride;
    of.columns = call.latent_dim;
    of.token_count = min(ABSORB_TOKENS, tokens - first_token);
    long q[ABSORB_TOKENS];
    for (int t = 0; t < ABSORB_TOKENS; t++) {
        long token = min(first_token + t, tokens - 1);
        long rope = token * call.query_rope_token + head * call.query_rope_head;
        q[t] = token * call.query_token + head * call.query_head;
        of.out[t] = absorbed + (token * call.head_count + head) * width;
        for (int d = 0; d < call.rope_dim && first_token + t < tokens; d++)
            of.out[t][call.latent_dim + d] = number_load(query_rope + call.query_rope, call.query_type, rope + d);
    }
    for (int n = 0; n == 0 || n < absorb.nope_dim; n += ABSORB_RUN) { // without values the sums are zeros
        absorb_head_rows(&of, weights + absorb.weights, head, absorb.nope_dim, absorb.value_dim, n);
        for (int t = 0; t < absorb_tile_tokens(of.token_count); t++)
            for (int i = 0; i < of.count; i++)
                of.q[t][i] = number_load(query + call.query, call.query_type, q[t] + n + i);
        absorb_head_add(&of);
    }
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

// grid: global (stride, row_tile, tiles), local free. What a row or a tile has no value for is zero.
__kernel void attend_pack_rows(const __global uchar *query, const __global uchar *query_rope, const __global int *step,
                               __global float *space, float factor, int row_tile, int stride, attend_call call) {
    int column = get_global_id(0), r = get_global_id(1);
    long tile = get_global_id(2);
    if (column >= stride || r >= row_tile || tile >= step[call.header + HEADER_TILES]) return;
    const __global int *of = step + call.tiles + 4 * tile;
    int row = of[1] + r, there = row < of[2];
    long token = of[0] + row / call.group_heads;
    int head = of[3] * call.group_heads + row % call.group_heads;
    float value = 0.0f;
    if (there && column < call.latent_dim)
        value = number_load(query + call.query, call.query_type,
                            token * call.query_token + head * call.query_head + column);
    else if (there && column < call.latent_dim + call.rope_dim)
        value = number_load(query_rope + call.query_rope, call.query_type,
                            token * call.query_rope_token + head * call.query_rope_head + column - call.latent_dim);
    space[call.packed + (tile * row_tile + r) * stride + column] = value * factor;
}

#endif
