// Kernels: compiled by the system's C++ compiler in place of NVRTC, run block by block.  The
// threads of a block take turns, each to its next barrier.

#include <dlfcn.h>
#include <elf.h>
#include <immintrin.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "driver.h"
#include "kernel.h"

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace {

constexpr int WARP = 32, MOST_THREADS = 1024, STACK = 1 << 16, MOST_SHARED = 232448;
constexpr unsigned FLUSH = 0x8040;  // numbers below the smallest normal ones are 0: CuPy's -ftz=true

struct Thread {
    void* stack;  // where it left off
    bool done;
    uint3 place;
};

struct Barrier {
    int members = 0, arrived = 0;
    unsigned passed = 0;

    bool complete() { return members && arrived == members; }
    void open() { arrived = 0, passed++; }
    void leave() {
        members--;
        if (complete()) open();
    }
};

std::vector<Thread> threads;
std::vector<char*> stacks;
size_t current;
void* outside;  // the stack that the block was started on
Barrier block;
Barrier warps[MOST_THREADS / WARP];
char slots[MOST_THREADS][16];
alignas(128) char dynamic[MOST_SHARED];
std::function<void()> body;
bool take_turns;

}  // namespace

// Save this stack's pointer, go on with the other.
extern "C" void driver_switch(void** from, void* to);
#if defined(__x86_64__)
asm(R"(
.globl driver_switch
driver_switch:
    pushq %rbp; pushq %rbx; pushq %r12; pushq %r13; pushq %r14; pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15; popq %r14; popq %r13; popq %r12; popq %rbx; popq %rbp
    ret
)");
#else
#error "threads of a block are written for x86-64"
#endif

namespace {

void next_thread() {
    size_t from = current;
    for (size_t k = 1; k <= threads.size(); k++) {
        size_t to = (from + k) % threads.size();
        if (threads[to].done) continue;
        current = to;
        threadIdx = threads[to].place;
        if (to != from) driver_switch(&threads[from].stack, threads[to].stack);
        return;
    }
    driver_switch(&threads[from].stack, outside);
}

void wait_at(Barrier& barrier) {
    if (!take_turns) {
        fprintf(stderr, "a barrier in a kernel that was taken for one without\n");
        abort();
    }
    unsigned passed = barrier.passed;
    barrier.arrived++;
    if (barrier.complete()) barrier.open();
    while (barrier.passed == passed) next_thread();
}

void thread_main() {
    body();
    threads[current].done = true;
    block.leave();
    warps[current / WARP].leave();
    next_thread();
}

uint3 place(unsigned i) {
    return {i % blockDim.x, i / blockDim.x % blockDim.y, i / blockDim.x / blockDim.y};
}

void run_block() {
    unsigned count = blockDim.x * blockDim.y * blockDim.z;
    if (!take_turns) {
        for (unsigned i = 0; i < count; i++) {
            threadIdx = place(i);
            body();
        }
        return;
    }
    threads.clear();
    block = {(int)count};
    std::fill(std::begin(warps), std::end(warps), Barrier{});
    for (unsigned i = 0; i < count; i++) {
        warps[i / WARP].members++;
        if (stacks.size() <= i) {
            stacks.push_back((char*)mmap(nullptr, STACK, PROT_READ | PROT_WRITE,
                                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
        }
        void** top = (void**)(stacks[i] + STACK - 64);
        *--top = nullptr;
        *--top = (void*)thread_main;
        for (int k = 0; k < 6; k++) *--top = nullptr;
        threads.push_back({top, false, place(i)});
    }
    current = 0;
    threadIdx = threads[0].place;
    driver_switch(&outside, threads[0].stack);
}

struct Function {
    void (*call)(void**);
    std::vector<size_t> sizes;
    bool has_barriers;
};

struct Arguments {  // as they were at the launch
    std::vector<std::unique_ptr<char, decltype(&free)>> values;
    std::vector<void*> places;

    void add(const void* value, size_t size) {
        values.emplace_back((char*)aligned_alloc(64, (size + 63) / 64 * 64), &free);
        memcpy(values.back().get(), value, size);
        places.push_back(values.back().get());
    }
};

// CUDA's assembly in our kernels, in C++.
const std::pair<const char*, const char*> ASSEMBLY[]{
    {R"(asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y) : "f"(x));)", "y = driver_bfloat16(x);"},
    {R"(asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y) : "f"(x));)", "y = driver_float16(x);"},
    {R"(asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x));)", "y = driver_widened(x);"},
};

struct Program {
    std::string source, log, binary;
};

std::string contents(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
}

// C++ of a kernel's CUDA C++, with what the driver asks of a module.
std::string translated(std::string source) {
    for (auto& [from, to] : ASSEMBLY) {
        for (size_t at; (at = source.find(from)) != std::string::npos;) {
            source.replace(at, strlen(from), to);
        }
    }
    static const std::regex dynamic_array(R"(extern __shared__ ([^;]*?)(\w+)\[\];)");
    static const std::regex barriers("__sync|__shfl"), kernel(R"(__global__\s+void\s+(\w+)\s*\()");
    source = std::regex_replace(source, dynamic_array, "$1* $2 = ($1*)driver_dynamic();");
    std::stringstream out;
    out << "#include \"kernel.h\"\n" << source << "\nextern \"C\" {\n";
    out << "bool driver_has_barriers = " << std::regex_search(source, barriers) << ";\n";
    std::set<std::string> names;
    for (std::sregex_iterator found(source.begin(), source.end(), kernel), end; found != end;) {
        names.insert((*found++)[1]);
    }
    for (auto& name : names) {
        out << "void " << name << "__call(void** arguments) { driver_call(&" << name
            << ", arguments); }\nsize_t " << name << "__sizes(const size_t** sizes) "
            << "{ return driver_sizes(&" << name << ", sizes); }\n";
    }
    out << "}\n";
    return out.str();
}

}  // namespace

API void driver_barrier() { wait_at(block); }
API void driver_warp_barrier() { wait_at(warps[current / WARP]); }
API int driver_lane() { return current % WARP; }
API void* driver_slot(int lane) { return slots[current / WARP * WARP + lane]; }
API void* driver_dynamic() { return dynamic; }

API int cuModuleLoadData(void** result, const void* image) {
    Lock lock;
    auto* header = (const Elf64_Ehdr*)image;
    size_t size = header->e_shoff + (size_t)header->e_shnum * header->e_shentsize;
    std::string path = getenv("DRIVER_FOLDER") + std::string("/kernelXXXXXX");
    int file = mkstemp(path.data());
    if (write(file, image, size) != (ssize_t)size) abort();
    close(file);
    *result = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    unlink(path.c_str());
    return *result ? SUCCESS : INVALID_IMAGE;
}

API int cuModuleUnload(void*) { return SUCCESS; }  // some of its kernels may still be in a graph

API int cuModuleGetFunction(Function** result, void* module, const char* name) {
    Lock lock;
    auto call = (void (*)(void**))dlsym(module, (std::string(name) + "__call").c_str());
    if (!call) return NOT_FOUND;
    auto ask = (size_t(*)(const size_t**))dlsym(module, (std::string(name) + "__sizes").c_str());
    const size_t* sizes;
    size_t count = ask(&sizes);
    bool has_barriers = *(bool*)dlsym(module, "driver_has_barriers");
    *result = new Function{call, {sizes, sizes + count}, has_barriers};
    return SUCCESS;
}

API int cuFuncGetAttribute(int* found, int attribute, Function*) {
    *found = attribute == 0 ? MOST_THREADS : 0;
    return SUCCESS;
}

API int cuFuncSetAttribute(Function*, int, int) { return SUCCESS; }

API int cuLaunchKernel(Function* function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                       unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared,
                       Stream* stream, void** values, void**) {
    Lock lock;
    dim3 grid{grid_x, grid_y, grid_z}, threads{block_x, block_y, block_z};
    size_t count = (size_t)block_x * block_y * block_z;
    if (!count || count > MOST_THREADS || shared > MOST_SHARED) return INVALID_VALUE;
    if (!grid_x || !grid_y || !grid_z || grid_y > 65535 || grid_z > 65535) return INVALID_VALUE;
    auto arguments = std::make_shared<Arguments>();
    for (size_t i = 0; i < function->sizes.size(); i++) {
        arguments->add(values[i], function->sizes[i]);
    }
    return enqueue(stream, [=] {
        gridDim = grid, blockDim = threads;
        body = [&] { function->call(arguments->places.data()); };
        take_turns = function->has_barriers;
        unsigned before = _mm_getcsr();
        _mm_setcsr(before | FLUSH);
        for (blockIdx.z = 0; blockIdx.z < grid.z; blockIdx.z++) {
            for (blockIdx.y = 0; blockIdx.y < grid.y; blockIdx.y++) {
                for (blockIdx.x = 0; blockIdx.x < grid.x; blockIdx.x++) run_block();
            }
        }
        _mm_setcsr(before);
    });
}

API const char* nvrtcGetErrorString(int status) {
    return status ? "NVRTC_ERROR_COMPILATION" : "NVRTC_SUCCESS";
}

API int nvrtcVersion(int* major, int* minor) {
    *major = cuda_version() / 1000, *minor = cuda_version() / 10 % 100;
    return SUCCESS;
}

API int nvrtcGetNumSupportedArchs(int* count) { return *count = 1, SUCCESS; }
API int nvrtcGetSupportedArchs(int* found) { return *found = 90, SUCCESS; }

API int nvrtcCreateProgram(Program** result, const char* source, const char*, int, const char**,
                           const char**) {
    *result = new Program{source};
    return SUCCESS;
}

API int nvrtcDestroyProgram(Program** program) {
    delete *program;
    *program = nullptr;
    return SUCCESS;
}

API int nvrtcCompileProgram(Program* program, int count, const char** options) {
    constexpr int FAILED = 6;
    std::string folder = getenv("DRIVER_FOLDER");
    auto quoted = [](std::string text) { return " '" + text + "'"; };
    std::string command = getenv("DRIVER_COMPILE") + (" -shared" + quoted("-I" + folder));
    command += quoted("-I" + folder + "/include");
    for (int i = 0; i < count; i++) {
        std::string option = options[i];
        // CUDA's headers, where pip has installed them, are not for g++.
        bool of_cuda = option.find("-packages/nvidia/") != option.npos;
        if ((option.rfind("-I", 0) == 0 && !of_cuda) || option.rfind("-D", 0) == 0) {
            command += quoted(option);
        }
    }
    std::string code = translated(program->source);
    size_t key = std::hash<std::string>{}(command + code);
    std::string library = folder + "/" + std::to_string(key) + ".so";
    if (access(library.c_str(), R_OK)) {
        std::string temporary = library + "." + std::to_string(getpid());
        std::ofstream(temporary + ".cpp") << code;
        command += quoted(temporary + ".cpp") + " -o" + quoted(temporary) + quoted("-L" + folder);
        command += " -l:libcuda.so.1 2>" + quoted(temporary + ".log");
        int status = system(command.c_str());
        program->log = contents(temporary + ".log");
        unlink((temporary + ".log").c_str());
        if (status) return FAILED;
        unlink((temporary + ".cpp").c_str());
        rename(temporary.c_str(), library.c_str());
    }
    program->binary = contents(library);
    return SUCCESS;
}

API int nvrtcGetCUBINSize(Program* program, size_t* size) {
    return *size = program->binary.size(), SUCCESS;
}

API int nvrtcGetCUBIN(Program* program, char* binary) {
    program->binary.copy(binary, program->binary.size());
    return SUCCESS;
}

const char PTX[] = "// what CuPy keys its cache by\n";

API int nvrtcGetPTXSize(Program*, size_t* size) { return *size = sizeof PTX, SUCCESS; }
API int nvrtcGetPTX(Program*, char* text) { return strcpy(text, PTX), SUCCESS; }

API int nvrtcGetProgramLogSize(Program* program, size_t* size) {
    return *size = program->log.size() + 1, SUCCESS;
}

API int nvrtcGetProgramLog(Program* program, char* log) {
    return strcpy(log, program->log.c_str()), SUCCESS;
}
