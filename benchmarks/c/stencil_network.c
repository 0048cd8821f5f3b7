/* A 5-point stencil of floats into a network 5-64-32-1 with LeakyReLU, by hand for AVX-512: how fast the machine does it.

   Tiles of TILE points of one row go through all layers with their features outermost, so that all loads are of neighbours.
   Weights of the hidden layers come as [outputs / BLOCK][inputs][BLOCK]. */
#include <immintrin.h>

enum { LANES = 16, TILE = 128, BLOCK = 8, PAIR = 2 * LANES };

typedef float Values[TILE] __attribute__((aligned(64)));

static inline __attribute__((always_inline)) void hidden(int inputs, int outputs, const float *weights, const float *bias,
                                                         const Values *x, Values *y) {
    const __m512 slope = _mm512_set1_ps(0.01f);
    for (int point = 0; point < TILE; point += PAIR)
        for (int first = 0; first < outputs; first += BLOCK) {
            const float *weight = weights + (long)first * inputs;
            __m512 low[BLOCK], high[BLOCK];
            for (int k = 0; k < BLOCK; k++)
                low[k] = high[k] = _mm512_set1_ps(bias[first + k]);
            for (int input = 0; input < inputs; input++, weight += BLOCK) {
                const __m512 left = _mm512_load_ps(x[input] + point), right = _mm512_load_ps(x[input] + point + LANES);
                for (int k = 0; k < BLOCK; k++) {
                    const __m512 factor = _mm512_set1_ps(weight[k]);
                    low[k] = _mm512_fmadd_ps(factor, left, low[k]);
                    high[k] = _mm512_fmadd_ps(factor, right, high[k]);
                }
            }
            for (int k = 0; k < BLOCK; k++) {
                _mm512_store_ps(y[first + k] + point, _mm512_max_ps(low[k], _mm512_mul_ps(low[k], slope)));
                _mm512_store_ps(y[first + k] + point + LANES, _mm512_max_ps(high[k], _mm512_mul_ps(high[k], slope)));
            }
        }
}

static inline void last(int inputs, const float *weights, float bias, const Values *x, float *y) {
    for (int point = 0; point < TILE; point += LANES) {
        __m512 even = _mm512_set1_ps(bias), odd = _mm512_setzero_ps();
        for (int input = 0; input < inputs; input += 2) {
            even = _mm512_fmadd_ps(_mm512_set1_ps(weights[input]), _mm512_load_ps(x[input] + point), even);
            odd = _mm512_fmadd_ps(_mm512_set1_ps(weights[input + 1]), _mm512_load_ps(x[input + 1] + point), odd);
        }
        _mm512_storeu_ps(y + point, _mm512_add_ps(even, odd));
    }
}

/* `points` on each side, a multiple of TILE, inside arrays with one more on each end. */
void stencil_network(const float *t, float *new, long points, const float *weight1, const float *bias1, const float *weight2,
                     const float *bias2, const float *weight3, const float *bias3) {
    Values x[5], first[64], second[32];
    const long row = points + 2, offsets[5] = {-row, row, -1, 0, 1};
    for (long i = 1; i <= points; i++)
        for (long j = 1; j <= points; j += TILE) {
            const long here = i * row + j;
            for (int feature = 0; feature < 5; feature++)
                for (int point = 0; point < TILE; point += LANES)
                    _mm512_store_ps(x[feature] + point, _mm512_loadu_ps(t + here + offsets[feature] + point));
            hidden(5, 64, weight1, bias1, x, first);
            hidden(64, 32, weight2, bias2, first, second);
            last(32, weight3, bias3[0], second, new + here);
        }
}
