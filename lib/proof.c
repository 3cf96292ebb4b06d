// SPDX-License-Identifier: Apache-2.0
#include "lib/proof.h"
#include "host/error.h"
#include "host/event.h"
#include <stdio.h>
#include <string.h>

bool proof_is_covered(const clmla_device_facts *facts) {
    static const char *const platforms[] = {"Portable Computing Language", "Intel"};
    if (facts->is_interpreter) return true;
    if (!(facts->type & CL_DEVICE_TYPE_CPU)) return false;
    for (size_t i = 0; i < sizeof platforms / sizeof *platforms; i++)
        if (strstr(facts->platform_name, platforms[i])) return true;
    return false;
}

bool proof_is_wanted(const clmla_context *context) {
    if (context->proof != CLMLA_PROOF_AUTO) return context->proof == CLMLA_PROOF_ALWAYS;
    return !proof_is_covered(&context->host.facts);
}

// In short: a build's sentence has all options before what went wrong.
static void blame(host_verdict *out, clmla_status status) {
    cl_int code = clmla_last_cl_error();
    *out = (host_verdict){.kind = HOST_VERDICT_WRONG};
    if (status == CLMLA_E_BUILD && code != CL_SUCCESS)
        snprintf(out->reason, sizeof out->reason, "failed on this device: its program does not compile: %s (%d)",
                 host_cl_name(code), (int)code);
    else
        snprintf(out->reason, sizeof out->reason, "failed on this device: %s", clmla_last_error());
}

static clmla_status run_trial(proof_trial *trial, clmla_context *context, proof_run *run, const void *of,
                              const variant *candidate) {
    clmla_context quiet;
    context_quiet_begin(&quiet, context);
    trial->context = &quiet;
    clmla_status status = host_queue_create(&trial->queue, &quiet.host, "a proof of a variant");
    if (status == CLMLA_OK) status = run(trial, of, candidate);
    // A shortage says nothing about the variant: whoever asked is told, and may ask again.
    if (status != CLMLA_OK && trial->subject && !host_is_shortage(status)) {
        blame(&trial->verdict, status);
        host_log(&context->host.log, CLMLA_LOG_INFO, "a variant that is being proven: %s", clmla_last_error());
        status = CLMLA_OK;
    }
    host_queue_release(&context->host, &trial->queue);
    context_quiet_end(&quiet);
    return status;
}

// What is wrong once may be a device's single slip: it goes to disk if it is wrong twice. This context does without the
// variant either way.
static void confirm(proof_trial *trial, clmla_context *context, proof_run *run, const void *of,
                    const variant *candidate) {
    proof_trial again = {.verdict = {.kind = HOST_VERDICT_NONE}};
    if (trial->verdict.kind != HOST_VERDICT_WRONG || !trial->verdict.lasting) return;
    clmla_status status = run_trial(&again, context, run, of, candidate);
    trial->verdict.lasting = status == CLMLA_OK && again.verdict.kind == HOST_VERDICT_WRONG && again.verdict.lasting;
}

static void tell(const clmla_context *context, const char *what, const host_verdict *verdict) {
    bool right = verdict->kind == HOST_VERDICT_RIGHT;
    host_log(&context->host.log, right ? CLMLA_LOG_INFO : CLMLA_LOG_WARNING, "%s: %s %s: %s%s",
             context->host.facts.name, what, right ? "is proven" : "is not used", verdict->reason,
             verdict->loaded ? "; found earlier" : "");
}

// Called with the proof lock held.
static clmla_status prove(host_verdict *out, clmla_context *context, const host_claim *claim, const char *what,
                          proof_run *run, const void *of, const variant *candidate) {
    proof_trial trial = {.verdict = {.kind = HOST_VERDICT_NONE}};
    host_last_failure told; // a variant that fails is no failed call
    host_last_failure_keep(&told);
    clmla_status status = run_trial(&trial, context, run, of, candidate);
    if (status != CLMLA_OK) {
        char sentence[HOST_SENTENCE_MAX];
        snprintf(sentence, sizeof sentence, "%s", clmla_last_error());
        return host_fail(&context->host.log, status, clmla_last_cl_error(), "%s cannot be proven: %.900s", what,
                         sentence);
    }
    confirm(&trial, context, run, of, candidate);
    host_last_failure_restore(&told);
    *out = trial.verdict;
    host_verdict_keep(&context->host, claim, out);
    tell(context, what, out);
    return CLMLA_OK;
}

clmla_status proof_settle(variant_judge *base, char reason[VARIANT_REASON_MAX], clmla_context *context,
                          const host_claim *claim, const char *what, proof_run *run, const void *of,
                          const variant *candidate) {
    host_verdict verdict = host_verdict_find(&context->host, claim);
    clmla_status status = CLMLA_OK;
    if (verdict.kind == HOST_VERDICT_NONE && !base->look_up) {
        pthread_mutex_lock(&context->proof_lock);
        verdict = host_verdict_find(&context->host, claim); // another thread's, meanwhile
        if (verdict.kind == HOST_VERDICT_NONE) status = prove(&verdict, context, claim, what, run, of, candidate);
        pthread_mutex_unlock(&context->proof_lock);
    }
    if (verdict.loaded) tell(context, what, &verdict);
    base->proven = verdict.kind == HOST_VERDICT_RIGHT;
    snprintf(reason, VARIANT_REASON_MAX, "%s", verdict.kind == HOST_VERDICT_WRONG ? verdict.reason : "");
    return status;
}
