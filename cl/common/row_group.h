// SPDX-License-Identifier: Apache-2.0
// Local memory of the kernels that store a row by a group (row_store_group.clh): the row's values as f32, then what the
// format's encoder works with, in words of 4 bytes.
#ifndef CL_COMMON_ROW_GROUP_H
#define CL_COMMON_ROW_GROUP_H

#define ROW_GROUP_UNITS(latent, rope) (((latent) + 31) / 32 + ((rope) + 31) / 32)
#define ROW_GROUP_UNIT_WORDS 68
#define ROW_GROUP_WORDS(latent, rope, group)                                                                           \
    ((latent) + (rope) + ROW_GROUP_UNITS(latent, rope) * ROW_GROUP_UNIT_WORDS + 2 * (group))

#endif
