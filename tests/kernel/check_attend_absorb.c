// SPDX-License-Identifier: Apache-2.0
// attend of queries that are not absorbed yet: every variant over weight and query types, head and token counts that
// fill tiles and that do not, against tests/ref/ref_absorb.c and ref_attend.c.
#include "tests/kernel/attend_fixture.h"
#include "tests/support/pairwise.h"
#include <string.h>

enum { WEIGHTS, WIDTHS, NOPE, HEADS, KV_HEADS, TOKENS, QUERY_TYPE, QUERY_FORM, SPLIT, FACTORS };
static const struct { uint32_t latent, rope; } widths[] = {{512, 64}, {256, 0}, {37, 6}};
static const uint32_t nopes[] = {1, 6, 64, 128}, head_counts[] = {1, 5, 12, 16, 32, 128}, kv_head_counts[] = {1, 2};
enum { TOKENS_ONE, TOKENS_FOUR_SEQUENCES, TOKENS_RAGGED, TOKENS_NINE, TOKENS_KINDS };

static void choose_tokens(attend_shape *s, int kind) {
    static const uint32_t counts[TOKENS_KINDS] = {1, 4, 4, 1};
    static const uint32_t tokens[TOKENS_KINDS][4] = {{1}, {1, 1, 1, 1}, {2, 0, 1, 3}, {9}};
    s->sequences = counts[kind];
    for (uint32_t i = 0; i < s->sequences; i++) {
        s->query_tokens[i] = tokens[kind][i];
        s->kv_tokens[i] = 9 + 20 * i;
    }
}

static attend_shape shape_of(const int *chosen, uint64_t seed) {
    uint32_t heads = head_counts[chosen[HEADS]], kv_heads = kv_head_counts[chosen[KV_HEADS]];
    attend_shape s = {
        .format = CLMLA_ROWS_F16,
        .latent = widths[chosen[WIDTHS]].latent,
        .rope = widths[chosen[WIDTHS]].rope,
        .heads = heads,
        .kv_heads = heads % kv_heads == 0 ? kv_heads : 1,
        .page_tokens = 16,
        .split_tokens = chosen[SPLIT] ? 7 : 0,
        .query_type = (clmla_type)(CLMLA_TYPE_F32 + chosen[QUERY_TYPE]),
        .query_form = (attend_form)chosen[QUERY_FORM],
        .absorb_nope = nopes[chosen[NOPE]],
        .absorb_type = (ref_type)chosen[WEIGHTS],
        .lse = true,
        .seed = seed,
    };
    choose_tokens(&s, chosen[TOKENS]);
    return s;
}

// The reference takes each weight of each head once a token.
static bool accept(const int *chosen, const void *payload) {
    (void)payload;
    attend_shape s = shape_of(chosen, 0);
    uint64_t tokens = 0, cost;
    for (uint32_t i = 0; i < s.sequences; i++) tokens += s.query_tokens[i];
    cost = tokens * s.heads * s.absorb_nope * s.latent;
    if (test_device_get()->short_form) return cost <= 20000 && attend_cost(&s) <= 60000 && s.latent < 100;
    return cost <= 3000000;
}

static void run_case(int number, const int *chosen) {
    attend_shape s = shape_of(chosen, (uint64_t)number + 5000);
    test_case_begin("attend absorb", number,
                    "weights %s, %u + %u, nope %u, heads %u of %u kv, tokens %d, query type %d form %d, split %u",
                    test_type_name(s.absorb_type), s.latent, s.rope, s.absorb_nope, s.heads, s.kv_heads, chosen[TOKENS],
                    (int)s.query_type, (int)s.query_form, s.split_tokens);
    attend_fixture f;
    attend_make(&f, &s);
    attend_check_variants(&f);
    attend_finish(&f);
}

START_TEST(matches_the_reference) {
    pairwise cases = {.factor_count = FACTORS,
                      .levels = {4, 3, 4, 6, 2, TOKENS_KINDS, 3, ATTEND_FORMS, 2},
                      .accept = accept,
                      .seed = 38};
    pairwise_run(&cases, "attend absorb", run_case);
}
END_TEST

static attend_shape small(void) {
    return (attend_shape){.format = CLMLA_ROWS_F16,
                          .latent = 37,
                          .rope = 6,
                          .heads = 16,
                          .sequences = 2,
                          .query_tokens = {1, 6},
                          .kv_tokens = {9, 30},
                          .page_tokens = 4,
                          .absorb_nope = 6,
                          .absorb_type = REF_F8_E4M3,
                          .lse = true,
                          .seed = 80};
}

START_TEST(honours_events) {
    attend_shape s = small();
    attend_fixture f;
    test_case_begin("attend absorb events", 0, "seven tokens");
    attend_make(&f, &s);
    attend_check_variants(&f);
    test_run_gated(&f.run);
    attend_finish(&f);
}
END_TEST

#define REFUSED(change, word) TEST_REFUSED(&f.run, clmla_attend_absorb, &f.absorb, f.absorb.change, word)

START_TEST(refuses_wrong_arguments) {
    attend_fixture f;
    attend_shape s = small();
    test_case_begin("attend absorb arguments", 0, "7 tokens of 16 heads");
    attend_make(&f, &s);
    attend_plan(&f, NULL);
    REFUSED(kv_b.columns = 36, "absorb.kv_b");
    REFUSED(kv_b.rows -= 1, "kv_b");
    REFUSED(kv_b.values = test_buffer_tiny(), "kv_b");
    REFUSED(kv_b.scales = (clmla_buffer){0}, "kv_b");
    REFUSED(kv_b.type = CLMLA_TYPE_I8, "kv_b");
    REFUSED(kv_b.bias = test_buffer_tiny(), "bias");
    REFUSED(nope_dim = 7, "kv_b");
    TEST_REFUSED(&f.run, clmla_attend_params, &f.params, f.params.query_head_stride = 11, "query"); // 6 + 6 values
    attend_finish(&f);
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_test(tcase, matches_the_reference);
    tcase_add_test(tcase, honours_events);
    tcase_add_test(tcase, refuses_wrong_arguments);
}

int main(void) {
    return test_main("check_attend_absorb", add);
}
