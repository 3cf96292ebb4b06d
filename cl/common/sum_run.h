// SPDX-License-Identifier: Apache-2.0
// Attend's sums over long contexts, in two levels. Blocks of few keys, added one after the other, lose what a value has
// behind the sums of all before (by 131072 keys in one piece up to 7e-6 of a row's largest, where exact compute may be
// off by 2e-6). So sums of exact compute are made over runs of blocks, and each but the last is added to the plan's
// sums, which are in memory. One text for kernels and for the host, which has to know what room that takes. (Bounding
// the keys of a piece instead, for merge to add the levels, would need a state a row for each bound: gigabytes for the
// thousands of query tokens of a long prompt, where runs need a row for each of the parts' own.)
#ifndef CL_COMMON_SUM_RUN_H
#define CL_COMMON_SUM_RUN_H

#define SUM_RUN_KEYS 1024 // at least: a piece that has no more is one run
// Blocks of a run.
#define SUM_RUN_BLOCKS(block_keys) ((SUM_RUN_KEYS + (block_keys)-1) / (block_keys))
// Floats of a row in the plan's sums: whole tiles of columns.
#define SUM_RUN_COLUMNS(value_dim) (((value_dim) + 15) / 16 * 16)

#endif
