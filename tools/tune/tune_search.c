// SPDX-License-Identifier: Apache-2.0
#include "deepseek.h"
#include "stopwatch.h"
#include "tune.h"
#include <math.h>
#include <string.h>

#define COMPARISONS 3 // of all numbers found with those before, where there is time

// --- what is timed --------------------------------------------------------------------------------------------------

static bool find_attend(const bench_operation **out, failure *failure) {
    size_t count;
    const bench_operation *all = bench_operations(&count);
    for (size_t i = 0; i < count; i++) {
        *out = &all[i];
        if (strcmp(all[i].name, "attend") == 0) return true;
    }
    return failure_set(failure, "there is no operation attend to time");
}

// Fast compute where it has kernels of its own: matrix units multiply f16 rows, a CPU's dot products and tiles q8 ones.
static bool is_wanted(const tune_shape *shape) {
    if (shape->bench.compute == CLMLA_COMPUTE_EXACT) return true;
    return shape->bench.rows == CLMLA_ROWS_F16 ? tune_has_matrix_units(shape->variant)
                                               : tune_has_cpu_products(shape->variant);
}

// Few and many heads over f16 rows, and fast compute.
static bool make_shapes(tune *t, failure *failure) {
    static const struct {
        clmla_row_format rows;
        uint32_t heads;
        clmla_compute compute;
    } shapes[TUNE_SHAPES] = {{CLMLA_ROWS_F16, 16, CLMLA_COMPUTE_EXACT},
                             {CLMLA_ROWS_F16, 128, CLMLA_COMPUTE_EXACT},
                             {CLMLA_ROWS_F16, 128, CLMLA_COMPUTE_FAST},
                             {CLMLA_ROWS_Q8, 128, CLMLA_COMPUTE_FAST}};
    const bench_operation *attend = NULL;
    if (!find_attend(&attend, failure)) return false;
    for (size_t i = 0; i < TUNE_SHAPES; i++) {
        tune_shape *shape = &t->shapes[t->shape_count];
        shape->bench = (bench_case){.operation = attend,
                                    .rows = shapes[i].rows,
                                    .heads = shapes[i].heads,
                                    .tokens = 4096,
                                    .batch = 1,
                                    .query_tokens = 1,
                                    .page = 64,
                                    .latent_dim = DEEPSEEK_LATENT_DIM,
                                    .rope_dim = DEEPSEEK_ROPE_DIM,
                                    .compute = shapes[i].compute};
        if (!bench_attend_variant(shape->variant, sizeof shape->variant, t->session, &shape->bench, failure)) return false;
        t->shape_count += is_wanted(shape);
    }
    return true;
}

static bool make_numbers(tune *t, failure *failure) {
    clmla_tuning all[TUNE_MOST_NUMBERS];
    size_t count = 0;
    if (clmla_tuning_list(all, TUNE_MOST_NUMBERS, &count, t->session->context) != CLMLA_OK)
        return failure_library(failure);
    for (size_t i = 0; i < count && i < TUNE_MOST_NUMBERS; i++) {
        tune_number *number = &t->numbers[t->number_count++];
        *number = (tune_number){.tuning = all[i], .value = all[i].value};
        for (size_t s = 0; s < t->shape_count; s++)
            number->used = number->used || tune_uses(t->shapes[s].variant, all[i].name);
    }
    return true;
}

// --- timing ---------------------------------------------------------------------------------------------------------

static bool set(const tune *t, const tune_number *number, uint32_t value, failure *failure) {
    return clmla_tuning_set(t->session->context, number->tuning.name, value) == CLMLA_OK || failure_library(failure);
}

// Seconds of a run of each shape that looks at the number (NULL = all), the others 0.
typedef struct sample {
    double seconds[TUNE_SHAPES];
} sample;

typedef enum outcome {
    MEASURED,
    LATE, // not begun: it would not end in time
    FAILED
} outcome;

static bool run_shape(double *seconds, double *took, const tune *t, const tune_shape *shape, failure *failure) {
    bench_result result = {.parts = 0};
    double begin = stopwatch_now();
    bool ran = shape->bench.operation->measure(&result, t->session, &shape->bench, &t->effort, failure);
    *took = stopwatch_now() - begin;
    *seconds = result.times.minimum;
    return ran;
}

// compiles: with values whose programs are new, as far as can be told.
static outcome measure_shape(double *seconds, tune *t, tune_shape *shape, bool compiles, failure *failure) {
    double took;
    if (stopwatch_now() + (compiles ? shape->compiling : shape->running) > t->until) {
        t->out_of_time = true;
        return LATE;
    }
    bool ran = run_shape(seconds, &took, t, shape, failure);
    // Some programs come from the disk, and a value may need none: the longest is what the next may take.
    if (compiles) shape->compiling = fmax(shape->compiling, took);
    if (!compiles) shape->running = fmin(shape->running, took);
    return ran ? MEASURED : FAILED;
}

static outcome measure(sample *out, tune *t, const tune_number *number, bool compiles, failure *failure) {
    *out = (sample){{0.0}};
    for (size_t s = 0; s < t->shape_count; s++) {
        tune_shape *shape = &t->shapes[s];
        if (number && !tune_uses(shape->variant, number->tuning.name)) continue;
        outcome outcome = measure_shape(&out->seconds[s], t, shape, compiles, failure);
        if (outcome != MEASURED) return outcome;
    }
    return MEASURED;
}

// Compiles what the present numbers need, and learns how long that and a measurement take: before the clock starts.
static bool prepare(tune *t, failure *failure) {
    for (size_t s = 0; s < t->shape_count; s++) {
        tune_shape *shape = &t->shapes[s];
        if (!run_shape(&shape->before, &shape->compiling, t, shape, failure)) return false;
        if (!run_shape(&shape->before, &shape->running, t, shape, failure)) return false;
    }
    return true;
}

static void keep_shorter(sample *a, const sample *b) {
    for (size_t s = 0; s < TUNE_SHAPES; s++) a->seconds[s] = fmin(a->seconds[s], b->seconds[s]);
}

// Whether `a` is more than TUNE_GAIN faster than `b`, by the mean of the shapes' ratios (geometric).
static bool faster(const sample *a, const sample *b, size_t shapes) {
    double sum = 0.0;
    int count = 0;
    for (size_t s = 0; s < shapes; s++) {
        if (a->seconds[s] <= 0.0 || b->seconds[s] <= 0.0) continue;
        sum += log(a->seconds[s] / b->seconds[s]);
        count++;
    }
    return count > 0 && exp(sum / count) < 1.0 - TUNE_GAIN;
}

// --- searching ------------------------------------------------------------------------------------------------------

// Measures what seemed faster again, with the present value in between.
static outcome repeat(sample *found, tune *t, tune_number *number, sample *present, uint32_t value, failure *failure) {
    sample again;
    if (!set(t, number, number->value, failure)) return FAILED;
    outcome outcome = measure(&again, t, number, false, failure);
    if (outcome != MEASURED) return outcome;
    keep_shorter(present, &again);
    if (!set(t, number, value, failure)) return FAILED;
    outcome = measure(&again, t, number, false, failure);
    if (outcome == MEASURED) keep_shorter(found, &again);
    return outcome;
}

// Times `value`; *gained: it beats the present one, twice. A value that the device cannot run is none to choose, so
// that failing is no failure; the number keeps its present value then, and whatever else is wrong shows with that. Nor
// is one that there was no time left for.
static bool try_value(bool *gained, tune *t, tune_number *number, sample *present, uint32_t value, failure *failure) {
    sample found;
    *gained = false;
    if (!set(t, number, value, failure)) return false;
    outcome outcome = measure(&found, t, number, tune_compiles(number->tuning.name), failure);
    number->tried += outcome != LATE;
    if (outcome == MEASURED && faster(&found, present, t->shape_count)) {
        outcome = repeat(&found, t, number, present, value, failure);
        *gained = outcome == MEASURED && faster(&found, present, t->shape_count);
    }
    if (!*gained) return set(t, number, number->value, failure);
    number->value = value;
    *present = found;
    return true;
}

// Goes from the present value one way as long as that gains.
static bool walk(bool *moved, tune *t, tune_number *number, sample *present, bool up, failure *failure) {
    for (bool gained = true; gained && !t->out_of_time;) {
        uint32_t next = tune_neighbour(&number->tuning, number->value, up);
        if (next == number->value) break;
        if (!try_value(&gained, t, number, present, next, failure)) return false;
        *moved = *moved || gained;
    }
    return true;
}

static bool descend(tune *t, failure *failure) {
    for (bool moved = true; moved && !t->out_of_time;) {
        moved = false;
        // From the last to the first: schedules come before the sizes that kernels are compiled for.
        for (size_t i = t->number_count; i > 0 && !t->out_of_time; i--) {
            tune_number *number = &t->numbers[i - 1];
            sample present;
            bool here = false;
            if (!number->used) continue;
            outcome outcome = measure(&present, t, number, false, failure);
            if (outcome != MEASURED) return outcome == LATE;
            if (!walk(&here, t, number, &present, true, failure)) return false;
            if (!here && !walk(&here, t, number, &present, false, failure)) return false;
            moved = moved || here;
        }
    }
    return true;
}

static bool set_all(const tune *t, bool chosen, failure *failure) {
    for (size_t i = 0; i < t->number_count; i++)
        if (!set(t, &t->numbers[i], chosen ? t->numbers[i].value : t->numbers[i].tuning.value, failure)) return false;
    return true;
}

static bool anything_found(const tune *t) {
    for (size_t i = 0; i < t->number_count; i++)
        if (t->numbers[i].value != t->numbers[i].tuning.value) return true;
    return false;
}

// With the numbers from before the search, then with those found.
static outcome measure_both(sample *before, sample *after, tune *t, failure *failure) {
    if (!set_all(t, false, failure)) return FAILED;
    outcome outcome = measure(before, t, NULL, false, failure);
    if (outcome != MEASURED) return outcome;
    return set_all(t, true, failure) ? measure(after, t, NULL, false, failure) : FAILED;
}

// Up to COMPARISONS times, as often as there is time for; *count: so often.
static bool compare(sample *before, sample *after, int *count, tune *t, failure *failure) {
    for (*count = 0; *count < COMPARISONS; ++*count) {
        sample old, new;
        outcome outcome = measure_both(&old, &new, t, failure);
        if (outcome != MEASURED) return outcome == LATE;
        if (*count == 0) *before = old, *after = new;
        keep_shorter(before, &old);
        keep_shorter(after, &new);
    }
    return true;
}

// Without a gain of all numbers together the old ones stay.
static bool confirm(tune *t, failure *failure) {
    sample before, after;
    int count = 0;
    bool found = anything_found(t);
    t->until = t->deadline;
    if (found && !compare(&before, &after, &count, t, failure)) return false;
    bool gained = count > 0 && faster(&after, &before, t->shape_count);
    t->unconfirmed = found && count == 0;
    for (size_t i = 0; i < t->number_count && !gained; i++) t->numbers[i].value = t->numbers[i].tuning.value;
    for (size_t s = 0; s < t->shape_count; s++) {
        tune_shape *shape = &t->shapes[s];
        if (count > 0) shape->before = before.seconds[s];
        shape->after = gained ? after.seconds[s] : shape->before;
    }
    return set_all(t, true, failure);
}

// The comparison has its share of the time: a quarter at most, unless one turn of it takes longer.
static void start_clock(tune *t, double seconds) {
    double turn = 0.0;
    for (size_t s = 0; s < t->shape_count; s++) turn += 2.0 * t->shapes[s].running;
    t->began = stopwatch_now();
    t->deadline = t->began + seconds;
    t->until = t->deadline - fmax(turn, fmin(COMPARISONS * turn, 0.25 * seconds));
}

bool tune_search(tune *out, double seconds, failure *failure) {
    double begin = stopwatch_now();
    out->effort.seconds = fmin(0.5, seconds / 400.0);
    if (!make_shapes(out, failure) || !make_numbers(out, failure) || !prepare(out, failure)) return false;
    start_clock(out, seconds);
    out->prepared = out->began - begin;
    return descend(out, failure) && confirm(out, failure);
}
