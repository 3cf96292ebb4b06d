// SPDX-License-Identifier: Apache-2.0
// The one table of driver faults that clmla works around or warns of.
#ifndef HOST_QUIRK_H
#define HOST_QUIRK_H

#include <clmla/device.h>

// The bits of clmla_quirk that a device's names match.
uint32_t host_quirks_of(const clmla_device_facts *facts);

#endif
