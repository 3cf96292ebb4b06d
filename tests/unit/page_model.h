// SPDX-License-Identifier: Apache-2.0
// A cache's pages beside the simplest model of them: each sequence a list of tokens, each with what its row must hold
// and the position it must be rotated for. Device memory is a host array, which pending work is applied to.
#ifndef TEST_PAGE_MODEL_H
#define TEST_PAGE_MODEL_H

#include "lib/cache_pages.h"
#include "tests/support/random.h"

#define MODEL_SEQUENCES 12
#define MODEL_TOKENS 320
#define MODEL_PAGES_MOST 160

typedef struct model_shape {
    uint32_t page_tokens, page_total;
    cache_shift_mode shift_mode;
    bool share_prefixes;
    bool lose_moves; // planted: moves within a page are not carried out
} model_shape;

typedef enum model_kind {
    MODEL_CREATE,
    MODEL_CREATE_WITH_TOKENS,
    MODEL_DROP,
    MODEL_APPEND,
    MODEL_APPEND_AT, // with positions given
    MODEL_APPEND_SEVERAL,
    MODEL_FORK,
    MODEL_COPY,
    MODEL_TRUNCATE,
    MODEL_REMOVE,
    MODEL_SHIFT,
    MODEL_COMMIT,
    MODEL_KEEP_ONLY,
    MODEL_FORGET,
    MODEL_FLUSH,
    MODEL_KINDS
} model_kind;

// One step. Numbers are taken modulo what there is when it runs, so that a list of steps keeps its sense when some are
// taken out.
typedef struct model_step {
    model_kind kind;
    uint32_t a, b, c, d;
    int32_t fail_after; // host allocations until one fails; negative: none does
} model_step;

typedef struct model_row {
    uint64_t content;
    int64_t position; // it is rotated for
} model_row;

typedef struct model_token {
    int32_t id, position;
    uint64_t content; // of everything up to it: equal prefixes have equal contents, others do not
} model_token;

typedef struct model_sequence {
    uint32_t id; // 0 = not there
    uint32_t count, known;
    model_token tokens[MODEL_TOKENS];
} model_sequence;

typedef struct page_model {
    model_shape shape;
    cache_pages pages;
    clmla_allocator allocator;
    long live, countdown;
    model_row *rows; // [page_total][page_tokens]
    cache_work_list works;
    int32_t tables[CACHE_TABLE_COUNT][2 * MODEL_SEQUENCES][MODEL_TOKENS]; // [id - 1][entry], as the device keeps them
    model_sequence sequences[MODEL_SEQUENCES];
    test_random random;                        // for what a step's result does not depend on
    unsigned long full, out_of_memory, shared; // how often
    char fault[200];                           // "" = none found
} page_model;

// A new one in place of whatever was there; false if it cannot be made.
bool page_model_open(page_model *model, const model_shape *shape);
void page_model_close(page_model *model); // notes a fault if memory is still held

model_step page_model_step_make(test_random *random);
void page_model_step_print(char *out, size_t size, const model_step *step);

// Runs a step; checks the whole when `check`. False when there is a fault.
bool page_model_run(page_model *model, const model_step *step, bool check);
bool page_model_check(page_model *model);

#endif
