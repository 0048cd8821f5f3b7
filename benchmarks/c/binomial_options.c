/* The lattice of examples/binomial_options/app.py. */
#include <math.h>
#include <stdlib.h>

void lattice(const double *S, const double *X, const double *vDt, const double *puByDf, const double *pdByDf,
             double *prices, long n, long steps)
{
    double *value = malloc((steps + 1) * sizeof *value);
    for (long i = 0; i < n; i++) {
        double up = puByDf[i], down = pdByDf[i];
        for (long j = 0; j <= steps; j++) {
            double gain = S[i] * exp(vDt[i] * (2 * j - steps)) - X[i];
            value[j] = gain > 0.0 ? gain : 0.0;
        }
        for (long level = steps; level > 0; level--)
            for (long j = 0; j < level; j++)
                value[j] = up * value[j + 1] + down * value[j];
        prices[i] = value[0];
    }
    free(value);
}
