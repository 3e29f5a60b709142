// What the parts of the driver share: its lock, its codes, work for streams.

#pragma once
#include <functional>
#include <mutex>

#define API extern "C"

enum Status {  // CUDA's numbers
    SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NO_DEVICE = 100, INVALID_DEVICE = 101,
    INVALID_IMAGE = 200, INVALID_HANDLE = 400, ILLEGAL_STATE = 401, NOT_FOUND = 500,
    NOT_READY = 600, CAPTURE_UNSUPPORTED = 900, CAPTURE_INVALIDATED = 901, CAPTURE_MERGE = 902,
    CAPTURE_UNMATCHED = 903, CAPTURE_UNJOINED = 904, CAPTURE_ISOLATION = 905,
    CAPTURE_IMPLICIT = 906, CAPTURED_EVENT = 907,
};

// The driver does one thing at a time.
class Lock {
  public:
    Lock();
    ~Lock();
  private:
    bool outer;
};

// Call a function that may need another thread to go on (Python's lock), the driver unlocked.
void unlocked(const std::function<void()>& call);

struct Stream;

// Give a stream some work, which it does later; or add that to the graph that the stream captures.
Status enqueue(Stream* stream, std::function<void()> work);

// Whether a stream captures, as all calls that a capture cannot hold ask; they break it thereby.
bool breaks_capture(Stream* stream);

// The same for calls that concern the whole device; all: also break captures that are relaxed,
// which permit what may be unsafe.
bool breaks_captures(bool all = false);

// Wait until a stream has done its work, all have.  `name` is that of the call, for the tests.
void await(Stream* stream, const char* name);
void await_all(const char* name);

// The version of CUDA that the driver passes for, such as 12090.
int cuda_version();

// Keep an error for cudaGetLastError; returns it.
Status failed(Status status);
