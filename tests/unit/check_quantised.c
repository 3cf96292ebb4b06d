// SPDX-License-Identifier: Apache-2.0
// What the quantised formats cost: the reference's rows against the values they were made from, within the bars of each
// format; and rows by hand, byte for byte. (That kernels write and read the reference's rows is check_append's and
// check_gather's.)
#include "tests/ref/ref_quantised.h"
#include "tests/support/random.h"
#include "tests/support/suite.h"
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define LATENT 512
#define ROPE 64
#define ROWS 200
#define BYTES_MOST 700

typedef struct case_bars {
    ref_row_format format;
    const char *name;
    double latent_l2, rope_l2, cosine; // of rows of normal values
    double outlier_l2;                 // with outliers
} case_bars;

static const case_bars cases[] = {
    {REF_ROWS_Q8, "q8", 6e-3, 6e-3, 6e-4, 1.2e-2},
    {REF_ROWS_Q6, "q6", 1.8e-2, 1e-2, 6e-4, 2.4e-2},
    {REF_ROWS_Q5, "q5", 2.8e-2, 1e-2, 1.3e-3, 3.6e-2},
    {REF_ROWS_Q4, "q4", 7.2e-2, 1e-2, 5e-3, 0.1},
};

// randn / 10, clamped to ±1; with outliers the same 2 % of channels of all rows are 8 times as large.
static void make_row(float *row, size_t count, bool outliers, test_random *random) {
    for (size_t i = 0; i < count; i++) {
        double value = fmin(fmax(test_random_normal(random) / 10.0, -1.0), 1.0);
        row[i] = (float)(outliers && i * 7919 % 50 == 3 ? value * 8.0 : value);
    }
}

typedef struct sums {
    double error, square, product, both;
} sums;

static void measure(sums *s, ref_row_format format, bool rope, bool outliers, uint64_t seed) {
    ref_quantised part = {format, rope, rope ? ROPE : LATENT};
    test_random random = test_random_make(seed);
    for (int r = 0; r < ROWS; r++) {
        float row[LATENT];
        double decoded[LATENT];
        unsigned char bytes[BYTES_MOST];
        make_row(row, part.columns, outliers, &random);
        ref_quantised_encode(bytes, &part, row);
        ref_quantised_decode(decoded, &part, bytes);
        for (size_t i = 0; i < part.columns; i++) {
            double x = (double)row[i], y = decoded[i];
            s->error += (x - y) * (x - y);
            s->square += x * x;
            s->product += x * y;
            s->both += x * x + y * y;
        }
    }
}

static double rel_l2(const sums *s) {
    return sqrt(s->error / s->square);
}

START_TEST(keeps_within_the_bars) {
    const case_bars *c = &cases[_i];
    sums latent = {0}, rope = {0}, far = {0};
    measure(&latent, c->format, false, false, 1);
    measure(&rope, c->format, true, false, 2);
    measure(&far, c->format, false, true, 3);
    double cosine = 1 - 2 * (latent.product + rope.product) / (latent.both + rope.both);
    double far_cosine = 1 - 2 * far.product / far.both;
    printf("%s: rel_l2 latent %.2e, rope %.2e; cos_diff %.2e; with outliers rel_l2 %.2e, cos_diff %.2e\n", c->name,
           rel_l2(&latent), rel_l2(&rope), cosine, rel_l2(&far), far_cosine);
    ck_assert_double_le(rel_l2(&latent), c->latent_l2);
    ck_assert_double_le(rel_l2(&rope), c->rope_l2);
    ck_assert_double_le(cosine, c->cosine);
    ck_assert_double_le(rel_l2(&far), c->outlier_l2);
    ck_assert_double_le(far_cosine, c->cosine);
}
END_TEST

// All zeros but the padding's neighbours: nothing, a tiny row, and one that is not finite.
START_TEST(writes_empty_and_wrong_rows) {
    const ref_row_format format = cases[_i].format;
    for (int rope = 0; rope < 2; rope++)
        for (int kind = 0; kind < 4; kind++) {
            ref_quantised part = {format, rope, 40};
            float row[40] = {0};
            double decoded[40];
            unsigned char bytes[BYTES_MOST], zeros[BYTES_MOST] = {0};
            const float special[] = {0.0f, 0x1p-101f, INFINITY, NAN};
            memset(bytes, 0xaa, sizeof bytes);
            row[7] = special[kind];
            ref_quantised_encode(bytes, &part, row);
            ref_quantised_decode(decoded, &part, bytes);
            if (kind < 2) ck_assert_int_eq(memcmp(bytes, zeros, ref_quantised_bytes(&part)), 0);
            for (int i = 0; i < 40; i++) { // columns from 32 on are another group of q8
                bool wrong = kind >= 2 && (format != REF_ROWS_Q8 || i < 32);
                ck_assert_msg(wrong ? isnan(decoded[i]) : decoded[i] == 0.0, "column %d is %g", i, decoded[i]);
            }
            ck_assert_int_eq(bytes[ref_quantised_bytes(&part)], 0xaa);
        }
}
END_TEST

// One value of q4 by hand: d 1, k 1, variant 0, code 15: u = 15 - 7.5 - 7/16, x = u (u + 5.625).
START_TEST(reads_a_row_by_hand) {
    unsigned char bytes[8] = {0x0f, 0, 0, 0, 0x80, 0x3f, 0, 0}; // codes; d; variant; scale
    ref_quantised part = {REF_ROWS_Q4, false, 2};
    double decoded[2];
    ck_assert_uint_eq(ref_quantised_bytes(&part), 8);
    ref_quantised_decode(decoded, &part, bytes);
    ck_assert_double_eq(decoded[0], 7.0625 * 12.6875);
    ck_assert_double_eq(decoded[1], -7.9375 * 13.5625);
    bytes[6] = 7, bytes[7] = 0xf3; // the last variant; k 4 for the first 16 columns
    ref_quantised_decode(decoded, &part, bytes);
    ck_assert_double_eq(decoded[0], 4 * 7.9375 * 13.5625);
}
END_TEST

static void add_tests(TCase *tests) {
    tcase_add_loop_test(tests, keeps_within_the_bars, 0, sizeof cases / sizeof *cases);
    tcase_add_loop_test(tests, writes_empty_and_wrong_rows, 0, sizeof cases / sizeof *cases);
    tcase_add_test(tests, reads_a_row_by_hand);
}

int main(void) {
    return test_run_apart("quantised", add_tests);
}
