// SPDX-License-Identifier: Apache-2.0
// clmla tune's search over an attention that takes what the test says, by the test's clock: what is timed, that the
// best is found, and that the time it is given is kept.
#include "stopwatch.h"
#include "tests/support/device.h"
#include "tune.h"
#include <math.h>
#include <string.h>

#define RUNNING 0.125 // seconds of a measurement
#define PROGRAMS 256

static struct {
    const char *exact, *fast_f16, *fast_q8; // variants
    double now, compiling, growth;          // seconds of the next program; each next one takes so many times as long
    double last_begin;                      // of a measurement
    uint32_t programs[PROGRAMS], program_count;
} scene;

// --- in place of the tool's own -------------------------------------------------------------------------------------

double stopwatch_now(void) {
    return scene.now;
}

bool bench_attend_variant(char *out, size_t size, const session *session, const bench_case *bench, failure *failure) {
    (void)session, (void)failure;
    const char *fast = bench->rows == CLMLA_ROWS_F16 ? scene.fast_f16 : scene.fast_q8;
    snprintf(out, size, "%s", bench->compute == CLMLA_COMPUTE_EXACT ? scene.exact : fast);
    return true;
}

static uint32_t number(const session *session, const char *name) {
    uint32_t value = 0;
    TEST_OK(clmla_tuning_get(&value, session->context, name));
    return value;
}

// Compiles what is not there yet.
static void find_program(uint32_t program) {
    for (uint32_t i = 0; i < scene.program_count; i++)
        if (scene.programs[i] == program) return;
    ck_assert_uint_lt(scene.program_count, PROGRAMS);
    scene.programs[scene.program_count++] = program;
    scene.now += scene.compiling;
    scene.compiling *= scene.growth;
}

// Fastest with 8 rows of a tile and pieces that cost 96 keys.
static bool measure(bench_result *out, const session *session, const bench_case *bench, const bench_effort *effort,
                    failure *failure) {
    (void)effort, (void)failure;
    uint32_t rows = number(session, "attend.tile.rows"), piece = number(session, "attend.piece_keys");
    scene.last_begin = scene.now;
    find_program(rows * 4 + (bench->compute == CLMLA_COMPUTE_FAST) * 2 + (bench->rows == CLMLA_ROWS_Q8));
    scene.now += RUNNING;
    out->times.minimum = 1.0 + fabs(log2(rows / 8.0)) + fabs(log2((piece + 1) / 97.0));
    return true;
}

const bench_operation *bench_operations(size_t *count) {
    static const bench_operation attend = {.name = "attend", .measure = measure};
    *count = 1;
    return &attend;
}

// --- the tests ------------------------------------------------------------------------------------------------------

static void set_scene(const char *exact, const char *fast_f16, const char *fast_q8) {
    scene.exact = exact, scene.fast_f16 = fast_f16, scene.fast_q8 = fast_q8;
    scene.now = 1000.0, scene.compiling = 2.0, scene.growth = 1.0;
    scene.program_count = 0;
}

static tune search(double seconds) {
    session session = {.context = test_device_get()->context};
    tune t = {.session = &session};
    failure failure = {0};
    ck_assert_msg(tune_search(&t, seconds, &failure), "%s", failure.sentence);
    for (size_t i = 0; i < t.number_count; i++) {
        ck_assert_uint_eq(number(&session, t.numbers[i].tuning.name), t.numbers[i].value);
        TEST_OK(clmla_tuning_set(session.context, t.numbers[i].tuning.name, t.numbers[i].tuning.initial));
    }
    t.session = NULL;
    return t;
}

static uint32_t chosen(const tune *t, const char *name) {
    for (size_t i = 0; i < t->number_count; i++)
        if (strcmp(t->numbers[i].tuning.name, name) == 0) return t->numbers[i].value;
    ck_abort_msg("no number is called %s", name);
}

static bool times(const tune *t, clmla_row_format rows, clmla_compute compute) {
    for (size_t s = 0; s < t->shape_count; s++)
        if (t->shapes[s].bench.rows == rows && t->shapes[s].bench.compute == compute) return true;
    return false;
}

// Fast compute is timed over the rows that it rounds with kernels of its own.
START_TEST(what_is_timed) {
    static const struct {
        const char *exact, *fast_f16, *fast_q8;
        bool f16, q8;
    } rows[] = {{"vector", "int16_dot", "int8_dot", false, true}, {"vector", "amx", "amx", false, true},
                {"vector", "vector", "vector", false, false},     {"tile", "tile", "tile", false, false},
                {"matrix", "matrix", "tile", true, false},        {"matrix_ring", "matrix_ring", "tile", true, false},
                {"wgmma", "wgmma", "tile", true, false},          {"tile", "matrix", "tile", true, false}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        set_scene(rows[i].exact, rows[i].fast_f16, rows[i].fast_q8);
        tune t = search(0.01);
        ck_assert_uint_eq(t.shape_count, 2u + rows[i].f16 + rows[i].q8);
        ck_assert_int_eq(times(&t, CLMLA_ROWS_F16, CLMLA_COMPUTE_FAST), rows[i].f16);
        ck_assert_int_eq(times(&t, CLMLA_ROWS_Q8, CLMLA_COMPUTE_FAST), rows[i].q8);
    }
}
END_TEST

// Each variant's own numbers alone are varied, and with time enough the best of them are found.
START_TEST(finds_the_best) {
    set_scene("matrix", "matrix", "tile");
    tune t = search(3600.0);
    ck_assert(!t.out_of_time && !t.unconfirmed);
    ck_assert_uint_eq(chosen(&t, "attend.tile.rows"), 8);
    ck_assert_uint_eq(chosen(&t, "attend.piece_keys"), 96);
    for (size_t s = 0; s < t.shape_count; s++) ck_assert(t.shapes[s].after < t.shapes[s].before);
    set_scene("wgmma", "wgmma", "tile");
    t = search(3600.0);
    ck_assert_uint_eq(chosen(&t, "attend.tile.rows"), 32);
    ck_assert_uint_eq(chosen(&t, "attend.piece_keys"), 96);
}
END_TEST

// Programs that take as long as each other: the search ends in time, whatever that is, and does not count what went
// before.
START_TEST(ends_in_time) {
    for (double seconds = 0.01; seconds < 200.0; seconds *= 1.1) {
        set_scene("matrix", "matrix", "tile");
        tune t = search(seconds);
        ck_assert_msg(scene.now <= t.began + seconds, "%g s took %g", seconds, scene.now - t.began);
        ck_assert(t.prepared >= 2.0 * scene.compiling);
        ck_assert(!t.unconfirmed);
        if (seconds < 100.0) continue;
        ck_assert_uint_eq(chosen(&t, "attend.tile.rows"), 8);
    }
}
END_TEST

// Each program takes longer than the one before: the one under way is finished, nothing is begun after it, and what
// could not be compared is not chosen.
START_TEST(finishes_what_is_under_way) {
    bool over = false, unconfirmed = false;
    for (double seconds = 1.0; seconds < 400.0; seconds *= 1.05) {
        set_scene("tile", "tile", "tile");
        scene.growth = 1.6;
        tune t = search(seconds);
        ck_assert_msg(scene.last_begin <= t.began + seconds, "%g s: begun after %g", seconds,
                      scene.last_begin - t.began);
        over = over || scene.now > t.began + seconds;
        unconfirmed = unconfirmed || t.unconfirmed;
        if (!t.unconfirmed) continue;
        for (size_t i = 0; i < t.number_count; i++) ck_assert_uint_eq(t.numbers[i].value, t.numbers[i].tuning.value);
    }
    ck_assert(over && unconfirmed);
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_test(tcase, what_is_timed);
    tcase_add_test(tcase, finds_the_best);
    tcase_add_test(tcase, ends_in_time);
    tcase_add_test(tcase, finishes_what_is_under_way);
}

int main(void) {
    return test_main("check_tune_search", add);
}
