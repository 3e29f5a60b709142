// Of cuBLAS and cuRAND, what the networks use.

#include <cstring>
#include <memory>
#include <random>
#include <tuple>
#include <utility>
#include <vector>

#include "driver.h"

namespace {

constexpr int FLOAT = 0, DOUBLE = 1, HALF = 2;  // cudaDataType
constexpr int ON_HOST = 0;                      // cublasPointerMode
constexpr int BLAS_FAILED = 14, RAND_FAILED = 201;

struct Blas {
    Stream* stream = nullptr;
    int mode = ON_HOST, math = 0;
};

struct Rand {
    std::mt19937_64 draw;
    Stream* stream = nullptr;
};

// A column-major matrix, maybe transposed.
struct Matrix {
    char* at;
    int type, rows;  // rows: from one column to the next
    bool transposed = false;

    size_t size() const { return type == DOUBLE ? 8 : type == FLOAT ? 4 : 2; }
    char* place(size_t row, size_t column) const {
        if (transposed) std::swap(row, column);
        return at + (column * rows + row) * size();
    }
    double get(size_t row, size_t column) const {
        char* from = place(row, column);
        return type == DOUBLE ? *(double*)from : type == FLOAT ? *(float*)from : *(_Float16*)from;
    }
    void set(size_t row, size_t column, double value) const {
        char* to = place(row, column);
        if (type == DOUBLE) *(double*)to = value;
        if (type == FLOAT) *(float*)to = value;
        if (type == HALF) *(_Float16*)to = value;
    }
};

// A factor on the host, which is read at once, or on the device, read when it is needed.
struct Factor {
    double value = 0;
    const void* later = nullptr;
    int type;

    Factor(Blas* blas, const void* at, int type) : type(type) {
        if (blas->mode == ON_HOST) value = Matrix{(char*)at, type, 1}.get(0, 0);
        else later = at;
    }
    double get() const { return later ? Matrix{(char*)later, type, 1}.get(0, 0) : value; }
};

void multiply(int m, int n, int k, double alpha, Matrix a, Matrix b, double beta, Matrix c) {
    std::vector<double> rows((size_t)m * k), columns((size_t)k * n);
    for (int l = 0; l < k; l++) {
        for (int i = 0; i < m; i++) rows[(size_t)i * k + l] = a.get(i, l);
        for (int j = 0; j < n; j++) columns[(size_t)j * k + l] = b.get(l, j);
    }
    for (int j = 0; j < n; j++) {
        for (int i = 0; i < m; i++) {
            double sum = 0, *row = &rows[(size_t)i * k], *column = &columns[(size_t)j * k];
            for (int l = 0; l < k; l++) sum += row[l] * column[l];
            c.set(i, j, alpha * sum + (beta ? beta * c.get(i, j) : 0));
        }
    }
}

int multiply_all(Blas* blas, int m, int n, int k, int type, const void* alpha, Matrix a,
                 long long step_a, Matrix b, long long step_b, const void* beta, Matrix c,
                 long long step_c, int count) {
    Lock lock;
    Factor first(blas, alpha, type), second(blas, beta, type);
    Status status = enqueue(blas->stream, [=] {
        for (int i = 0; i < count; i++) {
            auto [x, y, z] = std::tuple(a, b, c);
            x.at += i * step_a * x.size(), y.at += i * step_b * y.size();
            z.at += i * step_c * z.size();
            multiply(m, n, k, first.get(), x, y, second.get(), z);
        }
    });
    return status ? BLAS_FAILED : SUCCESS;
}

int multiply_once(Blas* blas, int m, int n, int k, int type, const void* alpha, Matrix a, Matrix b,
                  const void* beta, Matrix c) {
    return multiply_all(blas, m, n, k, type, alpha, a, 0, b, 0, beta, c, 0, 1);
}

template <class T, class Draw>
int draw_all(Rand* generator, T* to, size_t size, Draw draw) {
    Lock lock;
    auto drawn = std::make_shared<std::vector<T>>(size);
    for (T& one : *drawn) one = draw(generator->draw);
    size_t bytes = size * sizeof(T);
    Status status = enqueue(generator->stream, [=] { memcpy(to, drawn->data(), bytes); });
    return status ? RAND_FAILED : SUCCESS;
}

}  // namespace

API int cublasCreate_v2(Blas** result) { return *result = new Blas, SUCCESS; }
API int cublasDestroy_v2(Blas* blas) { return delete blas, SUCCESS; }
API int cublasGetVersion_v2(Blas*, int* version) { return *version = 120000, SUCCESS; }
API int cublasSetStream_v2(Blas* blas, Stream* stream) { return blas->stream = stream, SUCCESS; }
API int cublasGetStream_v2(Blas* blas, Stream** stream) { return *stream = blas->stream, SUCCESS; }
API int cublasSetPointerMode_v2(Blas* blas, int mode) { return blas->mode = mode, SUCCESS; }
API int cublasGetPointerMode_v2(Blas* blas, int* mode) { return *mode = blas->mode, SUCCESS; }
API int cublasSetMathMode(Blas* blas, int math) { return blas->math = math, SUCCESS; }
API int cublasGetMathMode(Blas* blas, int* math) { return *math = blas->math, SUCCESS; }

API int cublasSgemm_v2(Blas* blas, int transpose_a, int transpose_b, int m, int n, int k,
                       const void* alpha, char* a, int rows_a, char* b, int rows_b,
                       const void* beta, char* c, int rows_c) {
    return multiply_once(blas, m, n, k, FLOAT, alpha, {a, FLOAT, rows_a, transpose_a != 0},
                         {b, FLOAT, rows_b, transpose_b != 0}, beta, {c, FLOAT, rows_c});
}

API int cublasDgemm_v2(Blas* blas, int transpose_a, int transpose_b, int m, int n, int k,
                       const void* alpha, char* a, int rows_a, char* b, int rows_b,
                       const void* beta, char* c, int rows_c) {
    return multiply_once(blas, m, n, k, DOUBLE, alpha, {a, DOUBLE, rows_a, transpose_a != 0},
                         {b, DOUBLE, rows_b, transpose_b != 0}, beta, {c, DOUBLE, rows_c});
}

API int cublasSgemmEx(Blas* blas, int transpose_a, int transpose_b, int m, int n, int k,
                      const void* alpha, char* a, int type_a, int rows_a, char* b, int type_b,
                      int rows_b, const void* beta, char* c, int type_c, int rows_c) {
    return multiply_once(blas, m, n, k, FLOAT, alpha, {a, type_a, rows_a, transpose_a != 0},
                         {b, type_b, rows_b, transpose_b != 0}, beta, {c, type_c, rows_c});
}

API int cublasGemmEx(Blas* blas, int transpose_a, int transpose_b, int m, int n, int k,
                     const void* alpha, char* a, int type_a, int rows_a, char* b, int type_b,
                     int rows_b, const void* beta, char* c, int type_c, int rows_c, int, int) {
    int type = type_c == DOUBLE ? DOUBLE : FLOAT;
    return multiply_once(blas, m, n, k, type, alpha, {a, type_a, rows_a, transpose_a != 0},
                         {b, type_b, rows_b, transpose_b != 0}, beta, {c, type_c, rows_c});
}

API int cublasSgemmStridedBatched(Blas* blas, int transpose_a, int transpose_b, int m, int n, int k,
                                  const void* alpha, char* a, int rows_a, long long step_a,
                                  char* b, int rows_b, long long step_b, const void* beta, char* c,
                                  int rows_c, long long step_c, int count) {
    return multiply_all(blas, m, n, k, FLOAT, alpha, {a, FLOAT, rows_a, transpose_a != 0}, step_a,
                        {b, FLOAT, rows_b, transpose_b != 0}, step_b, beta, {c, FLOAT, rows_c},
                        step_c, count);
}

API int cublasGemmStridedBatchedEx(Blas* blas, int transpose_a, int transpose_b, int m, int n,
                                   int k, const void* alpha, char* a, int type_a, int rows_a,
                                   long long step_a, char* b, int type_b, int rows_b,
                                   long long step_b, const void* beta, char* c, int type_c,
                                   int rows_c, long long step_c, int count, int, int) {
    int type = type_c == DOUBLE ? DOUBLE : FLOAT;
    return multiply_all(blas, m, n, k, type, alpha, {a, type_a, rows_a, transpose_a != 0}, step_a,
                        {b, type_b, rows_b, transpose_b != 0}, step_b, beta, {c, type_c, rows_c},
                        step_c, count);
}

API int cublasSgemv_v2(Blas* blas, int transpose, int m, int n, const void* alpha, char* a,
                       int rows, char* x, int step_x, const void* beta, char* y, int step_y) {
    int size = transpose ? n : m, summed = transpose ? m : n;
    return multiply_once(blas, size, 1, summed, FLOAT, alpha, {a, FLOAT, rows, transpose != 0},
                         {x, FLOAT, step_x, true}, beta, {y, FLOAT, step_y, true});
}

API int cublasSdot_v2(Blas* blas, int n, const float* x, int step_x, const float* y, int step_y,
                      float* result) {
    Lock lock;
    Status status = enqueue(blas->stream, [=] {
        double sum = 0;
        for (int i = 0; i < n; i++) sum += (double)x[i * step_x] * y[i * step_y];
        *result = sum;
    });
    if (blas->mode == ON_HOST) await(blas->stream, __func__);
    return status ? BLAS_FAILED : SUCCESS;
}

API int cublasSgeam(Blas* blas, int transpose_a, int transpose_b, int m, int n, const void* alpha,
                    char* a, int rows_a, const void* beta, char* b, int rows_b, char* c,
                    int rows_c) {
    Lock lock;
    Factor first(blas, alpha, FLOAT), second(blas, beta, FLOAT);
    Matrix x{a, FLOAT, rows_a, transpose_a != 0}, y{b, FLOAT, rows_b, transpose_b != 0};
    Matrix result{c, FLOAT, rows_c};
    Status status = enqueue(blas->stream, [=] {
        for (int j = 0; j < n; j++) {
            for (int i = 0; i < m; i++) {
                double sum = first.get() ? first.get() * x.get(i, j) : 0;
                result.set(i, j, sum + (second.get() ? second.get() * y.get(i, j) : 0));
            }
        }
    });
    return status ? BLAS_FAILED : SUCCESS;
}

API int curandCreateGenerator(Rand** result, int) { return *result = new Rand, SUCCESS; }
API int curandDestroyGenerator(Rand* generator) { return delete generator, SUCCESS; }
API int curandSetStream(Rand* generator, Stream* stream) {
    return generator->stream = stream, SUCCESS;
}
API int curandSetPseudoRandomGeneratorSeed(Rand* generator, unsigned long long seed) {
    return generator->draw.seed(seed), SUCCESS;
}
API int curandSetGeneratorOffset(Rand*, unsigned long long) { return SUCCESS; }

API int curandGenerate(Rand* generator, unsigned* to, size_t size) {
    return draw_all(generator, to, size, [](auto& draw) { return (unsigned)draw(); });
}

API int curandGenerateUniform(Rand* generator, float* to, size_t size) {
    return draw_all(generator, to, size, [](auto& draw) {
        return 1 - std::generate_canonical<float, 24>(draw);
    });
}

API int curandGenerateUniformDouble(Rand* generator, double* to, size_t size) {
    return draw_all(generator, to, size, [](auto& draw) {
        return 1 - std::generate_canonical<double, 53>(draw);
    });
}

API int curandGenerateNormal(Rand* generator, float* to, size_t size, float mean, float deviation) {
    return draw_all(generator, to, size, std::normal_distribution<float>(mean, deviation));
}
