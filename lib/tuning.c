// SPDX-License-Identifier: Apache-2.0
#include "lib/tuning.h"
#include "host/error.h"
#include "lib/tuning_file.h"
#include <stdio.h>
#include <string.h>

typedef struct tuning_row {
    const char *name, *meaning;
    uint32_t minimum, maximum, step;
} tuning_row;

// Steps keep the tile rules at the head of cl/attend_vector.cl.
static const tuning_row rows[TUNING_COUNT] = {
    [TUNING_ATTEND_BLOCK_TOKENS] = {"attend.vector.block_tokens", "keys converted to f32 and scored at a time", 24, 192,
                                    24},
    [TUNING_ATTEND_DOT_BLOCK_TOKENS] = {"attend.dot.block_tokens", "keys a kernel of dot products takes at a time", 24,
                                        192, 24},
    [TUNING_ATTEND_AMX_BLOCK_TOKENS] = {"attend.amx.block_tokens", "keys a kernel of AMX tiles takes at a time", 64,
                                        512, 64},
    [TUNING_ATTEND_AMX_PARTS_PER_UNIT] = {"attend.amx.parts_per_unit",
                                          "attend.parts_per_unit of the amx variant, whose pieces are done sooner", 1,
                                          64, 1},
    [TUNING_ATTEND_ROW_TILE] = {"attend.vector.row_tile",
                                "rows (query token, head) one work item takes through its keys", 32, 512, 32},
    [TUNING_ATTEND_PARTS_PER_UNIT] = {"attend.parts_per_unit", "parts of equal cost for each compute unit, at most", 1,
                                      64, 1},
    [TUNING_ATTEND_PART_KEYS] = {"attend.part_keys", "fewest keys a part aims at", 16, 65536, 1},
    [TUNING_ATTEND_LEAST_SPLIT] = {"attend.least_split", "fewest keys worth a piece of their own", 16, 65536, 1},
    [TUNING_ATTEND_PIECE_KEYS] = {"attend.piece_keys", "what a piece costs beyond its keys, in keys", 0, 4096, 1},
    [TUNING_ATTEND_TILE_GROUP] = {"attend.tile.group", "most work-items of a group; 0: by the device", 0, 1024, 32},
    [TUNING_ATTEND_TILE_ROWS] = {"attend.tile.rows", "most rows (query token, head) a group takes through its keys", 1,
                                 64, 1},
    [TUNING_ATTEND_TILE_KEYS] = {"attend.tile.keys", "most keys staged at a time", 4, 128, 4},
    [TUNING_ATTEND_TILE_LOCAL_KIB] = {"attend.tile.local_kib", "most local memory of a group, in KiB; 0: by the device",
                                      0, 1024, 1},
    [TUNING_ATTEND_TILE_PARTS_PER_UNIT] = {"attend.tile.parts_per_unit",
                                           "attend.parts_per_unit of the tile variant: groups side by side", 1, 64, 1},
    [TUNING_ATTEND_TILE_PART_KEYS] = {"attend.tile.part_keys", "attend.part_keys of the tile variant", 16, 65536, 1},
    [TUNING_ATTEND_TILE_LEAST_SPLIT] = {"attend.tile.least_split", "attend.least_split of the tile variant", 16, 65536,
                                        1},
    [TUNING_PREFILL_LEAST_TOKENS] = {"prefill.least_tokens",
                                     "fewest new tokens of a sequence that reconstructed keys are thought of for", 1,
                                     65536, 1},
    [TUNING_PREFILL_WORKSPACE_KIB] = {"prefill.workspace_kib", "most memory of reconstructed keys and values, in KiB",
                                      64, 1u << 26, 64},
};

void tuning_init(clmla_context *context, const char *file) {
    tuning_defaults(context->tuning, &context->host.facts);
    tuning_file_read(context, file);
}

bool tuning_allowed(tuning_index index, uint32_t value) {
    const tuning_row *row = &rows[index];
    return value >= row->minimum && value <= row->maximum && value % row->step == 0;
}

void tuning_range_text(char *out, size_t size, tuning_index index) {
    const tuning_row *row = &rows[index];
    snprintf(out, size, "%s must be a multiple of %u from %u to %u", row->name, row->step, row->minimum, row->maximum);
}

const char *tuning_name(tuning_index index) {
    return rows[index].name;
}

int tuning_find(const char *name, size_t length) {
    for (int i = 0; i < TUNING_COUNT; i++)
        if (strlen(rows[i].name) == length && memcmp(rows[i].name, name, length) == 0) return i;
    return -1;
}

uint32_t tuning_value(clmla_context *context, tuning_index index) {
    pthread_mutex_lock(&context->tuning_lock);
    uint32_t value = context->tuning[index];
    pthread_mutex_unlock(&context->tuning_lock);
    return value;
}

bool tuning_takes_first_warning(clmla_context *context) {
    pthread_mutex_lock(&context->tuning_lock);
    bool first = !context->tuning_has_warned;
    context->tuning_has_warned = true;
    pthread_mutex_unlock(&context->tuning_lock);
    return first;
}

static clmla_status find(int *index, const clmla_context *context, const char *name) {
    if (!context || !name) return host_fail(NULL, CLMLA_E_ARGUMENT, 0, "tuning: context or name is NULL");
    *index = tuning_find(name, strlen(name));
    if (*index >= 0) return CLMLA_OK;
    return host_fail(&context->host.log, CLMLA_E_ARGUMENT, 0, "tuning: no number is called '%s'", name);
}

clmla_status clmla_tuning_list(clmla_tuning *tunings, size_t capacity, size_t *count, const clmla_context *context) {
    if (!count || !context || (!tunings && capacity > 0))
        return host_fail(NULL, CLMLA_E_ARGUMENT, 0, "tuning: context, count or the list is NULL");
    uint32_t initial[TUNING_COUNT];
    tuning_defaults(initial, &context->host.facts);
    *count = TUNING_COUNT;
    for (size_t i = 0; i < TUNING_COUNT && i < capacity; i++)
        tunings[i] = (clmla_tuning){rows[i].name,
                                    rows[i].meaning,
                                    rows[i].minimum,
                                    rows[i].maximum,
                                    rows[i].step,
                                    initial[i],
                                    tuning_value((clmla_context *)context, (tuning_index)i)};
    return CLMLA_OK;
}

clmla_status clmla_tuning_get(uint32_t *value, const clmla_context *context, const char *name) {
    int index = 0;
    if (!value) return host_fail(NULL, CLMLA_E_ARGUMENT, 0, "tuning: value is NULL");
    STATUS_OR_RETURN(find(&index, context, name));
    *value = tuning_value((clmla_context *)context, (tuning_index)index);
    return CLMLA_OK;
}

clmla_status clmla_tuning_set(clmla_context *context, const char *name, uint32_t value) {
    int index = 0;
    STATUS_OR_RETURN(find(&index, context, name));
    if (!tuning_allowed((tuning_index)index, value)) {
        char range[128];
        tuning_range_text(range, sizeof range, (tuning_index)index);
        return host_fail(&context->host.log, CLMLA_E_LIMIT, 0, "tuning: %s, not %u", range, value);
    }
    pthread_mutex_lock(&context->tuning_lock);
    context->tuning[index] = value;
    context->tuning_has_warned = false;
    pthread_mutex_unlock(&context->tuning_lock);
    return CLMLA_OK;
}
