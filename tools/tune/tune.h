// SPDX-License-Identifier: Apache-2.0
// clmla tune: a search for the numbers a device's attention is fastest with.
#ifndef TOOLS_TUNE_H
#define TOOLS_TUNE_H

#include "bench.h"

#define TUNE_MOST_NUMBERS 32
#define TUNE_SHAPES 4
#define TUNE_VARIANT_MAX 48

// One shape of attention that the search times.
typedef struct tune_shape {
    bench_case bench;
    char variant[TUNE_VARIANT_MAX]; // that the library chooses for it
    double before, after;           // seconds of a run with the numbers found and chosen
    double running, compiling;      // seconds a measurement takes: the shortest; with new programs, the longest
} tune_shape;

typedef struct tune_number {
    clmla_tuning tuning; // value: before the search
    uint32_t value;      // chosen
    uint32_t tried;      // other values that were timed
    bool used;           // by the variant of some shape
} tune_number;

typedef struct tune {
    const session *session;
    bench_effort effort;           // of one measurement
    double prepared;               // seconds that went before the search, mostly for compiling
    double began, deadline, until; // of the search, in stopwatch_now's seconds; until: of what is measured next
    tune_shape shapes[TUNE_SHAPES];
    size_t shape_count;
    tune_number numbers[TUNE_MOST_NUMBERS];
    size_t number_count;
    bool out_of_time;
    bool unconfirmed; // something was found, and the time was up before all of it had been compared
} tune;

// tune_numbers.c

// The next value from `value` in a number's range, up or down: a step where there are few, else the double or the half.
// `value` itself: there is none.
uint32_t tune_neighbour(const clmla_tuning *tuning, uint32_t value, bool up);

// Whether attend's variant looks at a number, by its name, over rows of DeepSeek's widths.
bool tune_uses(const char *variant, const char *number);

// Whether kernels are compiled for a number's values: the others are the schedule's.
bool tune_compiles(const char *number);

// By a variant's name: products that fast compute rounds for. Of matrix units they are exact, too, by another program.
bool tune_has_matrix_units(const char *variant);
bool tune_has_cpu_products(const char *variant);

// tune_rows.c

// The row of lib/tuning_defaults.c that would have a number begin with `value` on the device: "{CL_DEVICE_TYPE_GPU,
// "NVIDIA Corporation", "NVIDIA H200", TUNING_ATTEND_TILE_KEYS, 64},".
#define TUNE_ROW_BYTES 2048
void tune_row(char out[TUNE_ROW_BYTES], const clmla_device_facts *facts, const char *number, uint32_t value);

// tune_search.c

// Fills shapes and numbers and searches: number by number, from the present value to its neighbours and on while that
// gains, in rounds until nothing does or the time is up. A gain counts beyond TUNE_GAIN and when a second measurement
// of both shows it too; in the end all numbers together have to show it, within the time. The clock starts when the
// programs of the present values are there; what is expected to end too late, by what the like of it took, is not
// begun, and one measurement at most is under way when the time is up. The session's context is left with what was
// chosen.
#define TUNE_GAIN 0.02
bool tune_search(tune *out, double seconds, failure *failure);

#endif
