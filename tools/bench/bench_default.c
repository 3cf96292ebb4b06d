// SPDX-License-Identifier: Apache-2.0
// The default set: what a reader compares machines and releases by. Ends within five minutes on two CPU cores once the
// programs are compiled.
#include "bench.h"

const bench_request *bench_default_requests(size_t *count) {
    static const bench_request requests[] = {
        // One token against every row format, with the heads of DeepSeek-V3 and of V2-Lite: exact, and rounded for dot
        // products or matrix units where the device has them.
        {.op = "attend", .format = "all", .heads = "128,16", .tokens = "4096,16384"},
        {.op = "attend", .format = "all", .heads = "128,16", .tokens = "4096,16384", .compute = "fast"},
        // Few heads: bound by reading.
        {.op = "attend", .heads = "1,2,4,8,12,20,40,64"},
        // The second cache is larger than most last-level caches.
        {.op = "attend", .heads = "1,4,8", .tokens = "16384"},
        {.op = "attend", .heads = "1,4,16", .tokens = "16384", .batch = "8"},
        {.op = "attend", .heads = "128,16", .tokens = "65536"},
        // Several new tokens, as speculative decoding has them.
        {.op = "attend", .heads = "128,16", .query_tokens = "2,4,8"},
        {.op = "attend", .heads = "128", .page = "1,16"},
        {.op = "attend", .heads = "16", .page = "0,1,16"},
        {.op = "attend_mixed", .heads = "128,16", .tokens = "8192", .batch = "16"},
        {.op = "attend_mixed", .heads = "128,16", .batch = "64"},
        {.op = "project,absorb,output", .format = "bf16,f16", .heads = "128,16", .batch = "1,2,4,8,64"},
        {.op = "append", .format = "all", .batch = "8"},
        {.op = "gather", .format = "all"},
        {.op = "merge", .batch = "8"},
        {.op = "layer,layer_replayed", .heads = "128,16", .batch = "1,8", .weights = "bf16"},
        {.op = "layer,layer_replayed", .heads = "128,16", .batch = "1,8", .weights = "f16"},
        {.op = "attend_heads", .heads = "16", .tokens = "1024"},
        // A prompt, as the plan chooses and either way.
        {.op = "prefill,prefill_absorbed,prefill_reconstructed", .heads = "16"},
    };
    *count = sizeof requests / sizeof requests[0];
    return requests;
}
