// SPDX-License-Identifier: Apache-2.0
// Contexts on which variants are proven, and programs that are spoilt on the way to the driver.
#ifndef TEST_PROOF_SPOILT_H
#define TEST_PROOF_SPOILT_H

#include "tests/support/device.h"
#include <pthread.h>

// Put before a program's text.
#define PROOF_WRONG "#define fma(a, b, c) ((a) * (b) * 0.99f + (c))\n"
#define PROOF_NO_NUMBERS "#define fma(a, b, c) ((a) * (b) * NAN + (c))\n"
#define PROOF_NO_PROGRAM "#error a spoilt program\n"

// Programs with a word in their text become wrong ones: `before` is put before it, and `from` becomes `to`, which is as
// long. Of two with texts to put before, the first counts.
typedef struct proof_spoilt {
    const char *word, *before, *from, *to;
} proof_spoilt;
#define PROOF_SPOILT 3
extern proof_spoilt proof_spoils[PROOF_SPOILT];
// The kernel that is never launched, though the driver says so; NULL: none. proof_drops: the launches that are left
// out, if not all.
extern const char *proof_dropped;
extern int proof_drops;
#define PROOF_DROPS_ALL (-1)

void proof_spoil_nothing(void);
void proof_spoil(const char *word, const char *before);
// The first variant of attend, and what could be taken in its place, which does not even compile.
void proof_spoil_all(const char *before);

// What a context logged of proofs.
typedef struct proof_told {
    pthread_mutex_t lock;
    int proven, refused, earlier; // earlier: from disk
    char last[512];               // of refusals
} proof_told;
proof_told proof_told_nothing(void);

// A context whose programs are spoilt; folder "": nothing goes to disk.
clmla_context *proof_context(proof_told *told, clmla_proof proof, const char *folder);
// Of rows of 32 + 8 f16 values.
clmla_plan_params proof_small_params(uint32_t heads);
// The variant of attend that a plan chooses.
const char *proof_chosen(clmla_context *context, const clmla_plan_params *params);
// What is chosen for those on the test's device, and a word of its program.
const char *proof_first_variant(void);
const char *proof_first_word(void);

#endif
