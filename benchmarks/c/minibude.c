/* The energies of examples/minibude/app.py. */
#include <math.h>

enum { BLOCK = 64, BOTH = 69, CHARGED = 70 };

struct atoms {
    const float *x, *y, *z;
    const int *type;
    long count;
};

struct forces {
    const int *kind;
    const float *radius, *hydrophobicity, *charge;
};

static float fading(float gap, float rate)
{
    float left = 1.0f - gap * rate;
    left = left > 0.0f ? left : 0.0f;
    return left < 1.0f ? left : 1.0f;
}

struct pair {
    float x, y, z, radii, inverse, charge, slope, both, decay;
};

/* One atom of the protein meets a block of poses. Not inlined, or else gcc's -Ofast jams two atoms together, with gathers inside. */
static __attribute__((noinline)) void meet(struct pair pair, const float *restrict x, const float *restrict y,
                                           const float *restrict z, float *restrict total, long count)
{
    for (long i = 0; i < count; i++) {
        float dx = x[i] - pair.x, dy = y[i] - pair.y, dz = z[i] - pair.z;
        float distance = sqrtf(dx * dx + dy * dy + dz * dz), gap = distance - pair.radii;
        float steric = 1.0f - distance * pair.inverse;
        total[i] += 76.0f * (steric > 0.0f ? steric : 0.0f) + pair.charge * fading(gap, pair.slope)
                    + pair.both * fading(gap, pair.decay);
    }
}

static void dock_block(const struct atoms *ligand, const struct atoms *protein, const struct forces *forces,
                       const float *poses, long n, float *energies, long count)
{
    float moves[3][4][BLOCK], x[BLOCK], y[BLOCK], z[BLOCK], total[BLOCK] = {0};
    for (long i = 0; i < count; i++) {
        float sx = sinf(poses[i]), cx = cosf(poses[i]), sy = sinf(poses[n + i]), cy = cosf(poses[n + i]);
        float sz = sinf(poses[2 * n + i]), cz = cosf(poses[2 * n + i]);
        moves[0][0][i] = cy * cz;
        moves[0][1][i] = sx * sy * cz - cx * sz;
        moves[0][2][i] = cx * sy * cz + sx * sz;
        moves[1][0][i] = cy * sz;
        moves[1][1][i] = sx * sy * sz + cx * cz;
        moves[1][2][i] = cx * sy * sz - sx * cz;
        moves[2][0][i] = -sy;
        moves[2][1][i] = sx * cy;
        moves[2][2][i] = cx * cy;
        for (int k = 0; k < 3; k++)
            moves[k][3][i] = poses[(3 + k) * n + i];
    }
    for (long a = 0; a < ligand->count; a++) {
        float ax = ligand->x[a], ay = ligand->y[a], az = ligand->z[a];
        int s = ligand->type[a];
        for (long i = 0; i < count; i++) {
            x[i] = moves[0][3][i] + (ax * moves[0][0][i] + ay * moves[0][1][i] + az * moves[0][2][i]);
            y[i] = moves[1][3][i] + (ax * moves[1][0][i] + ay * moves[1][1][i] + az * moves[1][2][i]);
            z[i] = moves[2][3][i] + (ax * moves[2][0][i] + ay * moves[2][1][i] + az * moves[2][2][i]);
        }
        for (long b = 0; b < protein->count; b++) {
            float bx = protein->x[b], by = protein->y[b], bz = protein->z[b];
            int t = protein->type[b];
            float charge = 45.0f * (forces->charge[s] * forces->charge[t]);
            if (forces->kind[s] == BOTH || forces->kind[t] == BOTH)
                charge = -fabsf(charge);
            float slope = forces->kind[s] == CHARGED && forces->kind[t] == CHARGED ? 0.25f : 0.5f;
            float ha = forces->hydrophobicity[s], hb = forces->hydrophobicity[t];
            float both = (ha < 0 && hb > 0) || (ha > 0 && hb < 0) ? fabsf(ha) + fabsf(hb) : ha + hb;
            if (hb == 0 || (ha >= 0 && hb >= 0))
                both = 0.0f;
            float decay = ha < 0 && hb < 0 ? (float)(1.0 / 5.5) : 1.0f;
            float radii = forces->radius[s] + forces->radius[t];
            struct pair pair = {bx, by, bz, radii, 1.0f / radii, charge, slope, both, decay};
            meet(pair, x, y, z, total, count);
        }
    }
    for (long i = 0; i < count; i++)
        energies[i] = 0.5f * total[i];
}

void dock(const float *lx, const float *ly, const float *lz, const int *ltype, long ligands, const float *px,
          const float *py, const float *pz, const int *ptype, long proteins, const int *kind, const float *radius,
          const float *hydrophobicity, const float *charge, const float *poses, float *energies, long n)
{
    struct atoms ligand = {lx, ly, lz, ltype, ligands}, protein = {px, py, pz, ptype, proteins};
    struct forces forces = {kind, radius, hydrophobicity, charge};
    for (long first = 0; first < n; first += BLOCK) {
        long count = n - first < BLOCK ? n - first : BLOCK;
        dock_block(&ligand, &protein, &forces, poses + first, n, energies + first, count);
    }
}
