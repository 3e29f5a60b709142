// Memory of the device and of the host.  What is new holds NaN; what lies behind it is forbidden.

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <string>

#include "driver.h"

namespace {

enum Kind { HOST_TO_DEVICE = 1, DEVICE_TO_HOST = 2, DEVICE_TO_DEVICE = 3 };
constexpr size_t PAGE = 4096;

std::map<const char*, size_t> on_device, pinned;  // where, how many bytes
size_t used = 0;

size_t total() {
    static const char* mebibytes = getenv("DRIVER_MEBIBYTES");
    return (mebibytes ? atol(mebibytes) : 6000L) << 20;
}

size_t pages(size_t size) { return (size + PAGE - 1) / PAGE * PAGE; }

bool within(const std::map<const char*, size_t>& blocks, const void* place) {
    auto next = blocks.upper_bound((const char*)place);
    if (next == blocks.begin()) return false;
    auto block = std::prev(next);
    return (const char*)place < block->first + block->second;
}

}  // namespace

API int cudaMalloc(void** result, size_t size) {
    Lock lock;
    if (breaks_captures()) return failed(CAPTURE_UNSUPPORTED);
    if (size > total() - used) return failed(OUT_OF_MEMORY);
    char* place = (char*)mmap(nullptr, pages(size) + PAGE, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(place + pages(size), PAGE, PROT_NONE);
    memset(place, 0xff, size);
    on_device[place] = size;
    used += size;
    *result = place;
    return SUCCESS;
}

API int cudaFree(void* place) {
    Lock lock;
    if (!place) return SUCCESS;
    if (breaks_captures()) return failed(CAPTURE_UNSUPPORTED);
    auto block = on_device.find((char*)place);
    if (block == on_device.end()) return failed(INVALID_VALUE);
    await_all(__func__);
    munmap(place, pages(block->second) + PAGE);
    used -= block->second;
    on_device.erase(block);
    return SUCCESS;
}

API int cudaHostAlloc(void** result, size_t size, unsigned) {
    Lock lock;
    if (breaks_captures()) return failed(CAPTURE_UNSUPPORTED);
    *result = aligned_alloc(PAGE, pages(size));
    memset(*result, 0xff, size);
    pinned[(char*)*result] = size;
    return SUCCESS;
}

API int cudaFreeHost(void* place) {
    Lock lock;
    await_all(__func__);
    pinned.erase((char*)place);
    free(place);
    return SUCCESS;
}

API int cudaMemGetInfo(size_t* free, size_t* all) {
    Lock lock;
    *all = total();
    *free = total() - used;
    return SUCCESS;
}

API int cudaMemcpyAsync(void* to, const void* from, size_t size, int kind, Stream* stream) {
    Lock lock;
    bool to_device = within(on_device, to), from_device = within(on_device, from);
    if (!size) return SUCCESS;
    if ((kind == HOST_TO_DEVICE && (!to_device || from_device)) ||
        (kind == DEVICE_TO_HOST && (to_device || !from_device)) ||
        (kind == DEVICE_TO_DEVICE && !(to_device && from_device))) {
        return failed(INVALID_VALUE);
    }
    bool pageable = !(to_device || within(pinned, to)) || !(from_device || within(pinned, from));
    if (pageable && breaks_capture(stream)) return failed(CAPTURE_UNSUPPORTED);
    if (pageable && !from_device) {  // CUDA has copied it when it returns
        auto copy = std::make_shared<std::string>((const char*)from, size);
        return enqueue(stream, [=] { memcpy(to, copy->data(), size); });
    }
    if (Status status = enqueue(stream, [=] { memmove(to, from, size); })) return status;
    if (pageable) await(stream, __func__);
    return SUCCESS;
}

API int cudaMemcpy(void* to, const void* from, size_t size, int kind) {
    Lock lock;
    if (breaks_captures()) return failed(CAPTURE_IMPLICIT);
    await(nullptr, __func__);
    return cudaMemcpyAsync(to, from, size, kind, nullptr);
}

API int cudaMemsetAsync(void* to, int value, size_t size, Stream* stream) {
    Lock lock;
    return enqueue(stream, [=] { memset(to, value, size); });
}

API int cudaMemset(void* to, int value, size_t size) {
    return cudaMemsetAsync(to, value, size, nullptr);
}

struct Attributes {
    int type, device;
    const void *on_device, *on_host;
};

API int cudaPointerGetAttributes(Attributes* found, const void* place) {
    Lock lock;
    bool here = within(on_device, place);
    *found = {here ? 2 : 0, here ? 0 : -2, here ? place : nullptr, here ? nullptr : place};
    return SUCCESS;
}
