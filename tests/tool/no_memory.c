/* SPDX-License-Identifier: BSD-3-Clause */
/* A library for LD_PRELOAD: memory for a string is available only if it is one word. */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

char *strdup(const char *text)
{
	const size_t size = strlen(text) + 1;
	char *copy = strchr(text, ' ') ? NULL : malloc(size);

	if (!copy) {
		errno = ENOMEM;
		return NULL;
	}
	return memcpy(copy, text, size);
}
