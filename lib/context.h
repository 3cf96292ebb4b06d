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
    host_mutex tuning_lock;
    uint32_t tuning[TUNING_COUNT_MAX]; // by tuning_index of tuning.h
    char tuning_file[HOST_FILE_PATH];  // "" = none
};

// clmla_context_create with a call table: tests make driver calls fail through it. calls NULL = the driver's own.
clmla_status context_create_with_calls(clmla_context **out, const clmla_context_params *params,
                                       const host_calls *calls);

#endif
