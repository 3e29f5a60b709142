// What a kernel in CUDA C++ finds when it is compiled as C++ for the host.

#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <limits>
#include <tuple>
#include <type_traits>
#include <utility>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __restrict__ __restrict
#define __constant__ static
#define __shared__ static  // one block at a time

using std::abs, std::ceil, std::exp, std::floor, std::fmod, std::isfinite, std::isinf, std::isnan;
using std::log, std::log1p, std::pow, std::round, std::signbit, std::sqrt, std::tanh;

struct uint3 { unsigned x, y, z; };
struct dim3 { unsigned x, y, z; };

extern "C" {
extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;
void driver_barrier();       // of a block's threads
void driver_warp_barrier();  // of a warp's
int driver_lane();
void* driver_slot(int lane);  // 16 bytes of a thread of the warp, for the others
void* driver_dynamic();       // the block's dynamic shared memory
}

static const int warpSize = 32;
inline void __syncthreads() { driver_barrier(); }
inline void __syncwarp(unsigned = ~0u) { driver_warp_barrier(); }
inline void __threadfence() {}

template <class T>
T driver_exchange(T value, int from) {
    static_assert(sizeof value <= 16);
    memcpy(driver_slot(driver_lane()), &value, sizeof value);
    driver_warp_barrier();
    memcpy(&value, driver_slot(from), sizeof value);
    driver_warp_barrier();
    return value;
}

// Lanes are exchanged within groups of `width`; one from elsewhere is the thread's own.
template <class T>
T driver_exchange(T value, int from, int width) {
    int lane = driver_lane();
    bool near = from >= 0 && from < 32 && from / width == lane / width;
    return driver_exchange(value, near ? from : lane);
}

template <class T>
T __shfl_sync(unsigned, T value, int from, int width = 32) {
    return driver_exchange(value, driver_lane() / width * width + from % width);
}

template <class T>
T __shfl_xor_sync(unsigned, T value, int mask, int width = 32) {
    return driver_exchange(value, driver_lane() ^ mask, width);
}

template <class T>
T __shfl_down_sync(unsigned, T value, int delta, int width = 32) {
    return driver_exchange(value, driver_lane() + delta, width);
}

template <class T>
T __shfl_up_sync(unsigned, T value, int delta, int width = 32) {
    return driver_exchange(value, driver_lane() - delta, width);
}

// No other thread runs meanwhile.
template <class T, class U> T atomicAdd(T* at, U more) { T old = *at; *at = old + more; return old; }
template <class T, class U> T atomicMax(T* at, U other) {
    T old = *at;
    if ((T)other > old) *at = other;
    return old;
}
template <class T> T atomicCAS(T* at, T expected, T value) {
    T old = *at;
    if (old == expected) *at = value;
    return old;
}

template <class To, class From>
To driver_bits(From from) {
    static_assert(sizeof(To) == sizeof(From));
    To to;
    memcpy(&to, &from, sizeof to);
    return to;
}
inline int __float_as_int(float x) { return driver_bits<int>(x); }
inline float __int_as_float(int x) { return driver_bits<float>(x); }
inline long long __double_as_longlong(double x) { return driver_bits<long long>(x); }
inline double __longlong_as_double(long long x) { return driver_bits<double>(x); }
inline unsigned short driver_float16(float x) { return driver_bits<unsigned short>((_Float16)x); }
inline float driver_widened(unsigned short x) { return driver_bits<_Float16>(x); }
inline unsigned short driver_bfloat16(float x) {
    unsigned bits = driver_bits<unsigned>(x);
    return x != x ? 0x7fff : (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

// CuPy's float16 is made of CUDA's.
#define __CUDACC_VER_MAJOR__ 12
struct __half_raw { unsigned short x; };
struct half {
    _Float16 value;
    half() = default;
    template <class T> half(T x) : value((float)x) {}
    half(__half_raw raw) : value(driver_bits<_Float16>(raw.x)) {}
    operator float() const { return value; }
    operator __half_raw() const { return {driver_bits<unsigned short>(value)}; }
};
inline unsigned short __half_as_ushort(half x) { return driver_bits<unsigned short>(x.value); }
inline half __ushort_as_half(unsigned short x) { return __half_raw{x}; }
inline half __float2half_rn(float x) { return x; }
inline float __half2float(half x) { return x; }

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __clz(int x) { return x ? __builtin_clz(x) : 32; }
inline float rsqrt(float x) { return 1 / sqrtf(x); }
inline double rsqrt(double x) { return 1 / std::sqrt(x); }
inline long long clock64() { static long long time; return time += 1000000; }

template <class A, class B>
using driver_number = std::enable_if_t<std::is_arithmetic_v<A> && std::is_arithmetic_v<B>,
                                       std::common_type_t<A, B>>;
template <class A, class B>
driver_number<A, B> max(A a, B b) {  // of a NaN and a number the number, as on a GPU
    if constexpr (std::is_floating_point_v<driver_number<A, B>>) return std::fmax(a, b);
    else return std::max<driver_number<A, B>>(a, b);
}
template <class A, class B>
driver_number<A, B> min(A a, B b) {
    if constexpr (std::is_floating_point_v<driver_number<A, B>>) return std::fmin(a, b);
    else return std::min<driver_number<A, B>>(a, b);
}

// How the driver calls a kernel, learns the sizes of what it takes.
template <class... A, size_t... I>
void driver_call(void (*kernel)(A...), void** arguments, std::index_sequence<I...>) {
    kernel(*(std::remove_reference_t<A>*)arguments[I]...);
}
template <class... A>
void driver_call(void (*kernel)(A...), void** arguments) {
    driver_call(kernel, arguments, std::index_sequence_for<A...>{});
}
template <class... A>
size_t driver_sizes(void (*)(A...), const size_t** sizes) {
    static const size_t each[] = {sizeof(A)..., 0};
    *sizes = each;
    return sizeof...(A);
}
