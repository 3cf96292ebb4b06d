// SPDX-License-Identifier: Apache-2.0
// clmla info: the machine's OpenCL devices, how recordings are replayed on them, the kernel each operation would use
// and why not another, and the row formats.
#include "commands.h"
#include "deepseek.h"
#include "info_attend.h"
#include "info_variants.h"
#include "json_output.h"
#include "options.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// The heads of DeepSeek-V2-Lite and of DeepSeek-V2 and V3, decoding from bf16 weights and an f16 cache: for both the
// operations are listed where no number of heads is asked for, attend's instructions for the first.
static const uint32_t usual_heads[] = {16, 128};
#define MOST_HEADS (sizeof usual_heads / sizeof usual_heads[0])

typedef struct arguments {
    const char *device, *formats, *compute;
    uint32_t heads; // 0 = the usual ones
    bool json;
    info_request request;
    uint32_t head_counts[MOST_HEADS];
    size_t head_count;
} arguments;

typedef struct device_list {
    clmla_device_facts *facts;
    size_t count;
} device_list;

static bool list_devices(device_list *out, const char *query, failure *failure) {
    size_t index;
    if (clmla_device_list(NULL, 0, &out->count) != CLMLA_OK) return failure_library(failure);
    out->facts = calloc(out->count + 1, sizeof *out->facts);
    if (!out->facts) return failure_memory(failure);
    if (clmla_device_list(out->facts, out->count, &out->count) != CLMLA_OK) return failure_library(failure);
    if (!query) return true;
    if (clmla_device_pick(&index, out->facts, out->count, query) != CLMLA_OK) return failure_library(failure);
    out->facts[0] = out->facts[index];
    out->count = 1;
    return true;
}

// attend_heads serves prompts of any length, over keys of every head; the others a sequence's new tokens.
static clmla_shape shape_of(const info_request *request, clmla_operation operation, uint32_t head_count) {
    if (operation == CLMLA_OP_ATTEND_HEADS)
        return (clmla_shape){.latent_dim = DEEPSEEK_NOPE_DIM,
                             .rope_dim = request->rope_dim,
                             .value_dim = DEEPSEEK_VALUE_DIM,
                             .head_count = head_count};
    return (clmla_shape){.weights = CLMLA_TYPE_BF16,
                         .format = CLMLA_ROWS_F16,
                         .latent_dim = request->latent_dim,
                         .rope_dim = request->rope_dim,
                         .head_count = head_count,
                         .query_tokens = request->query_tokens,
                         .row_count = request->query_tokens};
}

static size_t list_variants(clmla_variant *out, const clmla_device_facts *facts, const info_request *request,
                            clmla_operation operation, uint32_t head_count) {
    clmla_shape shape = shape_of(request, operation, head_count);
    size_t count = 0;
    if (clmla_variant_list(out, INFO_VARIANTS_LISTED, &count, facts, operation, &shape) != CLMLA_OK) return 0;
    return count < INFO_VARIANTS_LISTED ? count : INFO_VARIANTS_LISTED;
}

// Whether recordings are replayed as command buffers there, and if not, why. Needs a context: the library tries them.
static bool uses_command_buffers(char *reason, size_t size, const clmla_device_facts *facts) {
    char query[32];
    clmla_context *context = NULL;
    snprintf(query, sizeof query, "%u:%u", facts->platform_index, facts->device_index);
    snprintf(reason, size, "the device has no cl_khr_command_buffer");
    if (!facts->has_command_buffer) return false;
    clmla_recording_facts support = {.reason = ""};
    if (clmla_context_create(&context, &(clmla_context_params){.device = query}) == CLMLA_OK)
        support = clmla_recording_support(context);
    else
        support.reason = clmla_last_error();
    snprintf(reason, size, "%s", support.reason);
    clmla_context_destroy(&context);
    return support.command_buffer;
}

static const char *type_name(const clmla_device_facts *facts) {
    return facts->type & CL_DEVICE_TYPE_GPU           ? "gpu"
           : facts->type & CL_DEVICE_TYPE_ACCELERATOR ? "accelerator"
           : facts->type & CL_DEVICE_TYPE_CPU         ? "cpu"
                                                      : "other";
}

// --- text ------------------------------------------------------------------------------------------------------------

static void print_facts(const clmla_device_facts *facts) {
    const double mib = 1024.0 * 1024.0;
    printf("%u:%u  %s\n", facts->platform_index, facts->device_index, facts->name);
    printf("  platform      %s, %s\n", facts->platform_name, facts->platform_version);
    printf("  driver        %s, OpenCL C %u.%u, vendor %s\n", facts->driver_version, facts->opencl_c_major,
           facts->opencl_c_minor, facts->vendor);
    printf("  type          %s%s, %u compute units at %u MHz, native vectors of %u floats\n", type_name(facts),
           facts->is_interpreter ? " (interpreter)" : "", facts->compute_units, facts->clock_mhz,
           facts->float_vector_width);
    printf("  memory        %.0f MiB, one buffer up to %.0f MiB, cache %.1f MiB%s\n", (double)facts->global_bytes / mib,
           (double)facts->max_buffer_bytes / mib, (double)facts->cache_bytes / mib,
           facts->unified_memory ? ", shared with the host" : "");
    printf("  work-group    up to %llu items, %.0f KiB of %s local memory\n", (unsigned long long)facts->max_group_size,
           (double)facts->local_bytes / 1024.0, facts->local_is_dedicated ? "dedicated" : "ordinary");
    printf("  has           half: %s, double: %s, sub-groups: %s, command buffers: %s, denormals: %s\n",
           facts->has_half ? "yes" : "no", facts->has_double ? "yes" : "no", facts->has_sub_groups ? "yes" : "no",
           facts->has_command_buffer ? "yes" : "no", facts->has_denormals ? "yes" : "no");
    char reason[512];
    bool buffers = uses_command_buffers(reason, sizeof reason, facts);
    printf("  recordings    %s%s\n", buffers ? "replayed as command buffers" : "replayed kernel by kernel: ", reason);
    for (uint32_t left = facts->quirks; left; left &= left - 1)
        printf("  known fault   %s: %s\n", clmla_quirk_name(left), clmla_quirk_symptom(left));
}

static void describe_variants(char out[INFO_VARIANTS_TEXT], const clmla_device_facts *facts,
                              const info_request *request, clmla_operation operation, uint32_t head_count) {
    clmla_variant variants[INFO_VARIANTS_LISTED];
    info_variants_text(out, INFO_VARIANTS_TEXT, variants,
                       list_variants(variants, facts, request, operation, head_count));
}

static void print_variants(const clmla_device_facts *facts, const arguments *arguments) {
    const info_request *request = &arguments->request;
    if (request->query_tokens > 1)
        printf("  kernels for %u tokens, ", request->query_tokens);
    else
        printf("  kernels for one token, ");
    for (size_t h = 0; h < arguments->head_count; h++) printf("%s%u", h ? " or " : "", arguments->head_counts[h]);
    printf(" heads, rows of %u + %u, bf16 weights, f16 cache; of attend_heads: a prompt, keys of %d + %u, values of "
           "%d\n",
           request->latent_dim, request->rope_dim, DEEPSEEK_NOPE_DIM, request->rope_dim, DEEPSEEK_VALUE_DIM);
    for (int o = 0; o < CLMLA_OPERATION_COUNT; o++) {
        char texts[MOST_HEADS][INFO_VARIANTS_TEXT];
        bool same = true;
        for (size_t h = 0; h < arguments->head_count; h++) {
            describe_variants(texts[h], facts, request, (clmla_operation)o, arguments->head_counts[h]);
            same = same && strcmp(texts[h], texts[0]) == 0;
        }
        for (size_t h = 0; h < (same ? 1 : arguments->head_count); h++) {
            char heads[32] = "";
            if (!same) snprintf(heads, sizeof heads, "%u heads: ", arguments->head_counts[h]);
            printf("    %-12s %s%s\n", clmla_operation_name((clmla_operation)o), heads, texts[h]);
        }
    }
}

// Bytes of a row, with scales that lie apart from it.
static uint32_t row_bytes(const info_request *request, clmla_row_format format) {
    clmla_row_layout layout = {0};
    clmla_row_layout_make(&layout, format, CLMLA_ROPE_INTERLEAVED, request->latent_dim, request->rope_dim);
    return layout.row_bytes + (layout.scales_apart ? layout.scale_row_bytes : 0);
}

static void print_text(const device_list *devices, const arguments *arguments) {
    const info_request *request = &arguments->request;
    printf("clmla %s\n\n", clmla_version());
    if (devices->count == 0)
        printf("No OpenCL device: no driver is installed, or none of the drivers exposes one.\n\n");
    for (size_t i = 0; i < devices->count; i++) {
        print_facts(&devices->facts[i]);
        print_variants(&devices->facts[i], arguments);
        info_attend_print(&devices->facts[i], request);
        printf("\n");
    }
    printf("row formats (bytes a token and layer for %u + %u elements)\n", request->latent_dim, request->rope_dim);
    for (int f = 0; f < CLMLA_ROW_FORMAT_COUNT; f++)
        printf("  %-9s %4u\n", clmla_row_format_name((clmla_row_format)f), row_bytes(request, (clmla_row_format)f));
}

// --- JSON ------------------------------------------------------------------------------------------------------------

static void add_variants(cJSON *device, const clmla_device_facts *facts, const arguments *arguments) {
    cJSON *list = cJSON_AddArrayToObject(device, "operations");
    for (size_t h = 0; h < arguments->head_count; h++) {
        for (int o = 0; o < CLMLA_OPERATION_COUNT; o++) {
            clmla_variant variants[INFO_VARIANTS_LISTED];
            size_t count =
                list_variants(variants, facts, &arguments->request, (clmla_operation)o, arguments->head_counts[h]);
            cJSON *entry = cJSON_CreateObject();
            cJSON_AddStringToObject(entry, "operation", clmla_operation_name((clmla_operation)o));
            cJSON_AddNumberToObject(entry, "heads", arguments->head_counts[h]);
            if (o == CLMLA_OP_ATTEND) cJSON_AddNumberToObject(entry, "query_tokens", arguments->request.query_tokens);
            info_variants_json(entry, variants, count);
            cJSON_AddItemToArray(list, entry);
        }
    }
}

static cJSON *device_json(const clmla_device_facts *facts, const arguments *arguments) {
    cJSON *device = cJSON_CreateObject();
    char query[32];
    snprintf(query, sizeof query, "%u:%u", facts->platform_index, facts->device_index);
    const struct {
        const char *name, *value;
    } texts[] = {{"query", query},
                 {"name", facts->name},
                 {"type", type_name(facts)},
                 {"vendor", facts->vendor},
                 {"platform", facts->platform_name},
                 {"platform_version", facts->platform_version},
                 {"driver_version", facts->driver_version},
                 {"device_version", facts->device_version}};
    const struct {
        const char *name;
        double value;
    } numbers[] = {{"vendor_id", facts->vendor_id},
                   {"compute_units", facts->compute_units},
                   {"clock_mhz", facts->clock_mhz},
                   {"global_bytes", (double)facts->global_bytes},
                   {"max_buffer_bytes", (double)facts->max_buffer_bytes},
                   {"cache_bytes", (double)facts->cache_bytes},
                   {"local_bytes", (double)facts->local_bytes},
                   {"max_group_size", (double)facts->max_group_size},
                   {"float_vector_width", facts->float_vector_width},
                   {"least_sub_group", facts->least_sub_group},
                   {"compute_capability", facts->compute_capability},
                   {"opencl_c_major", facts->opencl_c_major},
                   {"opencl_c_minor", facts->opencl_c_minor}};
    const struct {
        const char *name;
        bool value;
    } answers[] = {{"local_is_dedicated", facts->local_is_dedicated},
                   {"has_half", facts->has_half},
                   {"has_double", facts->has_double},
                   {"has_sub_groups", facts->has_sub_groups},
                   {"has_sub_group_matrix", facts->has_sub_group_matrix},
                   {"has_command_buffer", facts->has_command_buffer},
                   {"has_denormals", facts->has_denormals},
                   {"has_int16_dot", facts->has_int16_dot},
                   {"has_int8_dot", facts->has_int8_dot},
                   {"has_bf16_dot", facts->has_bf16_dot},
                   {"has_amx_bf16", facts->has_amx_bf16},
                   {"unified_memory", facts->unified_memory},
                   {"is_interpreter", facts->is_interpreter}};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) json_add_text(device, texts[i].name, texts[i].value);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        cJSON_AddNumberToObject(device, numbers[i].name, numbers[i].value);
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++)
        cJSON_AddBoolToObject(device, answers[i].name, answers[i].value);
    cJSON *faults = cJSON_AddArrayToObject(device, "known_faults");
    for (uint32_t left = facts->quirks; left; left &= left - 1)
        cJSON_AddItemToArray(faults, cJSON_CreateString(clmla_quirk_name(left)));
    char reason[512];
    cJSON *recordings = cJSON_AddObjectToObject(device, "recordings");
    cJSON_AddBoolToObject(recordings, "command_buffer", uses_command_buffers(reason, sizeof reason, facts));
    json_add_text(recordings, "reason", reason);
    add_variants(device, facts, arguments);
    info_attend_json(device, facts, &arguments->request);
    return device;
}

static bool print_json(const device_list *devices, const arguments *arguments, failure *failure) {
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "version", clmla_version());
    cJSON *list = cJSON_AddArrayToObject(object, "devices");
    for (size_t i = 0; i < devices->count; i++) cJSON_AddItemToArray(list, device_json(&devices->facts[i], arguments));
    cJSON *formats = cJSON_AddArrayToObject(object, "row_formats");
    for (int f = 0; f < CLMLA_ROW_FORMAT_COUNT; f++) {
        cJSON *format = cJSON_CreateObject();
        cJSON_AddStringToObject(format, "name", clmla_row_format_name((clmla_row_format)f));
        cJSON_AddNumberToObject(format, "row_bytes", row_bytes(&arguments->request, (clmla_row_format)f));
        cJSON_AddItemToArray(formats, format);
    }
    return json_print(object) || failure_memory(failure);
}

// --- the command -----------------------------------------------------------------------------------------------------

static options_outcome read_arguments(arguments *out, int argc, char **argv, failure *failure) {
    info_request *r = &out->request;
    const option table[] = {
        {"--device", OPTION_TEXT, &out->device, "Q", "only this one: gpu, cpu, P:D or part of a name", 0, 0},
        {"--heads", OPTION_NUMBER, &out->heads, "N",
         "query heads (16; of operations whose instructions are not tried, 128 too)", 1, CLMLA_MAX_HEADS},
        {"--query-tokens", OPTION_NUMBER, &r->query_tokens, "N", "new tokens of a sequence (1)", 1, CLMLA_MAX_CONTEXT},
        {"--format", OPTION_TEXT, &out->formats, "NAME,..",
         "rows that attend is listed for, or all (those that some variant has an instruction for)", 0, 0},
        {"--compute", OPTION_TEXT, &out->compute, "NAME", "plans that attend is listed for: exact, fast (both)", 0, 0},
        {"--latent", OPTION_NUMBER, &r->latent_dim, "N", "latent elements of a row (512)", 1, 8192},
        {"--rope", OPTION_NUMBER, &r->rope_dim, "N", "rotary elements of a row (64)", 0, CLMLA_MAX_ROPE_DIM},
        {"--prove", OPTION_FLAG, &r->prove, NULL,
         "try every variant of attend and plan beside the naive one, on any device", 0, 0},
        {"--json", OPTION_FLAG, &out->json, NULL, "one JSON object on stdout", 0, 0},
    };
    const options known = {
        "info", "Lists OpenCL devices, the kernel each operation would use on them, and the cache's row formats.",
        NULL,   NULL,
        table,  sizeof table / sizeof table[0]};
    return options_parse(&known, argc, argv, failure);
}

static bool complete(arguments *out, failure *failure) {
    out->head_count = out->heads ? 1 : MOST_HEADS;
    for (size_t h = 0; h < out->head_count; h++) out->head_counts[h] = out->heads ? out->heads : usual_heads[h];
    out->request.head_count = out->head_counts[0];
    return info_attend_read(&out->request, out->formats, out->compute, failure);
}

static bool info(const arguments *arguments, failure *failure) {
    device_list devices = {0};
    bool done = list_devices(&devices, arguments->device, failure);
    if (done && arguments->json) done = print_json(&devices, arguments, failure);
    if (done && !arguments->json) print_text(&devices, arguments);
    free(devices.facts);
    return done;
}

int command_info(int argc, char **argv) {
    failure failure = {0};
    arguments arguments = {
        .request = {.latent_dim = DEEPSEEK_LATENT_DIM, .rope_dim = DEEPSEEK_ROPE_DIM, .query_tokens = 1}};
    options_outcome outcome = read_arguments(&arguments, argc, argv, &failure);
    if (outcome == OPTIONS_HELP) return EXIT_PASS;
    bool done = outcome == OPTIONS_GO && complete(&arguments, &failure) && info(&arguments, &failure);
    return done ? EXIT_PASS : failure_print(&failure, "info");
}
