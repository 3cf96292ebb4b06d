// SPDX-License-Identifier: Apache-2.0
// What trials have in common: buffers and values that go with them, and questions of which nobody is told.
#ifndef LIB_PROOF_SCENE_H
#define LIB_PROOF_SCENE_H

#include "lib/proof.h"

#define PROOF_BUFFERS 16

typedef struct proof_scene {
    proof_trial *trial;
    const char *what; // "a proof of attend": in the sentences of failures
    float *host;      // what is uploaded; then results
    size_t floats;
    cl_mem buffers[PROOF_BUFFERS];
    uint32_t buffer_count;
} proof_scene;

// With room for so many floats. proof_scene_end goes with it, also after a failure. Errors: CLMLA_E_MEMORY.
clmla_status proof_scene_begin(proof_scene *scene, proof_trial *trial, const char *what, size_t floats);
void proof_scene_end(proof_scene *scene);

// Buffers that last as long as the scene; of 0 bytes, or values, there is none. data NULL: it is not filled. seed 0:
// neither. Errors: CLMLA_E_MEMORY, CLMLA_E_OPENCL; CLMLA_E_LIMIT: more than a scene holds.
clmla_status proof_scene_buffer(cl_mem *out, proof_scene *scene, uint64_t bytes, const void *data);
clmla_status proof_scene_values(cl_mem *out, proof_scene *scene, size_t count, uint32_t seed);

// Writes NaN all over a buffer, in whatever format it is read, so that what is not written later shows; reads what is
// in one. Both wait for it. Errors: CLMLA_E_MEMORY, CLMLA_E_OPENCL.
clmla_status proof_scene_spoil(const proof_scene *scene, cl_mem memory, uint64_t bytes);
clmla_status proof_scene_read(const proof_scene *scene, cl_mem memory, uint64_t bytes, void *data);

// Answers `status`; after a failure waits for what is enqueued, of which the thread's last sentence does not hear.
clmla_status proof_scene_settle(const proof_scene *scene, clmla_status status);

// Whether `ask` succeeds; of a failure neither the log nor the thread's last sentence hears.
bool proof_ask(clmla_context *context, clmla_status (*ask)(clmla_context *quiet, void *of), void *of);

#endif
