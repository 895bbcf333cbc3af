/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>
#include "machine.h"

bool fuzz_thorough;
bool fuzz_verbose;

void fuzz_say(const char *format, ...)
{
	va_list ap;

	if (!fuzz_verbose)
		return;
	va_start(ap, format);
	vprintf(format, ap);
	va_end(ap);
	putchar('\n');
	fflush(stdout);
}

void fuzz_fail(const char *file, int line, const char *format, ...)
{
	va_list ap;

	fflush(stdout);
	fprintf(stderr, "%s:%d: ", file, line);
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fputc('\n', stderr);
	abort();
}
