// Streams, events, graphs.  Work is done as late as CUDA may do it, or in any order that it may be
// done in, so that what nobody waits for is not there when it is needed.

#include <dlfcn.h>

#include <algorithm>
#include <condition_variable>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "driver.h"

namespace {

enum Capturing { NOT, ACTIVE, INVALIDATED };
constexpr int NON_BLOCKING = 1, RELAXED = 2;
constexpr size_t MOST = 100000;  // pieces of work not yet done

struct Work;
using Works = std::vector<std::shared_ptr<Work>>;

struct Work {
    std::function<void()> run;
    Works after;  // what has to be done before
    enum { WAITING, AT_WORK, DONE } state = WAITING;
};

struct Graph {
    struct Node {
        std::function<void()> run;
        std::set<size_t> after;
    };
    std::vector<Node> nodes;
};

struct Capture {
    std::shared_ptr<Graph> graph = std::make_shared<Graph>();
    Stream* origin;
    int mode;
    bool broken = false;
    std::set<Stream*> streams;  // those that capture; none when it has ended
};

}  // namespace

struct Stream {
    bool blocking = true;  // whether it and the default stream wait for each other
    std::shared_ptr<Work> last;
    std::shared_ptr<Capture> capture;
    std::set<size_t> after;  // the nodes that the next one it captures comes after
};

struct Event {
    bool recorded = false;
    std::shared_ptr<Work> work;
    std::shared_ptr<Capture> capture;
    std::set<size_t> after;
};

namespace {

std::mutex mutex;
std::condition_variable progressed;
thread_local std::unique_lock<std::mutex>* held = nullptr;
thread_local Status last_error = SUCCESS;

Stream default_stream;
std::set<Stream*> streams;
std::set<std::shared_ptr<Capture>> captures;  // not ended
std::vector<std::weak_ptr<Work>> waiting;
std::mt19937 chance;
unsigned one_in = 0;  // one time in so many other work is done at once; 0 for never
std::string waits;

// Do some work, all before it first.  patient: wait for other threads that are at it.
void finish(const std::shared_ptr<Work>& work, bool patient = true) {
    Works stack;
    if (work) stack.push_back(work);
    while (!stack.empty()) {
        auto top = stack.back();
        if (top->state == Work::AT_WORK) {
            if (!patient) return;
            progressed.wait(*held, [&] { return top->state == Work::DONE; });
        }
        auto before = std::find_if(top->after.begin(), top->after.end(), [](auto& other) {
            return other->state != Work::DONE;
        });
        if (top->state == Work::DONE) {
            stack.pop_back();
        } else if (before != top->after.end()) {
            stack.push_back(*before);
        } else {
            top->state = Work::AT_WORK;
            if (top->run) top->run();
            top->run = nullptr;
            top->after.clear();
            top->state = Work::DONE;
            progressed.notify_all();
        }
    }
}

void finish_all() {
    finish(default_stream.last);
    for (Stream* stream : streams) finish(stream->last);
    waiting.clear();
}

void finish_any() {
    if (waiting.size() > MOST) {
        for (auto& one : std::exchange(waiting, {})) finish(one.lock(), false);
    } else if (one_in && !waiting.empty() && chance() % one_in == 0) {
        std::swap(waiting[chance() % waiting.size()], waiting.back());
        auto one = waiting.back().lock();
        waiting.pop_back();
        finish(one, false);
    }
}

// The stream of a handle; null where there is none.
Stream* find_stream(void* stream) {
    if (stream <= (void*)2) return &default_stream;  // null, or CUDA's names for it
    return streams.count((Stream*)stream) ? (Stream*)stream : nullptr;
}

Status enqueue(Stream* stream, std::function<void()> run, std::shared_ptr<Work> event) {
    if (!stream) return failed(INVALID_HANDLE);
    if (auto capture = stream->capture) {
        if (capture->broken) return failed(CAPTURE_INVALIDATED);
        auto& nodes = capture->graph->nodes;
        nodes.push_back({run, std::exchange(stream->after, {nodes.size()})});
        return SUCCESS;
    }
    auto work = std::make_shared<Work>();
    work->run = std::move(run);
    for (auto& before : {stream->last, event}) {
        if (before) work->after.push_back(before);
    }
    if (stream == &default_stream) {
        for (Stream* other : streams) {
            if (!other->blocking) continue;
            if (breaks_capture(other)) return failed(CAPTURE_IMPLICIT);
            if (other->last) work->after.push_back(other->last);
        }
    } else if (stream->blocking && default_stream.last) {
        work->after.push_back(default_stream.last);
    }
    stream->last = work;
    waiting.push_back(work);
    finish_any();
    return SUCCESS;
}

// Do the nodes of a graph in any order that its edges allow.
void run(const Graph& graph) {
    std::vector<size_t> left, ready;
    std::map<size_t, std::vector<size_t>> followers;
    for (size_t i = 0; i < graph.nodes.size(); i++) {
        left.push_back(graph.nodes[i].after.size());
        for (size_t before : graph.nodes[i].after) followers[before].push_back(i);
        if (!left[i]) ready.push_back(i);
    }
    while (!ready.empty()) {
        std::swap(ready[chance() % ready.size()], ready.back());
        size_t i = ready.back();
        ready.pop_back();
        graph.nodes[i].run();
        for (size_t follower : followers[i]) {
            if (!--left[follower]) ready.push_back(follower);
        }
    }
}

// Whether all nodes come before some of them.
bool all_joined(const Graph& graph, std::set<size_t> last) {
    std::set<size_t> seen;
    while (!last.empty()) {
        size_t i = *last.begin();
        last.erase(last.begin());
        if (seen.insert(i).second) {
            last.insert(graph.nodes[i].after.begin(), graph.nodes[i].after.end());
        }
    }
    return seen.size() == graph.nodes.size();
}

}  // namespace

Lock::Lock() : outer(!held) {
    if (outer) held = new std::unique_lock<std::mutex>(mutex);
}

Lock::~Lock() {
    if (outer) delete std::exchange(held, nullptr);
}

void unlocked(const std::function<void()>& call) {
    auto* mine = std::exchange(held, nullptr);
    mine->unlock();
    call();
    mine->lock();
    held = mine;
}

Status failed(Status status) { return last_error = status; }

Status enqueue(Stream* stream, std::function<void()> work) {
    return enqueue(find_stream(stream), std::move(work), nullptr);
}

bool breaks_capture(Stream* stream) {
    stream = find_stream(stream);
    if (!stream || !stream->capture) return false;
    return stream->capture->broken = true;
}

bool breaks_captures(bool all) {
    bool any = false;
    for (auto& capture : captures) {
        if (all || capture->mode != RELAXED) any = capture->broken = true;
    }
    return any;
}

void await(Stream* stream, const char* name) {
    waits += std::string(name) + "\n";
    stream = find_stream(stream);
    finish(stream->last);
    if (stream == &default_stream) {
        for (Stream* other : streams) {
            if (other->blocking) finish(other->last);
        }
    }
}

void await_all(const char* name) {
    waits += std::string(name) + "\n";
    finish_all();
}

// For tests: work is done as late as possible (0), or one time in so many some of it at once.
API void driver_order(unsigned seed, unsigned often) {
    Lock lock;
    chance.seed(seed);
    one_in = often;
}

// The calls that have waited for the device since the last question, a line each.
API const char* driver_waits() {
    Lock lock;
    static std::string answer;
    answer = std::exchange(waits, "");
    return answer.c_str();
}

API int cudaGetLastError() { return std::exchange(last_error, SUCCESS); }

API int cudaDeviceSynchronize() {
    Lock lock;
    if (breaks_captures(true)) return failed(CAPTURE_UNSUPPORTED);
    await_all(__func__);
    return SUCCESS;
}

API int cudaStreamCreateWithFlags(Stream** result, unsigned flags) {
    Lock lock;
    *result = new Stream;
    (*result)->blocking = !(flags & NON_BLOCKING);
    streams.insert(*result);
    return SUCCESS;
}

API int cudaStreamCreate(Stream** result) { return cudaStreamCreateWithFlags(result, 0); }

API int cudaStreamCreateWithPriority(Stream** result, unsigned flags, int) {
    return cudaStreamCreateWithFlags(result, flags);
}

API int cudaStreamDestroy(Stream* stream) {
    Lock lock;
    if (!streams.erase(stream)) return failed(INVALID_HANDLE);
    if (stream->capture) {
        stream->capture->broken = true;
        stream->capture->streams.erase(stream);
    }
    finish(stream->last);
    delete stream;
    return SUCCESS;
}

API int cudaStreamSynchronize(Stream* stream) {
    Lock lock;
    if (!find_stream(stream)) return failed(INVALID_HANDLE);
    if (breaks_capture(stream)) return failed(CAPTURE_UNSUPPORTED);
    if (find_stream(stream) == &default_stream && breaks_captures()) {
        return failed(CAPTURE_IMPLICIT);
    }
    await(stream, __func__);
    return SUCCESS;
}

API int cudaStreamQuery(Stream* stream) {
    Lock lock;
    if (!find_stream(stream)) return failed(INVALID_HANDLE);
    if (breaks_capture(stream)) return failed(CAPTURE_UNSUPPORTED);
    auto& last = find_stream(stream)->last;
    if (chance() % 4 == 0) finish(last, false);
    return !last || last->state == Work::DONE ? SUCCESS : NOT_READY;
}

API int cudaStreamWaitEvent(Stream* asked, Event* event, unsigned) {
    Lock lock;
    Stream* stream = find_stream(asked);
    if (!stream) return failed(INVALID_HANDLE);
    if (!event->recorded) return SUCCESS;
    if (!event->capture) {
        if (breaks_capture(stream)) return failed(CAPTURE_ISOLATION);
        return enqueue(stream, nullptr, event->work);
    }
    auto capture = event->capture;
    if (capture->broken) return failed(CAPTURE_INVALIDATED);
    if (capture->streams.empty()) return failed(CAPTURED_EVENT);
    if (stream == &default_stream) {
        capture->broken = true;
        return failed(CAPTURE_IMPLICIT);
    }
    if (stream->capture && stream->capture != capture) {
        capture->broken = stream->capture->broken = true;
        return failed(CAPTURE_MERGE);
    }
    if (!stream->capture) {  // it joins
        stream->capture = capture;
        stream->after.clear();
        capture->streams.insert(stream);
    }
    stream->after.insert(event->after.begin(), event->after.end());
    return SUCCESS;
}

// Make a call of Python's while its garbage collector is off: that might free arrays, hence call
// CUDA from what CUDA has called.
void without_garbage_collection(const std::function<void()>& call) {
    auto python = [](const char* name) { return dlsym(RTLD_DEFAULT, name); };
    static auto ensure = (int (*)())python("PyGILState_Ensure");
    static auto release = (void (*)(int))python("PyGILState_Release");
    static auto disable = (int (*)())python("PyGC_Disable");
    static auto enable = (int (*)())python("PyGC_Enable");
    int state = ensure();
    bool enabled = disable();
    call();
    if (enabled) enable();
    release(state);
}

API int cudaLaunchHostFunc(Stream* stream, void (*function)(void*), void* argument) {
    Lock lock;
    return enqueue(stream, [=] {
        unlocked([=] { without_garbage_collection([=] { function(argument); }); });
    });
}

API int cudaStreamIsCapturing(Stream* stream, int* status) {
    Lock lock;
    if (!find_stream(stream)) return failed(INVALID_HANDLE);
    auto& capture = find_stream(stream)->capture;
    *status = !capture ? NOT : capture->broken ? INVALIDATED : ACTIVE;
    return SUCCESS;
}

API int cudaStreamBeginCapture(Stream* stream, int mode) {
    Lock lock;
    if (!find_stream(stream) || find_stream(stream) == &default_stream) {
        return failed(CAPTURE_UNSUPPORTED);
    }
    if (stream->capture) return failed(ILLEGAL_STATE);
    stream->capture = std::make_shared<Capture>();
    stream->capture->origin = stream;
    stream->capture->mode = mode;
    stream->capture->streams = {stream};
    stream->after.clear();
    captures.insert(stream->capture);
    return SUCCESS;
}

API int cudaStreamEndCapture(Stream* stream, std::shared_ptr<Graph>** result) {
    Lock lock;
    *result = nullptr;
    if (!find_stream(stream) || !stream->capture) return failed(ILLEGAL_STATE);
    auto capture = stream->capture;
    if (capture->origin != stream) {
        capture->broken = true;
        return failed(CAPTURE_UNMATCHED);
    }
    captures.erase(capture);
    for (Stream* one : std::exchange(capture->streams, {})) one->capture = nullptr;
    if (capture->broken) return failed(CAPTURE_INVALIDATED);
    if (!all_joined(*capture->graph, stream->after)) return failed(CAPTURE_UNJOINED);
    *result = new std::shared_ptr<Graph>(capture->graph);
    return SUCCESS;
}

API int cudaGraphInstantiate(std::shared_ptr<Graph>** result, std::shared_ptr<Graph>* graph) {
    Lock lock;
    if (breaks_captures()) return failed(CAPTURE_UNSUPPORTED);
    *result = new std::shared_ptr<Graph>(*graph);
    return SUCCESS;
}

API int cudaGraphUpload(void*, Stream*) { return SUCCESS; }

API int cudaGraphLaunch(std::shared_ptr<Graph>* graph, Stream* stream) {
    Lock lock;
    return enqueue(stream, [graph = *graph] { run(*graph); });
}

API int cudaGraphDestroy(std::shared_ptr<Graph>* graph) {
    Lock lock;
    delete graph;
    return SUCCESS;
}

API int cudaGraphExecDestroy(std::shared_ptr<Graph>* graph) { return cudaGraphDestroy(graph); }

API int cudaEventCreateWithFlags(Event** result, unsigned) {
    *result = new Event;
    return SUCCESS;
}

API int cudaEventCreate(Event** result) { return cudaEventCreateWithFlags(result, 0); }

API int cudaEventDestroy(Event* event) {
    Lock lock;
    delete event;
    return SUCCESS;
}

API int cudaEventRecord(Event* event, Stream* asked) {
    Lock lock;
    Stream* stream = find_stream(asked);
    if (!stream) return failed(INVALID_HANDLE);
    if (stream->capture && stream->capture->broken) return failed(CAPTURE_INVALIDATED);
    event->recorded = true;
    event->capture = stream->capture;
    event->after = stream->after;
    if (event->capture) return SUCCESS;
    if (Status status = enqueue(stream, nullptr, nullptr)) return status;
    event->work = stream->last;
    return SUCCESS;
}

API int cudaEventQuery(Event* event) {
    Lock lock;
    if (event->capture) {
        event->capture->broken = true;
        return failed(CAPTURED_EVENT);
    }
    if (chance() % 4 == 0) finish(event->work, false);
    return !event->work || event->work->state == Work::DONE ? SUCCESS : NOT_READY;
}

API int cudaEventSynchronize(Event* event) {
    Lock lock;
    if (event->capture) {
        event->capture->broken = true;
        return failed(CAPTURED_EVENT);
    }
    waits += std::string(__func__) + "\n";
    finish(event->work);
    return SUCCESS;
}

API int cudaEventElapsedTime(float* milliseconds, Event* start, Event* end) {
    Lock lock;
    for (Event* event : {start, end}) {
        if (!event->recorded) return failed(INVALID_HANDLE);
        if (event->work && event->work->state != Work::DONE) return failed(NOT_READY);
    }
    *milliseconds = 1;
    return SUCCESS;
}
