// SPDX-License-Identifier: Apache-2.0
// How attend_int8_dot's queries are packed: for each group of 32 columns of a tile of 16 rows, in words of 4 bytes,
//   8 * 16 words   row r's signed codes of columns 4s .. 4s + 3 at word 16s + r
//   16 f32         their scales
//   16 int         -128 times the sum of a row's codes: keys are dotted as code + 128
// The latent part has whole groups; the rope part's last group is filled up with zeros.
#ifndef CL_COMMON_INT8_CALL_H
#define CL_COMMON_INT8_CALL_H

#define INT8_GROUP 32
#define INT8_STEPS 8 // words of a row's codes in a group
#define INT8_ROWS 16 // of a tile
#define INT8_GROUP_WORDS ((INT8_STEPS + 2) * INT8_ROWS)

#endif
