// SPDX-License-Identifier: Apache-2.0
// The public context: a host context and the numbers its kernels are tuned by.
#ifndef LIB_CONTEXT_H
#define LIB_CONTEXT_H

#include "host/context.h"
#include "host/os.h"
#include <clmla/variants.h>

#define TUNING_COUNT_MAX 32

struct clmla_context {
    host_context host;
    clmla_proof proof;
    host_mutex proof_lock; // held while a variant is proven (proof.h)
    host_mutex tuning_lock;
    uint32_t tuning[TUNING_COUNT_MAX]; // by tuning_index of tuning.h
    bool tuning_has_warned;               // tuning_takes_first_warning
    char tuning_file[HOST_FILE_PATH];  // "" = none
};

// clmla_context_create with a call table: tests make driver calls fail through it. calls NULL = the driver's own.
clmla_status context_create_with_calls(clmla_context **out, const clmla_context_params *params,
                                       const host_calls *calls);

// A copy of a context for what may fail without its caller failing: it neither logs nor profiles. Objects made from it
// must be gone before it is, and it before the context.
void context_quiet_begin(clmla_context *out, clmla_context *context);
void context_quiet_end(clmla_context *quiet);

#endif
