// SPDX-License-Identifier: Apache-2.0
// The default set: what a reader compares machines and releases by. Ends within five minutes on two CPU cores once the
// programs are compiled.
#include "bench.h"

const bench_request *bench_default_requests(size_t *count) {
    static const bench_request requests[] = {
        // One token against every row format, with the heads of DeepSeek-V3 and of V2-Lite.
        {.op = "attend", .format = "all", .heads = "128,16", .tokens = "4096,16384"},
        // Rounded for dot products, where the device has them.
        {.op = "attend", .format = "bf16,q8", .heads = "128,16", .tokens = "4096,16384", .compute = "fast"},
        // Several new tokens, as speculative decoding has them.
        {.op = "attend", .tokens = "4096", .query_tokens = "2,4,8"},
        // Few heads: bound by reading. The second cache is larger than most last-level caches.
        {.op = "attend", .heads = "1,4,8", .tokens = "16384"},
        {.op = "attend", .heads = "1,4,16", .tokens = "16384", .batch = "8"},
        {.op = "attend", .tokens = "4096", .page = "1,16"},
        {.op = "project", .batch = "1,2,4,8"}, // 72 MiB of weights
        {.op = "output", .batch = "1,8"},      // 240 MiB
        {.op = "absorb", .batch = "1,8"},
        {.op = "append", .format = "all", .batch = "8"},
        {.op = "gather", .format = "all"},
        {.op = "merge", .heads = "128", .batch = "8"},
        {.op = "layer,layer_replayed", .heads = "128,16"},
        {.op = "layer", .heads = "128", .batch = "8"},
        {.op = "attend_heads", .heads = "16", .tokens = "1024"},
        // A prompt, as the plan chooses and either way.
        {.op = "prefill,prefill_absorbed,prefill_reconstructed", .heads = "16"},
        {.op = "attend_mixed", .heads = "128,16", .tokens = "8192", .batch = "16"},
    };
    *count = sizeof requests / sizeof requests[0];
    return requests;
}
