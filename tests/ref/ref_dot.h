// SPDX-License-Identifier: Apache-2.0
// Instructions of x86 CPUs with AVX-512 and AMX, one word at a time, after Intel's description of them.
#ifndef REF_DOT_H
#define REF_DOT_H

#include <stdint.h>

uint32_t ref_vpdpbusd(uint32_t sum, uint32_t a, uint32_t b);
uint32_t ref_vdpbf16ps(uint32_t sum, uint32_t a, uint32_t b);
// Both halves of a word.
uint32_t ref_vpmulhrsw(uint32_t a, uint32_t b);
// A float to a bf16.
uint16_t ref_bf16(uint32_t value);
// Of tiles of 16 x 16 words.
void ref_tdpbf16ps(uint32_t *sums, const uint32_t *a, const uint32_t *b);

#endif
