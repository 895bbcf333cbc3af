/* SPDX-License-Identifier: BSD-3-Clause */
/* In the place of a benchmark of the adapter: says that liburing is not there. */
#include "bench.h"

int main(int argc, char **argv)
{
	static struct bench bench;

	bench_parse(&bench, argc, argv);
	bench_skip("built without liburing");
}
