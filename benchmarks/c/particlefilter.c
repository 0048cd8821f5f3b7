/* The filter of examples/particlefilter/app.py. */
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static float uniform(int64_t *seed)
{
    int32_t n = (int32_t)(uint32_t)(1103515245 * *seed + 12345);
    *seed = n % 2147483647;
    return fabsf((float)*seed / 2147483648.0f);
}

static float normal(int64_t *seed)
{
    float u = uniform(seed);
    return sqrtf(-2.0f * logf(u)) * cosf(2.0f * 3.1415926535897932f * uniform(seed));
}

static float likelihood(const uint8_t *video, const int64_t *disk, long cells, long F, long H, long W, long k,
                        float x, float y, bool nearest)
{
    float half = nearest ? 0.5f : 0.0f, total = 0.0f;
    int64_t middle = (k * H + (int64_t)(y + half)) * W + (int64_t)(x + half);
    for (long cell = 0; cell < cells; cell++) {
        int64_t place = llabs(middle + disk[cell]);
        int pixel = video[place < F * H * W ? place : 0];
        total += (float)((pixel - 100) * (pixel - 100) - (pixel - 228) * (pixel - 228)) / 50.0f;
    }
    return total / cells - 300.0f;
}

static float sum(const float *weights, long n)
{
    float total = 0.0f;
    for (long first = 0; first < n; first += 256) {
        float tree[256] = {0};
        memcpy(tree, weights + first, (n - first < 256 ? n - first : 256) * sizeof *tree);
        for (int width = 128; width > 0; width >>= 1)
            for (int i = 0; i < width; i++)
                tree[i] += tree[i + width];
        total += tree[0];
    }
    return total;
}

static void resample(const float *x, const float *y, const float *weights, float first, float *new_x, float *new_y, long n)
{
    long j = 0;
    float upto = weights[0];
    for (long i = 0; i < n; i++) {
        float least = first + (float)i / n;
        while (j < n - 1 && !(upto >= least))
            upto += weights[++j];
        new_x[i] = x[j];
        new_y[i] = y[j];
    }
}

void particle_filter(const uint8_t *video, const int64_t (*pixels)[2], long cells, float *xe, float *ye, long F, long H,
                     long W, long n, int64_t seed, bool nearest)
{
    int64_t *seeds = malloc(n * sizeof *seeds);
    float *memory = malloc(5 * n * sizeof *memory), *x = memory, *y = x + n, *old_x = y + n, *old_y = old_x + n;
    float *weights = old_y + n;
    int64_t disk[cells];
    for (long cell = 0; cell < cells; cell++)
        disk[cell] = pixels[cell][1] * W + pixels[cell][0];
    for (long i = 0; i < n; i++) {
        seeds[i] = i ? i + 1 : seed;
        x[i] = W / 2.0f;
        y[i] = H / 2.0f;
    }
    xe[0] = W / 2.0f;
    ye[0] = H / 2.0f;
    for (long k = 1; k < F; k++) {
        for (long i = 0; i < n; i++) {
            x[i] += 1.0f + 5.0f * normal(seeds + i);
            y[i] += -2.0f + 2.0f * normal(seeds + i);
            weights[i] = 1.0f / n * expf(likelihood(video, disk, cells, F, H, W, k, x[i], y[i], nearest));
        }
        float total = sum(weights, n), mean_x = 0.0f, mean_y = 0.0f;
        for (long i = 0; i < n; i++)
            weights[i] /= total;
        for (long i = 0; i < n; i++) {
            mean_x += x[i] * weights[i];
            mean_y += y[i] * weights[i];
        }
        xe[k] = mean_x;
        ye[k] = mean_y;
        memcpy(old_x, x, n * sizeof *x);
        memcpy(old_y, y, n * sizeof *y);
        resample(old_x, old_y, weights, normal(seeds) / n, x, y, n);
    }
    free(seeds);
    free(memory);
}
