// SPDX-License-Identifier: Apache-2.0
#include "host/gemm.h"
#include "host/context.h"
#include "host/error.h"
#include "host/event.h"
#include "host/memory.h"

#ifdef HOST_HAVE_CLBLAST
#include "host/os.h"
#include <clblast_c.h>

// CLBlast 1.5 fills its parameter tables and program cache on first use without a lock; one lock for the process is the
// only place where it can stand.
static host_mutex clblast_lock = PTHREAD_MUTEX_INITIALIZER;

bool host_gemm_available(void) {
    return true;
}

// What a product needs beside its matrices, kept from one to the next. Used and changed under the lock.
struct host_gemm_space {
    cl_mem memory;
    size_t bytes;
    cl_event used;          // by the newest product; NULL = by none
    cl_command_queue queue; // of that one; valid while it runs
};

clmla_status host_gemm_space_create(host_gemm_space **out, host_context *context) {
    *out = host_allocate(&context->allocator, 1, sizeof **out);
    return *out ? CLMLA_OK : host_fail(&context->log, CLMLA_E_MEMORY, 0, "context: no memory for products");
}

static void give_up(host_gemm_space *space, host_context *context) {
    host_event_release(context, &space->used);
    host_buffer_release(context, &space->memory);
    space->bytes = 0;
}

void host_gemm_space_destroy(host_gemm_space **space, host_context *context) {
    give_up(*space, context);
    host_release(&context->allocator, *space);
    *space = NULL;
}

// Whether the next command of the chain comes after the newest product. It never waits for it: that would tie a queue
// to another, of which the caller knows nothing.
static bool is_free(const host_gemm_space *space, const host_chain *chain) {
    cl_int state = CL_QUEUED;
    if (!space->used) return true;
    cl_int code =
        chain->context->calls->GetEventInfo(space->used, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof state, &state, NULL);
    if (code == CL_SUCCESS && state <= CL_COMPLETE) return true;
    return chain->in_order && space->queue == chain->queue;
}

static CLBlastStatusCode ask_bytes(size_t *bytes, const host_gemm *p, cl_command_queue *queue) {
    return CLBlastSGemmTempBufferSize(
        CLBlastLayoutRowMajor, CLBlastTransposeNo, CLBlastTransposeYes, p->rows, p->outputs, p->inputs,
        (size_t)(p->input.offset / sizeof(float)), (size_t)p->input_stride, (size_t)(p->weights.offset / sizeof(float)),
        (size_t)p->weights_stride, (size_t)(p->output.offset / sizeof(float)), (size_t)p->output_stride, queue, bytes);
}

// The kept memory, if the product needs any and may have it; NULL = CLBlast makes its own.
static cl_mem take_memory(host_gemm_space *space, const host_gemm *p, host_chain *chain) {
    size_t bytes = 0;
    if (ask_bytes(&bytes, p, &chain->queue) != CLBlastSuccess || bytes == 0 || !is_free(space, chain)) return NULL;
    if (bytes > space->bytes) {
        give_up(space, chain->context);
        if (host_buffer_create(&space->memory, chain->context, bytes, NULL, "a product") != CLMLA_OK) return NULL;
        space->bytes = bytes;
    }
    return space->memory;
}

// After a product that took it. What runs without an event to ask must not meet the next one's values.
static void note_use(host_gemm_space *space, const host_chain *chain, cl_event done) {
    if (!done || !host_event_retain(chain->context, done)) {
        give_up(space, chain->context);
        return;
    }
    host_event_release(chain->context, &space->used);
    space->used = done;
    space->queue = chain->queue;
}

static clmla_status run(const host_gemm *p, host_chain *chain, cl_event *event) {
    host_gemm_space *space = chain->context->gemm_space;
    pthread_mutex_lock(&clblast_lock);
    cl_mem memory = take_memory(space, p, chain);
    CLBlastStatusCode code = CLBlastSgemmWithTempBuffer(
        CLBlastLayoutRowMajor, CLBlastTransposeNo, CLBlastTransposeYes, p->rows, p->outputs, p->inputs, 1.0f,
        p->input.memory, (size_t)(p->input.offset / sizeof(float)), (size_t)p->input_stride, p->weights.memory,
        (size_t)(p->weights.offset / sizeof(float)), (size_t)p->weights_stride, 0.0f, p->output.memory,
        (size_t)(p->output.offset / sizeof(float)), (size_t)p->output_stride, &chain->queue, event, memory);
    if (memory) note_use(space, chain, code == CLBlastSuccess ? *event : NULL);
    pthread_mutex_unlock(&clblast_lock);
    if (code == CLBlastSuccess) return CLMLA_OK;
    return host_fail(&chain->context->log, CLMLA_E_OPENCL, (cl_int)code, "CLBlastSgemm (%zu x %zu x %zu): status %d",
                     p->rows, p->outputs, p->inputs, (int)code);
}

clmla_status host_gemm_enqueue(const host_gemm *product, host_chain *chain) {
    cl_event done = NULL;
    // CLBlast takes no wait list: a barrier holds its kernels back, and its event joins the chain.
    STATUS_OR_RETURN(host_chain_barrier(chain));
    STATUS_OR_RETURN(run(product, chain, &done));
    host_chain_join(chain, done);
    return CLMLA_OK;
}
#else
bool host_gemm_available(void) {
    return false;
}

clmla_status host_gemm_space_create(host_gemm_space **out, host_context *context) {
    (void)context;
    *out = NULL;
    return CLMLA_OK;
}

void host_gemm_space_destroy(host_gemm_space **space, host_context *context) {
    (void)space, (void)context;
}

clmla_status host_gemm_enqueue(const host_gemm *product, host_chain *chain) {
    (void)product;
    return host_fail(&chain->context->log, CLMLA_E_UNSUPPORTED, 0,
                     "a product by CLBlast: this library was built without it");
}
#endif
