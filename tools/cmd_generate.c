// SPDX-License-Identifier: Apache-2.0
// clmla generate: a whole language model over bytes. The text goes to stdout as it comes, what it cost to stderr.
#include "commands.h"
#include "generation.h"
#include "json_input.h"
#include "json_output.h"
#include "options.h"
#include "stopwatch.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SCORED_FILE_LIMIT (1u << 30)

typedef struct request {
    const char *folder, *prompt, *scored_file, *device, *cache, *compute, *load, *save;
    uint32_t count, page, segment, forks;
    bool json, verbose;
} request;

// What a run found out, whichever of the two things it did.
typedef struct outcome {
    const char *device;
    continuation text;
    score score;
    double startup_seconds;
    model_bytes bytes;
    clmla_program_counts programs;
} outcome;

static options_outcome parse(request *out, int argc, char **argv, failure *failure) {
    *out = (request){.count = 128, .page = 64, .segment = 256, .forks = 1};
    const option table[] = {
        {"--prompt", OPTION_TEXT, &out->prompt, "TEXT", "continue this text", 0, 0},
        {"-n", OPTION_NUMBER, &out->count, "N", "by so many bytes (128)", 1, 1 << 24},
        {"--nll", OPTION_TEXT, &out->scored_file, "FILE", "or: the mean -log p, in nats, of a file's bytes", 0, 0},
        {"--segment", OPTION_NUMBER, &out->segment, "N",
         "cut into segments of so many bytes (256), each from an empty context", 2, 1 << 24},
        {"--save", OPTION_TEXT, &out->save, "FILE",
         "then save the cache of the text so far (of one sequence, also with --fork)", 0, 0},
        {"--load", OPTION_TEXT, &out->load, "FILE",
         "go on with a saved text, in its row format; --prompt, if any, comes behind it", 0, 0},
        {"--fork", OPTION_NUMBER, &out->forks, "N",
         "fork the prompt into so many sequences, which write the same and share its pages (1)", 1, 4096},
        {"--device", OPTION_TEXT, &out->device, "Q", "gpu, cpu, P:D or part of a name; see clmla info", 0, 0},
        {"--cache", OPTION_TEXT, &out->cache, "F",
         "row format: f32 (default; of a saved text its own), f16, bf16, fp8, fp8_flat, fp8_paged, q8, q6, q5, q4", 0,
         0},
        {"--compute", OPTION_TEXT, &out->compute, "C", "exact (default), fast: see clmla info", 0, 0},
        {"--page", OPTION_NUMBER, &out->page, "P", "tokens a page (64); 0 = contiguous", 0, INT32_MAX},
        {"--json", OPTION_FLAG, &out->json, NULL, "one JSON object on stdout, nothing else", 0, 0},
        {"--verbose", OPTION_FLAG, &out->verbose, NULL, "the library's log on stderr", 0, 0},
    };
    const options known = {"generate",
                           "Runs a dense model of DeepSeek-V2's or Llama's form over bytes: the likeliest continuation "
                           "of a prompt, or a file's score.\nMODEL is a folder with config.json and safetensors, such "
                           "as data/tinylm.",
                           "MODEL",
                           &out->folder,
                           table,
                           sizeof table / sizeof table[0]};
    options_outcome outcome = options_parse(&known, argc, argv, failure);
    if (outcome != OPTIONS_GO) return outcome;
    if (!(out->prompt || out->load) == !out->scored_file)
        failure_set(failure, "give either --prompt TEXT or --load FILE, or --nll FILE");
    else if (out->scored_file && (out->save || out->forks > 1))
        failure_set(failure, "--save and --fork are for texts, not for --nll");
    else if (out->prompt && !*out->prompt)
        failure_set(failure, "--prompt is empty: the model needs a byte to start from");
    else
        return OPTIONS_GO;
    return OPTIONS_BAD;
}

static bool is_text(const request *request) {
    return !request->scored_file;
}

// What the attention of models of Llama's form does not have.
static bool check_form(const request *request, const model *model, failure *failure) {
    if (!model->heads.head_count || !(request->load || request->save || request->forks > 1)) return true;
    return failure_set(failure, "%s: --load, --save and --fork are for MLA models, not for Llama's form",
                       request->folder);
}

// Tokens of a text before its first new byte: of the saved one, and of the prompt.
static bool count_start(uint64_t *out, request *request, failure *failure) {
    clmla_cache_file_info info = {0};
    if (request->load && clmla_cache_file_examine(&info, request->load) != CLMLA_OK) return failure_library(failure);
    if (!request->cache) request->cache = request->load ? clmla_row_format_name(info.format) : "f32";
    *out = info.tokens + (request->prompt ? strlen(request->prompt) : 0);
    return true;
}

// Pages of the full ones that all forks share, and of each fork's own.
static uint64_t count_pages(uint64_t start, uint64_t longest, uint32_t page_tokens, uint32_t forks) {
    uint64_t shared = start / page_tokens, all = (longest + page_tokens - 1) / page_tokens;
    return shared + forks * (all - shared);
}

static bool read_cache_choice(model_cache *out, request *request, const clmla_config *config, failure *failure) {
    uint64_t start = 0;
    if (!count_start(&start, request, failure) || !option_row_format(&out->format, request->cache, failure) ||
        !option_compute(&out->compute, request->compute, failure))
        return false;
    uint64_t longest = is_text(request) ? start + request->count : request->segment;
    if (longest > UINT32_MAX || (config->context_tokens > 0 && longest > config->context_tokens))
        return failure_set(failure, "%s: max_position_embeddings is %u, and %s take %llu", request->folder,
                           config->context_tokens, is_text(request) ? "text and -n" : "segments",
                           (unsigned long long)longest);
    out->page_tokens = request->page ? request->page : (uint32_t)longest;
    out->page_count = count_pages(is_text(request) ? start : 0, longest, out->page_tokens, request->forks);
    out->keep_tokens = request->load || request->save;
    return true;
}

static bool score_file(score *out, model *model, const request *request, failure *failure) {
    char *bytes;
    size_t length;
    if (!file_read(&bytes, &length, request->scored_file, SCORED_FILE_LIMIT, failure)) return false;
    bool done = length >= 2 ? generation_score(out, model, (const uint8_t *)bytes, length, request->segment, failure)
                            : failure_set(failure, "%s: %zu bytes: nothing to score", request->scored_file, length);
    free(bytes);
    return done;
}

static double tokens_per_second(const continuation *text) {
    return text->count > 1 && text->decode_seconds > 0 ? (text->count - 1) / text->decode_seconds : 0.0;
}

// Pages these sequences, all of one length, would take if each had its own.
static uint64_t pages_apart(const clmla_cache_usage *usage) {
    return ((uint64_t)usage->longest_sequence + usage->page_tokens - 1) / usage->page_tokens * usage->sequences;
}

// Bytes of used pages for each token a sequence holds, shared ones counted for each.
static double bytes_a_token(const clmla_cache_usage *usage) {
    double used = (double)usage->pages_used * usage->page_tokens * (double)usage->bytes_per_token;
    return usage->tokens > 0 ? used / (double)usage->tokens : 0.0;
}

static void add_text(cJSON *object, const request *request, const outcome *outcome) {
    const clmla_cache_usage *usage = &outcome->text.usage;
    json_add_text(object, "prompt", request->prompt ? request->prompt : "");
    json_add_bytes(object, "text", outcome->text.bytes, outcome->text.count);
    cJSON *tokens = cJSON_AddArrayToObject(object, "tokens");
    for (uint32_t i = 0; i < outcome->text.count; i++)
        cJSON_AddItemToArray(tokens, cJSON_CreateNumber(outcome->text.bytes[i]));
    cJSON_AddNumberToObject(object, "prefill_seconds", outcome->text.prefill_seconds);
    cJSON_AddNumberToObject(object, "decode_seconds", outcome->text.decode_seconds);
    cJSON_AddNumberToObject(object, "tokens_per_second", tokens_per_second(&outcome->text));
    cJSON_AddNumberToObject(object, "sequences", usage->sequences);
    cJSON_AddNumberToObject(object, "cached_tokens", (double)usage->tokens);
    cJSON_AddNumberToObject(object, "page_tokens", usage->page_tokens);
    cJSON_AddNumberToObject(object, "pages_used", (double)usage->pages_used);
    cJSON_AddNumberToObject(object, "pages_shared", (double)usage->pages_shared);
    cJSON_AddNumberToObject(object, "pages_without_sharing", (double)pages_apart(usage));
    cJSON_AddNumberToObject(object, "bytes_per_cached_token", bytes_a_token(usage));
}

static void add_score(cJSON *object, const request *request, const score *score) {
    json_add_text(object, "file", request->scored_file);
    cJSON_AddNumberToObject(object, "segment", request->segment);
    cJSON_AddNumberToObject(object, "segments", (double)score->segments);
    cJSON_AddNumberToObject(object, "scored_bytes", (double)score->scored_bytes);
    cJSON_AddNumberToObject(object, "nll", score->nats);
    cJSON_AddNumberToObject(object, "seconds", score->seconds);
}

static bool print_json(const request *request, const outcome *outcome, failure *failure) {
    cJSON *object = cJSON_CreateObject();
    json_add_text(object, "model", request->folder);
    json_add_text(object, "device", outcome->device);
    json_add_text(object, "cache", request->cache);
    cJSON_AddNumberToObject(object, "page", request->page);
    if (is_text(request))
        add_text(object, request, outcome);
    else
        add_score(object, request, &outcome->score);
    cJSON_AddNumberToObject(object, "startup_seconds", outcome->startup_seconds);
    cJSON_AddNumberToObject(object, "cache_bytes", (double)outcome->bytes.cache);
    cJSON_AddNumberToObject(object, "bytes_per_token", (double)outcome->bytes.token);
    cJSON_AddNumberToObject(object, "mha_bytes_per_token", (double)outcome->bytes.mha_token);
    cJSON *programs = cJSON_AddObjectToObject(object, "programs");
    cJSON_AddNumberToObject(programs, "built", outcome->programs.built);
    cJSON_AddNumberToObject(programs, "loaded", outcome->programs.loaded);
    cJSON_AddNumberToObject(programs, "stored", outcome->programs.stored);
    cJSON_AddNumberToObject(programs, "rejected", outcome->programs.rejected);
    cJSON_AddNumberToObject(programs, "build_seconds", outcome->programs.build_seconds);
    cJSON_AddNumberToObject(programs, "load_seconds", outcome->programs.load_seconds);
    return json_print(object) || failure_memory(failure);
}

static void print_forks(const clmla_cache_usage *usage) {
    fprintf(stderr,
            "%u sequences of the same text: %llu tokens in %llu pages of %u, %llu of them shared; without sharing %llu "
            "pages. %.1f bytes a token\n",
            usage->sequences, (unsigned long long)usage->tokens, (unsigned long long)usage->pages_used,
            usage->page_tokens, (unsigned long long)usage->pages_shared, (unsigned long long)pages_apart(usage),
            bytes_a_token(usage));
}

static void print_text(const request *request, const outcome *outcome) {
    if (is_text(request)) {
        fprintf(stderr, "\n%.1f tokens/s on %s (prompt of %zu bytes in %.3f s)\n", tokens_per_second(&outcome->text),
                outcome->device, request->prompt ? strlen(request->prompt) : (size_t)0, outcome->text.prefill_seconds);
        if (request->forks > 1) print_forks(&outcome->text.usage);
    } else {
        printf("%.6f nats a byte (%.4f bits) over %llu bytes in %llu segments\n", outcome->score.nats,
               outcome->score.nats / log(2.0), (unsigned long long)outcome->score.scored_bytes,
               (unsigned long long)outcome->score.segments);
    }
    fprintf(
        stderr,
        "cache: %llu bytes, %llu a token in %s; multi-head attention would take %llu a token in %s, %.1f times as much\n",
        (unsigned long long)outcome->bytes.cache, (unsigned long long)outcome->bytes.token, request->cache,
        (unsigned long long)outcome->bytes.mha_token, strcmp(request->cache, "f32") == 0 ? "f32" : "f16",
        (double)outcome->bytes.mha_token / (double)outcome->bytes.token);
    fprintf(stderr, "ready after %.2f s; programs: %u built in %.2f s, %u loaded in %.2f s\n", outcome->startup_seconds,
            outcome->programs.built, outcome->programs.build_seconds, outcome->programs.loaded,
            outcome->programs.load_seconds);
}

static bool generate(outcome *out, model *model, const session *session, const model_cache *cache,
                     const request *request, double begin, failure *failure) {
    if (!model_open(model, session, request->folder, cache, failure)) return false;
    out->device = clmla_context_facts(session->context)->name;
    out->startup_seconds = stopwatch_now() - begin;
    writing what = {.prompt = (const uint8_t *)request->prompt,
                    .length = request->prompt ? (uint32_t)strlen(request->prompt) : 0,
                    .count = request->count,
                    .forks = request->forks,
                    .load = request->load,
                    .save = request->save,
                    .stream = request->json ? NULL : stdout};
    bool done = is_text(request) ? generation_continue(&out->text, model, &what, failure)
                                 : score_file(&out->score, model, request, failure);
    out->programs = clmla_context_programs(session->context);
    if (!done || !model_count_bytes(&out->bytes, model, cache->format, failure)) return false;
    if (request->json) return print_json(request, out, failure);
    print_text(request, out);
    return true;
}

int command_generate(int argc, char **argv) {
    double begin = stopwatch_now();
    request request;
    failure failure = {0};
    session session = {0};
    model model = {0};
    model_cache cache = {0};
    outcome outcome = {0};
    options_outcome parsed = parse(&request, argc, argv, &failure);
    if (parsed == OPTIONS_HELP) return EXIT_PASS;
    bool done = parsed == OPTIONS_GO && model_read_config(&model, request.folder, &failure) &&
                check_form(&request, &model, &failure) &&
                (!request.save || file_can_be_written(request.save, &failure)) &&
                read_cache_choice(&cache, &request, &model.config, &failure) &&
                session_open_own(&session, request.device, request.verbose, &failure) &&
                generate(&outcome, &model, &session, &cache, &request, begin, &failure);
    free(outcome.text.bytes);
    model_close(&model);
    session_close(&session);
    return done ? EXIT_PASS : failure_print(&failure, "generate");
}
