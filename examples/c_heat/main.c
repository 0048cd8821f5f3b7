/* Simulates a plate: ./heat collect|accurate|surrogate SIZE STEPS IN OUT
 *
 * IN has the temperatures at the start, SIZE x SIZE numbers of float32 in rows; OUT gets those at the end.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hpacml.h>

#include "heat.h"

static void fail(const char *what, const char *why) {
    fprintf(stderr, "%s: %s\n", what, why);
    exit(1);
}

static void transfer(float *field, size_t count, const char *path, int write) {
    FILE *file = fopen(path, write ? "wb" : "rb");
    if (file == NULL) fail(path, "cannot be opened");
    size_t done = write ? fwrite(field, sizeof *field, count, file) : fread(field, sizeof *field, count, file);
    if (fclose(file) != 0 || done != count) fail(path, "has another size");
}

int main(int argc, char **argv) {
    if (argc != 6) fail(argv[0], "collect|accurate|surrogate SIZE STEPS IN OUT");
    const char *mode = argv[1];
    const int64_t size = atol(argv[2]), sizes[2] = {size, size};
    const int steps = atoi(argv[3]);
    float *old = malloc(size * size * sizeof *old), *new = malloc(size * size * sizeof *new);
    if (old == NULL || new == NULL) fail("memory", "there is not enough");
    transfer(old, size * size, argv[4], 0);
    memcpy(new, old, size * size * sizeof *new); /* the edge keeps its temperature */
    for (int step = 0; step < steps; step++) {
        int32_t status = heat(old, sizes, NULL, new, sizes, NULL, strcmp(mode, "surrogate") == 0,
                              strcmp(mode, "accurate") == 0);
        if (status != 0) fail("heat", hpacml_last_error());
        float *swapped = old;
        old = new;
        new = swapped;
    }
    transfer(old, size * size, argv[5], 1);
    if (hpacml_stop() != 0) fail("what was collected could not be written", hpacml_last_error());
    free(old);
    free(new);
    return 0;
}
