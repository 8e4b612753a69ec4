/* Fused multiply-adds on registers alone: FLOP per second of one core. Compiled with -march=native, so the vectors are the
   machine's widest; sixteen independent chains hide the latency of the two units most cores have. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#if defined(__AVX512F__)
#define BYTES 64
#elif defined(__AVX__)
#define BYTES 32
#else
#define BYTES 16
#endif
#define CHAINS 16
typedef float vector __attribute__((vector_size(BYTES)));

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + 1e-9 * t.tv_nsec;
}

int main(int argc, char **argv) {
    double seconds = argc > 1 ? atof(argv[1]) : 1.0, began = now(), steps = 0, total = 0;
    vector chain[CHAINS], factor = {0}, term = {0};
    factor += 0.999f;
    term += 0.001f;
    for (int i = 0; i < CHAINS; i++) chain[i] = term * (float)i;
    do {
        for (int step = 0; step < 1000000; step++)
            for (int i = 0; i < CHAINS; i++) chain[i] = chain[i] * factor + term;
        steps += 1e6;
    } while (now() - began < seconds);
    double rate = steps * CHAINS * (BYTES / 4) * 2 / (now() - began);
    for (int i = 0; i < CHAINS; i++) total += chain[i][0];
    if (total == 12345.0) puts("");
    printf("%.6g\n", rate);
    return 0;
}
