// SPDX-License-Identifier: Apache-2.0
// The one table through which every OpenCL call of the library goes. A test puts a table of its own in a context to
// make any call fail; nothing else replaces it.
#ifndef HOST_CALLS_H
#define HOST_CALLS_H

#include <clmla/opencl.h>

// One member per OpenCL function used, named without its "cl", with the type of its prototype.
// clang-format off
#define HOST_CALLS_LIST(X)                                                                                            \
    X(GetPlatformIDs) X(GetPlatformInfo) X(GetDeviceIDs) X(GetDeviceInfo)                                             \
    X(CreateContext) X(RetainContext) X(ReleaseContext) X(GetContextInfo)                                             \
    X(CreateCommandQueue) X(RetainCommandQueue) X(ReleaseCommandQueue)                                                \
    X(GetCommandQueueInfo) X(Flush) X(Finish)                                                                         \
    X(CreateProgramWithSource) X(CreateProgramWithBinary) X(BuildProgram) X(GetProgramInfo)                           \
    X(GetProgramBuildInfo) X(ReleaseProgram)                                                                          \
    X(CreateKernel) X(SetKernelArg) X(ReleaseKernel)                                                                  \
    X(CreateBuffer) X(ReleaseMemObject) X(GetMemObjectInfo)                                                           \
    X(EnqueueMapBuffer) X(EnqueueUnmapMemObject)                                                                      \
    X(EnqueueNDRangeKernel) X(EnqueueWriteBuffer) X(EnqueueReadBuffer)                                                \
    X(EnqueueMarkerWithWaitList) X(EnqueueBarrierWithWaitList)                                                        \
    X(RetainEvent) X(ReleaseEvent) X(WaitForEvents) X(GetEventInfo) X(SetEventCallback)                               \
    X(GetEventProfilingInfo) X(GetExtensionFunctionAddressForPlatform)
// clang-format on

typedef struct host_calls {
#define HOST_CALLS_MEMBER(name) __typeof__(&cl##name) name;
    HOST_CALLS_LIST(HOST_CALLS_MEMBER)
#undef HOST_CALLS_MEMBER
} host_calls;

// The driver's own functions. A constant.
const host_calls *host_calls_default(void);

#endif
