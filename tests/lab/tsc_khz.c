/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Prints the frequency of this machine's time-stamp counter in kHz, for tests/lab/lab:
 * QEMU's emulated CPU returns the host's counter. On a busy host a guest measures it
 * wrongly, because the emulated timer that it compares with is late, and then its clock
 * is several times too fast.
 */
#include <stdint.h>
#include <stdio.h>
#include <time.h>

#define TRIES		20
#define PERIOD_NS	200000000

#ifdef __x86_64__
#include <x86intrin.h>

struct reading {
	uint64_t ticks, ns;
};

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_RAW, &now);
	return now.tv_sec * UINT64_C(1000000000) + now.tv_nsec;
}

/* Reads both clocks, several times, and returns the two that were read in the shortest
 * time, because another process may have had the CPU in between. */
static struct reading read_both(void)
{
	struct reading best = { 0, 0 };
	uint64_t shortest = UINT64_MAX;

	for (int i = 0; i < TRIES; i++) {
		uint64_t before = __rdtsc(), ns = now_ns(), after = __rdtsc();

		if (after - before < shortest) {
			shortest = after - before;
			best = (struct reading) { before + shortest / 2, ns };
		}
	}
	return best;
}

int main(void)
{
	struct reading first = read_both(), last;

	nanosleep(&(struct timespec) { .tv_nsec = PERIOD_NS }, NULL);
	last = read_both();
	printf("%.0f\n", (last.ticks - first.ticks) * 1e6 / (last.ns - first.ns));
	return 0;
}
#else
int main(void)
{
	return 1;
}
#endif
