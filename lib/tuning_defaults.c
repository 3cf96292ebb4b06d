// SPDX-License-Identifier: Apache-2.0
// What the numbers are on a device until somebody tunes it. Rows found by clmla tune go below the ones they refine.
#include "lib/tuning.h"
#include <string.h>

#define ANY 0

typedef struct default_row {
    cl_device_type type; // ANY, or one the device claims
    const char *vendor;  // part of the vendor's name; NULL = any
    tuning_index index;
    uint32_t value;
} default_row;

// Of the rows that fit a device the last one counts.
static const default_row rows[] = {
    {ANY, NULL, TUNING_ATTEND_BLOCK_TOKENS, 48},      {ANY, NULL, TUNING_ATTEND_DOT_BLOCK_TOKENS, 96},
    {ANY, NULL, TUNING_ATTEND_AMX_BLOCK_TOKENS, 128}, {ANY, NULL, TUNING_ATTEND_AMX_PARTS_PER_UNIT, 2},
    {ANY, NULL, TUNING_ATTEND_ROW_TILE, 128},         {ANY, NULL, TUNING_ATTEND_PARTS_PER_UNIT, 2},
    {ANY, NULL, TUNING_ATTEND_PART_KEYS, 192},        {ANY, NULL, TUNING_ATTEND_LEAST_SPLIT, 96},
    {ANY, NULL, TUNING_ATTEND_PIECE_KEYS, 24},        {ANY, NULL, TUNING_ATTEND_TILE_GROUP, 0},
    {ANY, NULL, TUNING_ATTEND_TILE_ROWS, 32},         {ANY, NULL, TUNING_ATTEND_TILE_KEYS, 32},
    {ANY, NULL, TUNING_ATTEND_TILE_LOCAL_KIB, 0},     {ANY, NULL, TUNING_ATTEND_TILE_PARTS_PER_UNIT, 4},
    {ANY, NULL, TUNING_ATTEND_TILE_PART_KEYS, 64},    {ANY, NULL, TUNING_ATTEND_TILE_LEAST_SPLIT, 32},
    {ANY, NULL, TUNING_PREFILL_LEAST_TOKENS, 64},     {ANY, NULL, TUNING_PREFILL_WORKSPACE_KIB, 65536},
};

static bool fits(const default_row *row, const clmla_device_facts *facts) {
    return (row->type == ANY || (facts->type & row->type)) && (!row->vendor || strstr(facts->vendor, row->vendor));
}

void tuning_defaults(uint32_t values[TUNING_COUNT], const clmla_device_facts *facts) {
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (fits(&rows[i], facts)) values[rows[i].index] = rows[i].value;
}
