// SPDX-License-Identifier: Apache-2.0
// clmla verify: attention layers against what an independent implementation computed.
#include "commands.h"
#include "info_variants.h"
#include "json_output.h"
#include "options.h"
#include "verify_run.h"
#include <stdio.h>
#include <stdlib.h>

typedef struct request {
    const char *folder, *config, *device, *cache, *compute, *prefill, *rope_order, *weights;
    uint32_t chunk, page;
    bool json, verbose;
} request;

static options_outcome parse(request *out, int argc, char **argv, failure *failure) {
    *out = (request){.cache = "f32", .weights = "as-stored", .chunk = 1, .page = 16};
    const option table[] = {
        {"--device", OPTION_TEXT, &out->device, "Q", "gpu, cpu, P:D or part of a name; see clmla info", 0, 0},
        {"--cache", OPTION_TEXT, &out->cache, "F",
         "row format: f32 (default), f16, bf16, fp8, fp8_flat, fp8_paged, q8, q6, q5, q4", 0, 0},
        {"--compute", OPTION_TEXT, &out->compute, "C", "exact (default), fast: see clmla info", 0, 0},
        {"--prefill", OPTION_TEXT, &out->prefill, "P",
         "how a step's tokens are attended: auto (default), absorbed, reconstructed", 0, 0},
        {"--chunk", OPTION_NUMBER, &out->chunk, "N", "tokens of each sequence a step (1); 0 = all at once", 0,
         INT32_MAX},
        {"--page", OPTION_NUMBER, &out->page, "P", "tokens a page (16); 0 = contiguous, a page a sequence", 0,
         INT32_MAX},
        {"--rope-order", OPTION_TEXT, &out->rope_order, "O",
         "order of k_pe in the cache: interleaved, halves; default: the model's", 0, 0},
        {"--weights", OPTION_TEXT, &out->weights, "W", "as-stored (default), f32, f16, bf16", 0, 0},
        {"--config", OPTION_TEXT, &out->config, "FILE", "a config.json other than the folder's", 0, 0},
        {"--json", OPTION_FLAG, &out->json, NULL, "one JSON object on stdout", 0, 0},
        {"--verbose", OPTION_FLAG, &out->verbose, NULL, "also why not another kernel, and the library's log on stderr",
         0, 0},
    };
    const options known = {
        "verify",
        "Runs the attention layers of a reference case and compares outputs and cached rows with "
        "it. CASE is a folder\nwith config.json, model.safetensors and what another implementation "
        "computed, such as tests/data/c_v2lite_dims.\nExit code: 0 within the limits, 1 not, 2 could not run.",
        "CASE",
        &out->folder,
        table,
        sizeof table / sizeof table[0]};
    return options_parse(&known, argc, argv, failure);
}

static bool read_choice(verify_choice *out, const request *request, const reference_case *reference, failure *failure) {
    *out = (verify_choice){
        .rope_order = reference->config.rope_order, .chunk = request->chunk, .page_tokens = request->page};
    return option_row_format(&out->format, request->cache, failure) &&
           option_compute(&out->compute, request->compute, failure) &&
           option_prefill(&out->prefill, request->prefill, failure) &&
           option_weights(&out->weights, request->weights, failure) &&
           (!request->rope_order || option_rope_order(&out->rope_order, request->rope_order, failure));
}

static bool layer_passes(const verify_layer *layer, clmla_row_format format, clmla_compute compute) {
    double rows = verify_rows_bar(format); // a NaN fails every comparison
    return layer->output.rel_l2 <= verify_output_bar(format, compute) && layer->latent.rel_l2 <= rows &&
           layer->k_pe.rel_l2 <= rows;
}

static void add_difference(cJSON *layer, const char *name, difference difference) {
    cJSON *object = cJSON_AddObjectToObject(layer, name);
    cJSON_AddNumberToObject(object, "max_abs", difference.max_abs);
    cJSON_AddNumberToObject(object, "rel_l2", difference.rel_l2);
    cJSON_AddNumberToObject(object, "max_abs_over_peak", difference.max_abs_over_peak);
}

static bool print_json(const request *request, const char *device, const verify_layer *layers, uint32_t count,
                       const verify_way *way, bool pass, failure *failure) {
    cJSON *object = cJSON_CreateObject();
    json_add_text(object, "device", device);
    json_add_text(object, "cache", request->cache);
    if (request->compute) json_add_text(object, "compute", request->compute);
    if (request->prefill) json_add_text(object, "prefill", request->prefill);
    cJSON_AddStringToObject(object, "attend_variant", way->attend_variant);
    cJSON_AddNumberToObject(object, "reconstructed_tokens", (double)way->reconstructed);
    cJSON_AddNumberToObject(object, "chunk", request->chunk);
    cJSON_AddNumberToObject(object, "page", request->page);
    cJSON *list = cJSON_AddArrayToObject(object, "layers");
    for (uint32_t i = 0; i < count; i++) {
        cJSON *layer = cJSON_CreateObject();
        cJSON_AddNumberToObject(layer, "layer", i);
        add_difference(layer, "output", layers[i].output);
        add_difference(layer, "latent", layers[i].latent);
        add_difference(layer, "k_pe", layers[i].k_pe);
        cJSON_AddItemToArray(list, layer);
    }
    cJSON_AddBoolToObject(object, "pass", pass);
    return json_print(object) || failure_memory(failure);
}

static void print_difference(const char *name, difference difference, double bar) {
    printf("    %-7s max_abs %.2e   max_abs/peak %.2e   rel_l2 %.2e   limit %.1e   %s\n", name, difference.max_abs,
           difference.max_abs_over_peak, difference.rel_l2, bar, difference.rel_l2 <= bar ? "ok" : "DIFFERS");
}

// The kernel, and why not another one.
static void print_variants(const session *session, const reference_case *reference, const verify_choice *choice) {
    const clmla_config *config = &reference->config;
    clmla_shape shape = {.format = choice->format,
                         .latent_dim = config->kv_lora_rank,
                         .rope_dim = config->qk_rope_head_dim,
                         .head_count = config->head_count,
                         .query_tokens = verify_step_tokens(reference, choice),
                         .compute = choice->compute};
    clmla_variant variants[INFO_VARIANTS_LISTED];
    size_t count = 0;
    char text[1024];
    if (clmla_variant_list_tried(variants, INFO_VARIANTS_LISTED, &count, session->context, CLMLA_OP_ATTEND, &shape) !=
        CLMLA_OK)
        return;
    info_variants_text(text, sizeof text, variants, count < INFO_VARIANTS_LISTED ? count : INFO_VARIANTS_LISTED);
    printf("  attend: %s\n", text);
}

static void print_text(const request *request, const session *session, const reference_case *reference,
                       const verify_layer *layers, const verify_choice *choice, const verify_way *way, bool pass) {
    clmla_row_format format = choice->format;
    const char *device = clmla_context_facts(session->context)->name;
    printf("%s on %s\n", request->folder, device);
    printf("%u sequence%s of %u tokens, ", reference->sequence_count, reference->sequence_count == 1 ? "" : "s",
           reference->token_count);
    if (request->chunk)
        printf("%u a step; ", request->chunk);
    else
        printf("all in one step; ");
    if (request->page)
        printf("cache %s in pages of %u tokens", request->cache, request->page);
    else
        printf("cache %s, contiguous", request->cache);
    printf(", %s compute, attention by the kernel \"%s\"\n", clmla_compute_name(choice->compute), way->attend_variant);
    if (request->verbose) print_variants(session, reference, choice);
    if (way->reconstructed)
        printf("  %llu tokens attended by reconstructed keys\n", (unsigned long long)way->reconstructed);
    for (uint32_t i = 0; i < reference->layer_count; i++) {
        printf("  layer %u\n", i);
        print_difference("output", layers[i].output, verify_output_bar(format, choice->compute));
        print_difference("latent", layers[i].latent, verify_rows_bar(format));
        print_difference("k_pe", layers[i].k_pe, verify_rows_bar(format));
    }
    printf("%s\n", pass ? "pass: the layers agree with the reference" : "FAIL: the layers differ from the reference");
}

static bool verify(bool *pass, const request *request, const session *session, const reference_case *reference,
                   failure *failure) {
    verify_choice choice;
    if (!read_choice(&choice, request, reference, failure)) return false;
    verify_layer *layers = calloc(reference->layer_count, sizeof *layers);
    if (!layers) return failure_memory(failure);
    const char *device = clmla_context_facts(session->context)->name;
    verify_way way;
    bool done = verify_run(layers, &way, session, reference, &choice, failure);
    if (done) {
        *pass = true;
        for (uint32_t i = 0; i < reference->layer_count; i++)
            *pass = *pass && layer_passes(&layers[i], choice.format, choice.compute);
        if (request->json)
            done = print_json(request, device, layers, reference->layer_count, &way, *pass, failure);
        else
            print_text(request, session, reference, layers, &choice, &way, *pass);
    }
    free(layers);
    return done;
}

int command_verify(int argc, char **argv) {
    request request;
    failure failure = {0};
    session session = {0};
    reference_case reference = {0};
    bool pass = false;
    options_outcome outcome = parse(&request, argc, argv, &failure);
    if (outcome == OPTIONS_HELP) return EXIT_PASS;
    bool done = outcome == OPTIONS_GO && reference_case_open(&reference, request.folder, request.config, &failure) &&
                session_open(&session, request.device, request.verbose, &failure) &&
                verify(&pass, &request, &session, &reference, &failure);
    reference_case_close(&reference);
    session_close(&session);
    if (!done) return failure_print(&failure, "verify");
    return pass ? EXIT_PASS : EXIT_DIFFERS;
}
