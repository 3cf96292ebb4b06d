// SPDX-License-Identifier: Apache-2.0
// What all operations share: their begin, their checks, their kernel arguments; and each one's inner form, which adds
// its launches to a chain instead of making one. Inner forms check their parameters too.
#ifndef LIB_OPERATION_H
#define LIB_OPERATION_H

#include "host/launch.h"
#include "lib/context.h"
#include "lib/variants.h"
#include <clmla/operations.h>

#define OPTIONS_MAX 256 // of a program, with the end

// Refuses NULL, then begins the chain of a public enqueue.
clmla_status operation_begin(host_chain *chain, clmla_context *context, const void *params, const char *operation,
                             cl_command_queue queue, cl_uint wait_count, const cl_event *wait, const cl_event *event);

// Counts reach kernels as int.
clmla_status operation_check_count(clmla_context *context, uint64_t count, const char *operation, const char *name);
// So do numbers of rows, one a token and kv head, where a kernel takes them apart.
clmla_status operation_check_row_count(clmla_context *context, uint32_t token_count, const clmla_rows *rows,
                                       const char *operation);

// "-cl-std=CL1.2 -D<element> -DVECTOR_WIDTH=16 <more>", of a group variant -DGROUP=128 instead of the width, and of one
// that reduces -DSUB_GROUPS where the device has them; element and more may be NULL. Whoever puts `more` together has
// OPTIONS_MAX bytes for it: what is cut there does not fit here either. Errors: CLMLA_E_LIMIT: they do not fit.
clmla_status operation_options(char out[OPTIONS_MAX], clmla_context *context, const variant *chosen,
                               const char *element, const char *more);

// The kernel of a product's variant: the source's own, or of group variants the one for so many tokens.
#define KERNEL_NAME_MAX 64
void operation_product_kernel(char out[KERNEL_NAME_MAX], const variant *chosen, uint32_t tokens);

void operation_argument_f32(host_launch *launch, clmla_buffer buffer);
void operation_argument_elements(host_launch *launch, clmla_buffer buffer, uint32_t element_bytes);

// Launches one work-item for each element of `global` (kernels guard themselves against the rest of a group): in groups
// of a fixed width along the first dimension, because a driver's own choice may be a group of one, or a compilation for
// each size.
clmla_status operation_launch_items(host_launch *launch, host_chain *chain, cl_uint dimensions, const size_t *global);

// Launches a kernel that stores token_count new rows, as append does: a work-item or a group a row of a kv head, or of
// the naive variant one a piece of append_store_group values; `beside`: another a token. In append.c.
clmla_status append_store_launch(host_launch *launch, host_chain *chain, const variant *chosen, const clmla_rows *rows,
                                 uint32_t token_count, bool beside);

clmla_status project_enqueue(clmla_context *context, const clmla_project_params *params, host_chain *chain);
clmla_status rms_norm_check(clmla_context *context, const clmla_rms_norm_params *params);
clmla_status rms_norm_enqueue(clmla_context *context, const clmla_rms_norm_params *params, host_chain *chain);
clmla_status rope_enqueue(clmla_context *context, const clmla_rope_params *params, host_chain *chain);
clmla_status gather_enqueue(clmla_context *context, const clmla_gather_params *params, host_chain *chain);
// beside: a norm in place of as many rows as there are tokens, in the same launch; its variant is not looked at. NULL =
// none; it must be where append_norm_refusal answers why not, a constant.
clmla_status append_enqueue(clmla_context *context, const clmla_append_params *params,
                            const clmla_rms_norm_params *beside, host_chain *chain);
const char *append_norm_refusal(clmla_context *context, const clmla_append_params *params);
// packed: where attend of a plan wants its queries, besides the output; NULL = nowhere.
typedef struct absorb_packed {
    clmla_plan *plan;
    uint32_t first_token; // of the plan's step: token 0 of the call
    float softmax_scale;
} absorb_packed;
clmla_status absorb_enqueue(clmla_context *context, const clmla_absorb_params *params, const absorb_packed *packed,
                            host_chain *chain);
// Why absorb does not pack queries for attend of the plan; NULL when it does. A constant.
const char *absorb_pack_refusal(clmla_context *context, const clmla_absorb_params *params, const clmla_plan *plan);
// states: of rows whose keys attend cut, which it left unmerged (attend_neighbours.merges); NULL = attended holds all
// rows.
typedef struct output_states {
    clmla_plan *plan;
    uint32_t first_token; // of the plan's step: token 0 of the output
} output_states;
clmla_status output_enqueue(clmla_context *context, const clmla_output_params *params, const output_states *states,
                            host_chain *chain);
// Why output does not merge what attend of the plan leaves; NULL when it does. A constant.
const char *output_merge_refusal(clmla_context *context, const clmla_output_params *params, const clmla_plan *plan);
// The options that a variant's program is built with for a call. params->variant says whether the caller named it, for
// which the tuning may then leave no room: CLMLA_E_LIMIT.
clmla_status attend_heads_options(char options[OPTIONS_MAX], clmla_context *context,
                                  const clmla_attend_heads_params *params, const variant *chosen);
clmla_status attend_heads_enqueue(clmla_context *context, const clmla_attend_heads_params *params, host_chain *chain);
// The same of checked parameters, by a variant that is chosen already.
clmla_status attend_heads_enqueue_by(clmla_context *context, const clmla_attend_heads_params *params,
                                     const variant *chosen, host_chain *chain);
// attend between operations that do some of it, or none. The chain must already wait for the plan's upload
// (plan_chain_begin).
typedef struct attend_neighbours {
    bool packed; // the queries are packed
    bool merges; // rows whose keys were cut are merged later: their states stay in the plan's workspace
} attend_neighbours;
clmla_status attend_enqueue_between(clmla_plan *plan, const clmla_attend_params *params, attend_neighbours neighbours,
                                    host_chain *chain);

#endif
