// SPDX-License-Identifier: Apache-2.0
#include "lib/tuned_tile.h"
#include "host/error.h"
#include "lib/tuning.h"

static bool fits(const tuned_tile_request *request, const attend_tile_limits *limits) {
    char reason[ATTEND_TILE_REASON_MAX];
    return request->search(request->of, reason, limits);
}

static clmla_status refuse(clmla_context *context, const tuned_tile_request *request, const char *reason,
                           const char *hint) {
    return host_fail(&context->host.log, CLMLA_E_LIMIT, 0, "%s: variant '%s' %s%s", request->who, request->variant,
                     reason, hint);
}

// The number that leaves no room by itself; several may do so together.
static const char *tight_number(const tuned_tile_request *request, const attend_tile_limits *limits) {
    static const tuning_index numbers[] = {TUNING_ATTEND_TILE_GROUP, TUNING_ATTEND_TILE_ROWS, TUNING_ATTEND_TILE_KEYS,
                                           TUNING_ATTEND_TILE_LOCAL_KIB};
    attend_tile_limits without[] = {*limits, *limits, *limits, *limits};
    without[0].group = without[1].rows = without[2].keys = 0, without[3].local_bytes = 0;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (fits(request, &without[i])) return tuning_name(numbers[i]);
    return "attend.tile.*";
}

static void warn(clmla_context *context, const tuned_tile_request *request, const attend_tile_limits *limits,
                 const char *reason) {
    if (request->every_call && !tuning_takes_first_warning(context)) return;
    host_log(&context->host.log, CLMLA_LOG_WARNING,
             "%s: %s of the tuning leaves no room for a tile: variant '%s' %s; its tile is chosen without",
             request->who, tight_number(request, limits), request->variant, reason);
}

clmla_status tuned_tile_find(clmla_context *context, const tuned_tile_request *request) {
    const attend_tile_limits limits = {.group = tuning_value(context, TUNING_ATTEND_TILE_GROUP),
                                       .rows = tuning_value(context, TUNING_ATTEND_TILE_ROWS),
                                       .keys = tuning_value(context, TUNING_ATTEND_TILE_KEYS),
                                       .local_bytes = 1024ull * tuning_value(context, TUNING_ATTEND_TILE_LOCAL_KIB)};
    const attend_tile_limits none = {0};
    char reason[ATTEND_TILE_REASON_MAX], untuned[ATTEND_TILE_REASON_MAX];
    if (request->search(request->of, reason, &limits)) return CLMLA_OK;
    if (!request->search(request->of, untuned, &none)) return refuse(context, request, untuned, "");
    if (request->named) return refuse(context, request, reason, " (see attend.tile.* of the tuning)");
    warn(context, request, &limits, reason);
    (void)fits(request, &none); // the warning looked for others
    return CLMLA_OK;
}
