// SPDX-License-Identifier: Apache-2.0
// Writes what fuzzing starts from:  make_seeds FOLDER  fills FOLDER/cache_file and FOLDER/safetensors, which exist.
// (Configurations are those of tests/data.)
#include "host/bytes.h"
#include "lib/cache_file.h"
#include "tests/support/cache_bytes.h"
#include <stdio.h>
#include <stdlib.h>

enum { MOST = 1 << 16 };

static int faults;

static void write_file(const char *folder, const char *kind, int number, const void *bytes, size_t count) {
    char path[1024];
    snprintf(path, sizeof path, "%s/%s/seed%d", folder, kind, number);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(bytes, 1, count, file) != count) faults++;
    if (file) fclose(file);
}

// --- saved caches ----------------------------------------------------------------------------------------------------

typedef struct seed {
    clmla_row_format format;
    clmla_rope_type rope;
    uint32_t layers, sequences, tokens;
    int32_t delta;
} seed;

static const seed seeds[] = {
    {CLMLA_ROWS_F32, CLMLA_ROPE_DEFAULT, 1, 0, 0, 0},       {CLMLA_ROWS_F16, CLMLA_ROPE_DEFAULT, 2, 3, 5, 0},
    {CLMLA_ROWS_F16, CLMLA_ROPE_LONGROPE, 1, 2, 7, 0},      {CLMLA_ROWS_FP8, CLMLA_ROPE_YARN, 1, 4, 9, 3},
    {CLMLA_ROWS_FP8_PAGED, CLMLA_ROPE_DEFAULT, 3, 2, 6, 2}, {CLMLA_ROWS_BF16, CLMLA_ROPE_NONE, 1, 6, 12, 0},
};

static uint32_t make_config(unsigned char *out, cache_file_config *config, const seed *s) {
    clmla_config of;
    clmla_config_values values = {.rope_attention_factor = 1.0};
    clmla_row_layout layout;
    clmla_config_init(&of);
    of.rope_type = s->rope;
    of.rope_factor = 40;
    clmla_row_layout_make(&layout, s->format, CLMLA_ROPE_INTERLEAVED, 8, 4);
    cache_file_config_make(config, &of, &values, &layout, s->layers);
    return cache_file_config_write(out, config);
}

// Sequence i: two runs, two ids, and of every second all rows but one shared with the one before.
static unsigned char *put_sequence(unsigned char *record, unsigned char *at, const seed *s, uint32_t i) {
    host_put_u32(record, s->tokens);
    host_put_u32(record + 4, 2);
    host_put_u32(record + 8, 2);
    host_put_u32(record + 12, i % 3 ? UINT32_MAX : 2);
    host_put_u32(record + 16, i % 2 ? i : 0);
    host_put_u32(record + 20, i % 2 ? s->tokens - 1 : 0);
    const uint32_t words[] = {0, 0, 0, 3, 50 + i, (uint32_t)s->delta, 65, 66 + i};
    for (size_t k = 0; k < sizeof words / sizeof *words; k++, at += 4) host_put_u32(at, words[k]);
    return at;
}

static size_t make_cache(unsigned char *out, const seed *s) {
    cache_file_config config;
    memset(out, 0, MOST);
    memcpy(out, CACHE_FILE_MAGIC, CACHE_FILE_MAGIC_BYTES);
    host_put_u32(out + CACHE_FILE_AT_VERSION, CLMLA_CACHE_FILE_VERSION);
    host_put_u32(out + CACHE_FILE_AT_HEADER_BYTES, CACHE_FILE_HEADER_BYTES);
    host_put_u32(out + CACHE_FILE_AT_SEQUENCES, s->sequences);
    uint32_t config_bytes = make_config(out + CACHE_FILE_HEADER_BYTES, &config, s);
    host_put_u32(out + CACHE_FILE_AT_CONFIG_BYTES, config_bytes);
    unsigned char *begin = out + CACHE_FILE_HEADER_BYTES + config_bytes + CACHE_FILE_SUM_BYTES;
    unsigned char *at = begin + s->sequences * CACHE_FILE_RECORD_BYTES;
    for (uint32_t i = 0; i < s->sequences; i++) at = put_sequence(begin + i * CACHE_FILE_RECORD_BYTES, at, s, i);
    host_put_u64(out + CACHE_FILE_AT_SEQUENCE_BYTES, (uint64_t)(at - begin));
    at += CACHE_FILE_SUM_BYTES;
    for (uint32_t i = 0; i < s->sequences; i++)
        at +=
            s->layers * ((i % 2 ? 1 : s->tokens) * (config.row_bytes + config.scale_row_bytes) + CACHE_FILE_SUM_BYTES);
    size_t count = (size_t)(at - out);
    host_put_u64(out + CACHE_FILE_AT_FILE_BYTES, count);
    cache_bytes_repair(out, count);
    return count;
}

static bool is_good(const unsigned char *bytes, size_t count) {
    cache_saved saved;
    clmla_status status = cache_saved_open(&saved, bytes, count, "seed", NULL);
    if (status == CLMLA_OK) status = cache_saved_read_sequences(&saved);
    if (status == CLMLA_OK) status = cache_saved_check_rows(&saved);
    if (status != CLMLA_OK) fprintf(stderr, "%s\n", clmla_last_error());
    cache_saved_close(&saved);
    return status == CLMLA_OK;
}

// --- safetensors -----------------------------------------------------------------------------------------------------

static const char *const headers[] = {
    "{}",
    "{\"a\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[0,16]}}",
    "{\"__metadata__\":{\"format\":\"pt\"},\"w\":{\"dtype\":\"BF16\",\"shape\":[4],\"data_offsets\":[0,8]},"
    "\"s\":{\"dtype\":\"F8_E4M3\",\"shape\":[2,4],\"data_offsets\":[8,16]}}",
    "{\"x\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[0,8]},\"y\":{\"dtype\":\"U8\",\"shape\":[0],"
    "\"data_offsets\":[8,8]},\"z\":{\"dtype\":\"F16\",\"shape\":[1,2,2],\"data_offsets\":[8,16]}}",
};

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    unsigned char *bytes = calloc(MOST, 1);
    if (!bytes) return 1;
    for (size_t i = 0; i < sizeof seeds / sizeof *seeds; i++) {
        size_t count = make_cache(bytes, &seeds[i]);
        if (!is_good(bytes, count)) faults++;
        write_file(argv[1], "cache_file", (int)i, bytes, count);
    }
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        size_t length = strlen(headers[i]);
        memset(bytes, 0, length + 8 + 16);
        host_put_u64(bytes, length);
        memcpy(bytes + 8, headers[i], length);
        write_file(argv[1], "safetensors", (int)i, bytes, 8 + length + (i > 0 ? 16 : 0));
    }
    free(bytes);
    return faults > 0;
}
