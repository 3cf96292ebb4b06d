// SPDX-License-Identifier: Apache-2.0
#include "host/gemm.h"
#include "host/error.h"

#ifdef HOST_HAVE_CLBLAST
#include "host/os.h"
#include <clblast_c.h>

// CLBlast 1.5 fills its parameter tables and program cache on first use without a lock; one lock for the process is the
// only place where it can stand.
static host_mutex clblast_lock = PTHREAD_MUTEX_INITIALIZER;

bool host_gemm_available(void) {
    return true;
}

static clmla_status run(const host_gemm *p, cl_command_queue *queue, cl_event *event, const clmla_log *log) {
    pthread_mutex_lock(&clblast_lock);
    CLBlastStatusCode code = CLBlastSgemm(
        CLBlastLayoutRowMajor, CLBlastTransposeNo, CLBlastTransposeYes, p->rows, p->outputs, p->inputs, 1.0f,
        p->input.memory, (size_t)(p->input.offset / sizeof(float)), (size_t)p->input_stride, p->weights.memory,
        (size_t)(p->weights.offset / sizeof(float)), (size_t)p->weights_stride, 0.0f, p->output.memory,
        (size_t)(p->output.offset / sizeof(float)), (size_t)p->output_stride, queue, event);
    pthread_mutex_unlock(&clblast_lock);
    if (code == CLBlastSuccess) return CLMLA_OK;
    return host_fail(log, CLMLA_E_OPENCL, (cl_int)code, "CLBlastSgemm (%zu x %zu x %zu): status %d", p->rows,
                     p->outputs, p->inputs, (int)code);
}

clmla_status host_gemm_enqueue(const host_gemm *product, host_chain *chain) {
    cl_event done = NULL;
    // CLBlast takes no wait list: a barrier holds its kernels back, and its event joins the chain.
    STATUS_OR_RETURN(host_chain_barrier(chain));
    STATUS_OR_RETURN(run(product, &chain->queue, &done, &chain->context->log));
    host_chain_join(chain, done);
    return CLMLA_OK;
}
#else
bool host_gemm_available(void) {
    return false;
}

clmla_status host_gemm_enqueue(const host_gemm *product, host_chain *chain) {
    (void)product;
    return host_fail(&chain->context->log, CLMLA_E_UNSUPPORTED, 0,
                     "a product by CLBlast: this library was built without it");
}
#endif
