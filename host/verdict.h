// SPDX-License-Identifier: Apache-2.0
// What was found out about programs on a device once, and needs not be found out again: kept by the context, and on
// disk beside the binaries (program_store.h), under a key of everything that could make it another answer.
#ifndef HOST_VERDICT_H
#define HOST_VERDICT_H

#include "host/context.h"
#include "host/source.h"

#define HOST_CLAIM_SOURCES 6
#define HOST_CLAIM_TEXT 768
#define HOST_VERDICT_REASON 128

// What is claimed to be right. Equal texts of a first source are one claim.
typedef struct host_claim {
    const host_source *sources[HOST_CLAIM_SOURCES]; // all that took part; NULL behind the last
    char text[HOST_CLAIM_TEXT];                     // their options, and what they were tried with; one line
} host_claim;

typedef enum host_verdict_kind { HOST_VERDICT_NONE, HOST_VERDICT_RIGHT, HOST_VERDICT_WRONG } host_verdict_kind;

typedef struct host_verdict {
    host_verdict_kind kind;
    char reason[HOST_VERDICT_REASON]; // why it is wrong, or how right: one line
    bool lasting;                     // it goes to disk: another start would find the same
    bool loaded;                      // it comes from there: set the first time that it is found
} host_verdict;

typedef struct host_verdicts host_verdicts;
clmla_status host_verdicts_create(host_verdicts **out, host_context *context);
void host_verdicts_destroy(host_verdicts **verdicts, host_context *context);

// The context's, else the disk's; HOST_VERDICT_NONE when neither knows. An entry on disk that is off is removed.
// Threads: any.
host_verdict host_verdict_find(host_context *context, const host_claim *claim);
// Keeps one, for as long as the context lives; where there is no memory for that it is forgotten. Threads: any.
void host_verdict_keep(host_context *context, const host_claim *claim, const host_verdict *verdict);

#endif
