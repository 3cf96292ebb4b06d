// SPDX-License-Identifier: Apache-2.0
// What the numbers are on a device until somebody tunes it there. clmla tune prints rows for the last part.
#include "lib/tuning_defaults.h"
#include <string.h>

#define ALL TUNING_ANY, NULL, NULL

static const tuning_default rows[] = {
    // every device
    {ALL, TUNING_ATTEND_BLOCK_TOKENS, 48},      {ALL, TUNING_ATTEND_DOT_BLOCK_TOKENS, 96},
    {ALL, TUNING_ATTEND_AMX_BLOCK_TOKENS, 128}, {ALL, TUNING_ATTEND_AMX_PARTS_PER_UNIT, 2},
    {ALL, TUNING_ATTEND_ROW_TILE, 128},         {ALL, TUNING_ATTEND_PARTS_PER_UNIT, 2},
    {ALL, TUNING_ATTEND_PART_KEYS, 192},        {ALL, TUNING_ATTEND_LEAST_SPLIT, 96},
    {ALL, TUNING_ATTEND_PIECE_KEYS, 24},        {ALL, TUNING_ATTEND_TILE_GROUP, 0},
    {ALL, TUNING_ATTEND_TILE_ROWS, 32},         {ALL, TUNING_ATTEND_TILE_KEYS, 32},
    {ALL, TUNING_ATTEND_TILE_LOCAL_KIB, 0},     {ALL, TUNING_ATTEND_TILE_PARTS_PER_UNIT, 4},
    {ALL, TUNING_ATTEND_TILE_PART_KEYS, 64},    {ALL, TUNING_ATTEND_TILE_LEAST_SPLIT, 32},
    {ALL, TUNING_PREFILL_LEAST_TOKENS, 64},     {ALL, TUNING_PREFILL_WORKSPACE_KIB, 65536},
    // types, vendors, devices: none has been found better by measurement yet (docs/bench.md)
};

const tuning_default *tuning_default_rows(size_t *count) {
    *count = sizeof rows / sizeof *rows;
    return rows;
}

static bool is_of_word(char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

// Whether `words` is in the text and neither begins nor ends within a word of it.
static bool has_words(const char *text, const char *words) {
    size_t length = strlen(words);
    if (length == 0) return false;
    for (const char *at = strstr(text, words); at; at = strstr(at + 1, words)) {
        bool begins = at == text || !is_of_word(at[-1]) || !is_of_word(words[0]);
        if (begins && (!is_of_word(words[length - 1]) || !is_of_word(at[length]))) return true;
    }
    return false;
}

static bool fits(const tuning_default *row, const clmla_device_facts *facts) {
    if (row->type != TUNING_ANY && !(facts->type & row->type)) return false;
    if (row->vendor && !strstr(facts->vendor, row->vendor)) return false;
    return !row->device || has_words(facts->name, row->device);
}

void tuning_take_rows(uint32_t values[TUNING_COUNT], const clmla_device_facts *facts, const tuning_default *of,
                      size_t count) {
    for (size_t i = 0; i < count; i++)
        if (fits(&of[i], facts)) values[of[i].index] = of[i].value;
}

void tuning_defaults(uint32_t values[TUNING_COUNT], const clmla_device_facts *facts) {
    tuning_take_rows(values, facts, rows, sizeof rows / sizeof *rows);
}
