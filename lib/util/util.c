/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include "util/util.h"

int dp_copy_versioned(void *to, size_t size, const void *from, size_t from_size)
{
	const unsigned char *bytes = from;

	assert(to && from);
	if (from_size < sizeof(size_t))
		return -EINVAL;
	for (size_t i = size; i < from_size; i++)
		if (bytes[i])
			return -E2BIG;
	memset(to, 0, size);
	memcpy(to, from, dp_min(size, from_size));
	return 0;
}
