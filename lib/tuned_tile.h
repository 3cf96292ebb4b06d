// SPDX-License-Identifier: Apache-2.0
// A tile within attend.tile.* of the tuning. A tuning, such as a file from another device, may leave room for none: a
// variant that the library chose is one for which the device has room, and gets a tile without it.
#ifndef LIB_TUNED_TILE_H
#define LIB_TUNED_TILE_H

#include "lib/attend_tile.h"
#include "lib/context.h"

// Finds a tile within limits, for what it is asked `of`, and keeps it there; false with a reason when there is none.
typedef bool tuned_tile_search(void *of, char reason[ATTEND_TILE_REASON_MAX], const attend_tile_limits *limits);

typedef struct tuned_tile_request {
    tuned_tile_search *search;
    void *of;
    const char *who, *variant; // "plan: attend", "tile": what is said of it begins so
    bool named;                // the caller named the variant: it is refused
    bool every_call;           // it is asked for in every call: the warning comes once, until a number is set
} tuned_tile_request;

// Errors: CLMLA_E_LIMIT (the tuning leaves no room for a variant that is named; the device has none).
clmla_status tuned_tile_find(clmla_context *context, const tuned_tile_request *request);

#endif
