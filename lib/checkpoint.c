// SPDX-License-Identifier: Apache-2.0
// Checkpoints: one safetensors file, or a folder with one or with shards and their index.
#include "host/error.h"
#include "host/memory.h"
#include "host/os.h"
#include "lib/json_fields.h"
#include "lib/numeric.h"
#include "lib/safetensors.h"
#include <clmla/checkpoint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATH_BYTES 4096

struct clmla_checkpoint {
    clmla_allocator allocator;
    safetensors *files;
    size_t file_count, file_capacity;
    clmla_tensor *tensors; // of all files, by name
    size_t count;
};

static clmla_status join(char out[PATH_BYTES], const char *folder, const char *name) {
    int length = snprintf(out, PATH_BYTES, "%s/%s", folder, name);
    if (length >= 0 && length < PATH_BYTES) return CLMLA_OK;
    return host_fail(NULL, CLMLA_E_FILE, 0, "%.200s...: the path is too long", folder);
}

static clmla_status add_file(clmla_checkpoint *checkpoint, const char *path) {
    STATUS_OR_RETURN(safetensors_open(&checkpoint->files[checkpoint->file_count], path, &checkpoint->allocator));
    checkpoint->file_count++;
    return CLMLA_OK;
}

static clmla_status make_room(clmla_checkpoint *checkpoint, size_t files) {
    checkpoint->files = host_allocate(&checkpoint->allocator, files, sizeof *checkpoint->files);
    checkpoint->file_capacity = files;
    return checkpoint->files ? CLMLA_OK
                             : host_fail(NULL, CLMLA_E_MEMORY, 0, "checkpoint: no memory for %zu files", files);
}

// A shard is named by a plain file name: an index cannot lead out of its folder.
static bool is_plain_name(const char *name) {
    return name[0] != '\0' && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && !strpbrk(name, "/\\:");
}

static int by_text(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

// The different shards of a weight_map, sorted: names [*count] point into the JSON.
static clmla_status shard_names(const char **names, size_t *count, const cJSON *map, const char *file) {
    size_t all = 0;
    for (const cJSON *item = map->child; item; item = item->next) {
        if (!cJSON_IsString(item) || !is_plain_name(item->valuestring))
            return host_fail(NULL, CLMLA_E_FORMAT, 0,
                             "%s: weight_map: %.200s: its shard is not named by a plain file name", file, item->string);
        names[all++] = item->valuestring;
    }
    qsort(names, all, sizeof *names, by_text);
    *count = 0;
    for (size_t i = 0; i < all; i++)
        if (i == 0 || strcmp(names[i], names[i - 1]) != 0) names[(*count)++] = names[i];
    return CLMLA_OK;
}

static clmla_status add_shards(clmla_checkpoint *checkpoint, const char *folder, const cJSON *map, const char *file) {
    size_t entries = 0, count = 0;
    char path[PATH_BYTES];
    clmla_status status = CLMLA_OK;
    for (const cJSON *item = map->child; item; item = item->next) entries++;
    const char **names = host_allocate(&checkpoint->allocator, entries, sizeof *names);
    if (!names) return host_fail(NULL, CLMLA_E_MEMORY, 0, "%s: no memory for %zu names", file, entries);
    STATUS_OR_OUT(shard_names(names, &count, map, file));
    STATUS_OR_OUT(make_room(checkpoint, count));
    for (size_t i = 0; i < count; i++) {
        STATUS_OR_OUT(join(path, folder, names[i]));
        STATUS_OR_OUT(add_file(checkpoint, path));
    }
out:
    host_release(&checkpoint->allocator, names);
    return status;
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const clmla_tensor *)a)->name, ((const clmla_tensor *)b)->name);
}

static clmla_status collect(clmla_checkpoint *checkpoint) {
    size_t count = 0;
    for (size_t f = 0; f < checkpoint->file_count; f++) count += checkpoint->files[f].count;
    checkpoint->tensors = host_allocate(&checkpoint->allocator, count, sizeof *checkpoint->tensors);
    if (!checkpoint->tensors) return host_fail(NULL, CLMLA_E_MEMORY, 0, "checkpoint: no memory for %zu tensors", count);
    for (size_t f = 0; f < checkpoint->file_count; f++)
        for (size_t i = 0; i < checkpoint->files[f].count; i++)
            checkpoint->tensors[checkpoint->count++] = checkpoint->files[f].tensors[i];
    if (count > 1) qsort(checkpoint->tensors, count, sizeof *checkpoint->tensors, by_name);
    for (size_t i = 1; i < count; i++)
        if (strcmp(checkpoint->tensors[i].name, checkpoint->tensors[i - 1].name) == 0)
            return host_fail(NULL, CLMLA_E_FORMAT, 0, "tensor %.200s stands in %s and in %s",
                             checkpoint->tensors[i].name, checkpoint->tensors[i - 1].file, checkpoint->tensors[i].file);
    return CLMLA_OK;
}

// Every tensor the index promises must be in the shard it names.
static clmla_status check_index(const clmla_checkpoint *checkpoint, const cJSON *map, const char *file) {
    for (const cJSON *item = map->child; item; item = item->next) {
        clmla_tensor tensor;
        const char *shard = NULL;
        if (clmla_checkpoint_find(&tensor, checkpoint, item->string) == CLMLA_OK) shard = strrchr(tensor.file, '/');
        if (!shard || strcmp(shard + 1, item->valuestring) != 0)
            return host_fail(NULL, CLMLA_E_FORMAT, 0, "%s: tensor %.200s is not in %.200s", file, item->string,
                             item->valuestring);
    }
    return CLMLA_OK;
}

static clmla_status open_index(clmla_checkpoint *checkpoint, const char *folder, const char *path) {
    host_map text;
    cJSON *json = NULL;
    clmla_status status = CLMLA_OK;
    STATUS_OR_RETURN(host_map_open(&text, path));
    STATUS_OR_OUT(json_parse_object(&json, text.data ? text.data : "", (size_t)text.bytes, path));
    const cJSON *map = json_field(json, "weight_map");
    if (!cJSON_IsObject(map)) {
        status = host_fail(NULL, CLMLA_E_FORMAT, 0, "%s: weight_map is missing or no object", path);
        goto out;
    }
    STATUS_OR_OUT(add_shards(checkpoint, folder, map, path));
    STATUS_OR_OUT(collect(checkpoint));
    STATUS_OR_OUT(check_index(checkpoint, map, path));
out:
    cJSON_Delete(json);
    host_map_close(&text);
    return status;
}

static clmla_status open_file(clmla_checkpoint *checkpoint, const char *path) {
    STATUS_OR_RETURN(make_room(checkpoint, 1));
    STATUS_OR_RETURN(add_file(checkpoint, path));
    return collect(checkpoint);
}

static clmla_status open_path(clmla_checkpoint *checkpoint, const char *path) {
    char inside[PATH_BYTES];
    if (host_path_what(path) != HOST_PATH_FOLDER) return open_file(checkpoint, path);
    STATUS_OR_RETURN(join(inside, path, "model.safetensors.index.json"));
    if (host_path_what(inside) == HOST_PATH_FILE) return open_index(checkpoint, path, inside);
    STATUS_OR_RETURN(join(inside, path, "model.safetensors"));
    return open_file(checkpoint, inside);
}

clmla_status clmla_checkpoint_open(clmla_checkpoint **out, const char *path, const clmla_allocator *allocator) {
    if (out) *out = NULL;
    if (!out || !path) return host_fail(NULL, CLMLA_E_ARGUMENT, 0, "checkpoint: out or path is NULL");
    clmla_checkpoint *checkpoint = host_allocate(allocator, 1, sizeof *checkpoint);
    if (!checkpoint)
        return host_fail(NULL, CLMLA_E_MEMORY, 0, "checkpoint: no memory for %zu bytes", sizeof *checkpoint);
    if (allocator) checkpoint->allocator = *allocator;
    clmla_status status = open_path(checkpoint, path);
    if (status != CLMLA_OK) clmla_checkpoint_close(&checkpoint);
    *out = checkpoint;
    return status;
}

void clmla_checkpoint_close(clmla_checkpoint **checkpoint) {
    if (!checkpoint || !*checkpoint) return;
    clmla_allocator allocator = (*checkpoint)->allocator;
    for (size_t f = 0; f < (*checkpoint)->file_count; f++) safetensors_close(&(*checkpoint)->files[f]);
    host_release(&allocator, (*checkpoint)->files);
    host_release(&allocator, (*checkpoint)->tensors);
    host_release(&allocator, *checkpoint);
    *checkpoint = NULL;
}

size_t clmla_checkpoint_count(const clmla_checkpoint *checkpoint) {
    return checkpoint ? checkpoint->count : 0;
}

clmla_status clmla_checkpoint_at(clmla_tensor *out, const clmla_checkpoint *checkpoint, size_t index) {
    if (!out || !checkpoint || index >= checkpoint->count)
        return host_fail(NULL, CLMLA_E_ARGUMENT, 0, "checkpoint: there is no tensor %zu of %zu", index,
                         clmla_checkpoint_count(checkpoint));
    *out = checkpoint->tensors[index];
    return CLMLA_OK;
}

static int name_of(const void *name, const void *tensor) {
    return strcmp(name, ((const clmla_tensor *)tensor)->name);
}

clmla_status clmla_checkpoint_find(clmla_tensor *out, const clmla_checkpoint *checkpoint, const char *name) {
    if (!out || !checkpoint || !name)
        return host_fail(NULL, CLMLA_E_ARGUMENT, 0, "checkpoint: out, checkpoint or name is NULL");
    const clmla_tensor *found =
        checkpoint->count ? bsearch(name, checkpoint->tensors, checkpoint->count, sizeof *checkpoint->tensors, name_of)
                          : NULL;
    if (!found)
        return host_fail(NULL, CLMLA_E_TENSOR_MISSING, 0, "%s: there is no tensor %.200s",
                         checkpoint->file_count ? checkpoint->files[0].path : "checkpoint", name);
    *out = *found;
    return CLMLA_OK;
}

// One element at any address.
static float element(const unsigned char *at, clmla_type type) {
    uint16_t narrow;
    float single;
    double wide;
    switch (type) {
    case CLMLA_TYPE_F32:
        memcpy(&single, at, sizeof single);
        return single;
    case CLMLA_TYPE_F64:
        memcpy(&wide, at, sizeof wide);
        return (float)wide;
    case CLMLA_TYPE_F16:
        memcpy(&narrow, at, sizeof narrow);
        return numeric_f16_to_f32(narrow);
    default:
        memcpy(&narrow, at, sizeof narrow);
        return numeric_bf16_to_f32(narrow);
    }
}

clmla_status clmla_tensor_to_f32(float *out, const clmla_tensor *tensor) {
    if (!tensor || (!out && tensor->element_count > 0))
        return host_fail(NULL, CLMLA_E_ARGUMENT, 0, "tensor: out or tensor is NULL");
    if (tensor->type != CLMLA_TYPE_F32 && tensor->type != CLMLA_TYPE_F16 && tensor->type != CLMLA_TYPE_BF16 &&
        tensor->type != CLMLA_TYPE_F64)
        return host_fail(NULL, CLMLA_E_TENSOR_TYPE, 0, "%s: tensor %.200s is %s, expected f32, f16, bf16 or f64",
                         tensor->file, tensor->name, clmla_type_name(tensor->type));
    size_t bytes = clmla_type_bytes(tensor->type);
    for (uint64_t i = 0; i < tensor->element_count; i++)
        out[i] = element((const unsigned char *)tensor->data + i * bytes, tensor->type);
    return CLMLA_OK;
}
