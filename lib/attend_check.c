// SPDX-License-Identifier: Apache-2.0
#include "host/error.h"
#include "host/memory.h"
#include "lib/attend.h"
#include <math.h>

static clmla_status check_type(const clmla_log *log, clmla_type type, const char *name) {
    type = attend_type(type);
    if (type == CLMLA_TYPE_F32 || type == CLMLA_TYPE_F16 || type == CLMLA_TYPE_BF16) return CLMLA_OK;
    return host_fail(log, CLMLA_E_ARGUMENT, 0, "attend: %s must be f32, f16 or bf16, not %s", name,
                     clmla_type_name(type));
}

void attend_dense_strides(uint64_t *token_stride, uint64_t *head_stride, uint64_t heads, uint64_t width) {
    if (*token_stride || *head_stride) return;
    *head_stride = width;
    *token_stride = heads * width;
}

// Elements from the first piece to past the last of `count`, `stride` apart; false if it passes 64 bits.
static bool span(uint64_t *out, uint64_t count, uint64_t stride, uint64_t width) {
    uint64_t between;
    return host_multiply(&between, count - 1, stride) && host_add(out, between, width);
}

// Whether `inner` pieces of `width` lie clear of each other, and `outer` groups of them too.
static bool nested(uint64_t inner, uint64_t inner_stride, uint64_t outer, uint64_t outer_stride, uint64_t width) {
    uint64_t group;
    if (inner > 1 && inner_stride < width) return false;
    return span(&group, inner, inner_stride, width) && (outer == 1 || outer_stride >= group);
}

clmla_status attend_check_heads(const clmla_plan *plan, const attend_heads *of, const char *name) {
    host_context *host = &plan->context->host;
    uint64_t tokens = plan->extent.query_tokens, heads = plan->params.head_count, token = of->token_stride,
             head = of->head_stride, group, elements, bytes, size = clmla_type_bytes(of->type);
    if (tokens == 0 || of->width == 0) return CLMLA_OK;
    attend_dense_strides(&token, &head, heads, of->width);
    if (!nested(heads, head, tokens, token, of->width) && !nested(tokens, token, heads, head, of->width))
        return host_fail(&host->log, CLMLA_E_ARGUMENT, 0,
                         "attend: %s: strides of %llu a token and %llu a head put values on top of each other: %llu "
                         "tokens of %llu heads of %llu",
                         name, (unsigned long long)token, (unsigned long long)head, (unsigned long long)tokens,
                         (unsigned long long)heads, (unsigned long long)of->width);
    if (!span(&group, heads, head, of->width) || !span(&elements, tokens, token, group) ||
        !host_multiply(&bytes, elements, size) || bytes > INT64_MAX)
        return host_fail(&host->log, CLMLA_E_LIMIT, 0, "attend: %s: strides %llu and %llu pass 63 bits", name,
                         (unsigned long long)token, (unsigned long long)head);
    return host_buffer_check(host, of->memory, bytes, (uint32_t)size, "attend", name);
}

static clmla_status check_numbers(const clmla_log *log, const clmla_attend_params *params) {
    if (!(params->softmax_scale > 0.0f) || isinf(params->softmax_scale))
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "attend: softmax_scale must be above 0, not %g",
                         (double)params->softmax_scale);
    if (!(params->softcap >= 0.0f) || isinf(params->softcap))
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "attend: softcap must be above 0, or 0 for none, not %g",
                         (double)params->softcap);
    if (params->lse_base != CLMLA_LSE_NATURAL && params->lse_base != CLMLA_LSE_BASE2)
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "attend: lse_base %d is none of natural and base 2",
                         (int)params->lse_base);
    STATUS_OR_RETURN(check_type(log, params->query_type, "query_type"));
    return check_type(log, params->output_type, "output_type");
}

// Values a head takes from `query` before its rotated ones.
static uint64_t plain_width(const clmla_plan *plan, const clmla_attend_params *params) {
    return params->absorb ? params->absorb->nope_dim : plan->params.layout.latent_dim;
}

static clmla_status check_queries(const clmla_plan *plan, const clmla_attend_params *params) {
    uint64_t rope = plan->params.layout.rope_dim, plain = plain_width(plan, params);
    bool apart = params->query_rope.memory != NULL;
    attend_heads query = {params->query, attend_type(params->query_type), params->query_token_stride,
                          params->query_head_stride, apart ? plain : plain + rope};
    attend_heads query_rope = {params->query_rope, query.type, params->query_rope_token_stride,
                               params->query_rope_head_stride, rope};
    STATUS_OR_RETURN(attend_check_heads(plan, &query, "query"));
    return apart ? attend_check_heads(plan, &query_rope, "query_rope") : CLMLA_OK;
}

static clmla_status check_results(const clmla_plan *plan, const clmla_attend_params *params) {
    host_context *host = &plan->context->host;
    attend_heads output = {params->output, attend_type(params->output_type), params->output_token_stride,
                           params->output_head_stride, plan->value_dim};
    attend_heads lse = {params->lse, CLMLA_TYPE_F32, params->lse_token_stride, params->lse_head_stride, 1};
    if (!params->output.memory && !params->lse.memory && !params->max_logit.memory)
        return host_fail(&host->log, CLMLA_E_ARGUMENT, 0,
                         "attend: output, lse and max_logit are all missing: one of them is needed");
    if (params->output.memory) STATUS_OR_RETURN(attend_check_heads(plan, &output, "output"));
    if (params->lse.memory) STATUS_OR_RETURN(attend_check_heads(plan, &lse, "lse"));
    lse.memory = params->max_logit;
    if (params->max_logit.memory) STATUS_OR_RETURN(attend_check_heads(plan, &lse, "max_logit"));
    if (!params->sink.memory) return CLMLA_OK;
    return host_buffer_check(host, params->sink, plan->params.head_count * sizeof(float), sizeof(float), "attend",
                             "sink");
}

clmla_status attend_check(const clmla_plan *plan, const clmla_attend_params *params) {
    const clmla_log *log = &plan->context->host.log;
    if (!plan->ready) return host_fail(log, CLMLA_E_ARGUMENT, 0, "attend: the plan has no step: update it first");
    STATUS_OR_RETURN(check_numbers(log, params));
    STATUS_OR_RETURN(attend_keys_check(plan, params));
    if (params->absorb) STATUS_OR_RETURN(attend_absorb_check(plan, params));
    STATUS_OR_RETURN(check_queries(plan, params));
    return check_results(plan, params);
}
