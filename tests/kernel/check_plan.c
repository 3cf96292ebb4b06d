// SPDX-License-Identifier: Apache-2.0
// Plans: the schedule made on the device against the host's, bit for bit; capacities; memory; refused parameters.
#include "lib/context.h"
#include "lib/group.h"
#include "lib/plan.h"
#include "tests/support/buffer.h"
#include <stdlib.h>
#include <string.h>

#define SEQUENCES 24
#define MANY_SEQUENCES 300 // more than a group has work-items
#define SPOILT 0x5a5a5a5a

typedef struct plan_case {
    clmla_plan *plan;
    clmla_plan_params params;
    uint32_t sequences;
    int32_t query[MANY_SEQUENCES], keys[MANY_SEQUENCES]; // as on the device
    bool one_each;                                       // no query tokens given
} plan_case;

static clmla_row_layout layout_of(clmla_row_format format, uint32_t latent, uint32_t rope) {
    clmla_row_layout layout;
    TEST_OK(clmla_row_layout_make(&layout, format, CLMLA_ROPE_INTERLEAVED, latent, rope));
    return layout;
}

static clmla_plan_params random_params(test_random *random, int number) {
    uint32_t kv_heads = 1 + test_random_below(random, 3), world = 1 + test_random_below(random, 3);
    uint32_t times = number % 8 == 6 ? MANY_SEQUENCES / SEQUENCES : 1;
    clmla_plan_params p = {
        .head_count = kv_heads * (1 + test_random_below(random, 40)),
        .kv_head_count = kv_heads,
        .layout = layout_of(CLMLA_ROWS_F16, 32, 8),
        .full = number % 5 == 0,
        .window = number % 3 == 0 ? 1 + test_random_below(random, 900) : 0,
        .parallel = {test_random_below(random, world), world, 1 + test_random_below(random, 70)},
        .split_tokens = number % 4 == 1 ? 40 + test_random_below(random, 300) : 0,
        .capacity = {times * (1 + test_random_below(random, SEQUENCES)), times * (1 + test_random_below(random, 40)),
                     1 + test_random_below(random, 3000)},
        .attend_variant = number % 2 ? "naive" : NULL,
    };
    return p;
}

static void random_lengths(plan_case *c, test_random *random) {
    uint32_t most = c->params.capacity.kv_tokens;
    c->sequences = test_random_below(random, c->params.capacity.sequences + 1);
    c->one_each = test_random_below(random, 4) == 0;
    for (uint32_t i = 0; i < c->sequences; i++) {
        int kind = (int)test_random_below(random, 8);
        c->keys[i] = (int32_t)test_random_below(random, most + 1);
        c->query[i] = (int32_t)test_random_below(random, 5);
        if (kind == 0) c->keys[i] = -1 - (int32_t)test_random_below(random, 100);
        if (kind == 1) c->keys[i] = 0;
        if (kind == 2) c->keys[i] = (int32_t)most + 1 + (int32_t)test_random_below(random, 5000);
        if (kind == 3) c->keys[i] = INT32_MAX - (int32_t)test_random_below(random, 3);
        if (kind == 4) c->query[i] = INT32_MIN;
        if (kind == 5 && i % 3 == 0) c->query[i] = i % 2 ? INT32_MAX : 30;
    }
}

// The lengths as plan.h says the device takes them.
static void cut_lengths(const plan_case *c, uint32_t query[MANY_SEQUENCES], uint32_t keys[MANY_SEQUENCES]) {
    uint32_t left = c->params.capacity.query_tokens;
    for (uint32_t i = 0; i < c->sequences; i++) {
        keys[i] = c->keys[i] < 0 ? 0 : (uint32_t)c->keys[i];
        if (keys[i] > c->params.capacity.kv_tokens) keys[i] = c->params.capacity.kv_tokens;
        query[i] = c->one_each ? 1 : c->query[i] < 0 ? 0 : (uint32_t)c->query[i];
        if (query[i] > left) query[i] = left;
        left -= query[i];
    }
}

// A buffer may not be empty.
static cl_mem upload(const int32_t *values, uint32_t count) {
    cl_int code;
    cl_mem memory =
        clCreateBuffer(test_device_get()->cl, CL_MEM_READ_WRITE, (MANY_SEQUENCES + 2) * sizeof(int32_t), NULL, &code);
    TEST_CL(code);
    if (count)
        TEST_CL(clEnqueueWriteBuffer(test_device_get()->queue, memory, CL_TRUE, 2 * sizeof *values,
                                     count * sizeof *values, values, 0, NULL, NULL));
    return memory;
}

// By the kernel for GPUs in groups of 32, 64, 128, 256, wherever a device has them; run 0: by the one that it chooses.
#define RUNS 5
static bool has_run(int run) {
    uint64_t items = GROUP_LEAST << (run > 0 ? run - 1 : 0);
    return run == 0 || (items <= group_most(test_device_get()->facts) && (!test_device_get()->short_form || run < 3));
}

static void begin_run(const plan_case *c, int run) {
    clmla_device_facts *facts = &test_device_get()->context->host.facts;
    if (run > 0) {
        facts->type = CL_DEVICE_TYPE_GPU;
        facts->group_items = GROUP_LEAST << (run - 1);
    }
    TEST_OK(variant_choose(&c->plan->scheduler, test_device_get()->context, CLMLA_OP_PLAN, &(clmla_shape){0}, NULL));
    TEST_ASSERT(run == 0 || c->plan->scheduler->method == VARIANT_GROUP, "'%s' is chosen", c->plan->scheduler->name);
}

static void update_on_device(const plan_case *c, int run) {
    clmla_device_facts *facts = &test_device_get()->context->host.facts, saved = *facts;
    cl_mem query = upload(c->query, c->sequences), keys = upload(c->keys, c->sequences);
    clmla_device_lengths lengths = {c->sequences, {c->one_each ? NULL : query, 8}, {keys, 8}};
    cl_command_queue queue = test_device_get()->queue;
    int32_t spoilt = SPOILT;
    TEST_CL(clEnqueueFillBuffer(queue, c->plan->step, &spoilt, sizeof spoilt, 0, c->plan->step_bytes / 4 * 4, 0, NULL,
                                NULL));
    begin_run(c, run);
    TEST_OK(clmla_plan_update_device(c->plan, &lengths, queue, 0, NULL, NULL));
    *facts = saved;
    TEST_CL(clFinish(queue));
    TEST_CL(clReleaseMemObject(query));
    TEST_CL(clReleaseMemObject(keys));
}

static int32_t *fetch_step(const plan_case *c) {
    int32_t *step = test_allocate((size_t)c->plan->step_bytes, 1);
    TEST_CL(clEnqueueReadBuffer(test_device_get()->queue, c->plan->step, CL_TRUE, 0, (size_t)c->plan->step_bytes, step,
                                0, NULL, NULL));
    return step;
}

// `count` ints as expected; what follows up to the section's end untouched.
static void compare_section(const int32_t *step, uint64_t begin, uint64_t end, const int32_t *expected, uint64_t count,
                            bool spoilt, const char *name) {
    for (uint64_t i = 0; i < count; i++)
        TEST_ASSERT(step[begin / 4 + i] == expected[i], "%s[%llu] is %d, the host's is %d", name, (unsigned long long)i,
                    step[begin / 4 + i], expected[i]);
    for (uint64_t i = begin / 4 + count; spoilt && i < end / 4; i++)
        TEST_ASSERT(step[i] == SPOILT, "%s[%llu] was written", name, (unsigned long long)(i - begin / 4));
}

static void compare_step(const plan_case *c, const plan_schedule *expected, bool spoilt) {
    int32_t *step = fetch_step(c);
    const plan_offsets *at = &c->plan->offsets;
    compare_section(step, at->header, at->parts, expected->header, HEADER_INTS, spoilt, "header");
    compare_section(step, at->parts, at->works, expected->parts, expected->part_count + 1u, spoilt, "parts");
    compare_section(step, at->works, at->items, expected->works, (uint64_t)expected->work_count * WORK_INTS, spoilt,
                    "works");
    compare_section(step, at->items, at->tiles, expected->items, (uint64_t)expected->item_count * ITEM_INTS, spoilt,
                    "items");
    compare_section(step, at->tiles, at->total, expected->tiles, (uint64_t)expected->tile_count * TILE_INTS, spoilt,
                    "tiles");
    free(step);
}

static void check_lengths(plan_case *c, plan_schedule *expected) {
    uint32_t query[MANY_SEQUENCES], keys[MANY_SEQUENCES];
    clmla_lengths lengths = {c->sequences,
                             c->one_each && c->sequences <= c->params.capacity.query_tokens ? NULL : query, keys};
    cut_lengths(c, query, keys);
    TEST_OK(plan_schedule_make(expected, &c->plan->rules, &lengths, NULL));
    for (int run = 0; run < RUNS; run++) {
        if (!has_run(run)) continue;
        update_on_device(c, run);
        compare_step(c, expected, true);
    }
    TEST_OK(clmla_plan_update_lengths(c->plan, &lengths, test_device_get()->queue, 0, NULL, NULL));
    compare_step(c, expected, false);
}

START_TEST(device_makes_the_hosts_schedule) {
    static const clmla_allocator allocator = {0};
    plan_schedule expected = {.allocator = &allocator};
    clmla_context *context = test_device_get()->context;
    uint32_t split = 0, rounds = test_device_get()->short_form ? 12 : 80;
    for (uint32_t number = 0; number < rounds; number++) {
        test_random random = test_random_make(6000 + number);
        plan_case c = {.params = random_params(&random, (int)number)};
        test_case_begin("plan on the device", (int)number, "heads %u of %u, window %u, split %u, capacity %u %u %u",
                        c.params.head_count, c.params.kv_head_count, c.params.window, c.params.split_tokens,
                        c.params.capacity.sequences, c.params.capacity.query_tokens, c.params.capacity.kv_tokens);
        if (!test_case_wanted((int)number)) continue;
        TEST_OK(clmla_tuning_set(context, "attend.parts_per_unit", 1 + test_random_below(&random, 64)));
        TEST_OK(clmla_tuning_set(context, "attend.part_keys", 16 + test_random_below(&random, 200)));
        TEST_OK(clmla_plan_create(&c.plan, context, &c.params));
        for (int i = 0; i < 4; i++) {
            random_lengths(&c, &random);
            check_lengths(&c, &expected);
            split += expected.item_count;
        }
        clmla_plan_destroy(&c.plan);
    }
    TEST_OK(clmla_tuning_set(context, "attend.parts_per_unit", 4));
    TEST_OK(clmla_tuning_set(context, "attend.part_keys", 192));
    TEST_ASSERT(split > rounds, "only %u tiles were cut", split);
    plan_schedule_finish(&expected);
}
END_TEST

static void expect_refusal(const clmla_plan_params *params, clmla_status expected, const char *word) {
    clmla_plan *plan = (clmla_plan *)(void *)&plan;
    clmla_status status = clmla_plan_create(&plan, test_device_get()->context, params);
    TEST_ASSERT(status == expected, "%s instead of a refusal that says '%s'", clmla_status_name(status), word);
    TEST_ASSERT(strstr(clmla_last_error(), word), "'%s' is not in: %s", word, clmla_last_error());
    TEST_ASSERT(plan == NULL, "a refused plan is not NULL");
}

START_TEST(refuses_wrong_parameters) {
    clmla_plan_params good = {.head_count = 6, .layout = layout_of(CLMLA_ROWS_F16, 32, 8)}, p;
    test_case_begin("plan parameters", 0, "heads, masks, ranks, capacities");
    p = good, p.kv_head_count = 4, expect_refusal(&p, CLMLA_E_ARGUMENT, "kv_head_count 4 does not divide");
    p = good, p.kv_head_count = 7, expect_refusal(&p, CLMLA_E_ARGUMENT, "kv_head_count");
    p = good, p.value_dim = 31, expect_refusal(&p, CLMLA_E_ARGUMENT, "value_dim must be 32 to 40");
    p = good, p.value_dim = 41, expect_refusal(&p, CLMLA_E_ARGUMENT, "value_dim");
    p = good, p.window = UINT32_MAX, expect_refusal(&p, CLMLA_E_ARGUMENT, "window");
    p = good, p.parallel.rank = 1, expect_refusal(&p, CLMLA_E_ARGUMENT, "parallel.rank is 1 of a world of 1");
    p = good, p.parallel = (clmla_context_parallel){2, 2, 1}, expect_refusal(&p, CLMLA_E_ARGUMENT, "parallel.rank");
    p = good, p.parallel = (clmla_context_parallel){0, 65536, 65536},
    expect_refusal(&p, CLMLA_E_ARGUMENT, "interleave");
    p = good, p.capacity.sequences = 1, expect_refusal(&p, CLMLA_E_ARGUMENT, "capacity of 1 sequences, 0 query");
    p = good, p.capacity.kv_tokens = 1, expect_refusal(&p, CLMLA_E_ARGUMENT, "capacity");
    p = good, p.capacity = (clmla_plan_capacity){1, 1, UINT32_MAX},
    expect_refusal(&p, CLMLA_E_LIMIT, "4294967295 keys");
    p = good, p.capacity = (clmla_plan_capacity){1, 400000000, 1}, expect_refusal(&p, CLMLA_E_LIMIT, "400000000 query");
    p.capacity = (clmla_plan_capacity){1000, 1000, 2000000000}, p.split_tokens = 1;
    expect_refusal(&p, CLMLA_E_LIMIT, "longer splits");
}
END_TEST

static void expect_lengths_refused(clmla_plan *plan, uint32_t sequences, uint32_t query, uint32_t keys, const char *a,
                                   const char *b) {
    uint32_t queries[4] = {query, query, query, query}, kv[4] = {keys, keys, keys, keys};
    clmla_lengths lengths = {sequences, queries, kv};
    clmla_status status = clmla_plan_update_lengths(plan, &lengths, test_device_get()->queue, 0, NULL, NULL);
    TEST_ASSERT(status == CLMLA_E_LIMIT, "%s instead of a limit", clmla_status_name(status));
    TEST_ASSERT(strstr(clmla_last_error(), a) && strstr(clmla_last_error(), b), "no %s and %s in: %s", a, b,
                clmla_last_error());
}

START_TEST(refuses_steps_beyond_the_capacity) {
    clmla_plan_params params = {.head_count = 4, .layout = layout_of(CLMLA_ROWS_F16, 32, 8), .capacity = {3, 5, 100}};
    const test_device *device = test_device_get();
    clmla_plan *plan, *plain;
    test_case_begin("plan capacity", 0, "3 sequences, 5 query tokens, 100 keys");
    TEST_OK(clmla_plan_create(&plan, device->context, &params));
    expect_lengths_refused(plan, 4, 1, 10, "4 sequences", "is 3");
    expect_lengths_refused(plan, 3, 2, 10, "6 query tokens", "is 5");
    expect_lengths_refused(plan, 2, 2, 101, "101 keys", "is 100");
    clmla_device_lengths four = {4, {NULL, 0}, {device->tiny, 0}}, two = {2, {NULL, 0}, {device->tiny, 0}},
                         one = {1, {NULL, 0}, {device->tiny, 0}}, none = {1, {NULL, 0}, {NULL, 0}};
    cl_command_queue queue = device->queue;
    ck_assert_int_eq(clmla_plan_update_device(plan, &four, queue, 0, NULL, NULL), CLMLA_E_ARGUMENT);
    ck_assert_int_eq(clmla_plan_update_device(plan, &two, queue, 0, NULL, NULL), CLMLA_E_ARGUMENT); // tiny holds one
    ck_assert_int_eq(clmla_plan_update_device(plan, &none, queue, 0, NULL, NULL), CLMLA_E_ARGUMENT);
    ck_assert_int_eq(clmla_plan_update_device(plan, NULL, queue, 0, NULL, NULL), CLMLA_E_ARGUMENT);
    ck_assert_int_eq(clmla_plan_update_device(NULL, &one, queue, 0, NULL, NULL), CLMLA_E_ARGUMENT);
    TEST_OK(clmla_plan_update_device(plan, &one, queue, 0, NULL, NULL));
    params.capacity = (clmla_plan_capacity){0};
    TEST_OK(clmla_plan_create(&plain, device->context, &params));
    ck_assert_int_eq(clmla_plan_update_device(plain, &one, queue, 0, NULL, NULL), CLMLA_E_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(clmla_last_error(), "capacity"));
    clmla_plan_destroy(&plan);
    clmla_plan_destroy(&plain);
}
END_TEST

static uint64_t held_bytes(const clmla_plan *plan) {
    uint64_t bytes = 0;
    const cl_mem held[] = {plan->step, plan->workspace[0], plan->workspace[1]};
    for (int i = 0; i < 3; i++) {
        size_t size = 0;
        if (held[i]) TEST_CL(clGetMemObjectInfo(held[i], CL_MEM_SIZE, sizeof size, &size, NULL));
        bytes += size;
    }
    return bytes;
}

START_TEST(facts_are_of_the_step) {
    clmla_plan_params params = {
        .head_count = 4, .layout = layout_of(CLMLA_ROWS_F16, 32, 8), .split_tokens = 96, .attend_variant = "naive"};
    uint32_t query[] = {2, 0, 1}, keys[] = {200, 7, 50};
    clmla_lengths lengths = {3, query, keys};
    clmla_plan *plan;
    test_case_begin("plan facts", 0, "200, 7 and 50 keys in splits of 96");
    TEST_OK(clmla_plan_create(&plan, test_device_get()->context, &params));
    ck_assert_uint_eq(clmla_plan_facts_get(plan).workspace_bytes, 0);
    TEST_OK(clmla_plan_update_lengths(plan, &lengths, test_device_get()->queue, 0, NULL, NULL));
    clmla_plan_facts facts = clmla_plan_facts_get(plan);
    ck_assert_str_eq(facts.attend_variant, "naive");
    ck_assert_uint_eq(facts.query_tokens, 3);
    ck_assert_uint_eq(facts.sequence_count, 3);
    ck_assert_uint_eq(facts.work_count, 3 + 1);
    ck_assert_uint_eq(facts.part_count, 3 + 1);
    ck_assert_uint_eq(facts.split_count, 3 * 2 * 4); // three pieces of two tokens of four heads
    ck_assert_uint_eq(facts.workspace_bytes, held_bytes(plan));
    ck_assert_uint_eq(facts.workspace_bytes, plan->offsets.total + plan->space.total);
    clmla_plan_destroy(&plan);
}
END_TEST

START_TEST(a_capacity_is_all_there_is) {
    clmla_plan_params params = {.head_count = 16, .layout = layout_of(CLMLA_ROWS_F16, 32, 8), .capacity = {4, 6, 2000}};
    test_random random = test_random_make(3);
    clmla_plan *plan;
    test_case_begin("plan capacity", 1, "its memory stays as it was made");
    TEST_OK(clmla_plan_create(&plan, test_device_get()->context, &params));
    uint64_t bytes = clmla_plan_facts_get(plan).workspace_bytes;
    cl_mem step = plan->step, workspace = plan->workspace[PLAN_WORKSPACE_ATTEND];
    uint32_t grids[] = {plan->grid_parts, plan->grid_items, plan->grid_tiles, plan->grid_rows};
    ck_assert_uint_eq(bytes, held_bytes(plan));
    for (int i = 0; i < 30; i++) {
        uint32_t keys[4], query[4];
        for (int s = 0; s < 4; s++)
            keys[s] = test_random_below(&random, 2001), query[s] = test_random_below(&random, 2);
        clmla_lengths lengths = {1 + test_random_below(&random, 4), query, keys};
        TEST_OK(clmla_plan_update_lengths(plan, &lengths, test_device_get()->queue, 0, NULL, NULL));
        ck_assert_uint_eq(clmla_plan_facts_get(plan).workspace_bytes, bytes);
        ck_assert(plan->step == step && plan->workspace[PLAN_WORKSPACE_ATTEND] == workspace);
        ck_assert(grids[0] == plan->grid_parts && grids[1] == plan->grid_items && grids[2] == plan->grid_tiles &&
                  grids[3] == plan->grid_rows);
    }
    clmla_plan_destroy(&plan);
}
END_TEST

static int allocations;
static void *count_allocation(void *payload, size_t bytes) {
    (void)payload;
    allocations++;
    return malloc(bytes);
}
static void release(void *payload, void *memory) {
    (void)payload;
    free(memory);
}

// A context whose allocations are counted; the plan's stages are all in use after four updates.
static void update_in_place(const clmla_plan_params *params) {
    const test_device *device = test_device_get();
    clmla_context *context;
    clmla_plan *plan;
    uint32_t keys[16];
    clmla_lengths lengths = {16, NULL, keys};
    test_random random = test_random_make(4);
    clmla_context_params with = {.opencl = {device->cl, device->id},
                                 .allocator = {count_allocation, release, NULL},
                                 .program_folder = "",
                                 .tuning_file = ""};
    TEST_OK(clmla_context_create(&context, &with));
    TEST_OK(clmla_plan_create(&plan, context, params));
    for (int i = 0; i < 40; i++) {
        if (i == 6) allocations = 0;
        for (int s = 0; s < 16; s++) keys[s] = i < 6 ? 4000 : test_random_below(&random, 4001);
        TEST_OK(clmla_plan_update_lengths(plan, &lengths, device->queue, 0, NULL, NULL));
    }
    TEST_ASSERT(allocations == 0, "%d allocations in 34 updates", allocations);
    TEST_CL(clFinish(device->queue));
    clmla_plan_destroy(&plan);
    clmla_context_destroy(&context);
}

START_TEST(updates_in_place) {
    clmla_plan_params params = {.head_count = 16, .layout = layout_of(CLMLA_ROWS_F16, 32, 8)};
    test_case_begin("plan in place", 0, "without a capacity");
    update_in_place(&params);
    test_case_begin("plan in place", 1, "with one");
    params.capacity = (clmla_plan_capacity){16, 16, 4000};
    update_in_place(&params);
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_test(tcase, device_makes_the_hosts_schedule);
    tcase_add_test(tcase, refuses_wrong_parameters);
    tcase_add_test(tcase, refuses_steps_beyond_the_capacity);
    tcase_add_test(tcase, facts_are_of_the_step);
    tcase_add_test(tcase, a_capacity_is_all_there_is);
    tcase_add_test(tcase, updates_in_place);
}

int main(void) {
    return test_main("check_plan", add);
}
