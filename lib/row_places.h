// SPDX-License-Identifier: Apache-2.0
// Which rows of a cache the tokens of a call stand for, as append and gather check it and hand it to kernels.
#ifndef LIB_ROW_PLACES_H
#define LIB_ROW_PLACES_H

#include "host/launch.h"
#include "lib/context.h"
#include <clmla/append.h>

// Checks that there are either slots or sequences and indices, and that all a kernel may read lies inside its buffer.
// What they say is not checked: it is on the device. Errors: CLMLA_E_ARGUMENT, CLMLA_E_LIMIT, naming operation and
// field.
clmla_status row_places_check(clmla_context *context, const clmla_row_places *places, uint32_t token_count,
                              const char *operation);

// Adds them in the order of PLACE_ARGUMENTS in cl/common/place.clh.
void row_places_set(host_launch *launch, const clmla_row_places *places);

#endif
