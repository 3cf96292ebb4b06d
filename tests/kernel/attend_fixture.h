// SPDX-License-Identifier: Apache-2.0
// One attend call over made-up sequences: keys scattered over pages, everything that must not be read filled with NaN, and
// the reference's answer.
#ifndef ATTEND_FIXTURE_H
#define ATTEND_FIXTURE_H

#include "tests/ref/ref_attend.h"
#include "tests/support/rows.h"
#include "tests/support/run.h"

#define ATTEND_SEQUENCES_MAX 6

typedef enum attend_scores {
    ATTEND_RANDOM,    // spread 2
    ATTEND_ZERO,      // queries of zeros: lse is the logarithm of the count
    ATTEND_SAME_KEYS, // every key of a sequence the same
    ATTEND_HUGE,      // spread 3000
    ATTEND_DOMINANT,  // one key near 10000, the others small
    ATTEND_SCORES
} attend_scores;

typedef struct attend_shape {
    clmla_row_format format;
    uint32_t latent, rope, heads;
    uint32_t sequences, query_tokens[ATTEND_SEQUENCES_MAX], kv_tokens[ATTEND_SEQUENCES_MAX];
    uint32_t page_tokens; // 0 = contiguous: a page a sequence and no table
    test_rows_layout layout;
    attend_scores scores;
    uint32_t split_tokens;
    bool full, lse, padded; // padded: query strides longer than dense
    bool missing_page;      // the table's first entry in use names no page
    uint64_t seed;
} attend_shape;

typedef struct attend_fixture {
    attend_shape shape;
    uint32_t tokens; // of all sequences
    clmla_plan *plan;
    clmla_attend_params params;
    test_rows rows;
    test_buffer query, table, output, lse;
    double *keys[ATTEND_SEQUENCES_MAX]; // [kv_tokens][latent + rope] as stored
    bool *present[ATTEND_SEQUENCES_MAX];
    double *expected, *expected_lse, *largest_score; // [tokens][heads](latent)
    test_run run;
} attend_fixture;

void attend_make(attend_fixture *f, const attend_shape *shape);
void attend_finish(attend_fixture *f);

// (Re)makes the plan with a variant (NULL = the chosen one) and schedules the step.
void attend_plan(attend_fixture *f, const char *variant);
clmla_lengths attend_lengths(const attend_fixture *f);

// Computes expected, expected_lse and largest_score from the keys as they now are.
void attend_expect(attend_fixture *f);
// Asserts the result in `found` against them.
void attend_compare(attend_fixture *f, const char *variant);

// The step of clmla_attend as a test_run calls it.
clmla_status attend_enqueue_step(void *payload, cl_command_queue queue, cl_uint count, const cl_event *wait, cl_event *event);
// What the shape costs: multiplications and additions of one pass.
uint64_t attend_cost(const attend_shape *shape);
clmla_shape attend_variant_shape(const attend_shape *shape);

#endif
