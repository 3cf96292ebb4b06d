// SPDX-License-Identifier: Apache-2.0
// CL_DEVICE_VENDOR_ID, which is the vendor's number on PCI.
#ifndef HOST_VENDORS_H
#define HOST_VENDORS_H

#define VENDOR_AMD 0x1002u
#define VENDOR_INTEL 0x8086u
#define VENDOR_NVIDIA 0x10deu

#endif
