// SPDX-License-Identifier: Apache-2.0
// The kernel programs of cl/, embedded at build time: one per file.
#ifndef LIB_KERNELS_H
#define LIB_KERNELS_H

#include "host/source.h"

extern const host_source clmla_source_project_naive, clmla_source_project_vector, clmla_source_project_vector_many;
extern const host_source clmla_source_rms_norm_naive, clmla_source_rms_norm_vector;
extern const host_source clmla_source_rope_naive, clmla_source_rope_vector;
extern const host_source clmla_source_append_naive, clmla_source_append_vector;
extern const host_source clmla_source_absorb_naive, clmla_source_absorb_vector;
extern const host_source clmla_source_attend_naive, clmla_source_attend_vector, clmla_source_attend_int8_dot;
extern const host_source clmla_source_attend_bf16_dot, clmla_source_attend_amx;
extern const host_source clmla_source_attend_queries, clmla_source_attend_merge, clmla_source_attend_tile;
extern const host_source clmla_source_attend_matrix;
extern const host_source clmla_source_merge_naive, clmla_source_merge_vector;
extern const host_source clmla_source_plan_naive;
extern const host_source clmla_source_output_naive, clmla_source_output_vector;
extern const host_source clmla_source_gather_naive, clmla_source_gather_vector;
extern const host_source clmla_source_convert_rows_naive, clmla_source_convert_rows_vector;
extern const host_source clmla_source_copy_pages_naive, clmla_source_copy_pages_vector;
extern const host_source clmla_source_move_rows_naive, clmla_source_move_rows_vector;
extern const host_source clmla_source_shift_naive, clmla_source_shift_vector;

#endif
