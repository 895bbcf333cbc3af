/* SPDX-License-Identifier: BSD-3-Clause */
/* Built instead of a benchmark of an adapter if the library MISSING is missing; prints
 * that. */
#include "bench.h"

int main(int argc, char **argv)
{
	static struct bench bench;

	bench_parse(&bench, argc, argv);
	bench_skip("built without " MISSING);
}
