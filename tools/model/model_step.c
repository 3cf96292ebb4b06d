// SPDX-License-Identifier: Apache-2.0
// One step of the model on one in-order queue: the library's layers and products and the program's own kernels.
#include "model.h"
#include "model_text.h"

static bool build(model *model, failure *failure) {
    cl_int code;
    cl_context context = clmla_context_opencl(model->session->context);
    cl_device_id device = clmla_context_device(model->session->context);
    model->program =
        clCreateProgramWithSource(context, MODEL_TEXT_LINES, (const char **)(uintptr_t)model_text, NULL, &code);
    if (code != CL_SUCCESS) return failure_opencl(failure, "clCreateProgramWithSource", code);
    code = clBuildProgram(model->program, 1, &device, "-w -cl-std=CL1.2", NULL, NULL);
    if (code != CL_SUCCESS) return failure_opencl(failure, "clBuildProgram of model.cl", code);
    const struct {
        cl_kernel *kernel;
        const char *name;
    } kernels[] = {{&model->embed, "embed"}, {&model->add, "add"}, {&model->swiglu, "swiglu"}};
    for (size_t i = 0; i < sizeof kernels / sizeof kernels[0]; i++) {
        *kernels[i].kernel = clCreateKernel(model->program, kernels[i].name, &code);
        if (code != CL_SUCCESS) return failure_opencl(failure, "clCreateKernel", code);
    }
    return true;
}

static bool make_buffers(model *model, failure *failure) {
    uint64_t step = MODEL_STEP_TOKENS * sizeof(float);
    const struct {
        cl_mem *memory;
        uint64_t width;
    } buffers[] = {{&model->tokens, 1},
                   {&model->x, model->config.hidden_size},
                   {&model->normed, model->config.hidden_size},
                   {&model->branch, model->config.hidden_size},
                   {&model->gate, model->intermediate_size},
                   {&model->up, model->intermediate_size},
                   {&model->logits, model->vocab_size}};
    for (size_t i = 0; i < sizeof buffers / sizeof buffers[0]; i++)
        if (!session_buffer(buffers[i].memory, model->session, buffers[i].width * step, NULL, failure)) return false;
    return true;
}

// Arguments are the same in every step; only the grid changes.
static bool set_arguments(model *model, failure *failure) {
    cl_int width = (cl_int)model->config.hidden_size;
    const struct {
        cl_kernel kernel;
        cl_uint index;
        size_t bytes;
        const void *value;
    } arguments[] = {
        {model->embed, 0, sizeof(cl_mem), &model->embedding}, {model->embed, 1, sizeof(cl_mem), &model->tokens},
        {model->embed, 2, sizeof(cl_mem), &model->x},         {model->embed, 3, sizeof width, &width},
        {model->add, 0, sizeof(cl_mem), &model->x},           {model->add, 1, sizeof(cl_mem), &model->branch},
        {model->swiglu, 0, sizeof(cl_mem), &model->gate},     {model->swiglu, 1, sizeof(cl_mem), &model->up}};
    for (size_t i = 0; i < sizeof arguments / sizeof arguments[0]; i++) {
        cl_int code = clSetKernelArg(arguments[i].kernel, arguments[i].index, arguments[i].bytes, arguments[i].value);
        if (code != CL_SUCCESS) return failure_opencl(failure, "clSetKernelArg", code);
    }
    return true;
}

bool model_open_kernels(model *model, failure *failure) {
    return build(model, failure) && make_buffers(model, failure) && set_arguments(model, failure);
}

void model_close_kernels(model *model) {
    cl_kernel kernels[] = {model->embed, model->add, model->swiglu};
    cl_mem buffers[] = {model->tokens, model->x, model->normed, model->branch, model->gate, model->up, model->logits};
    for (size_t i = 0; i < sizeof kernels / sizeof kernels[0]; i++)
        if (kernels[i]) clReleaseKernel(kernels[i]);
    for (size_t i = 0; i < sizeof buffers / sizeof buffers[0]; i++)
        if (buffers[i]) clReleaseMemObject(buffers[i]);
    if (model->program) clReleaseProgram(model->program);
}

static bool launch(const model *model, cl_kernel kernel, size_t width, size_t rows, failure *failure) {
    size_t global[2] = {width, rows};
    cl_int code = clEnqueueNDRangeKernel(model->session->queue, kernel, 2, NULL, global, NULL, 0, NULL, NULL);
    return code == CL_SUCCESS || failure_opencl(failure, "clEnqueueNDRangeKernel", code);
}

// normed = norm(x[first .. first+rows])
static bool norm(const model *model, cl_mem weight, uint32_t first, uint32_t rows, failure *failure) {
    uint32_t width = model->config.hidden_size;
    clmla_rms_norm_params params = {.row_count = rows,
                                    .width = width,
                                    .input = {model->x, (uint64_t)first * width * sizeof(float)},
                                    .input_stride = width,
                                    .weight = {weight, 0},
                                    .epsilon = model->config.rms_norm_eps,
                                    .output = {model->normed, 0},
                                    .output_stride = width};
    return clmla_rms_norm(model->session->context, &params, model->session->queue, 0, NULL, NULL) == CLMLA_OK ||
           failure_library(failure);
}

static bool product(const model *model, const clmla_matrix *matrix, cl_mem input, cl_mem output, uint32_t rows,
                    failure *failure) {
    clmla_project_params params = {.matrix = *matrix,
                                   .row_count = rows,
                                   .input = {input, 0},
                                   .input_stride = matrix->columns,
                                   .output = {output, 0},
                                   .output_stride = matrix->rows};
    return clmla_project(model->session->context, &params, model->session->queue, 0, NULL, NULL) == CLMLA_OK ||
           failure_library(failure);
}

// branch = the layer's attention over normed
static bool attention(model *model, const model_layer *layer, uint32_t count, failure *failure) {
    if (model->heads.head_count)
        return heads_layer_enqueue(&model->heads_attention, &layer->heads, model->normed, model->branch, count,
                                   failure);
    return clmla_layer_enqueue(layer->attention, model->plan, model->cache, (clmla_buffer){model->normed, 0},
                               (clmla_buffer){model->branch, 0}, model->session->queue, 0, NULL, NULL) == CLMLA_OK ||
           failure_library(failure);
}

static bool layer_step(model *model, const model_layer *layer, uint32_t count, failure *failure) {
    uint32_t hidden = model->config.hidden_size;
    return norm(model, layer->input_norm, 0, count, failure) && attention(model, layer, count, failure) &&
           launch(model, model->add, (size_t)count * hidden, 1, failure) &&
           norm(model, layer->post_norm, 0, count, failure) &&
           product(model, &layer->gate, model->normed, model->gate, count, failure) &&
           product(model, &layer->up, model->normed, model->up, count, failure) &&
           launch(model, model->swiglu, (size_t)count * model->intermediate_size, 1, failure) &&
           product(model, &layer->down, model->gate, model->branch, count, failure) &&
           launch(model, model->add, (size_t)count * hidden, 1, failure);
}

// Room for the new tokens, and MLA's schedule of the step.
static bool reserve(model *model, clmla_sequence sequence, uint32_t count, failure *failure) {
    if (model->heads.head_count) return heads_reserve(&model->heads_attention, count, failure);
    clmla_batch batch = {.sequence_count = 1, .sequences = &sequence, .query_tokens = &count};
    return (clmla_cache_reserve(model->cache, &batch) == CLMLA_OK &&
            clmla_plan_update(model->plan, model->cache, &batch, model->session->queue, 0, NULL, NULL) == CLMLA_OK) ||
           failure_library(failure);
}

static bool begin(model *model, clmla_sequence sequence, const uint8_t *tokens, uint32_t count, failure *failure) {
    cl_command_queue queue = model->session->queue;
    cl_int ids[MODEL_STEP_TOKENS];
    for (uint32_t i = 0; i < count; i++) ids[i] = tokens[i];
    if (!reserve(model, sequence, count, failure)) return false;
    cl_int code = clEnqueueWriteBuffer(queue, model->tokens, CL_TRUE, 0, count * sizeof *ids, ids, 0, NULL, NULL);
    if (code != CL_SUCCESS) return failure_opencl(failure, "clEnqueueWriteBuffer", code);
    return launch(model, model->embed, model->config.hidden_size, count, failure);
}

bool model_step(float *logits, model *model, clmla_sequence sequence, const uint8_t *tokens, uint32_t count,
                uint32_t logit_rows, failure *failure) {
    if (!begin(model, sequence, tokens, count, failure)) return false;
    for (uint32_t i = 0; i < model->config.layer_count; i++)
        if (!layer_step(model, &model->layers[i], count, failure)) return false;
    if (model->heads.head_count) model->heads_attention.length += count;
    if (!norm(model, model->final_norm, count - logit_rows, logit_rows, failure) ||
        !product(model, &model->lm_head, model->normed, model->logits, logit_rows, failure))
        return false;
    size_t bytes = (size_t)logit_rows * model->vocab_size * sizeof(float);
    cl_int code = clEnqueueReadBuffer(model->session->queue, model->logits, CL_TRUE, 0, bytes, logits, 0, NULL, NULL);
    return code == CL_SUCCESS || failure_opencl(failure, "clEnqueueReadBuffer", code);
}

bool model_feed(float *logits, model *model, clmla_sequence sequence, const uint8_t *tokens, uint32_t count,
                failure *failure) {
    for (uint32_t first = 0; first < count; first += MODEL_STEP_TOKENS) {
        uint32_t piece = count - first < MODEL_STEP_TOKENS ? count - first : MODEL_STEP_TOKENS;
        if (!model_step(logits, model, sequence, tokens + first, piece, 1, failure)) return false;
    }
    return true;
}
