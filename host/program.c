// SPDX-License-Identifier: Apache-2.0
#include "host/program.h"
#include "host/error.h"
#include "host/memory.h"
#include "host/os.h"
#include "host/program_store.h"
#include "host/ptx.h"
#include "host/vendors.h"
#include <string.h>

typedef enum program_state { PROGRAM_BUILDING, PROGRAM_READY } program_state;

struct host_kernel {
    cl_kernel cl;
    char *name;
    struct program *program;
    host_kernel *next; // in its program's pool, while nobody has it
};

typedef struct program {
    const host_source *source;
    char *options;
    program_state state;
    cl_program cl;
    host_kernel *pool;
    struct program *next;
} program;

struct host_programs {
    host_mutex lock; // guards everything below
    host_condition changed;
    program *first;
    host_store store;
    clmla_program_counts counts;
};

clmla_status host_programs_create(host_programs **out, host_context *context, const char *folder,
                                  uint64_t folder_bytes) {
    host_programs *programs = host_allocate(&context->allocator, 1, sizeof *programs);
    if (!programs)
        return host_fail(&context->log, CLMLA_E_MEMORY, 0, "programs: no memory for %zu bytes", sizeof *programs);
    pthread_mutex_init(&programs->lock, NULL);
    pthread_cond_init(&programs->changed, NULL);
    host_store_open(&programs->store, folder, folder_bytes, &context->allocator, &context->log);
    *out = programs;
    return CLMLA_OK;
}

static void free_kernel(host_context *context, host_kernel *kernel) {
    if (kernel->cl) context->calls->ReleaseKernel(kernel->cl);
    host_release(&context->allocator, kernel->name);
    host_release(&context->allocator, kernel);
}

static void free_program(host_context *context, program *gone) {
    while (gone->pool) {
        host_kernel *kernel = gone->pool;
        gone->pool = kernel->next;
        free_kernel(context, kernel);
    }
    if (gone->cl) context->calls->ReleaseProgram(gone->cl);
    host_release(&context->allocator, gone->options);
    host_release(&context->allocator, gone);
}

void host_programs_destroy(host_programs **programs, host_context *context) {
    if (!*programs) return;
    while ((*programs)->first) {
        program *gone = (*programs)->first;
        (*programs)->first = gone->next;
        free_program(context, gone);
    }
    pthread_cond_destroy(&(*programs)->changed);
    pthread_mutex_destroy(&(*programs)->lock);
    host_release(&context->allocator, *programs);
    *programs = NULL;
}

static void log_build(host_context *context, cl_program cl, const char *name) {
    size_t bytes = 0;
    const host_calls *calls = context->calls;
    if (!context->log.callback) return;
    if (calls->GetProgramBuildInfo(cl, context->device, CL_PROGRAM_BUILD_LOG, 0, NULL, &bytes) != CL_SUCCESS ||
        bytes < 2)
        return;
    char *text = host_allocate(&context->allocator, bytes + 1, 1);
    if (text &&
        calls->GetProgramBuildInfo(cl, context->device, CL_PROGRAM_BUILD_LOG, bytes, text, NULL) == CL_SUCCESS) {
        host_log(&context->log, CLMLA_LOG_ERROR, "build log of program %s:", name);
        context->log.callback(context->log.payload, CLMLA_LOG_ERROR, text);
    }
    host_release(&context->allocator, text);
}

// Compilers that find something to warn of write to the process's stderr (PoCL does), which is the application's.
#define QUIET "-w "

static cl_int build(host_context *context, cl_program cl, const char *options) {
    size_t bytes = strlen(options) + 1;
    char *quiet = host_allocate(&context->allocator, sizeof QUIET - 1 + bytes, 1);
    if (!quiet) return CL_OUT_OF_HOST_MEMORY;
    memcpy(quiet, QUIET, sizeof QUIET - 1);
    memcpy(quiet + sizeof QUIET - 1, options, bytes);
    cl_int code = context->calls->BuildProgram(cl, 1, &context->device, quiet, NULL, NULL);
    host_release(&context->allocator, quiet);
    return code;
}

static clmla_status build_text(cl_program *out, host_context *context, const host_source *source, const char *options) {
    cl_int code = CL_SUCCESS;
    const host_calls *calls = context->calls;
    cl_program cl =
        calls->CreateProgramWithSource(context->cl, 1, (const char *[]){source->text}, &source->length, &code);
    if (code != CL_SUCCESS)
        return host_fail_cl(&context->log, "clCreateProgramWithSource", code, "program %s", source->name);
    code = build(context, cl, options);
    if (code == CL_OUT_OF_HOST_MEMORY) {
        calls->ReleaseProgram(cl);
        return host_fail(&context->log, CLMLA_E_MEMORY, code, "program %s: no memory to build it", source->name);
    }
    if (code != CL_SUCCESS) {
        log_build(context, cl, source->name);
        calls->ReleaseProgram(cl);
        return host_fail(&context->log, CLMLA_E_BUILD, code, "program %s [%s] does not compile on %s: %s (%d)",
                         source->name, options, context->facts.name, host_cl_name(code), (int)code);
    }
    *out = cl;
    return CLMLA_OK;
}

// NULL if the driver takes the binary, else what it said.
static const char *build_binary(cl_program *out, host_context *context, const unsigned char *binary, size_t bytes,
                                const char *options) {
    cl_int code = CL_SUCCESS, of_binary = CL_SUCCESS;
    const host_calls *calls = context->calls;
    cl_program cl =
        calls->CreateProgramWithBinary(context->cl, 1, &context->device, &bytes, &binary, &of_binary, &code);
    if (code != CL_SUCCESS) return host_cl_name(code);
    if (of_binary == CL_SUCCESS) code = calls->BuildProgram(cl, 1, &context->device, options, NULL, NULL);
    if (of_binary == CL_SUCCESS && code == CL_SUCCESS) {
        *out = cl;
        return NULL;
    }
    calls->ReleaseProgram(cl);
    return host_cl_name(of_binary != CL_SUCCESS ? of_binary : code);
}

// The program's binary, with `more` bytes behind; NULL: there is none, or no memory.
static unsigned char *get_binary(size_t *bytes, host_context *context, cl_program cl, size_t more) {
    const host_calls *calls = context->calls;
    if (calls->GetProgramInfo(cl, CL_PROGRAM_BINARY_SIZES, sizeof *bytes, bytes, NULL) != CL_SUCCESS || *bytes == 0)
        return NULL;
    unsigned char *binary = host_allocate(&context->allocator, *bytes + more, 1);
    if (!binary || calls->GetProgramInfo(cl, CL_PROGRAM_BINARIES, sizeof binary, &binary, NULL) == CL_SUCCESS)
        return binary;
    host_release(&context->allocator, binary);
    return NULL;
}

static bool store_binary(host_context *context, cl_program cl, const host_program_key *key) {
    size_t bytes = 0;
    const host_store *store = &context->programs->store;
    if (!store->folder[0]) return false;
    unsigned char *binary = get_binary(&bytes, context, cl, 0);
    bool stored = binary && host_store_put(store, key, binary, bytes);
    host_release(&context->allocator, binary);
    return stored;
}

// Builds it again with what its text has for a newer architecture (host/ptx.h).
static clmla_status raise_program(cl_program *cl, host_context *context, const host_source *source,
                                  const char *options) {
    size_t bytes = 0;
    cl_program raised = NULL;
    char *ptx = (char *)get_binary(&bytes, context, *cl, HOST_PTX_MORE);
    size_t length = ptx ? host_ptx_raise(ptx, bytes) : 0;
    const char *fault = length ? build_binary(&raised, context, (const unsigned char *)ptx, length, options)
                               : "its binary is no PTX for sm_90";
    host_release(&context->allocator, ptx);
    context->calls->ReleaseProgram(*cl);
    *cl = raised;
    if (!fault) return CLMLA_OK;
    return host_fail(&context->log, CLMLA_E_BUILD, 0, "program %s [%s]: its PTX cannot be raised to sm_90a on %s: %s",
                     source->name, options, context->facts.name, fault);
}

// What one build did, to be added to the counts under the lock.
static clmla_status load(cl_program *out, clmla_program_counts *did, host_context *context, const host_source *source,
                         const char *options, const host_program_key *key) {
    unsigned char *binary = NULL;
    size_t bytes = 0;
    const host_store *store = &context->programs->store;
    double start = host_seconds();
    host_store_find found = host_store_get(&binary, &bytes, store, key);
    if (found == HOST_STORE_REJECTED) did->rejected++;
    if (found != HOST_STORE_FOUND) return CLMLA_OK;
    const char *fault = build_binary(out, context, binary, bytes, options);
    host_release(&context->allocator, binary);
    if (fault) {
        host_store_reject(store, key, fault);
        did->rejected++;
        return CLMLA_OK;
    }
    did->loaded++;
    did->load_seconds = host_seconds() - start;
    host_log(&context->log, CLMLA_LOG_INFO, "program %s [%s]: loaded in %.1f ms", source->name, options,
             1e3 * did->load_seconds);
    return CLMLA_OK;
}

static clmla_status make(cl_program *out, clmla_program_counts *did, host_context *context, const host_source *source,
                         const char *options) {
    host_program_key key = host_program_key_make(source, options, &context->facts);
    STATUS_OR_RETURN(load(out, did, context, source, options, &key));
    if (*out) return CLMLA_OK;
    double start = host_seconds();
    STATUS_OR_RETURN(build_text(out, context, source, options));
    if (context->facts.vendor_id == VENDOR_NVIDIA && host_ptx_is_wanted(source->text))
        STATUS_OR_RETURN(raise_program(out, context, source, options));
    did->built++;
    did->build_seconds = host_seconds() - start;
    did->stored += store_binary(context, *out, &key);
    host_log(&context->log, CLMLA_LOG_INFO, "program %s [%s]: built in %.2f s%s", source->name, options,
             did->build_seconds, did->stored ? ", stored" : "");
    return CLMLA_OK;
}

static program *find(host_programs *programs, const host_source *source, const char *options) {
    for (program *p = programs->first; p; p = p->next)
        if (p->source == source && strcmp(p->options, options) == 0) return p;
    return NULL;
}

static void add_counts(clmla_program_counts *total, const clmla_program_counts *did) {
    total->built += did->built;
    total->loaded += did->loaded;
    total->stored += did->stored;
    total->rejected += did->rejected;
    total->build_seconds += did->build_seconds;
    total->load_seconds += did->load_seconds;
}

static void unlink_program(host_programs *programs, program *gone) {
    program **at = &programs->first;
    while (*at != gone) at = &(*at)->next;
    *at = gone->next;
}

// Called with the lock held, which is let go while the program is built: others wait for `changed`.
static clmla_status add_program(program **out, host_context *context, const host_source *source, const char *options) {
    host_programs *programs = context->programs;
    clmla_program_counts did = {0};
    program *made = host_allocate(&context->allocator, 1, sizeof *made);
    if (made) made->options = host_copy_string(&context->allocator, options);
    if (!made || !made->options) {
        host_release(&context->allocator, made);
        return host_fail(&context->log, CLMLA_E_MEMORY, 0, "program %s: no memory", source->name);
    }
    made->source = source;
    made->next = programs->first;
    programs->first = made;
    pthread_mutex_unlock(&programs->lock);
    clmla_status status = make(&made->cl, &did, context, source, options);
    pthread_mutex_lock(&programs->lock);
    add_counts(&programs->counts, &did);
    if (status == CLMLA_OK) {
        made->state = PROGRAM_READY;
        *out = made;
    } else {
        unlink_program(programs, made);
        free_program(context, made);
    }
    pthread_cond_broadcast(&programs->changed);
    return status;
}

// Called with the lock held. A failed build leaves nothing behind, so the next caller tries again.
static clmla_status get_program(program **out, host_context *context, const host_source *source, const char *options) {
    host_programs *programs = context->programs;
    program *found;
    while ((found = find(programs, source, options)) && found->state == PROGRAM_BUILDING)
        pthread_cond_wait(&programs->changed, &programs->lock);
    if (!found) return add_program(out, context, source, options);
    *out = found;
    return CLMLA_OK;
}

static host_kernel *take(program *from, const char *name) {
    for (host_kernel **at = &from->pool; *at; at = &(*at)->next) {
        host_kernel *kernel = *at;
        if (strcmp(kernel->name, name) != 0) continue;
        *at = kernel->next;
        kernel->next = NULL;
        return kernel;
    }
    return NULL;
}

static clmla_status make_kernel(host_kernel **out, host_context *context, program *from, const char *name) {
    cl_int code = CL_SUCCESS;
    host_kernel *kernel = host_allocate(&context->allocator, 1, sizeof *kernel);
    if (kernel) kernel->name = host_copy_string(&context->allocator, name);
    if (!kernel || !kernel->name) {
        host_release(&context->allocator, kernel);
        return host_fail(&context->log, CLMLA_E_MEMORY, 0, "kernel %s: no memory", name);
    }
    kernel->program = from;
    kernel->cl = context->calls->CreateKernel(from->cl, name, &code);
    if (code != CL_SUCCESS) {
        kernel->cl = NULL;
        free_kernel(context, kernel);
        return host_fail_cl(&context->log, "clCreateKernel", code, "%s", name);
    }
    *out = kernel;
    return CLMLA_OK;
}

clmla_status host_kernel_acquire(host_kernel **out, host_context *context, const host_source *source,
                                 const char *options, const char *kernel) {
    program *from = NULL;
    pthread_mutex_lock(&context->programs->lock);
    clmla_status status = get_program(&from, context, source, options);
    *out = status == CLMLA_OK ? take(from, kernel) : NULL;
    pthread_mutex_unlock(&context->programs->lock);
    if (status != CLMLA_OK || *out) return status;
    return make_kernel(out, context, from, kernel);
}

cl_kernel host_kernel_cl(const host_kernel *kernel) {
    return kernel->cl;
}

const char *host_kernel_name(const host_kernel *kernel) {
    return kernel->name;
}

void host_kernel_release(host_context *context, host_kernel *kernel) {
    if (!kernel) return;
    pthread_mutex_lock(&context->programs->lock);
    kernel->next = kernel->program->pool;
    kernel->program->pool = kernel;
    pthread_mutex_unlock(&context->programs->lock);
}

const host_store *host_programs_store(const host_context *context) {
    return &context->programs->store;
}

clmla_program_counts host_programs_counts(const host_context *context) {
    pthread_mutex_lock(&context->programs->lock);
    clmla_program_counts counts = context->programs->counts;
    pthread_mutex_unlock(&context->programs->lock);
    return counts;
}
