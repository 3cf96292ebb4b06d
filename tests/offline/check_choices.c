// SPDX-License-Identifier: Apache-2.0
// What the library chooses of attend_tile and attend_matrix for each target of tools/offline_check is among what that
// compiles: DeepSeek's widths, 16 and 128 heads of every row format, and one head of f16 rows. From made-up facts: no
// compiler is needed.
#include "host/vendors.h"
#include "lib/attend_matrix.h"
#include "lib/rows.h"
#include "tests/support/suite.h"
#include <check.h>
#include <stdio.h>
#include <string.h>

#define KIB 1024u
#define GPU .type = CL_DEVICE_TYPE_GPU, .float_vector_width = 1
#define LINE_MAX_CHARS 512

// As their drivers tell of them.
static const struct {
    const char *target, *vendor;
    clmla_device_facts facts;
} targets[] = {
    {"gfx90a", "amd", {GPU, .vendor_id = VENDOR_AMD, .name = "gfx90a", .local_bytes = 64 * KIB, .max_group_size = 256}},
    {"gfx942", "amd", {GPU, .vendor_id = VENDOR_AMD, .name = "gfx942", .local_bytes = 64 * KIB, .max_group_size = 256}},
    {"gfx1030",
     "amd",
     {GPU, .vendor_id = VENDOR_AMD, .name = "gfx1030", .local_bytes = 64 * KIB, .max_group_size = 256}},
    {"gfx1100",
     "amd",
     {GPU, .vendor_id = VENDOR_AMD, .name = "gfx1100", .local_bytes = 64 * KIB, .max_group_size = 256}},
    {"tgllp",
     "intel",
     {GPU, .vendor_id = VENDOR_INTEL, .least_sub_group = 8, .local_bytes = 64 * KIB, .max_group_size = 512}},
    {"dg2",
     "intel",
     {GPU, .vendor_id = VENDOR_INTEL, .least_sub_group = 8, .has_sub_group_matrix = true, .local_bytes = 64 * KIB,
      .max_group_size = 1024}},
    {"pvc",
     "intel",
     {GPU, .vendor_id = VENDOR_INTEL, .least_sub_group = 16, .has_sub_group_matrix = true, .local_bytes = 128 * KIB,
      .max_group_size = 1024}},
    {"sm_80", "nvidia", {GPU, .vendor_id = VENDOR_NVIDIA, .local_bytes = 48 * KIB, .max_group_size = 1024}},
    {"sm_90", "nvidia", {GPU, .vendor_id = VENDOR_NVIDIA, .local_bytes = 48 * KIB, .max_group_size = 1024}},
};
#define TARGETS (int)(sizeof targets / sizeof *targets)

static char listing[512 * LINE_MAX_CHARS];

static void read_listing(void) {
    FILE *file = fopen(SPECIALISATIONS, "rb");
    ck_assert_ptr_nonnull(file);
    size_t length = fread(listing, 1, sizeof listing - 1, file);
    fclose(file);
    ck_assert_uint_lt(length, sizeof listing - 1);
    listing[length] = '\0';
}

// Whether a line's on= names the target or its vendor; a line without one is for all.
static bool is_for(const char *line, int target) {
    char names[LINE_MAX_CHARS], *on = strstr(line, " on=");
    if (!on) return true;
    snprintf(names, sizeof names, "%.*s", (int)strcspn(on + 4, " !"), on + 4);
    for (char *name = strtok(names, ","); name; name = strtok(NULL, ","))
        if (strcmp(name, targets[target].target) == 0 || strcmp(name, targets[target].vendor) == 0) return true;
    return false;
}

// Kernel file and all of its options, in their order; `options` ends with the group, behind which none follows.
static bool is_listed(const char *kernel, const char *options, int target) {
    char line[LINE_MAX_CHARS];
    size_t name = strlen(kernel), length = strlen(options);
    for (const char *at = listing, *end; (end = strchr(at, '\n')) != NULL; at = end + 1) {
        ck_assert_uint_lt((size_t)(end - at), sizeof line);
        snprintf(line, sizeof line, "%.*s", (int)(end - at), at);
        if (strncmp(line, kernel, name) != 0 || line[name] != ' ') continue;
        const char *given = line + name + strspn(line + name, " ");
        if (strncmp(given, options, length) == 0 && is_for(line, target)) return true;
    }
    return false;
}

static void check_listed(const char *kernel, const char *options, int target) {
    if (is_listed(kernel, options, target)) return;
    ck_abort_msg("not in specialisations.txt for %s: %s %s", targets[target].target, kernel, options);
}

static attend_tile_shape shape_of(int format, uint32_t heads, bool exact) {
    bool paged = format == CLMLA_ROWS_FP8_PAGED; // whose rows are of 448 + 64
    return (attend_tile_shape){.format = (clmla_row_format)format,
                               .latent_dim = paged ? 448 : 512,
                               .rope_dim = 64,
                               .value_dim = 512,
                               .rows = heads,
                               .exact = exact};
}

// As lib/attend.c writes them.
static void check_tile(const attend_tile_shape *shape, int target) {
    attend_tile t;
    char reason[ATTEND_TILE_REASON_MAX], options[LINE_MAX_CHARS], sub_group[32] = "";
    ck_assert_msg(attend_tile_choose(&t, reason, &targets[target].facts, &(attend_tile_limits){0}, shape), "%s",
                  reason);
    if (t.sub_group) snprintf(sub_group, sizeof sub_group, "-DSUB_GROUP=%u ", t.sub_group);
    snprintf(options, sizeof options,
             "-D%s -DLATENT_DIM=%u -DROPE_DIM=%u -DVALUE_DIM=%u -DTILE_GROUP=%u -DROW_TILE=%u -DKEY_TILE=%u "
             "-DSCORE_ROWS=%u -DPARTIALS=%u %sgroup=%u ",
             rows_option(shape->format), shape->latent_dim, shape->rope_dim, shape->value_dim, t.group, t.row_tile,
             t.key_tile, t.score_rows, t.partials, sub_group, t.group);
    check_listed("attend_tile", options, target);
}

static void check_matrix(const attend_tile_shape *shape, int target) {
    const clmla_device_facts *facts = &targets[target].facts;
    const host_matrix *form = host_matrix_find(facts);
    attend_tile t;
    char reason[ATTEND_TILE_REASON_MAX], options[LINE_MAX_CHARS];
    if (form->instruction == HOST_INSTRUCTION_MATRIX_PORTABLE) return; // no matrix units
    ck_assert_msg(attend_matrix_choose(&t, reason, facts, &(attend_tile_limits){0}, shape), "%s", reason);
    snprintf(options, sizeof options,
             "%s -D%s -DLATENT_DIM=%u -DROPE_DIM=%u -DVALUE_DIM=%u -DTILE_GROUP=%u -DROW_TILE=%u -DKEY_TILE=%u "
             "-DPARTIALS=%u %sgroup=%u ",
             form->option, rows_option(shape->format), shape->latent_dim, shape->rope_dim, shape->value_dim, t.group,
             t.row_tile, t.key_tile, t.partials, shape->exact ? "-DEXACT " : "", t.group);
    check_listed("attend_matrix", options, target);
}

START_TEST(tiles_are_listed) {
    read_listing();
    for (int format = 0; format < CLMLA_ROW_FORMAT_COUNT; format++)
        for (uint32_t heads = 16; heads <= 128; heads *= 8) {
            attend_tile_shape shape = shape_of(format, heads, true);
            check_tile(&shape, _i);
        }
    attend_tile_shape one = shape_of(CLMLA_ROWS_F16, 1, true);
    check_tile(&one, _i);
}
END_TEST

START_TEST(products_of_matrix_units_are_listed) {
    static const clmla_row_format formats[] = {CLMLA_ROWS_F16, CLMLA_ROWS_BF16};
    read_listing();
    for (int f = 0; f < 2; f++)
        for (uint32_t heads = 16; heads <= 128; heads *= 8)
            for (int exact = 0; exact < 2; exact++) {
                attend_tile_shape shape = shape_of((int)formats[f], heads, exact);
                check_matrix(&shape, _i);
            }
}
END_TEST

static void add_tests(TCase *tests) {
    tcase_add_loop_test(tests, tiles_are_listed, 0, TARGETS);
    tcase_add_loop_test(tests, products_of_matrix_units_are_listed, 0, TARGETS);
}

int main(void) {
    return test_run_apart("choices", add_tests);
}
