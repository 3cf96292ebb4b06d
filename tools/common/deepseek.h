// SPDX-License-Identifier: Apache-2.0
// DeepSeek's dimensions, which commands take where none are named.
#ifndef TOOLS_DEEPSEEK_H
#define TOOLS_DEEPSEEK_H

// A cached row. V2, V2-Lite and V3, and most of their relatives.
#define DEEPSEEK_LATENT_DIM 512
#define DEEPSEEK_ROPE_DIM 64
// Of a head's keys, beside the rotary elements, and of its values: what a prompt's latents are rebuilt to.
#define DEEPSEEK_NOPE_DIM 128
#define DEEPSEEK_VALUE_DIM 128
// DeepSeek-V2's alone.
#define DEEPSEEK_V2_HEADS 128
#define DEEPSEEK_V2_HIDDEN 5120
#define DEEPSEEK_V2_Q_LORA 1536

#endif
