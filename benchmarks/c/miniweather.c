/* The time steps of examples/miniweather/app.py. */
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define C0 27.5629410929725921310572974482
#define GAMMA 1.40027894002789400278940027894
#define GRAVITY 9.8

struct grid {
    const double *cells, *faces, *slope;
    const bool *inflow;
    const double *halo;
    double dx, dz, dt;
    const double *viscosity;
    bool stagewise;
    long K, L;
};

/* The fluxes [4][n] through n faces, from the cells before and behind them: `apart` numbers lie between those, and `size` between variables. */
static void fluxes(const double *now, long apart, long size, double density, double heat, double pressure, int along,
                   double viscosity, bool wall, double *restrict flux, long apart_flux, long n)
{
    double values[4][n], thirds[4][n];
    for (int v = 0; v < 4; v++) {
        const double *a = now + v * size, *b = a + apart, *c = b + apart, *d = c + apart;
        for (long i = 0; i < n; i++) {
            values[v][i] = (7.0 * (b[i] + c[i]) - a[i] - d[i]) / 12.0;
            thirds[v][i] = 3.0 * (b[i] - c[i]) + d[i] - a[i];
        }
    }
    for (long i = 0; i < n; i++) {
        values[0][i] += density;
        values[3][i] += heat;
    }
    if (wall)
        for (long i = 0; i < n; i++)
            values[along][i] = thirds[0][i] = 0.0;
    for (int v = 0; v < 4; v++)
        for (long i = 0; i < n; i++)
            flux[v * apart_flux + i] = values[along][i] / values[0][i] * values[v][i] + viscosity * thirds[v][i];
    for (long i = 0; i < n; i++)
        flux[along * apart_flux + i] += C0 * pow(values[3][i], GAMMA) - pressure;
}

static void along_x(double *now, const double *start, double *out, const struct grid *grid, double step,
                    double viscosity)
{
    long K = grid->K, L = grid->L, size = K * L, faces = L - 3;
    double flux[4 * faces], factor = step / grid->dx;
    for (long k = 2; k < K - 2; k++) {
        for (int v = 0; v < 4; v++) {
            double *row = now + v * size + k * L;
            for (int i = 0; i < 2; i++) {
                row[i] = row[L - 4 + i];
                row[L - 2 + i] = row[2 + i];
            }
        }
        if (grid->inflow[k])
            for (int i = 0; i < 2; i++) {
                double density = now[k * L + i] + grid->cells[k];
                now[size + k * L + i] = 50.0 * density;
                now[3 * size + k * L + i] = 298.0 * density - grid->cells[K + k];
            }
        fluxes(now + k * L, 1, size, grid->cells[k], grid->cells[K + k], 0.0, 1, viscosity, false, flux, faces, faces);
        for (int v = 0; v < 4; v++) {
            const double *from = start + v * size + k * L + 2, *f = flux + v * faces;
            double *to = out + v * size + k * L + 2;
            for (long i = 0; i < L - 4; i++)
                to[i] = from[i] - factor * (f[i + 1] - f[i]);
        }
    }
}

static void along_z(double *now, const double *start, double *out, const struct grid *grid, double step,
                    double viscosity, double *flux)
{
    long K = grid->K, L = grid->L, size = K * L, last = K - 4, n = L - 4;
    for (int v = 0; v < 4; v++)
        for (int k = 0; k < 2; k++) {
            memcpy(now + v * size + k * L, now + v * size + 2 * L, L * sizeof *now);
            memcpy(now + v * size + (K - 2 + k) * L, now + v * size + (K - 3) * L, L * sizeof *now);
        }
    for (int k = 0; k < 2; k++)
        for (long i = 0; i < L; i++) {
            now[2 * size + k * L + i] = grid->slope[i] * now[size + 2 * L + i];
            now[2 * size + (K - 2 + k) * L + i] = 0.0;
            now[size + k * L + i] *= grid->halo[k];
            now[size + (K - 2 + k) * L + i] *= grid->halo[2 + k];
        }
    for (long k = 0; k <= last; k++) {
        const double *faces = grid->faces + k;
        fluxes(now + k * L + 2, L, size, faces[0], faces[last + 1], faces[2 * (last + 1)], 2, viscosity,
               k == 0 || k == last, flux + k * n, (last + 1) * n, n);
    }
    for (long k = 0; k < last; k++) {
        double heavy[n];
        for (long i = 0; i < n; i++)
            heavy[i] = GRAVITY * now[(k + 2) * L + 2 + i];
        for (int v = 0; v < 4; v++) {
            long at = v * size + (k + 2) * L + 2;
            const double *f = flux + (v * (last + 1) + k) * n;
            for (long i = 0; i < n; i++) {
                double tendency = (f[i] - f[n + i]) / grid->dz;
                if (v == 2)
                    tendency -= heavy[i];
                out[at + i] = start[at + i] + step * tendency;
            }
        }
    }
}

void advance(double *state, const double *cells, const double *faces, const double *slope, const bool *inflow,
             const double *halo, double dx, double dz, double dt, const double *viscosity, bool stagewise, long K, long L,
             bool x_first, long steps)
{
    struct grid grid = {cells, faces, slope, inflow, halo, dx, dz, dt, viscosity, stagewise, K, L};
    double *other = malloc(4 * K * L * sizeof *other), *flux = malloc(4 * (K - 3) * (L - 4) * sizeof *flux);
    for (long n = 0; n < steps; n++) {
        memcpy(other, state, 4 * K * L * sizeof *other);
        for (int turn = 0; turn < 2; turn++)
            for (int stage = 0; stage < 3; stage++) {
                double *now = stage ? other : state, *out = stage == 2 ? state : other;
                double step = dt / (3 - stage), per = stagewise ? step : dt;
                if ((turn == 0) == (x_first == (n % 2 == 0)))
                    along_x(now, state, out, &grid, step, viscosity[0] / per);
                else
                    along_z(now, state, out, &grid, step, viscosity[1] / per, flux);
            }
    }
    free(other);
    free(flux);
}
