/* SPDX-License-Identifier: BSD-3-Clause */
#include "pins.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#define AWAIT_MS	60000

long long pinned_pages(void)
{
	FILE *file = fopen("/proc/sys/vm/stat_refresh", "w");
	long long value, acquired = 0, released = 0;
	char name[64];

	assert_non_null(file);
	assert_true(fputs("1", file) >= 0);
	fclose(file);
	file = fopen("/proc/vmstat", "r");
	assert_non_null(file);
	while (fscanf(file, "%63s %lld", name, &value) == 2) {
		if (!strcmp(name, "nr_foll_pin_acquired"))
			acquired = value;
		if (!strcmp(name, "nr_foll_pin_released"))
			released = value;
	}
	fclose(file);
	return acquired - released;
}

bool pins_await(long long before)
{
	for (int ms = 0; pinned_pages() != before; ms++) {
		if (ms == AWAIT_MS)
			return pins_are_back(before);
		usleep(1000);
	}
	return true;
}

bool pins_are_back(long long before)
{
	long long pins = pinned_pages();

	if (pins != before)
		print_message("# %lld pages are still pinned\n", pins - before);
	return pins == before;
}
