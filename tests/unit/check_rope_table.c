// SPDX-License-Identifier: Apache-2.0
// Cosine and sine tables against long double, near and far, in both angle modes.
#include "tests/unit/config_text.h"
#include "tests/unit/made_file.h"
#include <math.h>

static const int32_t positions[] = {0, 1, 2, 4095, 131071, -1, -4096, 2147483647};
#define POSITIONS (sizeof positions / sizeof *positions)
#define PAIRS 32

#define YARN                                                                                                           \
    "{\"type\": \"yarn\", \"factor\": 40, \"original_max_position_embeddings\": 4096, \"mscale\": 1, "                 \
    "\"mscale_all_dim\": 0.5}"

static clmla_config make_config(const char *theta, const char *scaling) {
    clmla_config c;
    EXPECT_OK(config_text_parse(
        &c, CONFIG_FIELDS({"qk_rope_head_dim", "64"}, {"rope_theta", theta}, {"rope_scaling", scaling})));
    return c;
}

// Half a unit in the last place of a value below `peak`, and what 2^31 turns cost in double.
static void check_close(float found, long double expected, long double peak, int32_t position, int pair) {
    long double bar = peak * 0x1p-25L * 1.001L + fabsl((long double)position) * 0x1p-51L + 1e-12L;
    ck_assert_msg(fabsl((long double)found - expected) <= bar, "position %d, pair %d: %.9g, not %.12Lg", (int)position,
                  pair, (double)found, expected);
}

START_TEST(plain_angles) {
    float table[POSITIONS][PAIRS][2];
    const char *const thetas[] = {"10000", "50000", "1000000"};
    const long double bases[] = {10000, 50000, 1000000};
    clmla_config c = make_config(thetas[_i], "null");
    EXPECT_OK(clmla_rope_table(&table[0][0][0], &c, positions, POSITIONS, CLMLA_ANGLE_DOUBLE));
    for (size_t p = 0; p < POSITIONS; p++)
        for (int i = 0; i < PAIRS; i++) {
            long double angle = positions[p] * powl(bases[_i], -2.0L * i / 64);
            check_close(table[p][i][0], cosl(angle), 1, positions[p], i);
            check_close(table[p][i][1], sinl(angle), 1, positions[p], i);
        }
}
END_TEST

// delta · turns modulo 2^64 is the fraction of a turn that delta positions make.
START_TEST(turns) {
    uint64_t made[PAIRS];
    clmla_config c = make_config("10000", "null");
    EXPECT_OK(clmla_rope_turns(made, &c));
    for (size_t p = 0; p < POSITIONS; p++)
        for (int i = 0; i < PAIRS; i++) {
            long double exact = positions[p] * powl(10000, -2.0L * i / 64) / (2 * acosl(-1)), found;
            found = (long double)((uint64_t)(int64_t)positions[p] * made[i]) * 0x1p-64L;
            long double off = remainderl(found - exact, 1);
            ck_assert_msg(fabsl(off) <= 1e-18L + fabsl((long double)positions[p]) * 0x1p-54L,
                          "position %d, pair %d: off by %Lg turns", (int)positions[p], i, off);
        }
    // Many shifts are one.
    uint64_t sum = 0;
    for (int i = 0; i < 64; i++) sum += (uint64_t)INT64_C(-1) * made[3];
    ck_assert_uint_eq(sum, (uint64_t)INT64_C(-64) * made[3]);
    c.rope_type = CLMLA_ROPE_NONE;
    EXPECT_OK(clmla_rope_turns(made, &c));
    for (int i = 0; i < PAIRS; i++) ck_assert_uint_eq(made[i], 0);
    ck_assert_int_eq(clmla_rope_turns(NULL, &c), CLMLA_E_ARGUMENT);
}
END_TEST

// Under YaRN both carry g(mscale)/g(mscale_all_dim).
START_TEST(scaled_angles) {
    float table[POSITIONS][PAIRS][2];
    clmla_config_values values;
    clmla_config c = make_config("10000", YARN);
    EXPECT_OK(clmla_config_derive(&values, &c));
    EXPECT_OK(clmla_rope_table(&table[0][0][0], &c, positions, POSITIONS, CLMLA_ANGLE_DOUBLE));
    long double factor = (0.1L * logl(40) + 1) / (0.05L * logl(40) + 1);
    for (size_t p = 0; p < POSITIONS; p++)
        for (int i = 0; i < PAIRS; i++) {
            long double plain = powl(10000, -2.0L * i / 64), ramp = i <= 10 ? 0 : i >= 23 ? 1 : (i - 10) / 13.0L;
            long double angle = positions[p] * (plain / 40 * ramp + plain * (1 - ramp));
            check_close(table[p][i][0], factor * cosl(angle), 2, positions[p], i);
            check_close(table[p][i][1], factor * sinl(angle), 2, positions[p], i);
        }
}
END_TEST

// f32(position)·f32(frequency), rounded to f32, as transformers has it: right near 0 and visibly off far out.
START_TEST(narrow_angles) {
    float table[POSITIONS][PAIRS][2], exact[POSITIONS][PAIRS][2];
    clmla_config_values values;
    clmla_config c = make_config("10000", "null");
    EXPECT_OK(clmla_config_derive(&values, &c));
    EXPECT_OK(clmla_rope_table(&table[0][0][0], &c, positions, POSITIONS, CLMLA_ANGLE_F32));
    EXPECT_OK(clmla_rope_table(&exact[0][0][0], &c, positions, POSITIONS, CLMLA_ANGLE_DOUBLE));
    float far = 0.0f, near = 0.0f;
    for (size_t p = 0; p < POSITIONS; p++)
        for (int i = 0; i < PAIRS; i++) {
            volatile float angle = (float)positions[p] * (float)values.inverse_frequency[i];
            check_close(table[p][i][0], cosl((long double)angle), 1, 0, i);
            check_close(table[p][i][1], sinl((long double)angle), 1, 0, i);
            if (positions[p] == 131071) far = fmaxf(far, fabsf(table[p][i][0] - exact[p][i][0]));
            if (positions[p] == 1) near = fmaxf(near, fabsf(table[p][i][0] - exact[p][i][0]));
        }
    ck_assert(far > 1e-4f);
    ck_assert(near < 1e-7f);
}
END_TEST

START_TEST(no_rotation) {
    float table[POSITIONS][PAIRS][2];
    clmla_config c = make_config("10000", YARN);
    c.rope_type = CLMLA_ROPE_NONE;
    EXPECT_OK(clmla_rope_table(&table[0][0][0], &c, positions, POSITIONS, CLMLA_ANGLE_DOUBLE));
    for (size_t p = 0; p < POSITIONS; p++)
        for (int i = 0; i < PAIRS; i++) ck_assert(table[p][i][0] == 1.0f && table[p][i][1] == 0.0f);
    c.qk_rope_head_dim = 0;
    table[0][0][0] = 5.0f;
    EXPECT_OK(clmla_rope_table(&table[0][0][0], &c, positions, POSITIONS, CLMLA_ANGLE_DOUBLE));
    EXPECT_OK(clmla_rope_table(NULL, &c, NULL, POSITIONS, CLMLA_ANGLE_DOUBLE));
    ck_assert(table[0][0][0] == 5.0f);
}
END_TEST

START_TEST(arguments) {
    float table[PAIRS][2] = {{7.0f, 7.0f}};
    clmla_config c = make_config("10000", "null");
    EXPECT_OK(clmla_rope_table(NULL, &c, NULL, 0, CLMLA_ANGLE_DOUBLE));
    EXPECT_REFUSED(clmla_rope_table(NULL, &c, positions, 1, CLMLA_ANGLE_DOUBLE), CLMLA_E_ARGUMENT, "NULL");
    EXPECT_REFUSED(clmla_rope_table(&table[0][0], &c, NULL, 1, CLMLA_ANGLE_DOUBLE), CLMLA_E_ARGUMENT, "NULL");
    EXPECT_REFUSED(clmla_rope_table(&table[0][0], NULL, positions, 1, CLMLA_ANGLE_DOUBLE), CLMLA_E_ARGUMENT, "NULL");
    EXPECT_REFUSED(clmla_rope_table(&table[0][0], &c, positions, 1, (clmla_angle_mode)2), CLMLA_E_ARGUMENT,
                   "angle mode");
    c.rope_theta = 0.5;
    EXPECT_REFUSED(clmla_rope_table(&table[0][0], &c, positions, 1, CLMLA_ANGLE_DOUBLE), CLMLA_E_CONFIG, "rope_theta");
    ck_assert(table[0][0] == 7.0f);
}
END_TEST

static void add_tests(TCase *tests) {
    tcase_add_test(tests, turns);
    tcase_add_loop_test(tests, plain_angles, 0, 3);
    tcase_add_test(tests, scaled_angles);
    tcase_add_test(tests, narrow_angles);
    tcase_add_test(tests, no_rotation);
    tcase_add_test(tests, arguments);
}

int main(void) {
    return made_run("check_rope_table", add_tests);
}
