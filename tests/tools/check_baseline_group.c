// SPDX-License-Identifier: Apache-2.0
// Which groups and tiles the baselines get on made-up GPUs: they keep to what baseline_group.cl asks for and to the device.
#include "baseline_group.h"
#include "tests/support/suite.h"
#include <string.h>

static clmla_device_facts made_up(uint64_t group, uint64_t local, uint32_t asked) {
    return (clmla_device_facts){.type = CL_DEVICE_TYPE_GPU,
                                .compute_units = 100,
                                .max_group_size = group,
                                .local_bytes = local,
                                .group_items = asked};
}

static bool is_power(uint32_t value) {
    return value > 0 && (value & (value - 1)) == 0;
}

// The conditions of baseline_group.cl.
static void check_tile(const baseline_group *g, uint32_t score_dim, uint64_t local) {
    uint32_t depth = score_dim % 32 ? 16 : 32, quads = g->head_tile / 4, key_lanes = g->items / quads;
    uint32_t parts = g->items / g->column_lanes < quads ? g->items / g->column_lanes : quads;
    uint32_t staged = g->key_tile * (depth + 4) > 4 * g->value_tile ? g->key_tile * (depth + 4) : 4 * g->value_tile;
    ck_assert(is_power(g->head_tile) && g->head_tile >= 4 && g->head_tile <= 32);
    ck_assert(is_power(g->column_lanes) && g->column_lanes <= g->items && g->column_lanes <= g->value_tile / 4);
    ck_assert(g->key_tile % 8 == 0 && g->key_tile % key_lanes == 0 && g->key_tile / key_lanes <= 4);
    ck_assert_uint_le(g->head_tile / parts * ((g->value_tile / 4 + g->column_lanes - 1) / g->column_lanes), 16);
    uint32_t heads_floats = staged + depth * g->head_tile + g->key_tile * g->head_tile + g->items + 2 * g->head_tile;
    uint32_t latent_floats = staged + g->key_tile * (g->head_tile + 4);
    ck_assert_uint_le(sizeof(float) * (heads_floats > latent_floats ? heads_floats : latent_floats), local);
}

static void check_stream(const baseline_group *g, const baseline_shape *shape, uint64_t local) {
    uint32_t heads = shape->head_count / shape->kv_head_count, sets = g->items / g->lanes,
             width = 16 / (uint32_t)clmla_type_bytes(shape->type);
    uint32_t turns = 2 * g->unroll * heads * g->items, partial = turns > width * g->items ? turns : width * g->items;
    ck_assert_uint_le(sizeof(float) * (partial + heads * (shape->key_dim + shape->shared_dim + 2 * sets)), local);
    ck_assert(is_power(g->lanes) && g->lanes >= 4 && g->lanes <= g->items);
    ck_assert(is_power(g->unroll) && g->unroll <= 4 && (g->unroll == 1 || g->unroll * heads <= 8));
}

START_TEST(groups_keep_to_the_device) {
    ck_assert_uint_eq(baseline_group_items(&(clmla_device_facts){.type = CL_DEVICE_TYPE_CPU}), 0);
    static const struct {
        uint64_t most;
        uint32_t asked, given;
    } rows[] = {{1024, 0, 128}, {64, 0, 64}, {0, 0, 64}, {256, 256, 256}, {128, 256, 128}, {1024, 32, 32}, {16, 0, 32}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        clmla_device_facts facts = made_up(rows[i].most, 32768, rows[i].asked);
        ck_assert_uint_eq(baseline_group_items(&facts), rows[i].given);
    }
    clmla_device_facts narrow = made_up(1024, 32768, 0);
    narrow.max_group_dims[0] = 64;
    ck_assert_uint_eq(baseline_group_items(&narrow), 64);
}
END_TEST

static const uint32_t dims[] = {16, 48, 64, 80, 128, 192, 256, 512, 1024};
#define DIMS (sizeof dims / sizeof *dims)

START_TEST(heads_get_what_fits) {
    static const uint32_t heads[] = {1, 2, 3, 7, 8, 12, 16, 40, 128};
    static const clmla_type types[] = {CLMLA_TYPE_F32, CLMLA_TYPE_F16, CLMLA_TYPE_BF16};
    int tiles = 0, refusals = 0;
    for (uint32_t group = 32; group <= 256; group *= 2)
        for (size_t i = 0; i < DIMS * DIMS * sizeof heads / sizeof *heads * 3; i++) {
            const baseline_shape shape = {.head_count = heads[i / DIMS / DIMS / 3],
                                          .kv_head_count = 1,
                                          .key_dim = dims[i % DIMS],
                                          .value_dim = dims[i / DIMS % DIMS],
                                          .type = types[i / DIMS / DIMS % 3]};
            clmla_device_facts facts = made_up(group, 32768, group);
            baseline_group chosen;
            failure why = {0};
            if (!baseline_group_heads(&chosen, &facts, &shape, &why)) {
                ck_assert_ptr_nonnull(strstr(why.sentence, "no tile of"));
                ck_assert_msg(group == 32 && shape.value_dim > 512, "%s", why.sentence); // nothing else is refused
                refusals++;
                continue;
            }
            if (chosen.head_tile)
                check_tile(&chosen, shape.key_dim, 32768);
            else
                check_stream(&chosen, &shape, 32768);
            ck_assert(shape.head_count < 8 || chosen.head_tile);
            tiles += chosen.head_tile != 0;
        }
    ck_assert(tiles > 0 && refusals > 0);
}
END_TEST

START_TEST(latents_get_what_fits) {
    for (uint32_t group = 32; group <= 256; group *= 2)
        for (uint32_t local = 16384; local <= 65536; local *= 2)
            for (uint32_t latent = 16; latent <= 1024; latent += 16)
                for (uint32_t heads = 1; heads <= 128; heads *= 2) {
                    clmla_device_facts facts = made_up(group, local, group);
                    baseline_group chosen;
                    failure why = {0};
                    ck_assert_msg(
                        baseline_group_latent(&chosen, &facts, heads, latent + 64, latent, CLMLA_TYPE_F16, &why), "%s",
                        why.sentence);
                    ck_assert_uint_eq(latent % chosen.value_tile, 0);
                    check_tile(&chosen, latent + 64, local);
                }
}
END_TEST

START_TEST(devices_without_room_are_refused) {
    const baseline_shape shape = {
        .head_count = 16, .kv_head_count = 1, .key_dim = 128, .value_dim = 128, .type = CLMLA_TYPE_F16};
    clmla_device_facts small = made_up(1024, 1024, 0), single = made_up(1, 32768, 0);
    baseline_group chosen;
    failure why = {0};
    ck_assert(!baseline_group_heads(&chosen, &small, &shape, &why));
    ck_assert_ptr_nonnull(strstr(why.sentence, "1024 bytes of local memory"));
    ck_assert(!baseline_group_heads(&chosen, &single, &shape, &why));
    ck_assert_ptr_nonnull(strstr(why.sentence, "1 work-items at most"));
    ck_assert(!baseline_group_latent(&chosen, &single, 16, 576, 512, CLMLA_TYPE_F16, &why));
}
END_TEST

START_TEST(parts_fill_the_device_and_cover_all_tokens) {
    clmla_device_facts facts = made_up(1024, 32768, 0);
    for (uint32_t tokens = 1; tokens < 100000; tokens += 997)
        for (uint64_t groups = 1; groups <= 4096; groups *= 4) {
            baseline_parts parts = baseline_group_parts(&facts, groups, tokens);
            ck_assert((uint64_t)parts.count * parts.tokens >= tokens);
            ck_assert((uint64_t)(parts.count - 1) * parts.tokens < tokens);
            // Either there are groups enough, or parts are as short as they get.
            ck_assert(parts.count * groups >= 32 * 100 / 2 || parts.tokens <= 256);
        }
}
END_TEST

static void add_tests(TCase *tcase) {
    tcase_add_test(tcase, groups_keep_to_the_device);
    tcase_add_test(tcase, heads_get_what_fits);
    tcase_add_test(tcase, latents_get_what_fits);
    tcase_add_test(tcase, devices_without_room_are_refused);
    tcase_add_test(tcase, parts_fill_the_device_and_cover_all_tokens);
}

int main(void) {
    return test_run("check_baseline_group", add_tests);
}
