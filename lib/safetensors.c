// SPDX-License-Identifier: Apache-2.0
#include "lib/safetensors.h"
#include "host/error.h"
#include "host/memory.h"
#include "lib/json_fields.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LENGTH_BYTES 8u
#define HEADER_LIMIT 100000000u // the format's own

static const struct {
    const char *name;
    clmla_type type;
} dtypes[] = {
    {"F32", CLMLA_TYPE_F32},         {"F16", CLMLA_TYPE_F16},         {"BF16", CLMLA_TYPE_BF16},
    {"F8_E4M3", CLMLA_TYPE_F8_E4M3}, {"F8_E5M2", CLMLA_TYPE_F8_E5M2}, {"F64", CLMLA_TYPE_F64},
    {"I64", CLMLA_TYPE_I64},         {"I32", CLMLA_TYPE_I32},         {"I16", CLMLA_TYPE_I16},
    {"I8", CLMLA_TYPE_I8},           {"U64", CLMLA_TYPE_U64},         {"U32", CLMLA_TYPE_U32},
    {"U16", CLMLA_TYPE_U16},         {"U8", CLMLA_TYPE_U8},           {"BOOL", CLMLA_TYPE_BOOL},
};

static clmla_status bad(const safetensors *file, const char *tensor, const char *what) {
    return host_fail(NULL, CLMLA_E_FORMAT, 0, "%s: tensor %.200s: %s", file->path, tensor, what);
}

// A whole number below 2^53: doubles hold every one of them, and no other number rounds to one.
static bool whole(uint64_t *out, const cJSON *item) {
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0.0 && item->valuedouble < 9007199254740992.0)) return false;
    if (item->valuedouble != floor(item->valuedouble)) return false;
    *out = (uint64_t)item->valuedouble;
    return true;
}

static clmla_status read_type(clmla_tensor *tensor, const cJSON *entry, const safetensors *file) {
    const cJSON *dtype = cJSON_GetObjectItemCaseSensitive(entry, "dtype");
    if (!cJSON_IsString(dtype)) return bad(file, tensor->name, "dtype is missing or no text");
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
        if (strcmp(dtypes[i].name, dtype->valuestring) == 0) tensor->type = dtypes[i].type;
    if (tensor->type != CLMLA_TYPE_NONE) return CLMLA_OK;
    return host_fail(NULL, CLMLA_E_FORMAT, 0, "%s: tensor %.200s: dtype '%.32s' is not known", file->path, tensor->name,
                     dtype->valuestring);
}

static clmla_status read_shape(clmla_tensor *tensor, const cJSON *entry, const safetensors *file) {
    const cJSON *shape = cJSON_GetObjectItemCaseSensitive(entry, "shape"), *item;
    if (!cJSON_IsArray(shape)) return bad(file, tensor->name, "shape is missing or no array");
    if (cJSON_GetArraySize(shape) > CLMLA_MAX_TENSOR_RANK)
        return bad(file, tensor->name, "shape has more than 8 dimensions");
    tensor->element_count = 1;
    cJSON_ArrayForEach(item, shape) {
        uint64_t *dimension = &tensor->shape[tensor->rank++];
        if (!whole(dimension, item)) return bad(file, tensor->name, "shape holds something else than whole numbers");
        if (!host_multiply(&tensor->element_count, tensor->element_count, *dimension))
            return bad(file, tensor->name, "shape has more elements than 64 bits count");
    }
    return CLMLA_OK;
}

static clmla_status read_offsets(clmla_tensor *tensor, const cJSON *entry, const safetensors *file,
                                 uint64_t data_begin) {
    uint64_t begin, end, bytes, data_bytes = file->map.bytes - data_begin;
    const cJSON *offsets = cJSON_GetObjectItemCaseSensitive(entry, "data_offsets");
    if (!cJSON_IsArray(offsets) || cJSON_GetArraySize(offsets) != 2 || !whole(&begin, cJSON_GetArrayItem(offsets, 0)) ||
        !whole(&end, cJSON_GetArrayItem(offsets, 1)))
        return bad(file, tensor->name, "data_offsets are not two whole numbers");
    if (begin > end || end > data_bytes)
        return host_fail(NULL, CLMLA_E_FORMAT, 0,
                         "%s: tensor %.200s: data_offsets %llu to %llu do not lie in the file's %llu bytes of data",
                         file->path, tensor->name, (unsigned long long)begin, (unsigned long long)end,
                         (unsigned long long)data_bytes);
    if (!host_multiply(&bytes, tensor->element_count, clmla_type_bytes(tensor->type)))
        return bad(file, tensor->name, "shape has more bytes than 64 bits count");
    if (bytes != end - begin)
        return host_fail(NULL, CLMLA_E_FORMAT, 0,
                         "%s: tensor %.200s: its shape takes %llu bytes, data_offsets give %llu", file->path,
                         tensor->name, (unsigned long long)bytes, (unsigned long long)(end - begin));
    tensor->data = (const unsigned char *)file->map.data + data_begin + begin;
    tensor->bytes = bytes;
    return CLMLA_OK;
}

static clmla_status read_tensor(clmla_tensor *tensor, const cJSON *entry, const safetensors *file,
                                uint64_t data_begin) {
    if (!cJSON_IsObject(entry)) return bad(file, entry->string, "its entry is no object");
    tensor->file = file->path;
    tensor->name = host_copy_string(file->allocator, entry->string);
    if (!tensor->name) return host_fail(NULL, CLMLA_E_MEMORY, 0, "%s: no memory for a tensor's name", file->path);
    STATUS_OR_RETURN(read_type(tensor, entry, file));
    STATUS_OR_RETURN(read_shape(tensor, entry, file));
    return read_offsets(tensor, entry, file, data_begin);
}

static int by_place(const void *a, const void *b) {
    const clmla_tensor *x = a, *y = b;
    if (x->data != y->data) return (const char *)x->data < (const char *)y->data ? -1 : 1;
    return x->bytes < y->bytes ? -1 : x->bytes > y->bytes;
}

// The format wants the data covered once, without holes.
static clmla_status check_cover(safetensors *file, uint64_t data_begin) {
    const unsigned char *at = (const unsigned char *)file->map.data + data_begin;
    const unsigned char *end = (const unsigned char *)file->map.data + file->map.bytes;
    if (file->count > 1) qsort(file->tensors, file->count, sizeof *file->tensors, by_place);
    for (size_t i = 0; i < file->count; i++) {
        const clmla_tensor *tensor = &file->tensors[i];
        if ((const unsigned char *)tensor->data < at)
            return bad(file, tensor->name, "its data overlap another tensor's");
        if ((const unsigned char *)tensor->data > at) return bad(file, tensor->name, "there is a hole before its data");
        at += tensor->bytes;
    }
    if (at == end) return CLMLA_OK;
    return host_fail(NULL, CLMLA_E_FORMAT, 0, "%s: %llu bytes after the last tensor", file->path,
                     (unsigned long long)(end - at));
}

static clmla_status check_metadata(const safetensors *file, const cJSON *entry) {
    const cJSON *item;
    if (!cJSON_IsObject(entry)) return bad(file, entry->string, "it is no object");
    cJSON_ArrayForEach(item, entry) {
        if (!cJSON_IsString(item)) return bad(file, entry->string, "it holds something else than text");
    }
    return CLMLA_OK;
}

static clmla_status read_entries(safetensors *file, const cJSON *header, uint64_t data_begin) {
    size_t count = 0;
    for (const cJSON *entry = header->child; entry; entry = entry->next) count++;
    file->tensors = host_allocate(file->allocator, count, sizeof *file->tensors);
    if (!file->tensors) return host_fail(NULL, CLMLA_E_MEMORY, 0, "%s: no memory for %zu tensors", file->path, count);
    for (const cJSON *entry = header->child; entry; entry = entry->next) {
        if (strcmp(entry->string, "__metadata__") == 0) {
            STATUS_OR_RETURN(check_metadata(file, entry));
            continue;
        }
        STATUS_OR_RETURN(read_tensor(&file->tensors[file->count++], entry, file, data_begin));
    }
    return check_cover(file, data_begin);
}

static clmla_status read_header(safetensors *file) {
    uint64_t length = 0;
    cJSON *header = NULL;
    const unsigned char *data = file->map.data;
    if (file->map.bytes < LENGTH_BYTES)
        return host_fail(NULL, CLMLA_E_FORMAT, 0, "%s: %llu bytes are too few for a safetensors file", file->path,
                         (unsigned long long)file->map.bytes);
    for (unsigned i = 0; i < LENGTH_BYTES; i++) length |= (uint64_t)data[i] << (8 * i);
    if (length > HEADER_LIMIT || length > file->map.bytes - LENGTH_BYTES)
        return host_fail(NULL, CLMLA_E_FORMAT, 0,
                         "%s: a header of %llu bytes does not fit the file of %llu or the limit of %u", file->path,
                         (unsigned long long)length, (unsigned long long)file->map.bytes, HEADER_LIMIT);
    if (length == 0 || data[LENGTH_BYTES] != '{')
        return host_fail(NULL, CLMLA_E_FORMAT, 0, "%s: the header does not begin with '{'", file->path);
    STATUS_OR_RETURN(json_parse_object(&header, (const char *)data + LENGTH_BYTES, (size_t)length, file->path));
    clmla_status status = read_entries(file, header, LENGTH_BYTES + length);
    cJSON_Delete(header);
    return status;
}

clmla_status safetensors_open(safetensors *out, const char *path, const clmla_allocator *allocator) {
    clmla_status status = CLMLA_OK;
    safetensors file = {.allocator = allocator};
    file.path = host_copy_string(allocator, path);
    if (!file.path) return host_fail(NULL, CLMLA_E_MEMORY, 0, "%s: no memory for its name", path);
    STATUS_OR_OUT(host_map_open(&file.map, path));
    STATUS_OR_OUT(read_header(&file));
    *out = file;
    return CLMLA_OK;
out:
    safetensors_close(&file);
    return status;
}

void safetensors_close(safetensors *file) {
    for (size_t i = 0; i < file->count; i++) host_release(file->allocator, (char *)(uintptr_t)file->tensors[i].name);
    host_release(file->allocator, file->tensors);
    host_release(file->allocator, file->path);
    host_map_close(&file->map);
    memset(file, 0, sizeof *file);
}
