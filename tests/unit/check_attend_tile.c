// SPDX-License-Identifier: Apache-2.0
// attend_tile's tile from made-up device facts: it fits the device and the kernel's rules, and wastes little.
#include "cl/common/attend_tile.h"
#include "lib/attend_tile.h"
#include "tests/support/suite.h"
#include "tests/unit/made_up_devices.h"
#include <check.h>
#include <string.h>

static const struct {
    uint32_t latent, rope;
} widths[] = {{512, 64}, {512, 0}, {448, 64}, {256, 64}, {256, 32}, {37, 6}, {5, 2}, {1, 0}};
#define WIDTHS (sizeof widths / sizeof *widths)

static uint32_t element_of(clmla_row_format format) {
    return format == CLMLA_ROWS_F16 || format == CLMLA_ROWS_BF16 ? 2 : 4;
}

// Check's own assertions tell its runner of each that holds, and these are millions.
#define HOLDS(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) ck_abort_msg("%s", #condition);                                                              \
    } while (0)

// The rules that cl/attend_tile.cl and cl/common/attend_tile.h state.
static void check_rules(const attend_tile *t, const clmla_device_facts *facts, const attend_tile_shape *s) {
    uint32_t width = s->latent_dim + s->rope_dim, value = s->value_dim ? s->value_dim : s->latent_dim;
    HOLDS(t->group >= 32);
    HOLDS(t->group <= facts->max_group_size);
    HOLDS(t->group >= t->row_tile);
    HOLDS(t->group >= t->key_tile);
    HOLDS(t->row_tile > 0);
    HOLDS(t->row_tile % t->score_rows == 0);
    HOLDS(t->score_rows <= 8);
    HOLDS(t->key_tile % TILE_KEYS == 0);
    HOLDS(t->key_tile > 0);
    uint32_t slices = TILE_SLICES(t->group, t->row_tile, t->score_rows, t->key_tile);
    HOLDS(slices >= 1);
    HOLDS(t->partials >= 1);
    HOLDS(t->partials <= slices);
    HOLDS(TILE_SUMS(t->group, t->row_tile, value) <= 64);
    HOLDS(t->local_bytes == TILE_LOCAL_BYTES((uint64_t)t->group, t->row_tile, t->key_tile, t->partials, width, value,
                                             element_of(s->format)));
    HOLDS(t->local_bytes <= facts->local_bytes);
    HOLDS(t->query_stride >= width);
    HOLDS(t->query_stride < width + 4);
    HOLDS(t->query_stride % 4 == 0);
}

// Around the tiles there are: of 4 to 64 rows.
static const uint32_t row_counts[] = {1, 3, 4, 5, 7, 8, 9, 12, 16, 17, 31, 32, 33, 64, 65, 128};

START_TEST(every_device_gets_a_tile_that_fits) {
    static const uint32_t vendors[] = {VENDOR_AMD, VENDOR_INTEL, VENDOR_NVIDIA, 0};
    static const uint64_t locals[] = {16, 32, 48, 64, 96, 128, 228}, groups[] = {32, 64, 96, 128, 256, 1024};
    for (size_t v = 0; v < 4; v++)
        for (size_t l = 0; l < sizeof locals / sizeof *locals; l++)
            for (size_t g = 0; g < sizeof groups / sizeof *groups; g++)
                for (size_t w = 0; w < WIDTHS; w++)
                    for (int format = 0; format < CLMLA_ROW_FORMAT_COUNT; format++)
                        for (size_t r = 0; r < sizeof row_counts / sizeof *row_counts; r++) {
                            uint32_t rows = row_counts[r];
                            clmla_device_facts facts = made_up_gpu(vendors[v], locals[l] * KIB, groups[g]);
                            attend_tile_shape shape = {
                                (clmla_row_format)format, widths[w].latent, widths[w].rope, 0, rows, false};
                            attend_tile tile;
                            char reason[ATTEND_TILE_REASON_MAX];
                            if (!attend_tile_choose(&tile, reason, &facts, &(attend_tile_limits){0}, &shape))
                                ck_abort_msg("%llu KiB, groups of %llu, %u + %u, %u rows: %s",
                                             (unsigned long long)locals[l], (unsigned long long)groups[g],
                                             widths[w].latent, widths[w].rope, rows, reason);
                            check_rules(&tile, &facts, &shape);
                            uint32_t padded = (rows + tile.row_tile - 1) / tile.row_tile * tile.row_tile;
                            if (padded * 100 > rows * 115) ck_abort_msg("%u rows in tiles of %u", rows, tile.row_tile);
                        }
}
END_TEST

static attend_tile choose(const clmla_device_facts *facts, const attend_tile_limits *limits, clmla_row_format format,
                          uint32_t rows) {
    attend_tile_shape shape = {format, 512, 64, 0, rows, false};
    attend_tile tile;
    char reason[ATTEND_TILE_REASON_MAX];
    ck_assert_msg(attend_tile_choose(&tile, reason, facts, limits, &shape), "%s", reason);
    ck_assert_str_eq(reason, "");
    return tile;
}

START_TEST(rows_are_of_heads_and_tokens) {
    ck_assert_uint_eq(attend_rows_of(0, 8), 0); // not known
    ck_assert_uint_eq(attend_rows_of(4, 0), 4);
    ck_assert_uint_eq(attend_rows_of(4, 1), 4);
    ck_assert_uint_eq(attend_rows_of(4, 8), 32);
    ck_assert_uint_eq(attend_rows_of(1024, UINT32_MAX), 65536);
    ck_assert_uint_eq(attend_rows_of(UINT32_MAX, UINT32_MAX), 65536);
}
END_TEST

// More local memory stages more keys, and a key is staged for many heads.
START_TEST(uses_what_there_is) {
    const attend_tile_limits none = {0};
    static const uint64_t locals[] = {16, 32, 48, 96, 228};
    uint32_t before = 0;
    for (size_t i = 0; i < sizeof locals / sizeof *locals; i++) {
        clmla_device_facts facts = made_up_gpu(VENDOR_NVIDIA, locals[i] * KIB, 1024);
        attend_tile tile = choose(&facts, &none, CLMLA_ROWS_F16, 128);
        ck_assert_uint_ge(tile.key_tile, before);
        ck_assert_uint_ge(tile.row_tile, 8);
        before = tile.key_tile;
    }
    ck_assert_uint_eq(before, 32);
    clmla_device_facts amd = made_up_gpu(VENDOR_AMD, 64 * KIB, 1024), other = made_up_gpu(0, 64 * KIB, 512);
    clmla_device_facts intel = made_up_gpu(VENDOR_INTEL, 64 * KIB, 512);
    // Two groups at a time.
    ck_assert_uint_le(choose(&amd, &none, CLMLA_ROWS_F16, 128).local_bytes, 32 * KIB);
    ck_assert_uint_ge(choose(&amd, &none, CLMLA_ROWS_F16, 128).row_tile, 32);
    ck_assert_uint_le(TILE_SUMS(choose(&other, &none, CLMLA_ROWS_F16, 128).group,
                                choose(&other, &none, CLMLA_ROWS_F16, 128).row_tile, 512),
                      32);
    // The compiler is told a width where Intel's GPU has no narrow one.
    ck_assert_uint_eq(choose(&intel, &none, CLMLA_ROWS_F16, 128).sub_group, 0);
    intel.least_sub_group = 8;
    ck_assert_uint_eq(choose(&intel, &none, CLMLA_ROWS_F16, 128).sub_group, 0);
    intel.least_sub_group = 16;
    ck_assert_uint_eq(choose(&intel, &none, CLMLA_ROWS_F16, 128).sub_group, 16);
    // Neither the number of units nor half arithmetic has a say.
    clmla_device_facts many = amd;
    many.compute_units = 304;
    many.has_half = true;
    attend_tile a = choose(&amd, &none, CLMLA_ROWS_BF16, 40), b = choose(&many, &none, CLMLA_ROWS_BF16, 40);
    ck_assert_int_eq(memcmp(&a, &b, sizeof a), 0);
}
END_TEST

START_TEST(keeps_to_its_limits) {
    clmla_device_facts facts = made_up_gpu(VENDOR_NVIDIA, 228 * KIB, 1024);
    for (uint32_t group = 32; group <= 1024; group *= 2)
        for (uint32_t rows = 1; rows <= 64; rows += 7)
            for (uint32_t keys = 4; keys <= 64; keys += 12) {
                attend_tile_limits limits = {group, rows, keys, 24 * KIB};
                attend_tile tile = choose(&facts, &limits, CLMLA_ROWS_F16, 128);
                ck_assert_uint_le(tile.group, group);
                ck_assert_uint_le(tile.row_tile, rows);
                ck_assert_uint_le(tile.key_tile, keys);
                ck_assert_uint_le(tile.local_bytes, 24 * KIB);
            }
}
END_TEST

// CPUs: few tiles, as each is a compilation.
START_TEST(cpus_get_few_tiles) {
    clmla_device_facts facts = made_up_gpu(0, 512 * KIB, 4096);
    facts.type = CL_DEVICE_TYPE_CPU;
    uint32_t seen = 0, distinct = 0;
    for (uint32_t rows = 1; rows <= 128; rows += rows < 20 ? 1 : 9) {
        attend_tile tile = choose(&facts, &(attend_tile_limits){0}, CLMLA_ROWS_F16, rows);
        if (!(seen & 1u << (tile.row_tile - 1))) distinct++;
        seen |= 1u << (tile.row_tile - 1);
    }
    ck_assert_uint_le(distinct, 3);
    // Asked for a group, it chooses as for a GPU.
    ck_assert_uint_eq(choose(&facts, &(attend_tile_limits){.group = 128}, CLMLA_ROWS_F16, 12).row_tile, 12);
}
END_TEST

static void refused(const clmla_device_facts *facts, uint32_t latent, const char *first, const char *second) {
    attend_tile_shape shape = {CLMLA_ROWS_F32, latent, 64, 0, 16, false};
    attend_tile tile;
    char reason[ATTEND_TILE_REASON_MAX];
    ck_assert(!attend_tile_choose(&tile, reason, facts, &(attend_tile_limits){0}, &shape));
    ck_assert_msg(strstr(reason, first) && strstr(reason, second), "'%s' does not say '%s' and '%s'", reason, first,
                  second);
}

START_TEST(says_what_is_missing) {
    clmla_device_facts small = made_up_gpu(0, 4 * KIB, 256), narrow = made_up_gpu(0, 32 * KIB, 16),
                       none = made_up_gpu(0, 0, 256);
    clmla_device_facts large = made_up_gpu(0, 1024 * KIB, 32);
    refused(&small, 512, "bytes of local memory", "has 4096");
    refused(&none, 512, "bytes of local memory", "has 0");
    refused(&narrow, 512, "32 work-items", "of 16");
    refused(&large, 4096, "4096 values", "32 work-items");
}
END_TEST

static void add_tests(TCase *tests) {
    tcase_add_test(tests, every_device_gets_a_tile_that_fits);
    tcase_add_test(tests, rows_are_of_heads_and_tokens);
    tcase_add_test(tests, uses_what_there_is);
    tcase_add_test(tests, keeps_to_its_limits);
    tcase_add_test(tests, cpus_get_few_tiles);
    tcase_add_test(tests, says_what_is_missing);
}

int main(void) {
    return test_run_apart("attend_tile", add_tests);
}
