// SPDX-License-Identifier: Apache-2.0
#include "host/device.h"
#include "host/error.h"
#include "host/instruction.h"
#include "host/memory.h"
#include "host/quirk.h"
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PLATFORMS_MAX 32
#define DEVICES_MAX 64
#define EXTENSIONS_MAX 16384
#define DEVICE_SUB_GROUP_SIZES 0x4108 // CL_DEVICE_SUB_GROUP_SIZES_INTEL of cl_ext.h
#define SUB_GROUP_SIZES_MAX 16

// The first failure of a run of queries; the rest are skipped.
typedef struct reader {
    const host_calls *calls;
    cl_device_id device;
    cl_int code;
    const char *what;
} reader;

static void read_value(reader *r, cl_device_info name, void *value, size_t bytes, const char *what) {
    if (r->code != CL_SUCCESS) return;
    r->code = r->calls->GetDeviceInfo(r->device, name, bytes, value, NULL);
    r->what = what;
}

// Text of any length, cut to what fits.
static void read_text(reader *r, cl_device_info name, char *text, size_t bytes, const char *what) {
    char *whole = NULL;
    size_t length = 0;
    text[0] = '\0';
    if (r->code != CL_SUCCESS) return;
    r->what = what;
    r->code = r->calls->GetDeviceInfo(r->device, name, 0, NULL, &length);
    if (r->code == CL_SUCCESS) whole = calloc(length + 1, 1);
    if (r->code == CL_SUCCESS && !whole) r->code = CL_OUT_OF_HOST_MEMORY;
    if (whole) r->code = r->calls->GetDeviceInfo(r->device, name, length, whole, NULL);
    if (whole && r->code == CL_SUCCESS) snprintf(text, bytes, "%s", whole);
    free(whole);
}

static bool has_word(const char *list, const char *word) {
    size_t length = strlen(word);
    for (const char *at = list; (at = strstr(at, word)) != NULL; at += length)
        if ((at == list || at[-1] == ' ') && (at[length] == ' ' || at[length] == '\0')) return true;
    return false;
}

// An answer that is not there is no failure.
static uint32_t least_sub_group(const reader *r) {
    size_t sizes[SUB_GROUP_SIZES_MAX] = {0}, bytes = 0, found = 0;
    if (r->calls->GetDeviceInfo(r->device, DEVICE_SUB_GROUP_SIZES, 0, NULL, &bytes) != CL_SUCCESS ||
        bytes > sizeof sizes ||
        r->calls->GetDeviceInfo(r->device, DEVICE_SUB_GROUP_SIZES, bytes, sizes, NULL) != CL_SUCCESS)
        return 0;
    for (size_t i = 0; i < bytes / sizeof *sizes; i++)
        if (found == 0 || sizes[i] < found) found = sizes[i];
    return (uint32_t)found;
}

#define DEVICE_COMPUTE_CAPABILITY_MAJOR 0x4000 // CL_DEVICE_COMPUTE_CAPABILITY_MAJOR_NV and MINOR_NV
#define DEVICE_COMPUTE_CAPABILITY_MINOR 0x4001

// 0: the driver does not say, which is no failure.
static uint32_t capability(const reader *r) {
    cl_uint major = 0, minor = 0;
    const host_calls *calls = r->calls;
    if (calls->GetDeviceInfo(r->device, DEVICE_COMPUTE_CAPABILITY_MAJOR, sizeof major, &major, NULL) != CL_SUCCESS ||
        calls->GetDeviceInfo(r->device, DEVICE_COMPUTE_CAPABILITY_MINOR, sizeof minor, &minor, NULL) != CL_SUCCESS)
        return 0;
    return major * 10 + minor;
}

static void read_extensions(reader *r, clmla_device_facts *facts) {
    char *list = calloc(EXTENSIONS_MAX, 1);
    if (!list && r->code == CL_SUCCESS) r->code = CL_OUT_OF_HOST_MEMORY, r->what = "CL_DEVICE_EXTENSIONS";
    if (!list) return;
    read_text(r, CL_DEVICE_EXTENSIONS, list, EXTENSIONS_MAX, "CL_DEVICE_EXTENSIONS");
    facts->has_half = has_word(list, "cl_khr_fp16");
    facts->has_double = has_word(list, "cl_khr_fp64");
    facts->has_sub_group_matrix = has_word(list, "cl_intel_subgroup_matrix_multiply_accumulate");
    facts->has_sub_groups = has_word(list, "cl_khr_subgroups") || has_word(list, "cl_intel_subgroups");
    if (r->code == CL_SUCCESS && has_word(list, "cl_intel_required_subgroup_size"))
        facts->least_sub_group = least_sub_group(r);
    facts->has_command_buffer = has_word(list, "cl_khr_command_buffer");
    if (r->code == CL_SUCCESS && has_word(list, "cl_nv_device_attribute_query"))
        facts->compute_capability = capability(r);
    free(list);
}

static void read_numbers(reader *r, clmla_device_facts *facts) {
    size_t group = 0, dims[3] = {0};
    cl_uint units = 0, clock = 0, width = 0, bits = 0, align = 0;
    cl_ulong global = 0, buffer = 0, cache = 0, local = 0, constant = 0;
    cl_bool little = CL_FALSE, unified = CL_FALSE;
    cl_device_local_mem_type local_type = 0;
    cl_device_fp_config single = 0;
#define READ(name, value) read_value(r, name, &(value), sizeof(value), #name)
    READ(CL_DEVICE_TYPE, facts->type);
    READ(CL_DEVICE_VENDOR_ID, facts->vendor_id);
    READ(CL_DEVICE_MAX_COMPUTE_UNITS, units);
    READ(CL_DEVICE_MAX_CLOCK_FREQUENCY, clock);
    READ(CL_DEVICE_GLOBAL_MEM_SIZE, global);
    READ(CL_DEVICE_MAX_MEM_ALLOC_SIZE, buffer);
    READ(CL_DEVICE_GLOBAL_MEM_CACHE_SIZE, cache);
    READ(CL_DEVICE_LOCAL_MEM_SIZE, local);
    READ(CL_DEVICE_LOCAL_MEM_TYPE, local_type);
    READ(CL_DEVICE_MAX_WORK_GROUP_SIZE, group);
    READ(CL_DEVICE_MAX_WORK_ITEM_SIZES, dims);
    READ(CL_DEVICE_MAX_CONSTANT_BUFFER_SIZE, constant);
    READ(CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT, width);
    READ(CL_DEVICE_ADDRESS_BITS, bits);
    READ(CL_DEVICE_MEM_BASE_ADDR_ALIGN, align);
    READ(CL_DEVICE_ENDIAN_LITTLE, little);
    READ(CL_DEVICE_HOST_UNIFIED_MEMORY, unified);
    READ(CL_DEVICE_SINGLE_FP_CONFIG, single);
#undef READ
    facts->compute_units = units;
    facts->clock_mhz = clock;
    facts->global_bytes = global;
    facts->max_buffer_bytes = buffer;
    facts->cache_bytes = cache;
    facts->local_bytes = local;
    facts->local_is_dedicated = local_type == CL_LOCAL;
    facts->max_group_size = group;
    for (int i = 0; i < 3; i++) facts->max_group_dims[i] = dims[i];
    facts->max_constant_bytes = constant;
    facts->float_vector_width = width;
    facts->address_bits = bits;
    facts->base_address_align_bits = align;
    facts->little_endian = little == CL_TRUE;
    facts->unified_memory = unified == CL_TRUE;
    facts->has_denormals = (single & CL_FP_DENORM) != 0;
}

static void read_platform(reader *r, clmla_device_facts *facts) {
    cl_platform_id platform = NULL;
    read_value(r, CL_DEVICE_PLATFORM, &platform, sizeof platform, "CL_DEVICE_PLATFORM");
    if (r->code != CL_SUCCESS) return;
    char text[512] = "";
    if (r->calls->GetPlatformInfo(platform, CL_PLATFORM_NAME, sizeof text - 1, text, NULL) == CL_SUCCESS)
        snprintf(facts->platform_name, sizeof facts->platform_name, "%.127s", text);
    if (r->calls->GetPlatformInfo(platform, CL_PLATFORM_VERSION, sizeof text - 1, text, NULL) == CL_SUCCESS)
        snprintf(facts->platform_version, sizeof facts->platform_version, "%.127s", text);
}

clmla_status host_device_read(clmla_device_facts *facts, cl_device_id device, const host_calls *calls,
                              const clmla_log *log) {
    reader r = {.calls = calls, .device = device, .code = CL_SUCCESS};
    char language[128];
    memset(facts, 0, sizeof *facts);
    read_text(&r, CL_DEVICE_NAME, facts->name, sizeof facts->name, "CL_DEVICE_NAME");
    read_text(&r, CL_DEVICE_VENDOR, facts->vendor, sizeof facts->vendor, "CL_DEVICE_VENDOR");
    read_text(&r, CL_DRIVER_VERSION, facts->driver_version, sizeof facts->driver_version, "CL_DRIVER_VERSION");
    read_text(&r, CL_DEVICE_VERSION, facts->device_version, sizeof facts->device_version, "CL_DEVICE_VERSION");
    read_text(&r, CL_DEVICE_OPENCL_C_VERSION, language, sizeof language, "CL_DEVICE_OPENCL_C_VERSION");
    read_numbers(&r, facts);
    read_extensions(&r, facts);
    read_platform(&r, facts);
    if (r.code != CL_SUCCESS) return host_fail_cl(log, "clGetDeviceInfo", r.code, "%s", r.what);
    if (sscanf(language, "OpenCL C %u.%u", &facts->opencl_c_major, &facts->opencl_c_minor) != 2)
        facts->opencl_c_major = facts->opencl_c_minor = 0;
    facts->quirks = host_quirks_of(facts);
    facts->is_interpreter = strstr(facts->platform_name, "Oclgrind") != NULL;
    host_instruction_facts(facts);
    return CLMLA_OK;
}

// Calls `each` for every device in platform order until it answers something else than CLMLA_OK.
typedef clmla_status (*device_visit)(void *payload, cl_device_id device, uint32_t platform_index,
                                     uint32_t device_index);

static clmla_status visit_devices(const host_calls *calls, const clmla_log *log, device_visit each, void *payload) {
    cl_platform_id platforms[PLATFORMS_MAX];
    cl_uint platform_count = 0;
    cl_int code = calls->GetPlatformIDs(PLATFORMS_MAX, platforms, &platform_count);
    if (code == -1001 /* CL_PLATFORM_NOT_FOUND_KHR */) return CLMLA_OK;
    if (code != CL_SUCCESS) return host_fail_cl(log, "clGetPlatformIDs", code, "listing platforms");
    for (cl_uint p = 0; p < platform_count && p < PLATFORMS_MAX; p++) {
        cl_device_id devices[DEVICES_MAX];
        cl_uint device_count = 0;
        // A platform without devices, or one that cannot list them, is passed over.
        if (calls->GetDeviceIDs(platforms[p], CL_DEVICE_TYPE_ALL, DEVICES_MAX, devices, &device_count) != CL_SUCCESS)
            continue;
        for (cl_uint d = 0; d < device_count && d < DEVICES_MAX; d++) STATUS_OR_RETURN(each(payload, devices[d], p, d));
    }
    return CLMLA_OK;
}

typedef struct device_list {
    const host_calls *calls;
    const clmla_log *log;
    clmla_device_facts *facts;
    cl_device_id *ids; // NULL = not wanted
    size_t capacity, count;
} device_list;

static clmla_status list_device(void *payload, cl_device_id device, uint32_t platform_index, uint32_t device_index) {
    device_list *list = payload;
    if (list->count < list->capacity) {
        clmla_device_facts *facts = &list->facts[list->count];
        STATUS_OR_RETURN(host_device_read(facts, device, list->calls, list->log));
        facts->platform_index = platform_index;
        facts->device_index = device_index;
        if (list->ids) list->ids[list->count] = device;
    }
    list->count++;
    return CLMLA_OK;
}

clmla_status clmla_device_list(clmla_device_facts *facts, size_t capacity, size_t *count) {
    if (!count || (!facts && capacity > 0))
        return host_fail(NULL, CLMLA_E_ARGUMENT, 0, "device list: count or facts is NULL");
    device_list list = {.calls = host_calls_default(), .facts = facts, .capacity = capacity};
    STATUS_OR_RETURN(visit_devices(list.calls, NULL, list_device, &list));
    *count = list.count;
    return CLMLA_OK;
}

static bool contains(const char *text, const char *part) {
    size_t length = strlen(part);
    for (; *text; text++) {
        size_t i = 0;
        while (i < length && text[i] && tolower((unsigned char)text[i]) == tolower((unsigned char)part[i])) i++;
        if (i == length) return true;
    }
    return false;
}

static bool same(const char *a, const char *b) {
    return strlen(a) == strlen(b) && contains(a, b);
}

// GPUs before accelerators before CPUs, a device with a known fault after all others; among equals the faster. Never 0.
static uint64_t rank(const clmla_device_facts *facts) {
    uint64_t kind = 0;
    if (facts->quirks)
        kind = 0;
    else if (facts->type & CL_DEVICE_TYPE_GPU)
        kind = 3;
    else if (facts->type & CL_DEVICE_TYPE_ACCELERATOR)
        kind = 2;
    else
        kind = 1;
    return (kind << 56) + (uint64_t)facts->compute_units * facts->clock_mhz % (1ull << 56) + 1;
}

static bool matches(const clmla_device_facts *facts, const char *query) {
    unsigned platform, device;
    int end = 0;
    if (!query || !query[0]) return true;
    if (same(query, "gpu")) return (facts->type & CL_DEVICE_TYPE_GPU) != 0;
    if (same(query, "cpu")) return (facts->type & CL_DEVICE_TYPE_CPU) != 0;
    if (same(query, "accelerator")) return (facts->type & CL_DEVICE_TYPE_ACCELERATOR) != 0;
    if (sscanf(query, "%u:%u%n", &platform, &device, &end) == 2 && query[end] == '\0')
        return facts->platform_index == platform && facts->device_index == device;
    return contains(facts->platform_name, query) || contains(facts->name, query);
}

static clmla_status no_device(const clmla_device_facts *facts, size_t count, const char *query) {
    char there[640] = "";
    size_t used = 0;
    if (count == 0)
        return host_fail(NULL, CLMLA_E_NO_DEVICE, 0,
                         "there is no OpenCL device: no driver is installed, or none of the drivers exposes one");
    for (size_t i = 0; i < count && used < sizeof there; i++) {
        int written = snprintf(there + used, sizeof there - used, "%s%u:%u %s", i ? ", " : "", facts[i].platform_index,
                               facts[i].device_index, facts[i].name);
        if (written > 0) used += (size_t)written;
    }
    return host_fail(NULL, CLMLA_E_NO_DEVICE, 0, "no OpenCL device matches '%s'; there %s: %s", query ? query : "",
                     count == 1 ? "is" : "are", there);
}

clmla_status clmla_device_pick(size_t *index, const clmla_device_facts *facts, size_t count, const char *query) {
    if (!index || (!facts && count > 0))
        return host_fail(NULL, CLMLA_E_ARGUMENT, 0, "device pick: index or facts is NULL");
    uint64_t best = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t points = matches(&facts[i], query) ? rank(&facts[i]) : 0;
        if (points <= best) continue;
        best = points;
        *index = i;
    }
    return best ? CLMLA_OK : no_device(facts, count, query);
}

clmla_status host_device_find(cl_device_id *device, clmla_device_facts *facts, const char *query,
                              const host_calls *calls, const clmla_allocator *allocator, const clmla_log *log) {
    clmla_status status = CLMLA_OK;
    size_t index;
    device_list list = {.calls = calls, .log = log};
    STATUS_OR_RETURN(visit_devices(calls, log, list_device, &list));
    list.capacity = list.count;
    list.count = 0;
    list.facts = host_allocate(allocator, list.capacity, sizeof *list.facts);
    list.ids = host_allocate(allocator, list.capacity, sizeof(cl_device_id));
    if (!list.facts || !list.ids) {
        status = host_fail(log, CLMLA_E_MEMORY, 0, "no memory for a list of %zu devices", list.capacity);
        goto out;
    }
    STATUS_OR_OUT(visit_devices(calls, log, list_device, &list));
    if (list.count > list.capacity) list.count = list.capacity; // more devices answer than did a moment ago
    STATUS_OR_OUT(host_log_failure(log, clmla_device_pick(&index, list.facts, list.count, query)));
    *device = list.ids[index];
    *facts = list.facts[index];
out:
    host_release(allocator, list.facts);
    host_release(allocator, list.ids);
    return status;
}
