// SPDX-License-Identifier: Apache-2.0
// clmla bench: cases of single operations and whole layer steps, timed, and held against the device's own limits.
#ifndef TOOLS_BENCH_H
#define TOOLS_BENCH_H

#include "bench_limits.h"
#include "bench_profile.h"
#include "bench_time.h"
#include "session.h"
#include <stdint.h>
#include <stdio.h>

typedef struct bench_case bench_case;

// What one operation must do, and move once.
typedef struct bench_work {
    const char *operation; // as the profile callback names it
    double flops, bytes;
} bench_work;

#define BENCH_MOST_WORKS 8

// What a case did and what it took. Rates follow from it (bench_rates.c).
typedef struct bench_result {
    char variant[48];
    uint32_t parts, splits;             // attend's schedule; 0 = the operation has none
    bench_times times;                  // of one run, seconds
    double flops;                       // floating-point operations of a run
    double bytes;                       // rows, weights or states that a run must move once
    bench_work works[BENCH_MOST_WORKS]; // of a layer: its operations, which follow one another
    uint32_t work_count;                // 0 = the case is one operation
    bench_launches launches;            // of a layer, if asked for
} bench_result;

// An operation that can be timed, and what --format means for it.
typedef enum bench_format_kind {
    BENCH_FORMAT_ROWS,
    BENCH_FORMAT_WEIGHTS,
    BENCH_FORMAT_STATES,
    BENCH_FORMAT_F32 // there is no other
} bench_format_kind;

// Which numbers of a case an operation looks at; the others are 0. All look at batch.
enum {
    BENCH_USES_HEADS = 1,
    BENCH_USES_TOKENS = 2,
    BENCH_USES_QUERIES = 4,
    BENCH_USES_PAGE = 8,
    BENCH_USES_WEIGHTS = 16,
    BENCH_USES_COMPUTE = 32
};

typedef struct bench_operation {
    const char *name;
    bench_format_kind format;
    int uses;
    bool (*measure)(bench_result *out, const session *session, const bench_case *bench, const bench_effort *effort,
                    failure *failure);
    clmla_operation operation; // what bench_part runs
} bench_operation;

struct bench_case {
    const bench_operation *operation;
    const char *variant; // NULL = the library's choice
    clmla_row_format rows;
    clmla_type type;       // of weights or states; of a layer's weights, or none
    uint32_t heads;        // H
    uint32_t tokens;       // keys of a sequence, its new ones included
    uint32_t batch;        // sequences
    uint32_t query_tokens; // new tokens of a sequence
    uint32_t page;         // tokens; 0 = a page a sequence and no table
    uint32_t latent_dim, rope_dim;
    clmla_compute compute; // of attention; exact if there is none
};

// bench_cases.c

// The name of a case's format, whatever kind it is.
const char *bench_format_name(const bench_case *bench);
// Of the weights it reads, "none" if it reads none.
const char *bench_weights_name(const bench_case *bench);

// What the command line asks for: comma-separated lists, NULL where it says nothing.
typedef struct bench_request {
    const char *op, *format, *heads, *tokens, *batch, *query_tokens, *page, *variant, *compute, *weights;
    uint32_t latent_dim, rope_dim;
} bench_request;

#define BENCH_MOST_CASES 4096

typedef struct bench_cases {
    bench_case *list; // to be freed
    size_t count;
    double seconds; // time for each where the command line says nothing
} bench_cases;

// The product of the lists, or the default set if there is none.
bool bench_cases_make(bench_cases *out, const bench_request *request, failure *failure);

// bench_default.c: the default set, as requests whose products follow one another.
const bench_request *bench_default_requests(size_t *count);

// bench_operations.c
const bench_operation *bench_operations(size_t *count);

// bench_attend.c

// The variant that attention of a case takes, without running it: compiles nothing but what proves variants.
bool bench_attend_variant(char *out, size_t size, const session *session, const bench_case *bench, failure *failure);
bool bench_attend(bench_result *out, const session *session, const bench_case *bench, const bench_effort *effort,
                  failure *failure);
bool bench_attend_mixed(bench_result *out, const session *session, const bench_case *bench, const bench_effort *effort,
                        failure *failure);

// bench_parts.c: the operations around attention
bool bench_part(bench_result *out, const session *session, const bench_case *bench, const bench_effort *effort,
                failure *failure);

// bench_layer.c
bool bench_layer(bench_result *out, const session *session, const bench_case *bench, const bench_effort *effort,
                 failure *failure);
bool bench_layer_replayed(bench_result *out, const session *session, const bench_case *bench,
                          const bench_effort *effort, failure *failure);

// A whole prompt through a layer: as the plan chooses, and either way.
bool bench_prefill(bench_result *out, const session *session, const bench_case *bench, const bench_effort *effort,
                   failure *failure);
bool bench_prefill_absorbed(bench_result *out, const session *session, const bench_case *bench,
                            const bench_effort *effort, failure *failure);
bool bench_prefill_reconstructed(bench_result *out, const session *session, const bench_case *bench,
                                 const bench_effort *effort, failure *failure);

// bench_report.c
typedef struct bench_entry {
    bench_case bench;
    bench_result result; // zeros if it did not run
    bool ran;
    failure reason; // why it did not
} bench_entry;

typedef struct bench_report {
    const char *device;
    uint32_t vector_width; // floats in a vector of the kernels for CPUs; 0 = it is none
    bench_limits limits;
    bench_entry *entries;
    size_t count;
} bench_report;

// bench_rates.c

// From the shortest run: limits are the best of many runs, too.
typedef struct bench_rates {
    double gflops, cache_gbps, fraction_of_fma, fraction_of_read;
    // What the device's limits leave possible: each operation takes its multiply-adds or its reads, whichever is
    // longer. And how many times that a run took. 0: the case has no such number.
    double limit_seconds, times_limit;
} bench_rates;

bench_rates bench_rates_of(const bench_limits *limits, const bench_result *result);
// What the limits leave possible of a layer's launch; 0 = it has no work that is counted.
double bench_launch_limit(const bench_limits *limits, const bench_result *result, uint32_t launch);

void bench_print_head(const bench_report *report);
void bench_print_row(const bench_report *report, const bench_entry *entry);
void bench_print_foot(void);
bool bench_print_json(const bench_report *report, failure *failure);

// bench_plot.c: the roofline as SVG; `path` for a sentence
bool bench_plot(FILE *out, const char *path, const bench_report *report, failure *failure);

#endif
