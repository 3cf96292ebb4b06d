// SPDX-License-Identifier: Apache-2.0
#include "host/error.h"
#include "host/memory.h"
#include "lib/attend.h"
#include "lib/tensor.h"
#include <math.h>

void attend_dense_strides(uint64_t *token_stride, uint64_t *head_stride, uint64_t heads, uint64_t width) {
    if (*token_stride || *head_stride) return;
    *head_stride = width;
    *token_stride = heads * width;
}

// Pieces of `width` values a token and head, token by token or head by head, none on top of another.
typedef struct attend_heads {
    clmla_buffer memory;
    clmla_type type;
    uint64_t token_stride, head_stride, width;
} attend_heads;

static clmla_status check_heads(const clmla_plan *plan, const attend_heads *of, const char *name) {
    uint64_t heads = plan->params.head_count;
    tensor_heads tensor = {of->memory, plan->extent.query_tokens, of->token_stride, heads, of->head_stride, of->width};
    attend_dense_strides(&tensor.token_stride, &tensor.head_stride, heads, of->width);
    return tensor_check_heads(plan->context, &tensor, (uint32_t)clmla_type_bytes(of->type), "attend", name);
}

static clmla_status check_numbers(clmla_context *context, const clmla_attend_params *params) {
    const clmla_log *log = &context->host.log;
    clmla_type type;
    if (!(params->softmax_scale > 0.0f) || isinf(params->softmax_scale))
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "attend: softmax_scale must be above 0, not %g",
                         (double)params->softmax_scale);
    if (!(params->softcap >= 0.0f) || isinf(params->softcap))
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "attend: softcap must be above 0, or 0 for none, not %g",
                         (double)params->softcap);
    if (params->lse_base != CLMLA_LSE_NATURAL && params->lse_base != CLMLA_LSE_BASE2)
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "attend: lse_base %d is none of natural and base 2",
                         (int)params->lse_base);
    STATUS_OR_RETURN(tensor_type(&type, context, params->query_type, "attend", "query_type"));
    return tensor_type(&type, context, params->output_type, "attend", "output_type");
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
    STATUS_OR_RETURN(check_heads(plan, &query, "query"));
    return apart ? check_heads(plan, &query_rope, "query_rope") : CLMLA_OK;
}

static clmla_status check_results(const clmla_plan *plan, const clmla_attend_params *params) {
    host_context *host = &plan->context->host;
    attend_heads output = {params->output, attend_type(params->output_type), params->output_token_stride,
                           params->output_head_stride, plan->value_dim};
    attend_heads lse = {params->lse, CLMLA_TYPE_F32, params->lse_token_stride, params->lse_head_stride, 1};
    if (!params->output.memory && !params->lse.memory && !params->max_logit.memory)
        return host_fail(&host->log, CLMLA_E_ARGUMENT, 0,
                         "attend: output, lse and max_logit are all missing: one of them is needed");
    if (params->output.memory) STATUS_OR_RETURN(check_heads(plan, &output, "output"));
    if (params->lse.memory) STATUS_OR_RETURN(check_heads(plan, &lse, "lse"));
    lse.memory = params->max_logit;
    if (params->max_logit.memory) STATUS_OR_RETURN(check_heads(plan, &lse, "max_logit"));
    if (!params->sink.memory) return CLMLA_OK;
    return host_buffer_check(host, params->sink, plan->params.head_count * sizeof(float), sizeof(float), "attend",
                             "sink");
}

static clmla_status check_ready(const clmla_plan *plan, bool recorded) {
    const clmla_log *log = &plan->context->host.log;
    if (plan->ready || (recorded && plan->ready_recorded)) return CLMLA_OK;
    if (!plan->ready_recorded)
        return host_fail(log, CLMLA_E_ARGUMENT, 0, "attend: the plan has no step: update it first");
    return host_fail(log, CLMLA_E_ARGUMENT, 0,
                     "attend: the plan's step is one of a recording that was not replayed since: replay it first");
}

clmla_status attend_check(const clmla_plan *plan, const clmla_attend_params *params, bool recorded) {
    STATUS_OR_RETURN(check_ready(plan, recorded));
    STATUS_OR_RETURN(check_numbers(plan->context, params));
    STATUS_OR_RETURN(attend_keys_check(plan, params));
    if (params->absorb) STATUS_OR_RETURN(attend_absorb_check(plan, params));
    STATUS_OR_RETURN(check_queries(plan, params));
    return check_results(plan, params);
}
