/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdarg.h>
#include <stdio.h>
#include "fuzz.h"

bool fuzz_thorough;
bool fuzz_verbose;

void fuzz_log(const char *format, ...)
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
