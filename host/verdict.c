// SPDX-License-Identifier: Apache-2.0
#include "host/verdict.h"
#include "host/error.h"
#include "host/memory.h"
#include "host/os.h"
#include "host/program.h"
#include "host/program_store.h"
#include <stdio.h>
#include <string.h>

#define ENTRY_MAX (HOST_VERDICT_REASON + 32)

// As an entry on disk begins; the reason follows.
static const char *const words[] = {
    [HOST_VERDICT_NONE] = "", [HOST_VERDICT_RIGHT] = "verdict 1: right: ", [HOST_VERDICT_WRONG] = "verdict 1: wrong: "};

typedef struct known {
    const host_source *source;
    char *text;
    host_verdict verdict; // NONE: the disk was asked, and knows nothing
    struct known *next;
} known;

struct host_verdicts {
    host_mutex lock; // guards what follows
    known *first;
};

clmla_status host_verdicts_create(host_verdicts **out, host_context *context) {
    host_verdicts *made = host_allocate(&context->allocator, 1, sizeof *made);
    if (!made) return host_fail(&context->log, CLMLA_E_MEMORY, 0, "verdicts: no memory for %zu bytes", sizeof *made);
    pthread_mutex_init(&made->lock, NULL);
    *out = made;
    return CLMLA_OK;
}

void host_verdicts_destroy(host_verdicts **verdicts, host_context *context) {
    if (!*verdicts) return;
    for (known *k = (*verdicts)->first, *next; k; k = next) {
        next = k->next;
        host_release(&context->allocator, k->text);
        host_release(&context->allocator, k);
    }
    pthread_mutex_destroy(&(*verdicts)->lock);
    host_release(&context->allocator, *verdicts);
    *verdicts = NULL;
}

static known *find(const host_verdicts *verdicts, const host_claim *claim) {
    for (known *k = verdicts->first; k; k = k->next)
        if (k->source == claim->sources[0] && strcmp(k->text, claim->text) == 0) return k;
    return NULL;
}

// Called with the lock held.
static void remember(host_context *context, const host_claim *claim, const host_verdict *verdict) {
    host_verdicts *verdicts = context->verdicts;
    known *k = find(verdicts, claim);
    if (!k) {
        k = host_allocate(&context->allocator, 1, sizeof *k);
        char *text = k ? host_copy_string(&context->allocator, claim->text) : NULL;
        if (!text) {
            host_release(&context->allocator, k);
            return;
        }
        *k = (known){.source = claim->sources[0], .text = text, .next = verdicts->first};
        verdicts->first = k;
    }
    k->verdict = *verdict;
    k->verdict.loaded = false;
}

static bool parse(host_verdict *out, const unsigned char *payload, size_t bytes) {
    for (int kind = HOST_VERDICT_RIGHT; kind <= HOST_VERDICT_WRONG; kind++) {
        size_t length = strlen(words[kind]);
        if (bytes < length || bytes - length >= sizeof out->reason || memcmp(payload, words[kind], length) != 0)
            continue;
        *out = (host_verdict){.kind = (host_verdict_kind)kind, .lasting = true, .loaded = true};
        memcpy(out->reason, payload + length, bytes - length);
        return true;
    }
    return false;
}

static host_verdict load(host_context *context, const host_claim *claim) {
    const host_store *store = host_programs_store(context);
    host_verdict verdict = {.kind = HOST_VERDICT_NONE};
    unsigned char *payload = NULL;
    size_t bytes = 0;
    if (!store->folder[0]) return verdict;
    host_program_key key = host_claim_key_make(claim->sources, HOST_CLAIM_SOURCES, claim->text, &context->facts);
    if (host_store_get(&payload, &bytes, store, &key) != HOST_STORE_FOUND) return verdict;
    if (!parse(&verdict, payload, bytes)) host_store_reject(store, &key, "it is no verdict");
    host_release(&context->allocator, payload);
    return verdict;
}

static void save(host_context *context, const host_claim *claim, const host_verdict *verdict) {
    const host_store *store = host_programs_store(context);
    char entry[ENTRY_MAX];
    if (!store->folder[0] || !verdict->lasting) return;
    host_program_key key = host_claim_key_make(claim->sources, HOST_CLAIM_SOURCES, claim->text, &context->facts);
    int length = snprintf(entry, sizeof entry, "%s%s", words[verdict->kind], verdict->reason);
    (void)host_store_put(store, &key, (const unsigned char *)entry, (size_t)length);
}

host_verdict host_verdict_find(host_context *context, const host_claim *claim) {
    host_verdicts *verdicts = context->verdicts;
    pthread_mutex_lock(&verdicts->lock);
    const known *k = find(verdicts, claim);
    host_verdict found = k ? k->verdict : load(context, claim);
    if (!k) remember(context, claim, &found);
    pthread_mutex_unlock(&verdicts->lock);
    return found;
}

void host_verdict_keep(host_context *context, const host_claim *claim, const host_verdict *verdict) {
    host_verdicts *verdicts = context->verdicts;
    pthread_mutex_lock(&verdicts->lock);
    remember(context, claim, verdict);
    save(context, claim, verdict);
    pthread_mutex_unlock(&verdicts->lock);
}
