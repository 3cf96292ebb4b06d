// SPDX-License-Identifier: Apache-2.0
// One attend call being put together.
//   attend_check.c   refuses wrong parameters before anything is enqueued
//   attend_keys.c    where keys come from: rows and a page table, or scopes with lists of slots
//   attend_absorb.c  queries that are absorbed on the way
//   attend.c         the numbers kernels take, and the launches
#ifndef LIB_ATTEND_H
#define LIB_ATTEND_H

#include "cl/common/attend_call.h"
#include "host/launch.h"
#include "lib/operation.h"
#include "lib/plan.h"

#define ATTEND_SCOPES_MAX 2
#define ATTEND_FEW_ROWS 4
#define LOG2_E 1.44269504088896340736f // in packed queries the softmax is one of powers of two

// A page table as the kernels read it; table.memory NULL = sequence s has the one page s.
typedef struct attend_table {
    clmla_buffer table, indptr, page_rows, page_deltas; // page_rows, page_deltas: optional, of the table's form
    clmla_buffer turns;                                 // with page_deltas
    uint64_t stride, count;
} attend_table;

typedef struct attend_job {
    clmla_plan *plan;
    const clmla_attend_params *params;
    host_chain *chain;
    attend_table table;
    clmla_buffer query, query_rope; // what the next kernel reads
    clmla_buffer space;             // the plan's workspace
    attend_call call;
} attend_job;

// The options that the attend program of a plan is built with; `lists`: over lists of slots. Errors: CLMLA_E_LIMIT.
clmla_status attend_options(char options[OPTIONS_MAX], const clmla_plan *plan, bool lists);

// Queries from here on: f32, L + R values a head.
void attend_job_queries(attend_job *job, clmla_buffer query, uint64_t token_stride, uint64_t head_stride);

static inline clmla_type attend_type(clmla_type type) {
    return type == CLMLA_TYPE_NONE ? CLMLA_TYPE_F32 : type;
}

// Everything params says against the plan and the buffers. Errors: CLMLA_E_ARGUMENT, CLMLA_E_LIMIT, naming the field.
// recorded: the call is.
clmla_status attend_check(const clmla_plan *plan, const clmla_attend_params *params, bool recorded);

// Of `heads` pieces of `width` values a token: both strides 0 = dense, and are then filled in.
void attend_dense_strides(uint64_t *token_stride, uint64_t *head_stride, uint64_t heads, uint64_t width);

// Keys. attend_keys_check: rows and page table, or scopes. attend_keys_arguments: in the order of KEY_ARGUMENTS.
clmla_status attend_keys_check(const clmla_plan *plan, const clmla_attend_params *params);
attend_table attend_find_table(const clmla_plan *plan, const clmla_attend_params *params);
void attend_keys_arguments(host_launch *launch, const attend_job *job);

// Queries that are absorbed on the way: attend_absorb_run puts them into workspace, from which the job then reads.
clmla_status attend_absorb_check(const clmla_plan *plan, const clmla_attend_params *params);
clmla_status attend_absorb_run(attend_job *job);

#endif
