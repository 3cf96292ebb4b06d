// SPDX-License-Identifier: Apache-2.0
#include "lib/proof_scene.h"
#include "host/error.h"
#include "host/event.h"
#include "host/launch.h"
#include "host/memory.h"
#include <string.h>

clmla_status proof_scene_begin(proof_scene *scene, proof_trial *trial, const char *what, size_t floats) {
    *scene = (proof_scene){.trial = trial, .what = what, .floats = floats};
    scene->host = host_allocate(&trial->context->host.allocator, floats, sizeof *scene->host);
    if (!scene->host) return host_fail(NULL, CLMLA_E_MEMORY, 0, "%s: no memory for %zu floats", what, floats);
    return CLMLA_OK;
}

void proof_scene_end(proof_scene *scene) {
    host_context *host = &scene->trial->context->host;
    for (uint32_t i = 0; i < scene->buffer_count; i++) host_buffer_release(host, &scene->buffers[i]);
    host_release(&host->allocator, scene->host);
}

clmla_status proof_scene_buffer(cl_mem *out, proof_scene *scene, uint64_t bytes, const void *data) {
    *out = NULL;
    if (bytes == 0) return CLMLA_OK;
    if (scene->buffer_count == PROOF_BUFFERS)
        return host_fail(NULL, CLMLA_E_LIMIT, 0, "%s: more than %d buffers", scene->what, PROOF_BUFFERS);
    STATUS_OR_RETURN(host_buffer_create(out, &scene->trial->context->host, bytes, data, scene->what));
    scene->buffers[scene->buffer_count++] = *out;
    return CLMLA_OK;
}

clmla_status proof_scene_values(cl_mem *out, proof_scene *scene, size_t count, uint32_t seed) {
    if (seed && count > scene->floats)
        return host_fail(NULL, CLMLA_E_LIMIT, 0, "%s: %zu values where there is room for %zu", scene->what, count,
                         scene->floats);
    if (seed) proof_fill(scene->host, count, seed);
    return proof_scene_buffer(out, scene, count * sizeof(float), seed ? scene->host : NULL);
}

// `status`: of what was enqueued.
static clmla_status wait(host_chain *chain, clmla_status status) {
    clmla_status settled = host_chain_settle(chain);
    return host_chain_finish(chain, status == CLMLA_OK ? settled : status, NULL);
}

static clmla_status begin(host_chain *chain, const proof_scene *scene) {
    return host_chain_begin(chain, &scene->trial->context->host, scene->trial->queue, 0, NULL, true);
}

clmla_status proof_scene_spoil(const proof_scene *scene, cl_mem memory, uint64_t bytes) {
    const clmla_allocator *allocator = &scene->trial->context->host.allocator;
    host_chain chain;
    if (bytes == 0) return CLMLA_OK;
    unsigned char *ones = host_allocate(allocator, (size_t)bytes, 1);
    if (!ones)
        return host_fail(NULL, CLMLA_E_MEMORY, 0, "%s: no memory for %llu bytes", scene->what,
                         (unsigned long long)bytes);
    memset(ones, 0xff, (size_t)bytes);
    clmla_status status = begin(&chain, scene);
    if (status == CLMLA_OK) status = wait(&chain, host_chain_write(&chain, memory, 0, bytes, ones));
    host_release(allocator, ones);
    return status;
}

clmla_status proof_scene_read(const proof_scene *scene, cl_mem memory, uint64_t bytes, void *data) {
    host_chain chain;
    STATUS_OR_RETURN(begin(&chain, scene));
    return wait(&chain, host_chain_read(&chain, memory, 0, bytes, data));
}

clmla_status proof_scene_settle(const proof_scene *scene, clmla_status status) {
    host_last_failure told;
    if (status == CLMLA_OK) return status;
    host_last_failure_keep(&told);
    (void)host_queue_finish(&scene->trial->context->host, scene->trial->queue);
    host_last_failure_restore(&told);
    return status;
}

bool proof_ask(clmla_context *context, clmla_status (*ask)(clmla_context *quiet, void *of), void *of) {
    host_last_failure told;
    clmla_context quiet;
    host_last_failure_keep(&told);
    context_quiet_begin(&quiet, context);
    bool done = ask(&quiet, of) == CLMLA_OK;
    context_quiet_end(&quiet);
    host_last_failure_restore(&told);
    return done;
}
