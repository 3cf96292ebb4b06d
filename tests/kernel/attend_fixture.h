// SPDX-License-Identifier: Apache-2.0
// One attend call over made-up sequences: keys scattered over pages or lists of slots, everything that must not be read
// filled with NaN, and the reference's answer.
//   attend_inputs.c    queries, rows, tables, lists
//   attend_fixture.c   the plan, the answer, the comparison
#ifndef ATTEND_FIXTURE_H
#define ATTEND_FIXTURE_H

#include "tests/ref/ref_attend.h"
#include "tests/support/rows.h"
#include "tests/support/run.h"

#define ATTEND_SEQUENCES_MAX 128
#define ATTEND_SCOPES 2
#define ATTEND_SCALE 0.1147f // about what YaRN gives for 192-wide heads

typedef enum attend_scores {
    ATTEND_RANDOM,    // spread 2
    ATTEND_ZERO,      // queries of zeros: lse is the logarithm of the count
    ATTEND_SAME_KEYS, // every key of a sequence the same
    ATTEND_HUGE,      // spread 3000
    ATTEND_DOMINANT,  // one key near 10000, the others small
    ATTEND_SCORES
} attend_scores;

typedef enum attend_form {
    ATTEND_DENSE,       // strides of 0
    ATTEND_PADDED,      // longer ones, odd
    ATTEND_HEADS_FIRST, // all tokens of a head together
    ATTEND_APART,       // queries: rotated values in a tensor of their own
    ATTEND_FORMS
} attend_form;

typedef enum attend_sink {
    ATTEND_SINK_NONE,
    ATTEND_SINK_RANDOM,
    ATTEND_SINK_INFINITE, // by turns infinite, minus infinite and ordinary
    ATTEND_SINKS
} attend_sink;

// A list of slots for each token.
typedef struct attend_list {
    uint32_t index_count, page_tokens, page_count;
    uint32_t counted; // counts go from 0 to so many; 0 = no counts
    bool none;        // every index invalid
} attend_list;

typedef struct attend_shape {
    clmla_row_format format;
    uint32_t latent, rope, value, heads, kv_heads; // value 0 = latent; kv_heads 0 = 1
    uint32_t sequences, query_tokens[ATTEND_SEQUENCES_MAX], kv_tokens[ATTEND_SEQUENCES_MAX];
    uint32_t page_tokens; // 0 = contiguous: a page a sequence and no table
    bool csr;             // the table is CSR
    test_rows_layout layout;
    attend_scores scores;
    float queries_times, keys_times; // makes them larger or smaller; 0 = 1
    uint32_t split_tokens;
    bool full, lse;
    uint32_t window;
    clmla_context_parallel parallel;
    clmla_type query_type, output_type;
    attend_form query_form, output_form;
    bool no_output, base2, max_logit; // base2: and lse strides that are not dense
    float softcap;
    attend_sink sink;
    uint32_t list_count; // scopes instead of sequences' rows
    attend_list lists[ATTEND_SCOPES];
    uint32_t absorb_nope; // queries of so many values, through W_UK; 0 = absorbed already
    ref_type absorb_type;
    bool missing_page; // the table's first entry in use names no page
    clmla_compute compute;
    bool capacity;            // the plan has one, which the step fills
    uint32_t expected_tokens; // clmla_plan_params.query_tokens
    uint64_t seed;
} attend_shape;

typedef struct attend_fixture {
    attend_shape shape; // with its defaults filled in
    uint32_t tokens;    // of all sequences
    clmla_plan *plan;
    clmla_attend_params params;
    test_rows rows, more;
    test_buffer query, query_rope, table, indptr, output, lse, max_logit, sink, indices[ATTEND_SCOPES],
        counts[ATTEND_SCOPES];
    clmla_attend_scope scopes[ATTEND_SCOPES];
    clmla_attend_absorb absorb;
    test_weights weights;
    double *queries;                // [tokens][heads][latent + rope], absorbed
    double *stored[ATTEND_SCOPES];  // decoded rows
    const double **keys;            // rows of all sequences and kv heads, one list after the other; NULL = not there
    size_t *key_first, *key_counts; // [sequences][kv_heads] where each list begins in keys, and its length
    double *expected, *expected_lse, *expected_max, *largest_score; // [tokens][heads](value)
    test_run run;
} attend_fixture;

void attend_make(attend_fixture *f, const attend_shape *shape);
void attend_finish(attend_fixture *f);
// Queries, and rows with their table or lists (attend_inputs.c).
void attend_make_queries(attend_fixture *f, test_random *random);
void attend_make_keys(attend_fixture *f, test_random *random);
ref_mask attend_mask(const attend_fixture *f, uint32_t sequence);

// Bytes that hold [tokens][heads] pieces of `width` elements in a form; and the strides, 0 for dense.
size_t attend_form_bytes(attend_form form, uint64_t tokens, uint64_t heads, uint64_t width, size_t element,
                         uint64_t *token_stride, uint64_t *head_stride);
// Where a piece begins; strides of 0 are dense.
uint64_t attend_form_at(uint64_t token, uint64_t head, uint64_t token_stride, uint64_t head_stride, uint64_t heads,
                        uint64_t width);

// The keys of a sequence and kv head: pointers to rows, which a test may change.
const double **attend_keys(attend_fixture *f, uint32_t sequence, uint32_t kv_head);

// (Re)makes the plan with a variant (NULL = the chosen one) and schedules the step.
void attend_plan(attend_fixture *f, const char *variant);
clmla_lengths attend_lengths(const attend_fixture *f);

// Computes expected, expected_lse and largest_score from the keys as they now are.
void attend_expect(attend_fixture *f);
// Asserts the result in `found` against them.
void attend_compare(attend_fixture *f, const char *variant);
// Of dense f32 results without values that are no numbers, the largest error beside its row's largest value; and all of
// them, printed.
double attend_worst_error(const attend_fixture *f);
void attend_print_errors(const attend_fixture *f, const char *variant);
// The same of a variant that rounds queries and weights: NaN, infinities and empty rows stand where the reference has
// them, and the whole output's cosine difference is less than most_cosine. Results are dense f32, in the natural base.
void attend_compare_fast(const attend_fixture *f, const char *variant, double most_cosine);
// attend_expect and attend_compare, for every variant that accepts the shape, each run twice.
void attend_check_variants(attend_fixture *f);

// The step of clmla_attend as a test_run calls it.
clmla_status attend_enqueue_step(void *payload, cl_command_queue queue, cl_uint count, const cl_event *wait,
                                 cl_event *event);
// What the shape costs: multiplications and additions of one pass.
uint64_t attend_cost(const attend_shape *shape);
clmla_shape attend_variant_shape(const attend_shape *shape);

#endif
