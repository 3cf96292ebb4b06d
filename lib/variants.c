// SPDX-License-Identifier: Apache-2.0
#include "lib/variants.h"
#include "host/error.h"
#include "lib/proof.h"
#include "lib/variant_parts.h"
#include <stdio.h>
#include <string.h>

uint32_t variant_vector_width(const clmla_device_facts *facts) {
    if (facts->float_vector_width >= 16) return 16;
    return facts->float_vector_width == 4 ? 4 : 8;
}

const char *clmla_compute_name(clmla_compute compute) {
    return compute == CLMLA_COMPUTE_EXACT ? "exact" : compute == CLMLA_COMPUTE_FAST ? "fast" : "?";
}

clmla_status clmla_compute_parse(clmla_compute *out, const char *name) {
    if (!out || !name) return host_fail(NULL, CLMLA_E_ARGUMENT, 0, "compute: out or name is NULL");
    for (int c = CLMLA_COMPUTE_EXACT; c <= CLMLA_COMPUTE_FAST; c++)
        if (strcmp(name, clmla_compute_name((clmla_compute)c)) == 0) {
            *out = (clmla_compute)c;
            return CLMLA_OK;
        }
    return host_fail(NULL, CLMLA_E_ARGUMENT, 0, "compute: \"%s\" is none of exact, fast", name);
}

// Operations check what they are given before they choose; here a shape comes from the caller as it is.
static clmla_status check_shape(const clmla_shape *shape) {
    const struct {
        const char *name;
        uint32_t size, most;
    } sizes[] = {{"latent_dim", shape->latent_dim, CLMLA_MAX_DIM},
                 {"rope_dim", shape->rope_dim, CLMLA_MAX_DIM},
                 {"value_dim", shape->value_dim, CLMLA_MAX_DIM},
                 {"head_count", shape->head_count, CLMLA_MAX_HEADS}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (sizes[i].size > sizes[i].most)
            return host_fail(NULL, CLMLA_E_ARGUMENT, 0, "variant list: shape.%s is %u, the limit is %u", sizes[i].name,
                             sizes[i].size, sizes[i].most);
    return CLMLA_OK;
}

// The judge of a shape whose widths and heads are all told; NULL where none is asked.
typedef union shape_judge {
    variant_judge base;
    proof_attend attend;
    proof_heads heads;
} shape_judge;

static variant_judge *judge_of(shape_judge *out, clmla_plan_params *params, const clmla_context *context,
                               clmla_operation operation, const clmla_shape *shape) {
    if (!context || !proof_is_wanted(context) || shape->head_count == 0 || shape->latent_dim == 0) return NULL;
    *params = (clmla_plan_params){.head_count = shape->head_count,
                                  .value_dim = shape->value_dim,
                                  .query_tokens = shape->query_tokens,
                                  .compute = shape->compute};
    if (operation == CLMLA_OP_ATTEND) {
        if (clmla_row_layout_make(&params->layout, shape->format, CLMLA_ROPE_INTERLEAVED, shape->latent_dim,
                                  shape->rope_dim) != CLMLA_OK)
            return NULL;
        out->attend = proof_attend_of(params);
        return &out->base;
    }
    if (operation != CLMLA_OP_ATTEND_HEADS || shape->value_dim == 0) return NULL;
    params->layout.format = shape->format;
    clmla_config config = {
        .qk_nope_head_dim = shape->latent_dim, .qk_rope_head_dim = shape->rope_dim, .v_head_dim = shape->value_dim};
    out->heads = proof_heads_of(params, &config);
    return &out->base;
}

// Why one variant of a list is not to be chosen; NULL when it may be.
static clmla_status refuse_variant(const char **refusal, char reason[VARIANT_REASON_MAX], clmla_context *context,
                                   const variant *list, const variant *variant, const clmla_shape *shape, bool unasked,
                                   variant_judge *judge) {
    const clmla_device_facts *facts = &context->host.facts;
    *refusal = variant->refusal(facts, shape);
    if (*refusal && variant->explain) {
        variant->explain(reason, facts, shape);
        *refusal = reason;
    }
    if (!*refusal && unasked) *refusal = variant_refuse_portable(variant, facts);
    if (!*refusal) *refusal = variant_refuse_instruction(reason, context, list, variant, shape, unasked);
    if (judge) judge->proven = false;
    // There is nothing to compare the naive one with.
    if (*refusal || !judge || variant->method == VARIANT_NAIVE) return CLMLA_OK;
    STATUS_OR_RETURN(judge->judge(judge, reason, context, variant));
    if (reason[0]) *refusal = reason;
    return CLMLA_OK;
}

static clmla_status check_list(const clmla_variant *variants, size_t capacity, const size_t *count,
                               const clmla_device_facts *facts, clmla_operation operation, const clmla_shape *shape) {
    if (!count || !facts || !shape || (!variants && capacity > 0))
        return host_fail(NULL, CLMLA_E_ARGUMENT, 0, "variant list: count, facts, shape or the list is NULL");
    if ((unsigned)operation >= CLMLA_OPERATION_COUNT)
        return host_fail(NULL, CLMLA_E_ARGUMENT, 0, "variant list: %d is no operation", (int)operation);
    return check_shape(shape);
}

static void list_one(clmla_variant *out, const variant *variant, const char *refusal, bool chosen) {
    *out = (clmla_variant){.name = variant->name, .accepted = !refusal, .chosen = !refusal && !chosen};
    snprintf(out->reason, sizeof out->reason, "%s", refusal ? refusal : "");
}

clmla_status clmla_variant_list(clmla_variant *variants, size_t capacity, size_t *count,
                                const clmla_device_facts *facts, clmla_operation operation, const clmla_shape *shape) {
    bool chosen = false;
    STATUS_OR_RETURN(check_list(variants, capacity, count, facts, operation, shape));
    const variant *list = variant_list_of(operation);
    for (*count = 0; *count < VARIANTS_MAX && list[*count].name; (*count)++) {
        if (*count >= capacity) continue;
        clmla_variant *out = &variants[*count];
        const char *refusal = list[*count].refusal(facts, shape);
        if (!refusal) refusal = variant_refuse_portable(&list[*count], facts);
        list_one(out, &list[*count], refusal, chosen);
        if (refusal && list[*count].explain) list[*count].explain(out->reason, facts, shape);
        chosen |= !refusal;
    }
    return CLMLA_OK;
}

clmla_status clmla_variant_list_tried(clmla_variant *variants, size_t capacity, size_t *count, clmla_context *context,
                                      clmla_operation operation, const clmla_shape *shape) {
    bool chosen = false;
    char reason[VARIANT_REASON_MAX];
    const char *refusal;
    shape_judge of;
    clmla_plan_params params;
    if (!context) return host_fail(NULL, CLMLA_E_ARGUMENT, 0, "variant list: context is NULL");
    STATUS_OR_RETURN(check_list(variants, capacity, count, &context->host.facts, operation, shape));
    const variant *list = variant_list_of(operation);
    variant_judge *judge = judge_of(&of, &params, context, operation, shape);
    for (*count = 0; *count < VARIANTS_MAX && list[*count].name; (*count)++) {
        if (*count >= capacity) continue;
        if (judge) judge->look_up = chosen;
        STATUS_OR_RETURN(refuse_variant(&refusal, reason, context, list, &list[*count], shape, true, judge));
        list_one(&variants[*count], &list[*count], refusal, chosen);
        variants[*count].proven = judge && judge->proven;
        chosen |= !refusal;
    }
    return CLMLA_OK;
}

clmla_status variant_choose_judged(const variant **out, clmla_context *context, clmla_operation operation,
                                   const clmla_shape *shape, const char *name, variant_judge *judge) {
    const variant *list = variant_list_of(operation);
    char reason[VARIANT_REASON_MAX];
    const char *refusal;
    for (int i = 0; i < VARIANTS_MAX && list[i].name; i++) {
        if (name && strcmp(name, list[i].name) != 0) continue;
        STATUS_OR_RETURN(refuse_variant(&refusal, reason, context, list, &list[i], shape, name == NULL, judge));
        if (refusal && name)
            return host_fail(&context->host.log, CLMLA_E_ARGUMENT, 0, "%s: variant '%s' is refused: %s",
                             clmla_operation_name(operation), name, refusal);
        if (refusal) continue;
        *out = &list[i];
        return CLMLA_OK;
    }
    return host_fail(&context->host.log, CLMLA_E_ARGUMENT, 0, "%s: no variant is called '%s'",
                     clmla_operation_name(operation), name ? name : "");
}

clmla_status variant_choose(const variant **out, clmla_context *context, clmla_operation operation,
                            const clmla_shape *shape, const char *name) {
    return variant_choose_judged(out, context, operation, shape, name, NULL);
}

clmla_status variant_judge_all(clmla_context *context, clmla_operation operation, const clmla_shape *shape,
                               variant_judge *judge) {
    const variant *list = variant_list_of(operation);
    char reason[VARIANT_REASON_MAX];
    const char *refusal;
    for (int i = 0; i < VARIANTS_MAX && list[i].name; i++)
        STATUS_OR_RETURN(refuse_variant(&refusal, reason, context, list, &list[i], shape, true, judge));
    return CLMLA_OK;
}
