// SPDX-License-Identifier: Apache-2.0
// Proof of a variant on a device: no plan uses one of attend, attend_heads or plan before it gave there what the naive
// one gives.
//   proof.c          whether it is wanted, verdicts, the log
//   proof_attend.c   two ragged sequences over shuffled pages, or lists of slots, by a plan's own specialisation and
//                    paths
//   proof_heads.c    a prompt over two chunks of keys
//   proof_plan.c     a step of many sequences, scheduled on the device
//   proof_scene.c    what these have in common (proof_scene.h)
//   proof_compare.c  the fixed values, and how far two results may differ
// A trial of an instruction (host/instruction.h) comes before: it costs less, and says more of what is wrong.
#ifndef LIB_PROOF_H
#define LIB_PROOF_H

#include "host/verdict.h"
#include "lib/plan.h"
#include "lib/variants.h"
#include <clmla/attend_heads.h>

// Whether the context's device is one on which variants must be proven. Of a made-up device too.
bool proof_is_wanted(const clmla_context *context);
// What clmla_proof AUTO leaves out.
bool proof_is_covered(const clmla_device_facts *facts);

// Judges that variant_choose_judged asks; they hold what they were made from, no more. base.look_up: nothing is run.
typedef struct proof_attend {
    variant_judge base;
    const clmla_plan_params *params;
} proof_attend;
proof_attend proof_attend_of(const clmla_plan_params *params);

typedef struct proof_heads {
    variant_judge base;
    uint32_t nope_dim, rope_dim, value_dim;
    clmla_compute compute;
    clmla_type rounding; // clmla_attend_heads_params
    const char *named;   // the variant that the caller named; NULL = none
} proof_heads;
proof_heads proof_heads_of(const clmla_plan_params *params, const clmla_config *config);
proof_heads proof_heads_in(const clmla_attend_heads_params *call); // looks up

// Of plans with a capacity, whose rules hang on what they attend by.
typedef struct proof_plan {
    variant_judge base;
    const clmla_plan_params *params;
    const variant *attend;
    attend_tile tile;
} proof_plan;
proof_plan proof_plan_of(const clmla_plan_params *params, const variant *attend, const attend_tile *tile);

// A trial that is running. Whoever runs it fails before `subject` is set where the trial itself cannot be made, and
// after that where the variant is at fault.
typedef struct proof_trial {
    clmla_context *context; // quiet
    cl_command_queue queue;
    bool subject; // the variant is being built, launched or read
    host_verdict verdict;
} proof_trial;

// Runs a trial of a variant, for what the judge was made `of`.
typedef clmla_status proof_run(proof_trial *trial, const void *of, const variant *candidate);

// The verdict on a claim: the one that is known, or what `run` finds. `what` names the variant in the log: "attend
// 'tile'". base->proven and `reason` ("" = trusted) say what came out. Errors: CLMLA_E_MEMORY; those of the naive
// variant.
clmla_status proof_settle(variant_judge *base, char reason[VARIANT_REASON_MAX], clmla_context *context,
                          const host_claim *claim, const char *what, proof_run *run, const void *of,
                          const variant *candidate);

// Values from −1 to 1, the same everywhere; `seed` tells tensors apart.
void proof_fill(float *values, size_t count, uint32_t seed);

// Results of `rows` rows: values [rows][width], and of each row its log-sum-exp and its largest score.
typedef struct proof_result {
    const float *values, *lse, *largest;
} proof_result;
// rounding: the largest cosine difference that rounded products may make; 0 = it computes as f32 does.
void proof_compare(host_verdict *out, const proof_result *found, const proof_result *naive, size_t rows, size_t width,
                   double rounding);
// What fast compute may make of a variant; 0 of one that does not round.
double proof_rounding(const variant *variant, clmla_compute compute);

#endif
