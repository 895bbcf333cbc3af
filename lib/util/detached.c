/* SPDX-License-Identifier: BSD-3-Clause */
#include "util/detached.h"

#include <assert.h>

struct dp_detached dp_detached_remember(struct dp_detached_list *list,
					struct dp_detached detached)
{
	unsigned int at = atomic_fetch_add(&list->next, 1) % DP_DETACHED_MAX;

	assert(detached.handle);
	return (struct dp_detached) {
		atomic_exchange(&list->handle[at], detached.handle),
		atomic_exchange(&list->more[at], detached.more),
	};
}
